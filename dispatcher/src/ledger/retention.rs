//! Retention: ended jobs are forgotten after a while, oldest first, a few at a time.
//!
//! The dispatcher proposes each step with the cutoff that it read from the settings and the clock; applying it
//! looks at a bounded number of rows and forgets the same ones on every replica. Ids begin with the time of the
//! submit, and who was submitted after the cutoff can't have ended before it, so a pass over the old end of the
//! table needs no index of its own.
//!
//! Kept beyond their time are: a job whose idempotency key still stands or that has a unique key for a while to
//! come, so that its repeat is known; one that was submitted just now, since a node that was not answered sends it
//! again under its id; one of whose end somebody is still to be told; a job that a blocked one waits for; whatever has
//! not ended; and all members of a group that has not, whose time is counted from the end of the last of them. No
//! tombstone is made: a side of a split that still has the job brings it back, and its time is over there just as well.

use super::jobs::KEY_KEPT_MS;
use super::unique::claims;
use super::{Event, Ledger};
use crate::planted::is_planted;
use relais_protocol::group::Origin;
use relais_protocol::ids::JobId;
use relais_protocol::job::{Job, StateName};
use relais_protocol::queue::Retention;
use relais_protocol::record::Outcome;
use relais_protocol::spec::QueueName;
use relais_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// Rows that one step looks at.
const ROWS_A_STEP: usize = 1_000;
/// How long after its submit a job may come again under its id, in ms: a node that is not answered sends it again for
/// 3 s, and the last of these may be slow on its way.
const SENT_AGAIN_MS: u64 = 10_000;

/// What a queue keeps by its own setting.
struct Own {
    before: Option<UnixMs>,
    surplus: u64,
}

/// What is kept, at one time.
struct Kept {
    before: UnixMs,
    surplus: u64,
    queues: BTreeMap<QueueName, Own>,
}

impl Kept {
    /// Whether nobody who was submitted at `created_at` or later can be over.
    fn is_past(&self, created_at: UnixMs) -> bool {
        let latest = self.queues.values().filter_map(|own| own.before).fold(self.before, UnixMs::max);
        self.surplus == 0 && self.queues.values().all(|own| own.surplus == 0) && created_at >= latest
    }

    /// Whether the time of a job of this queue is over.
    fn is_old(&self, queue: &QueueName, ended_at: Option<UnixMs>) -> bool {
        let own = self.queues.get(queue).and_then(|own| own.before);
        ended_at.is_some_and(|at| at < own.unwrap_or(self.before))
    }

    /// Counts that a job of this queue goes: whatever does makes the rest less. Whether there were too many.
    fn goes(&mut self, queue: &QueueName) -> bool {
        let surplus = match self.queues.get_mut(queue) {
            Some(own) if own.surplus > 0 => &mut own.surplus,
            _ => &mut self.surplus,
        };
        let is_surplus = *surplus > 0;
        *surplus = surplus.saturating_sub(1);
        is_surplus
    }
}

impl Ledger {
    fn retained(&self, now: UnixMs, before: UnixMs, surplus: u64) -> Kept {
        let own = self.queue_rows().filter(|row| row.config.retention != Retention::default()).map(|row| {
            let retention = &row.config.retention;
            let before = retention.age_ms.map(|age| UnixMs(now.0.saturating_sub(age)));
            let surplus = retention.count.map_or(0, |count| self.ended_in(&row.name).saturating_sub(count));
            (row.name.clone(), Own { before, surplus })
        });
        Kept { before, surplus, queues: own.collect() }
    }

    /// One step from `from` on: forgets what ended before `before`, and up to `surplus` more, oldest first. What is
    /// set of a queue goes before. How many are too many is counted again here: since the step was thought of, some
    /// may have gone, or run again.
    pub(super) fn forget_ended(&mut self, from: JobId, before: UnixMs, surplus: u32) -> Outcome {
        let now = self.head.now;
        let mut kept = self.retained(now, before, self.surplus().min(surplus.into()));
        let (mut looked_at, mut next, mut may_go) = (0, None, Vec::new());
        self.jobs.oldest_first(&self.sheet, from, JobId(u128::MAX), |job| {
            if !is_late(job) && kept.is_past(job.created_at) {
                return false;
            }
            if looked_at == ROWS_A_STEP {
                next = Some(job.id);
                return false;
            }
            looked_at += 1;
            if self.may_go(job, now) {
                let is_old = kept.is_old(&job.spec.queue, self.groups.ended_with(job));
                may_go.push((job.id, job.state.name(), job.spec.queue.clone(), is_old));
            }
            true
        });
        // First what is old, and only then the oldest of what is still too much.
        for (_, _, queue, _) in may_go.iter().filter(|(.., is_old)| *is_old) {
            kept.goes(queue);
        }
        may_go.retain(|(_, _, queue, is_old)| *is_old || kept.goes(queue));
        for (id, state, queue, _) in &may_go {
            self.lines.count(queue, Some(*state), None);
            self.notices.exit(*id);
            self.groups.exit(*id, *state);
            self.jobs.delete(*id);
            self.events.push(Event::Forgotten(*id));
        }
        Outcome::Forgot { count: may_go.len() as u32, next }
    }

    /// Whether a step at `now` may find something whose time is over by its age, or that is too much of its queue.
    #[must_use]
    pub fn has_to_forget(&self, now: UnixMs, before: UnixMs) -> bool {
        let mut kept = self.retained(now, before, 0);
        let (mut looked_at, mut found) = (0, false);
        self.jobs.oldest_first(&self.sheet, JobId(0), JobId(u128::MAX), |job| {
            if !is_late(job) && kept.is_past(job.created_at) {
                return false;
            }
            looked_at += 1;
            let is_over = self.may_go(job, now)
                && (kept.is_old(&job.spec.queue, self.groups.ended_with(job)) || kept.goes(&job.spec.queue));
            found = is_over || looked_at == ROWS_A_STEP;
            !found
        });
        found
    }

    /// Whether nothing but its time keeps a job.
    fn may_go(&self, job: &Job, now: UnixMs) -> bool {
        let has_ended = job.state.is_terminal() || is_planted("forgets-what-runs");
        let is_needed = self.blocked.child_of(job.id).is_some() || self.notices.has(job.id);
        let has_key = (has_key(job, now) || claims(job, now)) && !is_planted("forgets-keyed");
        let is_of_group = self.groups.that_keeps(job.id, now).is_some() && !is_planted("forgets-members");
        let is_new = job.created_at.plus(SENT_AGAIN_MS) > now;
        has_ended && !(is_needed || has_key || is_of_group || is_new)
    }

    /// Ended jobs beyond those that are to be kept.
    #[must_use]
    pub fn surplus(&self) -> u64 {
        let keeps = self.settings().retention_count;
        self.ended_count().saturating_sub(if is_planted("surplus-miscounted") { keeps / 2 } else { keeps })
    }

    fn ended_in(&self, queue: &QueueName) -> u64 {
        self.lines.counts_of(queue).map_or(0, |counts| ended(&counts))
    }

    /// Jobs in the record that have ended.
    #[must_use]
    pub fn ended_count(&self) -> u64 {
        ended(&self.counts())
    }
}

fn ended(counts: &[u64; StateName::ALL.len()]) -> u64 {
    StateName::ALL.iter().zip(counts).filter(|(state, _)| state.is_terminal()).map(|(_, count)| count).sum()
}

/// Whether its id tells of an earlier time than that of its submit: it was submitted when another job ended.
fn is_late(job: &Job) -> bool {
    matches!(job.spec.options().origin, Some(Origin::Completion { .. }))
}

fn has_key(job: &Job, now: UnixMs) -> bool {
    job.spec.options().idempotency_key.is_some() && job.created_at.plus(KEY_KEPT_MS) > now
}
