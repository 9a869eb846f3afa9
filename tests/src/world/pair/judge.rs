//! What must be true of a pair, whatever was cut, lost or forked: the same as of any cluster within each
//! history, and of what the healed one has at the end, the union of all sides.
//!
//! Not asked for: that no two executions of one job overlap. Two sides that can't hear each other both go on;
//! what they ran twice is shown instead.

use super::super::World;
use super::Pair;
use crate::checkers::{self, Violation, ends_are_true, job_history, one_dispatcher, one_terminal, progress};
use crate::history::{Began, History, Step};
use relais_dispatcher::ledger::{JobFilter, Ledger};
use relais_protocol::ids::{Epoch, Fence, Generation, Index, JobId};
use relais_protocol::job::{Job, StateName};
use std::collections::{BTreeMap, BTreeSet};

/// Attempts that a row keeps at least; older ones may be missing from it.
const ATTEMPTS_KEPT: usize = 50;

impl World {
    /// Every promise of a pair that was not kept.
    pub(in super::super) fn judge_pair(&self) -> Vec<Violation> {
        let Some(pair) = self.pair.as_deref() else { return Vec::new() };
        let mut violations = Vec::new();
        let mut broken = |property: &'static str, seen: Vec<String>| {
            violations.extend(seen.into_iter().map(|seen| Violation { property, seen }));
        };
        for generation in pair.branches.keys() {
            let whole = pair.history(*generation);
            broken("job-history", walks(&whole.steps, &pair.merges(*generation)));
            broken("one-terminal", one_terminal::check(&whole));
            broken("replicas-agree", checkers::replicas_agree::check(&whole));
            broken("one-dispatcher-per-epoch", one_dispatcher::order(&whole.reigns));
        }
        let reigns: Vec<_> = pair.branches.values().flat_map(|branch| branch.reigns.iter().copied()).collect();
        broken("one-dispatcher-per-epoch", shared_epochs(pair));
        broken("one-dispatcher-per-epoch", one_dispatcher::deeds(&self.history.deeds, &reigns));
        broken("progress", progress::check(&self.history));
        broken("ends-are-true", ends_are_true::check(&self.history));
        let lives = self.nodes.iter().filter_map(|node| node.life.as_deref());
        let Some(life) = lives.max_by_key(|life| (life.core.reign(), life.applied)) else { return violations };
        let jobs = life.ledger.list(&JobFilter::default(), None, usize::MAX, usize::MAX).0;
        let union = Union { history: &self.history, pair, ledger: &life.ledger, jobs: &jobs };
        broken("acked-is-kept", union.lost());
        broken("tombstones-hold", union.risen());
        broken("cancels-hold", union.uncancelled());
        broken("one-key-one-job", union.keys());
        broken("duplicates-shown", union.duplicates());
        broken("bounded-executions", union.executions());
        violations
    }
}

impl Pair {
    /// All that one history saw, those before it included.
    fn history(&self, generation: Generation) -> History {
        let merges = self.merges(generation);
        let steps = self.whole(generation, |branch| &branch.steps, |step| step.index);
        let mut reopened = self.whole(generation, |branch| &branch.reopened, |(index, _)| *index);
        // Of two endings the earlier one stands, which may be the other side's.
        reopened.extend(steps.iter().filter(|step| merges.contains(&step.index)).map(|step| (step.index, step.job)));
        let digests = self.branches.get(&generation).map(|branch| branch.digests.clone()).unwrap_or_default();
        let reigns = self.whole(generation, |branch| &branch.reigns, |began| began.index);
        History { steps, reopened, digests, reigns, ..History::default() }
    }

    fn merges(&self, generation: Generation) -> BTreeSet<Index> {
        self.whole(generation, |branch| &branch.merges, |index| *index).into_iter().collect()
    }

    fn each<T: Copy + Ord>(&self, of: impl Fn(&super::Branch) -> &[T]) -> BTreeSet<T> {
        self.branches.values().flat_map(|branch| of(branch).iter().copied()).collect()
    }
}

/// Steps that the state machine does not have, but for what a merge made of a job.
fn walks(steps: &[Step], merges: &BTreeSet<Index>) -> Vec<String> {
    let mut last: BTreeMap<JobId, StateName> = BTreeMap::new();
    let mut seen = Vec::new();
    for step in steps {
        let before = last.insert(step.job, step.state);
        if !merges.contains(&step.index) && !job_history::is_legal(before, step.state) {
            seen.push(format!("{} went from {before:?} to {:?} at index {}", step.job, step.state, step.index));
        }
    }
    seen
}

/// Epochs that began twice: fences would repeat. One entry that is part of two histories begins one reign.
fn shared_epochs(pair: &Pair) -> Vec<String> {
    let mut holders: BTreeMap<Epoch, Began> = BTreeMap::new();
    let mut seen = Vec::new();
    for began in pair.branches.values().flat_map(|branch| &branch.reigns) {
        if let Some(other) = holders.insert(began.reign.epoch, *began).filter(|other| other != began) {
            seen.push(format!("the epoch {} began by {other:?} and by {began:?}", began.reign.epoch));
        }
    }
    seen
}

/// What the healed history has, and what all sides of it saw.
struct Union<'a> {
    history: &'a History,
    pair: &'a Pair,
    ledger: &'a Ledger,
    jobs: &'a [Job],
}

impl Union<'_> {
    /// What was acknowledged, was not deleted and is gone; and what nobody submitted.
    fn lost(&self) -> Vec<String> {
        let kept: BTreeSet<JobId> = self.jobs.iter().map(|job| job.id).collect();
        let deleted: BTreeSet<JobId> = self.deleted().into_iter().map(|(job, _)| job).collect();
        let acked = self.history.submits.iter().flat_map(|submit| &submit.acked);
        let gone = acked.filter(|(_, job)| !kept.contains(job) && !deleted.contains(job));
        let mut seen: Vec<String> = gone
            .map(|(at, job)| format!("{job} was acknowledged at {} ms, not deleted, and is not in the record", at.0))
            .collect();
        let sent: BTreeSet<JobId> = self.history.submits.iter().flat_map(|s| s.sent_as.iter().copied()).collect();
        seen.extend(kept.difference(&sent).map(|job| format!("nobody submitted {job}")));
        seen
    }

    fn deleted(&self) -> BTreeSet<(JobId, u16)> {
        self.pair.each(|branch| &branch.deleted)
    }

    /// Jobs that came back after they were deleted.
    fn risen(&self) -> Vec<String> {
        let rows = self.deleted().into_iter().filter_map(|(id, life)| Some((self.ledger.job(id)?, life)));
        let risen = rows.filter(|(row, life)| row.life <= *life);
        risen
            .map(|(row, life)| format!("{} was deleted in life {life}, and is there in {}", row.id, row.life))
            .collect()
    }

    /// Wishes to cancel that nobody knows of any more.
    fn uncancelled(&self) -> Vec<String> {
        let wishes = self.pair.each(|branch| &branch.cancelled);
        let rows = wishes.into_iter().filter_map(|(id, life)| Some((self.ledger.job(id)?, life)));
        let forgotten = rows.filter(|(row, life)| row.life == *life && row.cancel.is_none());
        forgotten.map(|(row, life)| format!("the wish to cancel {} in life {life} is gone", row.id)).collect()
    }

    /// Keys that stand for two jobs, and aliases of what was never there.
    fn keys(&self) -> Vec<String> {
        let deleted = self.deleted();
        let is_known = |id: JobId| self.ledger.job(id).is_some() || deleted.iter().any(|(job, _)| *job == id);
        let mut owners: BTreeMap<&str, JobId> = BTreeMap::new();
        let mut seen = Vec::new();
        for job in self.jobs {
            let key = job.spec.options().idempotency_key.as_deref();
            match (key, job.alias_of) {
                (Some(key), None) => {
                    if let Some(other) = owners.insert(key, job.id) {
                        seen.push(format!("the key {key} has the jobs {other} and {}, neither an alias", job.id));
                    }
                }
                (_, Some(owner)) if !is_known(owner) => {
                    seen.push(format!("{} is an alias of {owner}, which was never there", job.id));
                }
                _ => {}
            }
        }
        seen
    }

    /// Executions that ended a job after another had, and are not shown or not counted.
    fn duplicates(&self) -> Vec<String> {
        let mut ends: BTreeMap<JobId, BTreeSet<Fence>> = BTreeMap::new();
        for (job, fence) in self.pair.each(|branch| &branch.succeeded) {
            ends.entry(job).or_default().insert(fence);
        }
        let mut seen = Vec::new();
        for job in self.jobs {
            let (ended, shown) = (ends.get(&job.id).map_or(0, BTreeSet::len), job.duplicate_executions());
            // Who was run again by hand on one side only has a life on which the other has no say.
            if job.life == 0 && ended > shown as usize + 1 {
                seen.push(format!("{ended} executions ended {}, {shown} are shown as duplicates", job.id));
            }
        }
        let shown: u64 = self.jobs.iter().map(|job| u64::from(job.duplicate_executions())).sum();
        let counted = self.ledger.duplicate_executions();
        if counted < shown {
            seen.push(format!("{shown} duplicate executions are shown, {counted} were counted"));
        }
        seen
    }

    /// Attempts that ran twice, and executions of a job in the record that the record does not know.
    fn executions(&self) -> Vec<String> {
        let rows: BTreeMap<JobId, &Job> = self.jobs.iter().map(|job| (job.id, job)).collect();
        let (mut run, mut seen) = (BTreeSet::new(), Vec::new());
        // A later life outlives the tombstone of an earlier one, whose attempts went with its row.
        let deleted: BTreeSet<JobId> = self.deleted().into_iter().map(|(job, _)| job).collect();
        for execution in &self.history.executions {
            if !run.insert((execution.job, execution.fence)) {
                seen.push(format!("attempt {} of {} was executed twice", execution.fence, execution.job));
            }
            let row =
                rows.get(&execution.job).filter(|row| row.attempts.len() < ATTEMPTS_KEPT && !deleted.contains(&row.id));
            if row.is_some_and(|row| row.attempts.iter().all(|attempt| attempt.fence != execution.fence)) {
                seen.push(format!("attempt {} of {} is not in the record", execution.fence, execution.job));
            }
        }
        seen
    }
}
