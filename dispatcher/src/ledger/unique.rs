//! Unique keys: of the jobs under one there is one at a time.
//!
//! Who has a key follows from the jobs alone ([`claims`]); the row only finds it. So nothing of it has to be
//! exported: when a split heals, each job that claims a key is looked at as it comes in, and where two sides
//! had given one key to two jobs, that is settled when all jobs are there. A submit that is answered with the
//! job that has the key binds no idempotency key: sent again it is decided again.

use super::keys;
use super::{Event, Ledger};
use relais_protocol::codec;
use relais_protocol::ids::JobId;
use relais_protocol::job::{Cancel, Job, JobState, StateName};
use relais_protocol::merge::Merged;
use relais_protocol::record::{Outcome, Refusal, Submit};
use relais_protocol::spec::OnConflict;
use relais_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Who has a unique key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UniqueRow {
    job: JobId,
    /// Until when, if not until the job has ended.
    ends_at: Option<UnixMs>,
}

fn row_key(key: &str) -> Vec<u8> {
    keys::key(keys::UNIQUE, key.as_bytes())
}

fn end_key(at: UnixMs, key: &str) -> Vec<u8> {
    keys::key(keys::UNIQUE_END, &[&at.0.to_be_bytes(), key.as_bytes()].concat())
}

/// Whether `job` has the key that it asks for, unless another one has it.
pub(super) fn claims(job: &Job, now: UnixMs) -> bool {
    let Some(unique) = &job.spec.options().unique else { return false };
    if job.alias_of.is_some() || job.replaced_by.is_some() {
        return false;
    }
    match ends_at(job, unique.for_ms) {
        Some(end) => end > now && !matches!(job.state, JobState::Cancelled | JobState::Expired),
        None => !job.state.is_terminal(),
    }
}

fn ends_at(job: &Job, for_ms: Option<u64>) -> Option<UnixMs> {
    for_ms.map(|ms| job.created_at.plus(ms))
}

impl Ledger {
    /// What a submit meets under its unique key: nothing, a job that it is to replace, or, as an error, the
    /// answer to it.
    pub(super) fn unique_conflict(&self, submit: &Submit) -> Result<Option<JobId>, Outcome> {
        let Some(unique) = &submit.spec.options().unique else { return Ok(None) };
        let Some(holder) = self.unique_holder(&unique.key) else { return Ok(None) };
        match unique.on_conflict {
            OnConflict::Replace => Ok(Some(holder.id)),
            OnConflict::Reject => Err(Outcome::Refused(Refusal::UniqueHeld(holder.id))),
            OnConflict::Return => {
                Err(Outcome::Submitted { id: holder.id, deduplicated: true, state: holder.state.name() })
            }
        }
    }

    /// The job that has `key` now.
    #[must_use]
    pub fn unique_holder(&self, key: &str) -> Option<Job> {
        let job = self.jobs.read(&self.sheet, self.unique_row(key)?.job)?;
        claims(&job, self.head.now).then_some(job)
    }

    fn unique_row(&self, key: &str) -> Option<UniqueRow> {
        let row_key = row_key(key);
        keys::decode_row(&row_key, &self.sheet.read(&row_key)?).ok()
    }

    /// `job` has its key from now on.
    pub(super) fn take_unique(&mut self, job: &Job) {
        let Some(unique) = &job.spec.options().unique else { return };
        let row = UniqueRow { job: job.id, ends_at: ends_at(job, unique.for_ms) };
        if row.ends_at.is_some_and(|end| end <= self.head.now) {
            return;
        }
        self.sheet.write(row_key(&unique.key), Some(codec::encode(codec::FORMAT, &row)));
        if let Some(end) = row.ends_at {
            self.sheet.write(end_key(end, &unique.key), Some(Vec::new()));
        }
    }

    /// The key of `job` is free if `job` had it and has it no more.
    pub(super) fn release_unique(&mut self, job: &Job) {
        if !claims(job, self.head.now) {
            self.drop_unique(job);
        }
    }

    /// The key of `job` is free if `job` had it.
    pub(super) fn drop_unique(&mut self, job: &Job) {
        let Some(unique) = &job.spec.options().unique else { return };
        if let Some(row) = self.unique_row(&unique.key).filter(|row| row.job == job.id) {
            self.sheet.write(row_key(&unique.key), None);
            if let Some(end) = row.ends_at {
                self.sheet.write(end_key(end, &unique.key), None);
            }
        }
    }

    /// Another job has the key that an ended `job` would need to run again.
    pub(super) fn unique_taken_from(&self, job: &Job) -> Option<JobId> {
        let unique = job.spec.options().unique.as_ref()?;
        let needs_it = ends_at(job, unique.for_ms).is_none_or(|end| end > self.head.now);
        let holder = self.unique_holder(&unique.key).filter(|holder| needs_it && holder.id != job.id)?;
        Some(holder.id)
    }

    /// `new` takes the key of `old`, which is cancelled.
    pub(super) fn replace(&mut self, old: JobId, new: JobId) {
        let Some(mut job) = self.jobs.take(&self.sheet, old) else { return };
        job.replaced_by = Some(new);
        job.changed = self.stamp();
        if job.state.is_terminal() {
            self.jobs.put(job);
            return;
        }
        let reason = format!("replaced by job {new}, which has its unique key now");
        job.cancel.get_or_insert(Cancel { at: self.head.now, reason });
        if let JobState::Running { node, fence, .. } = job.state {
            self.jobs.put(job);
            self.events.push(Event::CancelWanted { job: old, node, fence });
        } else {
            self.end_cancelled(job);
        }
    }

    /// A job of the other side came in: it has its key, or contests it.
    pub(super) fn contest_unique(&mut self, id: JobId) {
        let Some(job) = self.jobs.read(&self.sheet, id) else { return };
        let Some(unique) = &job.spec.options().unique else { return };
        if !claims(&job, self.head.now) {
            self.drop_unique(&job);
            return;
        }
        match self.unique_holder(&unique.key) {
            Some(holder) if holder.id != id => {
                let key = [&id.0.to_be_bytes(), unique.key.as_bytes()].concat();
                self.sheet.write(keys::key(keys::CONTESTED, &key), Some(Vec::new()));
            }
            _ => self.take_unique(&job),
        }
    }

    /// Both sides had given a key to a job: the first of them has it, the later is an alias of it and never
    /// begins if it has not begun; unless it was to replace what it meets.
    pub(super) fn settle_contested(&mut self, merged: &mut Merged) {
        let mut contested = Vec::new();
        self.sheet.scan(&[keys::CONTESTED], &[keys::CONTESTED + 1], false, |key, _| {
            contested.push(key.to_vec());
            true
        });
        for row in contested {
            self.sheet.write(row.clone(), None);
            let id = row.get(1..17).and_then(|bytes| bytes.try_into().ok()).map(u128::from_be_bytes);
            let Some(job) = id.and_then(|id| self.jobs.read(&self.sheet, JobId(id))) else { continue };
            self.settle_unique(job, merged);
        }
    }

    fn settle_unique(&mut self, job: Job, merged: &mut Merged) {
        let Some(key) = job.spec.options().unique.as_ref().map(|unique| unique.key.clone()) else { return };
        if !claims(&job, self.head.now) {
            return;
        }
        let Some(holder) = self.unique_holder(&key).filter(|holder| holder.id != job.id) else {
            self.take_unique(&job);
            return;
        };
        let birth = |job: &Job| (job.born, job.place, job.id);
        let (first, later) = if birth(&holder) < birth(&job) { (holder, job) } else { (job, holder) };
        let replaces = later.spec.options().unique.as_ref().is_some_and(|one| one.on_conflict == OnConflict::Replace);
        if replaces {
            self.replace(first.id, later.id);
            self.take_unique(&later);
            return;
        }
        self.take_unique(&first);
        merged.aliases += 1;
        let Some(mut job) = self.jobs.take(&self.sheet, later.id) else { return };
        job.alias_of = Some(first.id);
        job.changed = self.stamp();
        if !job.attempts.is_empty() || job.state.is_terminal() {
            self.jobs.put(job);
            return;
        }
        let reason = format!("job {} had its unique key on the other side of a split", first.id);
        job.cancel.get_or_insert(Cancel { at: self.head.now, reason });
        self.end_cancelled(job);
    }

    /// Forgets keys whose time is over, at an audit.
    pub(super) fn forget_ended_uniques(&mut self) {
        let mut ended = Vec::new();
        self.sheet.scan(&[keys::UNIQUE_END], &end_key(self.head.now.plus(1), ""), false, |key, _| {
            ended.push(key.to_vec());
            true
        });
        for end in ended {
            let key = String::from_utf8_lossy(&end[9..]).into_owned();
            if self.unique_row(&key).is_some_and(|row| row.ends_at.is_some_and(|at| at <= self.head.now)) {
                self.sheet.write(row_key(&key), None);
            }
            self.sheet.write(end, None);
        }
    }

    /// What is wrong with the rows of unique keys, for checks: every job that claims a key must have it.
    pub(super) fn unique_broken(&self, job: &Job) -> Option<String> {
        if !claims(job, self.head.now) || self.head.unhealed {
            return None;
        }
        let key = &job.spec.options().unique.as_ref()?.key;
        let holder = self.unique_holder(key).map(|holder| holder.id);
        (holder != Some(job.id)).then(|| {
            let state: StateName = job.state.name();
            format!("{} is {} and claims the unique key {key}, which {holder:?} has", job.id, state.as_str())
        })
    }
}
