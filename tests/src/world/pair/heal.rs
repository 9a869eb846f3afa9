//! The way back into a higher history, as in a node: settle, ask for the lineage, export, have it merged,
//! begin an empty journal. Whatever fails, all of it begins again.

use super::super::World;
use super::super::event::{Inside, Message};
use super::{PairMessage, PairStep, RENEWAL_MS};
use relais_protocol::history::{Lineage, Stamp, common_point};
use relais_protocol::ids::{Index, NodeId};
use relais_protocol::merge::{Merge, MergeRow};
use relais_protocol::record::{Committed, Outcome, Record};
use std::collections::VecDeque;

/// The pause after a step that failed, in ms.
const PAUSE_MS: u64 = 500;
/// How long the dispatcher may take for one question or chunk, in ms.
const CALL_MS: u64 = 10_000;
/// How long the last entries of an own history may take to be applied, in ms.
const SETTLE_MS: u64 = 5_000;

/// How far the way back is.
pub(super) enum Heal {
    /// All that this node alone may have acknowledged is being applied.
    Settling { until: u64 },
    /// The dispatcher was asked for its lineage.
    Asking { dispatcher: NodeId, call: u64, until: u64 },
    /// The first of these chunks was sent.
    Sending { dispatcher: NodeId, call: u64, until: u64, chunks: VecDeque<Merge> },
    /// All is merged, and the journal is being put aside.
    Resetting,
}

impl World {
    /// Whose history is higher than the one here, if it is heard.
    fn overtaken_by(&mut self, id: NodeId) -> Option<NodeId> {
        let (now, follows) = (self.now, self.follows(id)?);
        let life = self.node(id).life.as_deref()?;
        let dispatcher = life.election.heard_dispatcher(life.mono(now)).filter(|node| *node != id)?;
        (life.election.reign().generation > follows).then_some(dispatcher)
    }

    pub(super) fn find_way_back(&mut self, id: NodeId) {
        let now = self.now;
        let heard = self.overtaken_by(id);
        let Some(run) = self.run_of(id) else { return };
        match &run.heal {
            None => {
                if heard.is_some() && now >= run.quiet_until && !run.held {
                    run.heal = Some(Heal::Settling { until: now + SETTLE_MS });
                    self.settle(id);
                }
            }
            Some(Heal::Settling { until } | Heal::Asking { until, .. } | Heal::Sending { until, .. })
                if now >= *until =>
            {
                self.give_up_heal(id);
            }
            Some(Heal::Settling { .. }) => self.settle(id),
            Some(_) => {}
        }
    }

    fn give_up_heal(&mut self, id: NodeId) {
        let quiet_until = self.now + PAUSE_MS;
        if let Some(run) = self.run_of(id) {
            run.heal = None;
            run.quiet_until = quiet_until;
        }
    }

    /// An only voter commits its tail by leading once more; the tail of one of two is in the other journal,
    /// or was never acknowledged.
    fn settle(&mut self, id: NodeId) {
        let (now, mut out) = (self.now, Vec::new());
        let dispatcher = self.overtaken_by(id);
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let members = life.raft.log().members();
        let is_sole = members.voters().len() == 1 && members.is_voter(life.raft.me);
        let is_settled = life.raft.leads() && life.applied == life.raft.log().last_index();
        if is_sole && !is_settled {
            if !life.raft.leads() {
                life.raft.stand(now, &mut out);
                self.after_log(id, out);
            }
            return;
        }
        let Some(dispatcher) = dispatcher else { return self.give_up_heal(id) };
        let call = self.new_call();
        if let Some(run) = self.run_of(id) {
            run.heal = Some(Heal::Asking { dispatcher, call, until: now + CALL_MS });
        }
        self.send(id, dispatcher, Message::Pair(PairMessage::AskLineage(call)));
    }

    pub(super) fn on_lineage(&mut self, id: NodeId, call: u64, told: Option<(Vec<Lineage>, Index)>) {
        let dispatcher = match self.run_of(id).and_then(|run| run.heal.as_ref()) {
            Some(Heal::Asking { dispatcher, call: own, .. }) if *own == call => *dispatcher,
            _ => return,
        };
        let Some((theirs, reached)) = told else { return self.give_up_heal(id) };
        let Some(life) = self.node(id).life.as_deref() else { return };
        let (from, ours) = (life.ledger.reign(), (life.ledger.lineage(), life.ledger.applied()));
        let time = life.ledger.now();
        let since = common_point(ours, (&theirs, reached));
        let rows = self.export(id, since);
        self.trace.say(self.now, id.0.into(), || format!("has {} rows changed after {since:?} merged", rows.len()));
        let mut chunks = VecDeque::new();
        let mut rows = VecDeque::from(rows);
        loop {
            let count = (self.dice.range(1, 40) as usize).min(rows.len());
            let part = rows.drain(..count).collect();
            chunks.push_back(Merge { from, since, rows: part, last: rows.is_empty(), now: time });
            if rows.is_empty() {
                break;
            }
        }
        self.send_chunk(id, dispatcher, chunks);
    }

    fn export(&mut self, id: NodeId, since: Stamp) -> Vec<MergeRow> {
        let mut rows = Vec::new();
        let Some(life) = self.node(id).life.as_deref() else { return rows };
        let mut cursor = None;
        loop {
            let chunk = life.ledger.export_since(since, cursor.as_ref());
            rows.extend(chunk.rows);
            cursor = chunk.next;
            if cursor.is_none() {
                return rows;
            }
        }
    }

    fn send_chunk(&mut self, id: NodeId, dispatcher: NodeId, chunks: VecDeque<Merge>) {
        let (until, call) = (self.now + CALL_MS, self.new_call());
        let Some(first) = chunks.front().cloned() else { return };
        if let Some(run) = self.run_of(id) {
            run.heal = Some(Heal::Sending { dispatcher, call, until, chunks });
        }
        self.send(id, dispatcher, Message::Propose(call, vec![Record::Merge(Box::new(first))]));
    }

    /// What became of a proposal, if it was a chunk of the way back.
    pub(in super::super) fn on_chunk_answer(&mut self, id: NodeId, number: u64, committed: Option<&Committed>) {
        let Some(run) = self.run_of(id) else { return };
        let Some(Heal::Sending { dispatcher, call, chunks, .. }) = &mut run.heal else { return };
        if *call != number {
            return;
        }
        let merged = committed.and_then(|committed| committed.outcomes.each.first());
        if !matches!(merged, Some(Outcome::Merged(_))) {
            return self.give_up_heal(id);
        }
        chunks.pop_front();
        let (dispatcher, chunks) = (*dispatcher, std::mem::take(chunks));
        if !chunks.is_empty() {
            return self.send_chunk(id, dispatcher, chunks);
        }
        run.heal = Some(Heal::Resetting);
        run.held = true;
        self.compare_history(id);
        let delay = self.dice.range(RENEWAL_MS.0, RENEWAL_MS.1);
        self.inside(id, delay, Inside::Pair(PairStep::Reset));
    }
}
