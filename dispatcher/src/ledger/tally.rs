//! Counts of what was applied, for people who watch: how jobs and attempts ended, how long they waited and ran.
//!
//! They are counted where the journal is applied, and so on every node that keeps a ledger, each on its own. What an
//! old dispatcher committed and did not live to tell of is counted all the same, once by each of them: over a
//! failover no end is missed and none counted twice. A sum over nodes would count each job once per ledger; ask for
//! the highest of them instead.
//!
//! They are of this run of the process: not in any row, and not part of what replicas compare. What was stamped
//! before [`Ledger::count_from`] was counted by the run before this one, and is applied again after a restart. What
//! a snapshot brings in was never applied here, and is not counted.

use super::Ledger;
use relais_protocol::job::{AttemptOutcome, StateName};
use relais_protocol::time::UnixMs;

/// Upper bounds of the buckets of a [`Spread`], in ms.
pub const BOUNDS_MS: [u64; 17] =
    [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 600_000, 3_600_000, 86_400_000];
/// The states that a job can end in, in the order of [`Tally::jobs`].
pub const ENDS: [StateName; 4] = [StateName::Succeeded, StateName::Failed, StateName::Cancelled, StateName::Expired];
/// The outcomes of attempts, in the order of [`Tally::attempts`].
pub const OUTCOMES: [AttemptOutcome; 5] = [
    AttemptOutcome::Succeeded,
    AttemptOutcome::Failed,
    AttemptOutcome::TimedOut,
    AttemptOutcome::Cancelled,
    AttemptOutcome::Lost,
];

/// How long something took, each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Spread {
    /// How often it took at most as long as the bound at the same place of [`BOUNDS_MS`], and longer than the one
    /// before.
    pub within: [u64; BOUNDS_MS.len()],
    /// How often in all.
    pub count: u64,
    /// All of it, in ms.
    pub sum_ms: u64,
}

impl Spread {
    fn note(&mut self, ms: u64) {
        if let Some(place) = BOUNDS_MS.iter().position(|bound| ms <= *bound) {
            self.within[place] += 1;
        }
        self.count += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }
}

/// What was counted since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    since: UnixMs,
    /// Jobs that ended, by [`ENDS`]. One that is run again and ends again counts again.
    pub jobs: [u64; ENDS.len()],
    /// Attempts that ended, by [`OUTCOMES`], as it was told first: one that was lost and turned out to have
    /// succeeded stays lost here.
    pub attempts: [u64; OUTCOMES.len()],
    /// From a job's being ready to run to the start of an attempt of it.
    pub waited: Spread,
    /// From the start of an attempt to its end.
    pub ran: Spread,
    /// Times that a node's lease ended and what ran there was given up.
    pub leases_ended: u64,
    /// Leases of external workers that ended because nobody renewed them.
    pub outside_leases_ended: u64,
    /// Ends that were refused: of an attempt that had been replaced, or of a job that had ended.
    pub refused_ends: u64,
}

impl Tally {
    fn counts(&self, now: UnixMs) -> bool {
        now >= self.since
    }

    /// A job entered a state.
    pub(super) fn job_entered(&mut self, now: UnixMs, state: StateName) {
        if let Some(place) = ENDS.iter().position(|end| *end == state).filter(|_| self.counts(now)) {
            self.jobs[place] += 1;
        }
    }

    /// An attempt started of a job that was ready to run at `ready_at`.
    pub(super) fn attempt_started(&mut self, now: UnixMs, ready_at: UnixMs) {
        if self.counts(now) {
            self.waited.note(now.since(ready_at));
        }
    }

    /// An attempt that started at `started_at` ended.
    pub(super) fn attempt_ended(&mut self, now: UnixMs, started_at: UnixMs, outcome: AttemptOutcome) {
        if let Some(place) = OUTCOMES.iter().position(|known| *known == outcome).filter(|_| self.counts(now)) {
            self.attempts[place] += 1;
            self.ran.note(now.since(started_at));
        }
    }

    /// A node was given up.
    pub(super) fn lease_ended(&mut self, now: UnixMs) {
        self.leases_ended += u64::from(self.counts(now));
    }

    /// The lease of an external worker was over.
    pub(super) fn outside_lease_ended(&mut self, now: UnixMs) {
        self.outside_leases_ended += u64::from(self.counts(now));
    }

    /// An end came too late.
    pub(super) fn end_refused(&mut self, now: UnixMs) {
        self.refused_ends += u64::from(self.counts(now));
    }
}

impl Ledger {
    /// What was counted since the process started.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts only what is stamped with this time or a later one: what came before is applied again, not anew.
    pub fn count_from(&mut self, since: UnixMs) {
        self.tally.since = since;
    }

    /// Goes on with the counts of `before`, in whose place this ledger is put.
    pub fn count_on(&mut self, before: &Self) {
        self.tally = before.tally;
    }
}
