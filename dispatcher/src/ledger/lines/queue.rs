//! One queue: its lines, what is set of it, and whether it is open.

use super::line::Line;
use super::strand::Turn;
use relais_protocol::ids::JobId;
use relais_protocol::job::{Job, StateName};
use relais_protocol::queue::{QueueConfig, QueueFlow, QueueRow};
use relais_protocol::spec::{Concurrency, Requires};
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, LazyLock};

/// Jobs by state, in the order of [`StateName::ALL`].
pub(in crate::ledger) type Counts = [u64; StateName::ALL.len()];

static AS_NOBODY_SET_IT: LazyLock<QueueConfig> = LazyLock::new(QueueConfig::default);

/// A queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::ledger) struct Queue {
    /// What somebody has set of it.
    pub(in crate::ledger) row: Option<Box<QueueRow>>,
    pub(in crate::ledger) flow: QueueFlow,
    pub(in crate::ledger) counts: Counts,
    /// Jobs that run.
    pub(in crate::ledger) running: u32,
    /// Its rate is used up until then.
    pub(in crate::ledger) closed_until: Option<UnixMs>,
    lines: BTreeMap<Arc<Requires>, Line>,
    heads: BTreeMap<Turn, Arc<Requires>>,
    /// Jobs that wait for their time, and are in no line.
    later: BTreeSet<JobId>,
    /// The pass under which it stands among the queues that have something to run.
    pub(super) ready_at: Option<u64>,
    /// Nothing of it fits a node now.
    pub(super) is_aside: bool,
}

impl Queue {
    pub(in crate::ledger) fn config(&self) -> &QueueConfig {
        self.row.as_ref().map_or(&AS_NOBODY_SET_IT, |row| &row.config)
    }

    pub(in crate::ledger) fn is_paused(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.paused)
    }

    pub(in crate::ledger) fn is_at_limit(&self) -> bool {
        self.config().concurrency.is_some_and(|limit| self.running >= limit)
    }

    /// Whether one of its jobs may start, and there is one that is not held by its own key.
    pub(super) fn can_start(&self) -> bool {
        !self.heads.is_empty() && !self.is_paused() && !self.is_at_limit() && self.closed_until.is_none()
    }

    /// Whether it has jobs, or something was set of it.
    pub(in crate::ledger) fn is_known(&self) -> bool {
        self.row.is_some() || self.counts != Counts::default()
    }

    /// Whether there is nothing to remember of it.
    pub(super) fn is_void(&self) -> bool {
        !self.is_known() && self.flow == QueueFlow::default()
    }

    /// Puts a job in line; the line, if the job began a strand with a key in it.
    pub(super) fn join(&mut self, job: &Job, is_at_limit: bool, aging_ms: u64) -> Option<Arc<Requires>> {
        let options = job.spec.options();
        let known = self.lines.contains_key(&options.requires);
        if !known {
            self.lines.insert(Arc::new(options.requires.clone()), Line::default());
        }
        let is_new = self.lines.get_mut(&options.requires)?.insert(job, is_at_limit);
        self.settle(&options.requires, options.concurrency.as_ref(), aging_ms);
        if is_new { self.lines.get_key_value(&options.requires).map(|(line, _)| line.clone()) } else { None }
    }

    /// Takes a job out of its line; the line, if a strand with a key ended in it.
    pub(super) fn leave(&mut self, job: &Job, aging_ms: u64) -> Option<Arc<Requires>> {
        let requires = &job.spec.options().requires;
        let is_over = self.lines.get_mut(requires)?.remove(job, aging_ms);
        self.settle_line(requires);
        let name = if is_over { self.lines.get_key_value(requires).map(|(line, _)| line.clone()) } else { None };
        if self.lines.get(requires).is_some_and(Line::is_empty) {
            self.lines.remove(requires);
        }
        name
    }

    /// Takes the strand of a key out of the heads, or lets it back in.
    pub(super) fn park(&mut self, requires: &Requires, key: &Concurrency, parked: bool, aging_ms: u64) {
        if let Some(line) = self.lines.get_mut(requires) {
            line.park(key, parked, aging_ms);
        }
        self.settle_line(requires);
    }

    fn settle(&mut self, requires: &Requires, key: Option<&Concurrency>, aging_ms: u64) {
        if let Some(line) = self.lines.get_mut(requires) {
            line.settle(key, aging_ms);
        }
        self.settle_line(requires);
    }

    /// Shows the first of a line among the heads, after the line has changed.
    fn settle_line(&mut self, requires: &Requires) {
        let Some(line) = self.lines.get_mut(requires) else { return };
        let first = line.first();
        if first == line.shown {
            return;
        }
        let shown = std::mem::replace(&mut line.shown, first);
        let known = shown.and_then(|shown| self.heads.remove(&shown));
        let Some(first) = first else { return };
        let name = known.or_else(|| self.lines.get_key_value(requires).map(|(name, _)| name.clone()));
        self.heads.extend(name.map(|name| (first, name)));
    }

    /// Orders all lines anew, by another aging.
    pub(super) fn settle_all(&mut self, aging_ms: u64) {
        self.heads.clear();
        for (name, line) in &mut self.lines {
            line.settle_all(aging_ms);
            line.shown = line.first();
            self.heads.extend(line.shown.map(|first| (first, name.clone())));
        }
    }

    /// The first job after `after` that is first in its line, and what the line asks of a node.
    pub(super) fn head_after(&self, after: Option<Turn>) -> Option<(Turn, Arc<Requires>)> {
        let from = after.map_or(Unbounded, Excluded);
        let (turn, requires) = self.heads.range((from, Unbounded)).next()?;
        Some((*turn, requires.clone()))
    }

    /// All jobs of lines that have one to start, and that `takes` takes.
    pub(super) fn jobs_taken_by(&self, takes: &impl Fn(&Requires) -> bool) -> impl Iterator<Item = JobId> {
        let lines = self.heads.values().filter(move |requires| takes(requires));
        lines.filter_map(|requires| self.lines.get(requires)).flat_map(Line::jobs)
    }

    pub(super) fn wait_later(&mut self, job: JobId) {
        self.later.insert(job);
    }

    pub(super) fn wait_no_more(&mut self, job: JobId) {
        self.later.remove(&job);
    }

    /// All jobs in line.
    pub(in crate::ledger) fn in_line(&self) -> impl Iterator<Item = JobId> {
        self.lines.values().flat_map(Line::jobs)
    }

    /// All jobs that have not started: those in line, and those whose time is to come.
    pub(in crate::ledger) fn waiting(&self) -> impl Iterator<Item = JobId> {
        self.in_line().chain(self.later.iter().copied())
    }

    /// When the oldest job in line came.
    pub(in crate::ledger) fn oldest(&self) -> Option<UnixMs> {
        self.lines.values().filter_map(Line::oldest).min()
    }

    /// How many in line have their turn before `job`.
    pub(super) fn before(&self, job: &Job, aging_ms: u64) -> usize {
        self.lines.values().map(|line| line.before(job, aging_ms)).sum()
    }
}
