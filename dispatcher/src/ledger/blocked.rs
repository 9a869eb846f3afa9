//! Dependencies: which jobs wait for which others to end, and what becomes of them when those do.
//!
//! A job that depends on others is `blocked` while any of them has not ended. When the last one has, it goes
//! on to its line; as soon as one ends otherwise than it had to, the job can never run, and is cancelled with
//! that job as its reason, and so are those that depend on it. A job must be known before another can depend
//! on it, so no circle can come about.
//!
//! The index is a function of the rows alone (a blocked job, what it depends on, and whether that has ended),
//! so a replica that has restarted decides like one that has not. A job that was run again by wish has not
//! ended any more: who is still blocked waits for it anew. A job that is not here is taken as not ended: it
//! comes with the next rows of a merge, unless it was deleted there.

use super::{Ledger, LoadError};
use crate::rows::Rows;
use relais_protocol::ids::JobId;
use relais_protocol::job::{ErrorKind, Job, JobError, JobState, StateName};
use relais_protocol::record::Refusal;
use relais_protocol::spec::StartTime;
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// A job that others wait for.
#[derive(Default)]
struct Parent {
    ended: bool,
    children: BTreeSet<JobId>,
}

/// Who waits for whom.
#[derive(Default)]
pub(super) struct Blocked {
    parents: BTreeMap<JobId, Parent>,
    /// For each blocked job, how many of its parents have not ended.
    open: BTreeMap<JobId, usize>,
    /// Parents that ended, and blocked jobs that came, in this batch.
    news: BTreeSet<JobId>,
}

fn parents_of(job: &Job) -> BTreeSet<JobId> {
    job.spec.options().depends_on.iter().map(|dependency| dependency.job).collect()
}

impl Blocked {
    /// A blocked job is there; `ended` says of a parent whether it has ended.
    fn add(&mut self, job: &Job, ended: impl Fn(JobId) -> bool) {
        let mut open = 0;
        for id in parents_of(job) {
            let parent = self.parents.entry(id).or_insert_with(|| Parent { ended: ended(id), ..Parent::default() });
            parent.children.insert(job.id);
            open += usize::from(!parent.ended);
        }
        self.open.insert(job.id, open);
        self.news.insert(job.id);
    }

    /// It is blocked no more.
    pub(super) fn remove(&mut self, job: &Job) {
        self.open.remove(&job.id);
        for id in parents_of(job) {
            if let Some(parent) = self.parents.get_mut(&id) {
                parent.children.remove(&job.id);
                if parent.children.is_empty() {
                    self.parents.remove(&id);
                }
            }
        }
    }

    /// A job has come into a state.
    pub(super) fn note(&mut self, job: JobId, state: StateName) {
        let ended = state.is_terminal();
        let Some(parent) = self.parents.get_mut(&job) else { return };
        if parent.ended == ended {
            return;
        }
        parent.ended = ended;
        for child in &parent.children {
            if let Some(open) = self.open.get_mut(child) {
                *open = if ended { open.saturating_sub(1) } else { *open + 1 };
            }
        }
        if ended {
            self.news.extend(&parent.children);
        }
    }

    /// A job is not there any more.
    pub(super) fn note_deleted(&mut self, job: JobId) {
        if let Some(parent) = self.parents.get(&job) {
            self.news.extend(&parent.children);
        }
    }

    /// A job that waits for `job`, if any does.
    pub(super) fn child_of(&self, job: JobId) -> Option<JobId> {
        self.parents.get(&job)?.children.first().copied()
    }

    /// All that is kept, for checks: each blocked job with how many parents it still waits for.
    pub(super) fn open(&self) -> &BTreeMap<JobId, usize> {
        &self.open
    }
}

/// When a job may start, by its spec alone.
pub(super) fn start_at(start: StartTime, created_at: UnixMs) -> UnixMs {
    match start {
        StartTime::Now => created_at,
        StartTime::At(at) => at,
        StartTime::After(ms) => created_at.plus(ms),
    }
}

impl Ledger {
    fn state_of(&self, id: JobId) -> Option<StateName> {
        self.jobs.read(&self.sheet, id).map(|job| job.state.name())
    }

    /// Why a new job can't depend on what it names; `None` if it can.
    pub(super) fn unknown_parent(&self, depends_on: &[relais_protocol::spec::Dependency]) -> Option<Refusal> {
        let unknown = depends_on.iter().find(|dependency| self.state_of(dependency.job).is_none());
        unknown.map(|dependency| Refusal::NoSuchParent(dependency.job))
    }

    /// A job that this one depends on and that ended otherwise than it had to.
    pub(super) fn failed_parent(&self, job: &Job) -> Option<(JobId, StateName)> {
        job.spec.options().depends_on.iter().find_map(|dependency| {
            let state = self.state_of(dependency.job).filter(|state| state.is_terminal())?;
            (!dependency.on.is_met_by(state)).then_some((dependency.job, state))
        })
    }

    /// Where a job goes that nothing blocks.
    pub(super) fn unblocked_state(&self, job: &Job) -> JobState {
        let at = start_at(job.spec.options().start, job.created_at);
        if at > self.head.now { JobState::Scheduled { at } } else { JobState::Queued }
    }

    /// Whether a job that is not blocked now must wait for others.
    pub(super) fn has_open_parent(&self, job: &Job) -> bool {
        let depends_on = &job.spec.options().depends_on;
        depends_on.iter().any(|dependency| !self.state_of(dependency.job).is_some_and(StateName::is_terminal))
    }

    pub(super) fn block(&mut self, job: &Job) {
        let (jobs, sheet) = (&self.jobs, &self.sheet);
        self.blocked.add(job, |id| jobs.read(sheet, id).is_some_and(|job| job.state.is_terminal()));
    }

    /// Lets go on, or ends, what waited for jobs that have ended.
    pub(super) fn release(&mut self) {
        while let Some(id) = self.blocked.news.pop_first() {
            let Some(job) = self.jobs.take(&self.sheet, id) else { continue };
            if job.state != JobState::Blocked {
                self.jobs.put_back(job);
                continue;
            }
            if let Some((parent, state)) = self.failed_parent(&job) {
                self.end_unmet(job, parent, state.as_str());
            } else if let Some(parent) = self.deleted_parent(&job) {
                self.end_unmet(job, parent, "deleted on the other side of a split");
            } else if self.blocked.open.get(&id).is_none_or(|open| *open == 0) {
                let state = self.unblocked_state(&job);
                self.change_state(job, state);
            } else {
                self.jobs.put_back(job);
            }
        }
    }

    fn deleted_parent(&self, job: &Job) -> Option<JobId> {
        let is_deleted = |id: &JobId| self.graves.has_job(*id, 0) && self.state_of(*id).is_none();
        parents_of(job).into_iter().find(is_deleted)
    }

    /// A job that is run again waits no more for those that were deleted since.
    pub(super) fn forget_deleted_parents(&self, job: &mut Job) {
        if let Some(options) = job.spec.options.as_mut() {
            options.depends_on.retain(|dependency| self.state_of(dependency.job).is_some());
        }
    }

    fn end_unmet(&mut self, mut job: Job, parent: JobId, state: &str) {
        let on = job.spec.options().depends_on.iter().find(|dependency| dependency.job == parent);
        let on = on.map_or("", |dependency| dependency.on.as_str());
        let message = format!("job {parent}, which it depends on, ended as {state}, not as {on}");
        job.error = Some(JobError { kind: ErrorKind::Dependency, message });
        self.change_state(job, JobState::Cancelled);
    }

    /// The index, once all rows are loaded: a parent may come after its children.
    pub(super) fn load_blocked(&mut self, rows: &dyn Rows) -> Result<(), LoadError> {
        let mut blocked = Vec::new();
        super::keys::each_row(rows, super::keys::JOB, |job: Job| {
            if job.state == JobState::Blocked {
                blocked.push(job);
            }
        })?;
        for job in blocked {
            self.block(&job);
        }
        self.blocked.news.clear();
        Ok(())
    }

    /// The jobs that a blocked job still waits for, `limit` at most, and how many there are in all.
    #[must_use]
    pub fn waits_for(&self, job: &Job, limit: usize) -> (Vec<JobId>, usize) {
        let is_open = |id: &JobId| !self.state_of(*id).is_some_and(StateName::is_terminal);
        let open: Vec<JobId> = parents_of(job).into_iter().filter(is_open).collect();
        let all = open.len();
        (open.into_iter().take(limit).collect(), all)
    }
}
