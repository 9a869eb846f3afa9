//! Who waits, in which order, and what becomes due when. An index over the job rows; nothing here is
//! stored, all of it is made again from the rows at load.

use relais_protocol::ids::JobId;
use relais_protocol::job::{Job, Place, StateName};
use relais_protocol::spec::{QueueName, Requires};
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Jobs that wait in one queue for the same kind of node: if the first can't be placed, none can.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    /// The queue.
    pub(super) queue: QueueName,
    /// What a node must have.
    pub(super) requires: Requires,
}

/// A job's turn: priority (inverted, so that higher comes first), then its place in the journal, and its id,
/// since after a merge two jobs can have one place.
type Turn = (u8, Place, JobId);

/// All lines, due times, and counts by queue and state.
#[derive(Default)]
pub(super) struct Lines {
    lines: BTreeMap<Arc<Line>, BTreeSet<Turn>>,
    heads: BTreeMap<Turn, Arc<Line>>,
    due: BTreeSet<(UnixMs, JobId)>,
    ends: BTreeSet<(UnixMs, JobId)>,
    counts: BTreeMap<QueueName, [u64; StateName::ALL.len()]>,
}

fn turn(job: &Job) -> Turn {
    (u8::MAX - job.spec.priority, job.place, job.id)
}

impl Lines {
    /// Puts a job in line.
    pub(super) fn join(&mut self, job: &Job) {
        let line = Line { queue: job.spec.queue.clone(), requires: job.spec.options().requires.clone() };
        let known = self.lines.get_key_value(&line).map(|(known, _)| known.clone());
        let line = known.unwrap_or_else(|| Arc::new(line));
        let waiting = self.lines.entry(line.clone()).or_default();
        let before = waiting.first().copied();
        waiting.insert(turn(job));
        if before.is_none_or(|before| turn(job) < before) {
            if let Some(before) = before {
                self.heads.remove(&before);
            }
            self.heads.insert(turn(job), line);
        }
    }

    /// Takes a job out of its line.
    pub(super) fn leave(&mut self, job: &Job) {
        let line = Line { queue: job.spec.queue.clone(), requires: job.spec.options().requires.clone() };
        let Some((line, _)) = self.lines.get_key_value(&line) else { return };
        let line = line.clone();
        let Some(waiting) = self.lines.get_mut(&line) else { return };
        waiting.remove(&turn(job));
        let next = waiting.first().copied();
        if self.heads.remove(&turn(job)).is_some()
            && let Some(next) = next
        {
            self.heads.insert(next, line.clone());
        }
        if next.is_none() {
            self.lines.remove(&line);
        }
    }

    /// The first job after `after` that is first in its line, with what its line requires.
    pub(super) fn head_after(&self, after: Option<Turn>) -> Option<(Turn, JobId, Arc<Line>)> {
        let mut range = match after {
            Some(after) => self.heads.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded)),
            None => self.heads.range(..),
        };
        let (turn, line) = range.next()?;
        Some((*turn, turn.2, line.clone()))
    }

    /// How many jobs wait in front of `job`, in its own line.
    pub(super) fn ahead(&self, job: &Job) -> usize {
        let line = Line { queue: job.spec.queue.clone(), requires: job.spec.options().requires.clone() };
        self.lines.get(&line).map_or(0, |waiting| waiting.range(..turn(job)).count())
    }

    /// The job becomes due at `at`.
    pub(super) fn wait_until(&mut self, at: UnixMs, id: JobId) {
        self.due.insert((at, id));
    }

    /// It no longer does.
    pub(super) fn wait_no_more(&mut self, at: UnixMs, id: JobId) {
        self.due.remove(&(at, id));
    }

    /// If it still waits then, the job expires at `at`.
    pub(super) fn end_at(&mut self, at: UnixMs, id: JobId) {
        self.ends.insert((at, id));
    }

    /// It no longer does.
    pub(super) fn end_no_more(&mut self, at: UnixMs, id: JobId) {
        self.ends.remove(&(at, id));
    }

    /// Takes out the next job that is due at `now`.
    pub(super) fn take_due(&mut self, now: UnixMs) -> Option<JobId> {
        let first = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&first);
        Some(first.1)
    }

    /// Takes out the next job that expires at `now`.
    pub(super) fn take_ended(&mut self, now: UnixMs) -> Option<JobId> {
        let first = *self.ends.first().filter(|(at, _)| *at <= now)?;
        self.ends.remove(&first);
        Some(first.1)
    }

    /// The next time at which anything becomes due.
    pub(super) fn next_due(&self) -> Option<UnixMs> {
        let first = |set: &BTreeSet<(UnixMs, JobId)>| set.first().map(|(at, _)| *at);
        first(&self.due).into_iter().chain(first(&self.ends)).min()
    }

    /// Counts a job of `queue` going from one state to another.
    pub(super) fn count(&mut self, queue: &QueueName, from: Option<StateName>, to: Option<StateName>) {
        if !self.counts.contains_key(queue) {
            self.counts.insert(queue.clone(), Default::default());
        }
        let Some(counts) = self.counts.get_mut(queue) else { return };
        if let Some(from) = from {
            counts[from as usize] = counts[from as usize].saturating_sub(1);
        }
        if let Some(to) = to {
            counts[to as usize] += 1;
        }
    }

    /// Jobs by queue and state.
    pub(super) fn counts(&self) -> &BTreeMap<QueueName, [u64; StateName::ALL.len()]> {
        &self.counts
    }

    /// All jobs in line, for checks.
    pub(super) fn waiting(&self) -> impl Iterator<Item = JobId> {
        self.lines.values().flat_map(|line| line.iter().map(|turn| turn.2))
    }

    /// The first job in line of `queue`.
    pub(super) fn oldest(&self, queue: &QueueName) -> Option<JobId> {
        let of_queue = self.lines.iter().filter(|(line, _)| line.queue == *queue);
        let first = of_queue.filter_map(|(_, waiting)| waiting.iter().min_by_key(|turn| turn.1));
        first.min_by_key(|turn| turn.1).map(|turn| turn.2)
    }
}
