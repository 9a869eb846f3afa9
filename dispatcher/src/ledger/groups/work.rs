//! What a group has to do: make members, give up, cancel what is left, end, and be forgotten.

use super::super::{Event, Ledger};
use super::{Completion, Entry, inputs_key, row_key, spec_key};
use crate::planted::is_planted;
use relais_protocol::group::{GroupId, GroupRow, GroupSpec, Halt, Origin, completion_of};
use relais_protocol::ids::JobId;
use relais_protocol::job::{Cancel, ErrorKind, Job, JobError, JobState, Place, StateName};
use relais_protocol::record::{Outcome, Refusal, Submit};

/// Members made or cancelled while one batch is applied.
const MEMBERS_A_BATCH: u32 = 1_000;
/// The place of what follows on an end, in its entry: after all records.
const PLACE_AFTER: usize = 1 << 19;

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A member of an ended group was run again.
    Reopen,
    /// Nothing of an ended group is left.
    Forget,
    /// Too many have failed.
    Abort,
    /// Members are to be cancelled.
    Sweep,
    /// Members are to be made.
    Fill,
    /// All have ended.
    End,
}

impl Entry {
    /// Whether no member is left that may still run.
    pub(super) fn has_ended(&self) -> bool {
        self.live.is_empty() && self.unmade() == 0
    }

    /// The highest id of a member that was made; the group's own if none was.
    fn last_made(&self) -> JobId {
        JobId(self.row.id.as_job().0 + u128::from(self.row.made))
    }

    /// What is to be done next, a function of the row and of its members' states.
    pub(super) fn work(&self) -> Option<Work> {
        let row = &self.row;
        let too_many = row.max_failures.is_some_and(|most| self.failed() > u64::from(most));
        let is_low = self.waiting() < u64::from((row.window / 2).max(1));
        match row.ended {
            _ if row.healing => None,
            Some(_) if !self.has_ended() => Some(Work::Reopen),
            Some(_) if self.known() == 0 && row.made > 0 => Some(Work::Forget),
            Some(_) => None,
            None if row.halt.is_none() && too_many => Some(Work::Abort),
            None if row.halt.is_some() && row.swept < self.last_made() => Some(Work::Sweep),
            None if self.unmade() > 0 && is_low => Some(Work::Fill),
            None => self.has_ended().then_some(Work::End),
        }
    }
}

impl Ledger {
    /// Brings to rest what came about in a batch: who waited for what has ended, and groups.
    pub(in crate::ledger) fn come_to_rest(&mut self) {
        let (mut left, mut place) = (MEMBERS_A_BATCH, PLACE_AFTER);
        loop {
            self.release();
            let done = self.work_on_groups(&mut left);
            if !(self.submit_completions(&mut place) || done) {
                return;
            }
        }
    }

    /// Works on each group that has something to do, those with the fewest in line first; whether anything was done.
    fn work_on_groups(&mut self, left: &mut u32) -> bool {
        let groups = &self.groups;
        let waiting = |id: &GroupId| groups.entries.get(id).map_or(0, Entry::waiting);
        let mut due: Vec<(u64, GroupId)> = groups.due.iter().map(|id| (waiting(id), *id)).collect();
        due.sort_unstable();
        let mut done = false;
        for (_, id) in due {
            done |= self.work_on(id, left);
        }
        done
    }

    fn work_on(&mut self, id: GroupId, left: &mut u32) -> bool {
        let (now, stamp) = (self.head.now, self.stamp());
        let Some(work) = self.groups.entries.get(&id).and_then(Entry::work) else {
            self.groups.due.remove(&id);
            return false;
        };
        match work {
            Work::Reopen => self.groups.change(id, stamp, |row| row.ended = None),
            Work::Forget => self.forget_group(id),
            Work::Abort => self.abort(id),
            Work::Sweep | Work::Fill if *left == 0 => return false,
            Work::Sweep => self.sweep(id, left),
            Work::Fill => self.fill(id, left),
            Work::End => {
                let Some(state) = self.groups.entries.get(&id).map(Entry::ending) else { return false };
                let was_completed = self.groups.entries.get(&id).is_some_and(|entry| entry.row.completed);
                self.groups.change(id, stamp, |row| (row.ended, row.completed) = (Some((now, state)), true));
                if !was_completed && let Some(spec) = self.group_spec(id).and_then(|row| row.spec.options?.on_complete)
                {
                    self.groups.completions.push(Completion { of: id.as_job(), state, spec });
                }
                self.events.push(Event::Group(id));
            }
        }
        true
    }

    /// Submits what is to follow on what has ended; whether there was any.
    fn submit_completions(&mut self, place: &mut usize) -> bool {
        let completions = std::mem::take(&mut self.groups.completions);
        let any = !completions.is_empty();
        for Completion { of, state, spec } in completions {
            let id = completion_of(of);
            // It was there, and was deleted: that is no reason to submit it again.
            if self.graves.has_job(id, 0) {
                continue;
            }
            let mut spec = *spec;
            spec.options.get_or_insert_default().origin = Some(Origin::Completion { of, state });
            *place += 1;
            let submit = Submit { id, spec, body_hash: 0, submitted_by: format!("on_complete/{of}") };
            let outcome = self.submit(Place::new(self.applied, *place), submit);
            if let Outcome::Refused(refusal) = outcome {
                tracing::error!(%of, ?refusal, "an `on_complete` could not be submitted");
            }
        }
        any
    }

    fn halt(&mut self, id: GroupId, reason: String, aborted: bool) {
        let halt = Halt { wish: Cancel { at: self.head.now, reason }, aborted };
        let stamp = self.stamp();
        self.groups.change(id, stamp, |row| row.halt = Some(halt));
        self.events.push(Event::Group(id));
    }

    fn abort(&mut self, id: GroupId) {
        let Some(entry) = self.groups.entries.get(&id) else { return };
        let most = entry.row.max_failures.unwrap_or(0);
        self.halt(id, format!("{} of its members failed, `max_failures` is {most}", entry.failed()), true);
    }

    /// Cancels some more members of a group that is not to go on.
    fn sweep(&mut self, id: GroupId, left: &mut u32) {
        use std::ops::Bound::{Excluded, Unbounded};
        let Some(entry) = self.groups.entries.get(&id) else { return };
        let reason = entry.row.halt.as_ref().map(halt_text).unwrap_or_default();
        let rest = entry.live.range((Excluded(entry.row.swept), Unbounded));
        let some: Vec<JobId> = rest.take(*left as usize).copied().collect();
        let is_all = some.len() < *left as usize;
        let swept = some.last().copied().filter(|_| !is_all).unwrap_or(entry.last_made());
        *left -= some.len() as u32;
        for job in some {
            self.cancel(job, reason.clone());
        }
        let stamp = self.stamp();
        self.groups.change(id, stamp, |row| row.swept = swept);
    }

    /// Makes some more members.
    fn fill(&mut self, id: GroupId, left: &mut u32) {
        let Some(entry) = self.groups.entries.get(&id) else { return };
        let room = u64::from(entry.row.window).saturating_sub(entry.waiting()) as u32;
        let (row, count) = (entry.row.clone(), room.min(*left).min(entry.unmade()));
        let Some(spec) = self.group_spec(id) else {
            self.halt(id, "what its members are made from is not in the record".to_owned(), true);
            return;
        };
        let mut model = member(&row, &spec, 0, None);
        self.forget_deleted_parents(&mut model);
        if let Some((parent, state)) = self.failed_parent(&model) {
            self.halt(id, format!("job {parent}, which it depends on, ended as {}", state.as_str()), true);
            return;
        }
        let blocks = self.has_open_parent(&model);
        let state = if blocks { JobState::Blocked } else { self.unblocked_state(&model) };
        let mut inputs = self.inputs(id, row.made, count).into_iter();
        for index in row.made..row.made + count {
            let input = inputs.next();
            let job = id.member(index);
            // Rows come in from the other side of a split before the group's own.
            if self.graves.has_job(job, 0) || self.jobs.read(&self.sheet, job).is_some() {
                continue;
            }
            let mut job = member(&row, &spec, index, input);
            if let (Some(options), Some(of_model)) = (job.spec.options.as_mut(), model.spec.options.as_ref()) {
                options.depends_on.clone_from(&of_model.depends_on);
            }
            self.enter_state(job, state.clone());
        }
        *left -= count;
        let stamp = self.stamp();
        let skipped = u32::from(is_planted("group-skips-a-member") && count > 0);
        self.groups.change(id, stamp, |row| row.made = (row.made + count + skipped).min(row.count));
    }

    /// A member that is not made yet, as it will be; none if it never will.
    pub(in crate::ledger) fn unmade(&self, id: JobId) -> Option<Job> {
        let entry = self.groups.of_member(id)?;
        let index = entry.row.id.index_of(id).filter(|index| *index >= entry.row.made)?;
        if self.graves.has_job(id, 0) {
            return None;
        }
        let spec = self.group_spec(entry.row.id)?;
        let input = self.inputs(entry.row.id, index, 1).pop();
        let mut job = member(&entry.row, &spec, index, input);
        if let Some(halt) = &entry.row.halt {
            job.state = JobState::Cancelled;
            job.error =
                Some(JobError { kind: ErrorKind::Cancelled, message: format!("not made: {}", halt_text(halt)) });
            job.finished_at = Some(halt.wish.at);
            job.cancel = Some(halt.wish.clone());
        } else if !self.has_open_parent(&job) {
            job.state = self.unblocked_state(&job);
        }
        Some(job)
    }

    pub(in crate::ledger) fn cancel_group(&mut self, id: GroupId, reason: String) -> Outcome {
        let Some(entry) = self.groups.entries.get(&id) else { return Outcome::Refused(Refusal::NoSuchGroup) };
        if let Some((_, state)) = entry.row.ended {
            return Outcome::Refused(Refusal::GroupEnded(state));
        }
        let stamp = self.stamp();
        if entry.row.healing {
            // The rest of its rows may never come.
            self.groups.change(id, stamp, |row| row.healing = false);
        }
        if self.groups.entries.get(&id).is_some_and(|entry| entry.row.halt.is_none()) {
            self.halt(id, reason, false);
        }
        let runs = self.groups.entries.get(&id).is_some_and(|entry| entry.in_states(&[StateName::Running]) > 0);
        Outcome::Cancelled { now: !runs }
    }

    fn forget_group(&mut self, id: GroupId) {
        self.groups.entries.remove(&id);
        self.groups.due.remove(&id);
        self.groups.changed.remove(&id);
        self.sheet.write(row_key(id), None);
        self.sheet.write(spec_key(id), None);
        let mut inputs = Vec::new();
        self.sheet.scan(&inputs_key(id, 0), &inputs_key(id, u32::MAX), false, |key, _| {
            inputs.push(key.to_vec());
            true
        });
        for key in inputs {
            self.sheet.write(key, None);
        }
    }
}

fn halt_text(halt: &Halt) -> String {
    let what = if halt.aborted { "its group was given up" } else { "its group was cancelled" };
    if halt.wish.reason.is_empty() { what.to_owned() } else { format!("{what}: {}", halt.wish.reason) }
}

/// The member with this index, blocked.
fn member(row: &GroupRow, spec: &GroupSpec, index: u32, input: Option<String>) -> Job {
    let mut own = spec.spec.clone();
    let options = own.options.get_or_insert_default();
    options.on_complete = None;
    options.idempotency_key = None;
    options.origin = Some(Origin::Member { index: spec.first.saturating_add(index), input });
    if let Some(node) = spec.nodes.get(index as usize).filter(|_| !is_planted("every-node-unbound")) {
        options.requires.node = Some(*node);
    }
    Job {
        id: row.id.member(index),
        spec: own,
        place: row.place,
        submitted_by: spec.submitted_by.clone(),
        body_hash: row.body_hash,
        created_at: row.created_at,
        queued_at: None,
        finished_at: None,
        state: JobState::Blocked,
        attempts: Vec::new(),
        failures: 0,
        losses: 0,
        cancel: None,
        error: None,
        result: None,
        changed: row.born,
        born: row.born,
        moved: row.born,
        ended_by: None,
        life: 0,
        endings: Vec::new(),
        alias_of: None,
        notice: None,
        replaced_by: None,
    }
}
