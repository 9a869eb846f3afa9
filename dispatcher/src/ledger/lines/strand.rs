//! Jobs of one line that start in one order: those that share a concurrency key and its limit, or have none.
//!
//! ## The order, and the bound
//! A job of priority `p` is to start no later than those that came `(100 − p) × aging` after it: that sum of
//! when it came and what its priority has it wait is its [`Turn`], fixed for good, and the lowest turn is first.
//! So within a priority the order is that of the journal, a higher priority goes before a lower one that came
//! at about the same time, and **only jobs that came within `(100 − p) × aging` of a job are ever started before
//! it**: an endless stream of others can't starve it. Nothing has to be sorted again as time passes.

use super::crowd::{Came, Crowd};
use relais_protocol::ids::JobId;
use relais_protocol::job::{Job, Place};
use relais_protocol::spec::StartTime;
use relais_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// The highest priority.
const PRIORITY_MAX: u8 = 100;

/// When a job's time comes; then its place in the journal, and its id, since after a merge two jobs can have one
/// place.
pub(in crate::ledger) type Turn = (UnixMs, Place, JobId);

/// Jobs by how far their priority is from the highest one, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Strand {
    by_patience: BTreeMap<u8, Crowd>,
    /// Whether its concurrency key is at its limit.
    pub(super) parked: bool,
    /// The turn under which it stands in its line.
    pub(super) shown: Option<Turn>,
}

/// Since when `job` could have run, but for its turn.
pub(in crate::ledger) fn came_at(job: &Job) -> UnixMs {
    match job.spec.options().start {
        StartTime::Now => job.created_at,
        StartTime::At(at) => job.created_at.max(at),
        StartTime::After(ms) => job.created_at.plus(ms),
    }
}

fn came(job: &Job) -> (u8, Came) {
    (PRIORITY_MAX.saturating_sub(job.spec.priority), (came_at(job), job.place, job.id))
}

fn turn(patience: u8, (at, place, id): Came, aging_ms: u64) -> Turn {
    (at.plus(u64::from(patience).saturating_mul(aging_ms)), place, id)
}

impl Strand {
    /// An empty one.
    pub(super) fn new(parked: bool) -> Self {
        Self { parked, ..Self::default() }
    }

    pub(super) fn insert(&mut self, job: &Job) {
        let (patience, came) = came(job);
        self.by_patience.entry(patience).or_default().insert(came);
    }

    pub(super) fn remove(&mut self, job: &Job) {
        let (patience, came) = came(job);
        let Some(jobs) = self.by_patience.get_mut(&patience) else { return };
        jobs.remove(came);
        if jobs.is_empty() {
            self.by_patience.remove(&patience);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_patience.is_empty()
    }

    /// Whose turn is first.
    pub(super) fn first(&self, aging_ms: u64) -> Option<Turn> {
        let firsts = self.by_patience.iter().filter_map(|(patience, jobs)| Some((*patience, jobs.first()?)));
        firsts.map(|(patience, came)| turn(patience, came, aging_ms)).min()
    }

    /// When the oldest came.
    pub(super) fn oldest(&self) -> Option<UnixMs> {
        self.by_patience.values().filter_map(Crowd::first).map(|(at, ..)| at).min()
    }

    /// How many have their turn before `job`.
    pub(super) fn before(&self, job: &Job, aging_ms: u64) -> usize {
        let (patience, own) = came(job);
        let own = turn(patience, own, aging_ms);
        let before = |(patience, jobs): (&u8, &Crowd)| jobs.count_while(|came| turn(*patience, came, aging_ms) < own);
        self.by_patience.iter().map(before).sum()
    }

    /// All of them.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.by_patience.values().flat_map(Crowd::iter).map(|(.., id)| id)
    }
}
