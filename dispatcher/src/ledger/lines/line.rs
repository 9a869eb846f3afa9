//! A line: jobs of one queue that ask the same of a node. If its first can't be placed, none can.
//!
//! Strands whose concurrency key is at its limit are parked: they are not among its heads, so that ten thousand
//! tenants at their limits cost placement nothing.

use super::strand::{Strand, Turn};
use relais_protocol::ids::JobId;
use relais_protocol::job::Job;
use relais_protocol::spec::Concurrency;
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The strands of a line, and the first of each that is not parked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    plain: Strand,
    keyed: BTreeMap<Arc<Concurrency>, Strand>,
    heads: BTreeSet<Turn>,
    /// The turn under which it stands in its queue.
    pub(super) shown: Option<Turn>,
}

impl Line {
    /// Puts a job in. Whether its strand is a new one, with a key.
    pub(super) fn insert(&mut self, job: &Job, is_at_limit: bool) -> bool {
        let Some(key) = &job.spec.options().concurrency else {
            self.plain.insert(job);
            return false;
        };
        if let Some(strand) = self.keyed.get_mut(key) {
            strand.insert(job);
            return false;
        }
        let mut strand = Strand::new(is_at_limit);
        strand.insert(job);
        self.keyed.insert(Arc::new(key.clone()), strand);
        true
    }

    /// Takes a job out. Whether its strand is gone with it, which had a key.
    pub(super) fn remove(&mut self, job: &Job, aging_ms: u64) -> bool {
        let key = job.spec.options().concurrency.as_ref();
        let Some(strand) = self.strand_mut(key) else { return false };
        strand.remove(job);
        let is_over = strand.is_empty();
        self.settle(key, aging_ms);
        is_over && key.is_some_and(|key| self.keyed.remove(key).is_some())
    }

    fn strand_mut(&mut self, key: Option<&Concurrency>) -> Option<&mut Strand> {
        match key {
            None => Some(&mut self.plain),
            Some(key) => self.keyed.get_mut(key),
        }
    }

    /// Takes the strand of a key out of the heads, or lets it back in.
    pub(super) fn park(&mut self, key: &Concurrency, parked: bool, aging_ms: u64) {
        if let Some(strand) = self.keyed.get_mut(key) {
            strand.parked = parked;
        }
        self.settle(Some(key), aging_ms);
    }

    /// Shows the first of a strand among the heads, after the strand has changed.
    pub(super) fn settle(&mut self, key: Option<&Concurrency>, aging_ms: u64) {
        let strand = match key {
            None => Some(&mut self.plain),
            Some(key) => self.keyed.get_mut(key),
        };
        let Some(strand) = strand else { return };
        let first = if strand.parked { None } else { strand.first(aging_ms) };
        if first == strand.shown {
            return;
        }
        if let Some(shown) = std::mem::replace(&mut strand.shown, first) {
            self.heads.remove(&shown);
        }
        self.heads.extend(first);
    }

    /// Shows all strands anew, by another aging.
    pub(super) fn settle_all(&mut self, aging_ms: u64) {
        self.heads.clear();
        for strand in std::iter::once(&mut self.plain).chain(self.keyed.values_mut()) {
            strand.shown = if strand.parked { None } else { strand.first(aging_ms) };
            self.heads.extend(strand.shown);
        }
    }

    /// Whose turn is first, of those that are not parked.
    pub(super) fn first(&self) -> Option<Turn> {
        self.heads.first().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.keyed.is_empty()
    }

    fn strands(&self) -> impl Iterator<Item = &Strand> {
        std::iter::once(&self.plain).chain(self.keyed.values())
    }

    /// When the oldest came.
    pub(super) fn oldest(&self) -> Option<UnixMs> {
        self.strands().filter_map(Strand::oldest).min()
    }

    /// How many have their turn before `job`.
    pub(super) fn before(&self, job: &Job, aging_ms: u64) -> usize {
        self.strands().map(|strand| strand.before(job, aging_ms)).sum()
    }

    /// All jobs in it.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.strands().flat_map(Strand::jobs)
    }
}
