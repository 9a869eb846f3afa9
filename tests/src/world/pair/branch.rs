//! Histories as an observer writes them down: what each entry came to when it was applied for the first time
//! in each of them. A history goes on from where its node had applied the one before.

use super::super::World;
use super::Pair;
use crate::history::{Began, DeedKind, Digest, Step};
use relais_dispatcher::ledger::{Effects, Event, Ledger};
use relais_protocol::ids::{Fence, Generation, Index, JobId, NodeId, Reign};
use relais_protocol::job::StateName;
use relais_protocol::merge::{GoneId, MergeRow};
use relais_protocol::record::{Batch, Outcome, Record};

/// One history.
#[derive(Default)]
pub(super) struct Branch {
    /// The history before, and the last entry of it that was applied here.
    parent: Option<(Generation, u64)>,
    /// The last entry whose application was written down.
    watched: u64,
    pub(super) steps: Vec<Step>,
    pub(super) reopened: Vec<(Index, JobId)>,
    pub(super) reigns: Vec<Began>,
    pub(super) digests: Vec<Digest>,
    /// Entries that merged something.
    pub(super) merges: Vec<Index>,
    /// Jobs deleted, and in which life.
    pub(super) deleted: Vec<(JobId, u16)>,
    /// Wishes to cancel that were taken, and in which life.
    pub(super) cancelled: Vec<(JobId, u16)>,
    /// Attempts by which a job succeeded here.
    pub(super) succeeded: Vec<(JobId, Fence)>,
}

impl Branch {
    /// One that begins where `applied` entries of `parent` are applied.
    pub(super) fn after(parent: Generation, applied: u64) -> Self {
        Self { parent: Some((parent, applied)), watched: applied, ..Self::default() }
    }
}

impl Pair {
    /// What `of` sees in the history of this number, from the beginning of all.
    pub(super) fn whole<T: Clone>(
        &self,
        generation: Generation,
        of: impl Fn(&Branch) -> &[T] + Copy,
        index: impl Fn(&T) -> Index + Copy,
    ) -> Vec<T> {
        let Some(branch) = self.branches.get(&generation) else { return Vec::new() };
        let mut whole = Vec::new();
        if let Some((parent, applied)) = branch.parent {
            whole = self.whole(parent, of, index);
            whole.retain(|seen| index(seen).0 <= applied);
        }
        whole.extend_from_slice(of(branch));
        whole
    }
}

impl World {
    /// Writes down what applying an entry of a pair's journal came to, unless another node was the first.
    pub(in super::super) fn watch_branch(
        &mut self,
        id: NodeId,
        index: u64,
        batch: &Batch,
        before: Reign,
        applied: &Effects,
    ) {
        let Some(generation) = self.follows(id) else { return };
        let (Some(pair), Some(life)) = (self.pair.as_deref_mut(), self.nodes[id.0 as usize - 1].life.as_deref()) else {
            return;
        };
        let Some(branch) = pair.branches.get_mut(&generation).filter(|branch| index > branch.watched) else { return };
        branch.watched = index;
        let proposed = Reign { generation: batch.generation, epoch: batch.epoch };
        let mut usurped = false;
        for (record, outcome) in batch.records.iter().zip(&applied.outcomes.each) {
            let begins = matches!(record, Record::Promote { .. } | Record::Found { .. } | Record::Takeover(_));
            usurped |= !begins && !matches!(outcome, Outcome::Refused(_)) && proposed != before;
            branch.note(Index(index), record, outcome, &life.ledger);
            if let Outcome::Merged(merged) = outcome {
                pair.counts.duplicates += u64::from(merged.duplicates);
                pair.counts.aliases += u64::from(merged.aliases);
            }
            pair.counts.deletes += u64::from(matches!((record, outcome), (Record::Delete { .. }, Outcome::Done)));
        }
        for event in &applied.events {
            self.trace.say(self.now, 0, || format!("{generation}#{index} {event:?}"));
            branch.happened(Index(index), event, &life.ledger);
        }
        if usurped {
            self.deed(id, DeedKind::TookEffect { proposed, in_force: before });
        }
    }

    /// Writes down the digest of a ledger as part of the history that it follows.
    pub(in super::super) fn note_digest(&mut self, digest: Digest) {
        let generation = self.follows(digest.node);
        let Some(pair) = self.pair.as_deref_mut() else { return self.history.digests.push(digest) };
        if let Some(branch) = generation.and_then(|generation| pair.branches.get_mut(&generation)) {
            branch.digests.push(digest);
        }
    }
}

impl Branch {
    fn note(&mut self, index: Index, record: &Record, outcome: &Outcome, ledger: &Ledger) {
        match (record, outcome) {
            (Record::Retry { job }, Outcome::Done) => self.reopened.push((index, *job)),
            (Record::Merge(_), Outcome::Merged(_)) => {
                self.merges.push(index);
            }
            (Record::Delete { job }, Outcome::Done) => self.deleted.push((*job, buried(ledger, *job, index))),
            (Record::Cancel { job, .. }, Outcome::Cancelled { .. }) => {
                self.cancelled.extend(ledger.job(*job).map(|row| (*job, row.life)));
            }
            _ => {}
        }
    }

    fn happened(&mut self, index: Index, event: &Event, ledger: &Ledger) {
        match *event {
            Event::State { job, state } => {
                self.steps.push(Step { index, job, state });
                if state == StateName::Succeeded && !self.merges.contains(&index) {
                    let fence = ledger.job(job).and_then(|row| row.ended_by);
                    self.succeeded.extend(fence.map(|fence| (job, fence)));
                }
            }
            Event::Promoted { reign, node, incarnation, .. } => {
                self.reigns.push(Began { index, reign, node, incarnation });
            }
            _ => {}
        }
    }
}

/// The life of a job that the entry at `index` deleted.
fn buried(ledger: &Ledger, id: JobId, index: Index) -> u16 {
    let since = (ledger.reign().generation, Index(index.0.saturating_sub(1)));
    let lives = ledger.export_since(since, None).rows.into_iter().filter_map(|row| match row {
        MergeRow::Gone(gone) => match gone.id {
            GoneId::Job { job, life } if job == id => Some(life),
            _ => None,
        },
        _ => None,
    });
    lives.max().unwrap_or(0)
}
