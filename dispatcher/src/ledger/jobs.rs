//! A job's life: submitted, cancelled, run again, forgotten; and the one function that moves it from state
//! to state and keeps every index true to that.

use super::keys;
use super::load::Load;
use super::nodes::RunningAttempt;
use super::{Event, Ledger, LoadError};
use crate::planted::is_planted;
use crate::rows::Rows;
use relais_protocol::codec;
use relais_protocol::history::Stamp;
use relais_protocol::ids::JobId;
use relais_protocol::job::{Cancel, ErrorKind, Job, JobError, JobState, Place};
use relais_protocol::merge::{GoneId, KeyRow};
use relais_protocol::record::{Outcome, Refusal, Submit};
use relais_protocol::spec::JobSpec;
use relais_protocol::time::UnixMs;

/// How long an idempotency key is kept, in ms.
pub(super) const KEY_KEPT_MS: u64 = 24 * 3_600_000;

impl Ledger {
    /// What a row that changes now bears.
    pub(super) fn stamp(&self) -> Stamp {
        (self.head.reign.generation, self.applied)
    }

    pub(super) fn submit(&mut self, place: Place, submit: Submit) -> Outcome {
        if let Some(known) = self.jobs.read(&self.sheet, submit.id) {
            return Outcome::Submitted { id: known.id, deduplicated: true, state: known.state.name() };
        }
        if let Some(known) = self.known_by_key(&submit.spec, submit.body_hash) {
            return known;
        }
        if !self.knows_kind(&submit.spec.kind) {
            return Outcome::Refused(Refusal::UnknownKind(submit.spec.kind));
        }
        if let Some(refusal) = self.unknown_parent(&submit.spec.options().depends_on) {
            return Outcome::Refused(refusal);
        }
        let held = match self.unique_conflict(&submit) {
            Ok(held) => held,
            Err(answer) => return answer,
        };
        self.keep_key(&submit.spec, submit.id, submit.body_hash);
        let now = self.head.now;
        let job = Job {
            id: submit.id,
            place,
            submitted_by: submit.submitted_by,
            body_hash: submit.body_hash,
            created_at: now,
            queued_at: None,
            finished_at: None,
            state: JobState::Blocked,
            attempts: Vec::new(),
            failures: 0,
            losses: 0,
            cancel: None,
            error: None,
            result: None,
            changed: self.stamp(),
            born: self.stamp(),
            moved: self.stamp(),
            ended_by: None,
            life: self.graves.life_after(submit.id),
            endings: Vec::new(),
            alias_of: None,
            replaced_by: None,
            notice: None,
            spec: submit.spec,
        };
        if let Some(held) = held {
            self.replace(held, job.id);
        }
        self.take_unique(&job);
        let blocks = self.has_open_parent(&job) || self.failed_parent(&job).is_some();
        let state = if blocks { JobState::Blocked } else { self.unblocked_state(&job) };
        let id = job.id;
        let name = state.name();
        self.enter_state(job, state);
        Outcome::Submitted { id, deduplicated: false, state: name }
    }

    pub(super) fn cancel(&mut self, id: JobId, reason: String) -> Outcome {
        let Some(mut job) = self.jobs.take(&self.sheet, id) else { return self.not_there(id) };
        let wish = Cancel { at: self.head.now, reason };
        match job.state {
            JobState::Running { node, fence, .. } => {
                if job.cancel.is_none() {
                    job.cancel = Some(wish);
                    job.changed = self.stamp();
                    if is_planted("cancel-not-kept") {
                        self.jobs.put_back(job);
                    } else {
                        self.jobs.put(job);
                    }
                } else {
                    self.jobs.put_back(job);
                }
                self.events.push(Event::CancelWanted { job: id, node, fence });
                Outcome::Cancelled { now: false }
            }
            ref ended if ended.is_terminal() => {
                let state = ended.name();
                self.jobs.put_back(job);
                Outcome::Refused(Refusal::JobEnded(state))
            }
            _ => {
                job.cancel = Some(wish);
                self.end_cancelled(job);
                Outcome::Cancelled { now: true }
            }
        }
    }

    pub(super) fn end_cancelled(&mut self, mut job: Job) {
        let reason = job.cancel.as_ref().map_or("", |wish| &wish.reason);
        let message = if reason.is_empty() { "cancelled".to_owned() } else { format!("cancelled: {reason}") };
        job.error = Some(JobError { kind: ErrorKind::Cancelled, message });
        self.change_state(job, JobState::Cancelled);
    }

    pub(super) fn retry(&mut self, id: JobId) -> Outcome {
        let Some(mut job) = self.jobs.take(&self.sheet, id) else { return self.not_there(id) };
        if !job.state.is_terminal() || job.state == JobState::Succeeded {
            let state = job.state.name();
            self.jobs.put_back(job);
            return Outcome::Refused(Refusal::JobNotEnded(state));
        }
        if let Some((parent, state)) = self.failed_parent(&job) {
            self.jobs.put_back(job);
            return Outcome::Refused(Refusal::ParentEnded(parent, state));
        }
        if let Some(holder) = self.unique_taken_from(&job) {
            self.jobs.put_back(job);
            return Outcome::Refused(Refusal::UniqueHeld(holder));
        }
        job.endings.extend(job.ending());
        job.replaced_by = None;
        job.life = job.life.saturating_add(1);
        job.failures = 0;
        job.losses = 0;
        job.cancel = None;
        job.error = None;
        job.finished_at = None;
        let now = self.head.now;
        if let Some(options) = job.spec.options.as_mut()
            && options.expires_at.is_some_and(|end| end <= now)
        {
            options.expires_at = None;
        }
        self.take_unique(&job);
        self.forget_deleted_parents(&mut job);
        let state = if self.has_open_parent(&job) { JobState::Blocked } else { JobState::Queued };
        self.change_state(job, state);
        Outcome::Done
    }

    pub(super) fn delete(&mut self, id: JobId) -> Outcome {
        let Some(job) = self.jobs.take(&self.sheet, id) else { return self.not_there(id) };
        let state = job.state.name();
        if !state.is_terminal() {
            self.jobs.put_back(job);
            return Outcome::Refused(Refusal::JobNotEnded(state));
        }
        if let Some(group) = self.groups.that_keeps(id, self.head.now) {
            self.jobs.put_back(job);
            return Outcome::Refused(Refusal::GroupGoesOn(group));
        }
        if let Some(child) = self.blocked.child_of(id) {
            self.jobs.put_back(job);
            return Outcome::Refused(Refusal::JobNeeded(child));
        }
        self.lines.count(&job.spec.queue, Some(state), None);
        self.groups.exit(id, state);
        self.drop_unique(&job);
        self.notices.exit(id);
        self.jobs.delete(id);
        self.bury(GoneId::Job { job: id, life: job.life });
        self.events.push(Event::Forgotten(id));
        Outcome::Done
    }

    /// Moves what is due into line, and ends what has waited too long.
    pub(super) fn come_due(&mut self) {
        let now = self.head.now;
        while let Some(id) = self.lines.take_ended(now) {
            let Some(mut job) = self.jobs.take(&self.sheet, id) else { continue };
            job.error = Some(JobError {
                kind: ErrorKind::Expired,
                message: "it was not started before its `expires_at`".to_owned(),
            });
            self.change_state(job, JobState::Expired);
        }
        while let Some(id) = self.lines.take_due(now) {
            if let Some(job) = self.jobs.take(&self.sheet, id) {
                self.change_state(job, JobState::Queued);
            }
        }
        self.time_out_leases();
    }

    /// Moves a job to another state: the only way from one to the next.
    pub(super) fn change_state(&mut self, job: Job, state: JobState) {
        self.unindex(&job);
        self.lines.count(&job.spec.queue, Some(job.state.name()), None);
        self.enter_state(job, state);
    }

    pub(super) fn enter_state(&mut self, mut job: Job, state: JobState) {
        job.changed = self.stamp();
        job.moved = job.changed;
        job.state = state;
        if job.state == JobState::Queued {
            job.queued_at = Some(self.head.now);
        }
        self.tally.job_entered(self.head.now, job.state.name());
        if job.state.is_terminal() {
            job.finished_at = Some(self.head.now);
            self.release_unique(&job);
            self.groups.note_end(&job);
        } else {
            job.ended_by = None;
        }
        self.write_notice(&mut job);
        self.enter_table(job);
    }

    /// Keeps a job that is in its state already, in every index.
    pub(super) fn enter_table(&mut self, job: Job) {
        let name = job.state.name();
        self.lines.count(&job.spec.queue, None, Some(name));
        self.groups.enter(job.id, name);
        self.index(&job);
        if job.state == JobState::Blocked {
            self.block(&job);
        }
        self.blocked.note(job.id, name);
        self.events.push(Event::State { job: job.id, state: name });
        self.jobs.put(job);
    }

    fn index(&mut self, job: &Job) {
        self.lines.enter(job);
        self.deadlines.enter(job);
        self.notices.enter(job);
        if let JobState::Running { node, fence, .. } = job.state {
            let options = job.spec.options();
            let asks = Load::of(&options.requires);
            let attempt = RunningAttempt { fence, asks, on_disconnect: options.on_disconnect };
            self.nodes.occupy(node, job.id, attempt);
        }
    }

    pub(super) fn unindex(&mut self, job: &Job) {
        self.lines.exit(job);
        self.deadlines.exit(job);
        self.notices.exit(job.id);
        self.groups.exit(job.id, job.state.name());
        if job.state == JobState::Blocked {
            self.blocked.remove(job);
        }
        if let JobState::Running { node, .. } = job.state {
            self.nodes.release(node, job.id);
        }
    }

    pub(super) fn load_jobs(&mut self, rows: &dyn Rows) -> Result<(), LoadError> {
        keys::each_row(rows, keys::JOB, |job: Job| {
            self.jobs.note_stored(job.id);
            self.lines.count(&job.spec.queue, None, Some(job.state.name()));
            self.groups.enter(job.id, job.state.name());
            self.index(&job);
            if matches!(job.state, JobState::Running { .. }) {
                self.jobs.put_back(job);
            }
        })
    }

    /// What a submit with this spec and body is answered with when its key was used before.
    pub(super) fn known_by_key(&self, spec: &JobSpec, body_hash: u64) -> Option<Outcome> {
        let key = spec.options().idempotency_key.as_ref().filter(|_| !is_planted("dedupe-skipped"))?;
        let row = self.key_row(key)?;
        let known = match self.groups.known(row.job) {
            Some(group) => group,
            None => {
                let job = self.jobs.read(&self.sheet, row.job)?;
                Outcome::Submitted { id: job.id, deduplicated: true, state: job.state.name() }
            }
        };
        Some(if row.body_hash == body_hash { known } else { Outcome::Refused(Refusal::KeyReused(row.job)) })
    }

    pub(super) fn keep_key(&mut self, spec: &JobSpec, job: JobId, body_hash: u64) {
        let Some(key) = spec.options().idempotency_key.as_ref() else { return };
        let ends_at = self.head.now.plus(KEY_KEPT_MS);
        let row = KeyRow { job, body_hash, ends_at, changed: self.stamp() };
        self.write_key(key, &row);
    }

    pub(super) fn write_key(&mut self, key: &str, row: &KeyRow) {
        self.sheet.write(keys::key(keys::KEY, key.as_bytes()), Some(codec::encode(codec::FORMAT, row)));
        self.sheet.write(key_end(row.ends_at, key.as_bytes()), Some(Vec::new()));
    }

    /// What `key` stands for, if it still does.
    pub(super) fn key_row(&self, key: &str) -> Option<KeyRow> {
        let row_key = keys::key(keys::KEY, key.as_bytes());
        let row: KeyRow = keys::decode_row(&row_key, &self.sheet.read(&row_key)?).ok()?;
        (row.ends_at > self.head.now).then_some(row)
    }

    /// Forgets keys whose time is over, at an audit.
    pub(super) fn forget_ended_keys(&mut self) -> Outcome {
        let mut ended = Vec::new();
        let until = key_end(self.head.now.plus(1), &[]);
        self.sheet.scan(&[keys::KEY_END], &until, false, |key, _| {
            ended.push(key.to_vec());
            true
        });
        for end in ended {
            let row_key = keys::key(keys::KEY, &end[9..]);
            let row = self.sheet.read(&row_key).and_then(|row| keys::decode_row::<KeyRow>(&row_key, &row).ok());
            if row.is_some_and(|row| row.ends_at <= self.head.now) {
                self.sheet.write(row_key, None);
            }
            self.sheet.write(end, None);
        }
        self.forget_ended_uniques();
        self.groups.forget_unmade(self.head.now);
        self.lines.forget_idle();
        self.forget_graves();
        Outcome::Done
    }
}

fn key_end(at: UnixMs, key: &[u8]) -> Vec<u8> {
    let mut id = at.0.to_be_bytes().to_vec();
    id.extend_from_slice(key);
    keys::key(keys::KEY_END, &id)
}
