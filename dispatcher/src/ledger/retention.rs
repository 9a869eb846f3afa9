//! Retention: ended jobs are forgotten after a while, oldest first, a few at a time.
//!
//! The dispatcher proposes each step with the cutoff that it read from the settings and the clock; applying it
//! looks at a bounded number of rows and forgets the same ones on every replica. Ids begin with the time of the
//! submit, and who was submitted after the cutoff can't have ended before it, so a pass over the old end of the
//! table needs no index of its own.
//!
//! Kept beyond their time are: a job whose idempotency key still stands, so that its repeat is known; a job that
//! a blocked one waits for; and whatever has not ended. No tombstone is made: a side of a split that still has
//! the job brings it back, and its time is over there just as well.

use super::jobs::KEY_KEPT_MS;
use super::{Event, Ledger};
use relais_protocol::ids::JobId;
use relais_protocol::job::{Job, StateName};
use relais_protocol::record::Outcome;
use relais_protocol::time::UnixMs;

/// Rows that one step looks at.
const ROWS_A_STEP: usize = 1_000;

impl Ledger {
    /// One step from `from` on: forgets what ended before `before`, and `surplus` more, oldest first.
    pub(super) fn forget_ended(&mut self, from: JobId, before: UnixMs, surplus: u32) -> Outcome {
        let (mut left, mut looked_at, mut next, mut over) = (surplus, 0, None, Vec::new());
        let now = self.head.now;
        self.jobs.oldest_first(&self.sheet, from, JobId(u128::MAX), |job| {
            if left == 0 && job.created_at >= before {
                return false;
            }
            if looked_at == ROWS_A_STEP {
                next = Some(job.id);
                return false;
            }
            looked_at += 1;
            let is_old = job.finished_at.is_some_and(|at| at < before);
            if job.state.is_terminal() && (is_old || left > 0) && !has_key(job, now) {
                left = if is_old { left } else { left - 1 };
                over.push((job.id, job.state.name(), job.spec.queue.clone()));
            }
            true
        });
        over.retain(|(id, ..)| self.blocked.child_of(*id).is_none());
        for (id, state, queue) in &over {
            self.lines.count(queue, Some(*state), None);
            self.jobs.delete(*id);
            self.events.push(Event::Forgotten(*id));
        }
        Outcome::Forgot { count: over.len() as u32, next }
    }

    /// Whether a step may find something that ended before `before`.
    #[must_use]
    pub fn has_to_forget(&self, before: UnixMs) -> bool {
        let (mut looked_at, mut found) = (0, false);
        self.jobs.oldest_first(&self.sheet, JobId(0), JobId(u128::MAX), |job| {
            looked_at += 1;
            found = job.finished_at.is_some_and(|at| at < before) || looked_at == ROWS_A_STEP;
            !found && job.created_at < before
        });
        found
    }

    /// Jobs in the record that have ended.
    #[must_use]
    pub fn ended_count(&self) -> u64 {
        let counts = self.counts();
        StateName::ALL.iter().zip(counts).filter(|(state, _)| state.is_terminal()).map(|(_, count)| count).sum()
    }
}

fn has_key(job: &Job, now: UnixMs) -> bool {
    job.spec.options().idempotency_key.is_some() && job.created_at.plus(KEY_KEPT_MS) > now
}
