//! The job rows: those in motion decoded in memory, the others on disk.

use super::keys::{self, job_key};
use crate::rows::Sheet;
use relais_protocol::codec;
use relais_protocol::ids::JobId;
use relais_protocol::job::{Job, JobState};
use std::collections::{BTreeMap, BTreeSet};

/// A rough size of a row beside its payload and tails.
const ROW_BYTES: usize = 300;

/// Jobs in memory. A row is here while it runs or has changed since the last checkpoint.
#[derive(Default)]
pub(super) struct JobTable {
    /// Boxed: a job is some hundred bytes, and a map moves what is in it to make room.
    hot: BTreeMap<JobId, Box<Job>>,
    changed: BTreeSet<JobId>,
    deleted: BTreeSet<JobId>,
    changed_bytes: usize,
    /// No job with a greater id has a row yet: ids begin with the time, so a new one is not looked for on disk.
    last_stored: Option<JobId>,
}

impl JobTable {
    /// The job as it is now.
    pub(super) fn read(&self, sheet: &Sheet, id: JobId) -> Option<Job> {
        if let Some(job) = self.hot.get(&id) {
            return Some((**job).clone());
        }
        self.read_cold(sheet, id)
    }

    /// This job has a row.
    pub(super) fn note_stored(&mut self, id: JobId) {
        self.last_stored = self.last_stored.max(Some(id));
    }

    /// The job, if it runs or has just changed.
    pub(super) fn in_motion(&self, id: JobId) -> Option<&Job> {
        self.hot.get(&id).map(|job| &**job)
    }

    /// Takes the job out, to change it and [`JobTable::put`] it back.
    pub(super) fn take(&mut self, sheet: &Sheet, id: JobId) -> Option<Job> {
        self.hot.remove(&id).map(|job| *job).or_else(|| self.read_cold(sheet, id))
    }

    /// Keeps the job as changed.
    pub(super) fn put(&mut self, job: Job) {
        if self.changed.insert(job.id) {
            let payload = job.spec.payload.len();
            self.changed_bytes += ROW_BYTES + payload + job.attempts.len() * ROW_BYTES;
        }
        self.deleted.remove(&job.id);
        self.hot.insert(job.id, Box::new(job));
    }

    /// Gives back a job that was taken and not changed.
    pub(super) fn put_back(&mut self, job: Job) {
        if self.changed.contains(&job.id) || matches!(job.state, JobState::Running { .. }) {
            self.hot.insert(job.id, Box::new(job));
        }
    }

    /// Forgets the job.
    pub(super) fn delete(&mut self, id: JobId) {
        self.hot.remove(&id);
        self.changed.remove(&id);
        self.deleted.insert(id);
    }

    /// Rough bytes of change.
    pub(super) fn changed_bytes(&self) -> usize {
        self.changed_bytes
    }

    /// Writes all changed rows, once each, and lets go of those that do not run.
    pub(super) fn write_changed(&mut self, sheet: &mut Sheet) {
        self.changed_bytes = 0;
        for id in std::mem::take(&mut self.deleted) {
            sheet.write(job_key(id), None);
        }
        for id in std::mem::take(&mut self.changed) {
            let Some(job) = self.hot.get(&id) else { continue };
            sheet.write(job_key(id), Some(codec::encode(codec::FORMAT, &**job)));
            self.last_stored = self.last_stored.max(Some(id));
            if !matches!(job.state, JobState::Running { .. }) {
                self.hot.remove(&id);
            }
        }
    }

    /// Visits all jobs with `from <= id <= to`, newest first, until `visit` says `false`.
    pub(super) fn newest_first(&self, sheet: &Sheet, from: JobId, to: JobId, visit: impl FnMut(&Job) -> bool) {
        self.visit(sheet, (from, to), self.hot.range(from..=to).map(plain).rev(), true, visit);
    }

    /// The same, oldest first.
    pub(super) fn oldest_first(&self, sheet: &Sheet, from: JobId, to: JobId, visit: impl FnMut(&Job) -> bool) {
        self.visit(sheet, (from, to), self.hot.range(from..=to).map(plain), false, visit);
    }

    fn visit<'a>(
        &self,
        sheet: &Sheet,
        (from, to): (JobId, JobId),
        hot: impl Iterator<Item = (&'a JobId, &'a Job)>,
        newest_first: bool,
        mut visit: impl FnMut(&Job) -> bool,
    ) {
        let mut hot = hot.peekable();
        let mut going = true;
        let comes_before = |hot: JobId, cold: JobId| if newest_first { hot > cold } else { hot < cold };
        let after = job_key(to).into_iter().chain([0]).collect::<Vec<u8>>();
        sheet.scan(&job_key(from), &after, newest_first, |key, row| {
            let Some(id) = keys::job_of(key) else { return true };
            while going && let Some((_, job)) = hot.next_if(|(hot_id, _)| comes_before(**hot_id, id)) {
                going = visit(job);
            }
            if !going || self.deleted.contains(&id) || self.hot.contains_key(&id) {
                return going;
            }
            match keys::decode_row::<Job>(key, row) {
                Ok(job) => going = visit(&job),
                Err(error) => tracing::error!(%id, %error, "a stored job can't be read"),
            }
            going
        });
        while going && let Some((_, job)) = hot.next() {
            going = visit(job);
        }
    }

    fn read_cold(&self, sheet: &Sheet, id: JobId) -> Option<Job> {
        if Some(id) > self.last_stored || self.deleted.contains(&id) {
            return None;
        }
        let key = job_key(id);
        let row = sheet.read(&key)?;
        keys::decode_row(&key, &row)
            .inspect_err(|error| tracing::error!(%id, %error, "a stored job can't be read"))
            .ok()
    }
}

fn plain<'a>((id, job): (&'a JobId, &'a Box<Job>)) -> (&'a JobId, &'a Job) {
    (id, job)
}
