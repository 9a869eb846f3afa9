//! Schedules in the ledger: set, paused, removed; and what becomes of each slot.
//!
//! Nothing here reads a cron text: two replicas of different builds might read it differently. The dispatcher
//! says which slot is due ([`Record::ScheduleFired`](relais_protocol::record::Record::ScheduleFired)), and
//! applying that settles it: whatever is not later than the last slot that was settled is ignored, so that a
//! proposal that is repeated, or made by two reigns, or after a clock was set back, fires nothing twice.
//!
//! A slot also bears the definition that it was worked out from. If that has changed in between, it is ignored
//! as well, and the dispatcher works it out anew.

use super::keys;
use super::merge::{join_logs, join_schedules};
use super::{Event, Ledger, LoadError};
use crate::planted::is_planted;
use crate::rows::{Rows, Sheet};
use relais_protocol::codec;
use relais_protocol::history::Stamp;
use relais_protocol::ids::JobId;
use relais_protocol::job::Place;
use relais_protocol::merge::{GoneId, Merged};
use relais_protocol::record::{Outcome, Refusal, Submit};
use relais_protocol::schedule::{
    FIRINGS_KEPT, Fire, Firing, FiringCounts, FiringLog, FiringOutcome, OPEN_MAX, Overlap, SCHEDULES_MAX, ScheduleName,
    ScheduleRow, ScheduleSet,
};
use relais_protocol::spec::JobSpec;
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// A rough size of a schedule's log.
const LOG_BYTES: usize = 4_000;

/// A schedule and what became of its slots: two rows, since the one changes seldom and the other always.
#[derive(Clone, Debug)]
struct Entry {
    row: ScheduleRow,
    log: FiringLog,
}

/// All schedules.
#[derive(Default)]
pub(super) struct Schedules {
    entries: BTreeMap<ScheduleName, Entry>,
    changed_rows: BTreeSet<ScheduleName>,
    changed_logs: BTreeSet<ScheduleName>,
}

impl Schedules {
    pub(super) fn load(rows: &dyn Rows) -> Result<Self, LoadError> {
        let name = |row: &ScheduleRow| row.schedule.name.clone();
        let rows_of = keys::load_table(rows, keys::SCHEDULE, name)?;
        let mut logs = keys::load_table(rows, keys::FIRINGS, |log: &FiringLog| log.name.clone())?;
        // Both rows are written at once: where the log is missing the row is not one of ours.
        let entry = |(name, row)| logs.remove(&name).map(|log| (name, Entry { row, log }));
        Ok(Self { entries: rows_of.into_iter().filter_map(entry).collect(), ..Self::default() })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&ScheduleRow, &FiringLog)> {
        self.entries.values().map(|entry| (&entry.row, &entry.log))
    }

    pub(super) fn find(&self, name: &ScheduleName) -> Option<(&ScheduleRow, &FiringLog)> {
        self.entries.get(name).map(|entry| (&entry.row, &entry.log))
    }

    pub(super) fn changed_bytes(&self) -> usize {
        let specs = self.changed_rows.iter().filter_map(|name| self.entries.get(name));
        specs.map(|entry| LOG_BYTES + entry.row.schedule.job.payload.len()).sum::<usize>()
            + self.changed_logs.len() * LOG_BYTES
    }

    pub(super) fn write_changed(&mut self, sheet: &mut Sheet) {
        for name in std::mem::take(&mut self.changed_rows) {
            let row = self.entries.get(&name).map(|entry| codec::encode(codec::FORMAT, &entry.row));
            sheet.write(keys::key(keys::SCHEDULE, name.as_str().as_bytes()), row);
        }
        for name in std::mem::take(&mut self.changed_logs) {
            let log = self.entries.get(&name).map(|entry| codec::encode(codec::FORMAT, &entry.log));
            sheet.write(keys::key(keys::FIRINGS, name.as_str().as_bytes()), log);
        }
    }

    fn keep(&mut self, entry: Entry) {
        let name = entry.row.schedule.name.clone();
        self.changed_rows.insert(name.clone());
        self.changed_logs.insert(name.clone());
        self.entries.insert(name, entry);
    }

    fn drop(&mut self, name: &ScheduleName) -> Option<Entry> {
        self.changed_rows.insert(name.clone());
        self.changed_logs.insert(name.clone());
        self.entries.remove(name)
    }

    /// The log, to be changed by what bears `stamp`.
    fn log(&mut self, name: &ScheduleName, stamp: Stamp) -> Option<&mut FiringLog> {
        let log = &mut self.entries.get_mut(name)?.log;
        self.changed_logs.insert(name.clone());
        log.changed = stamp;
        Some(log)
    }

    /// What is wrong with the rows, if anything is.
    pub(super) fn broken(&self) -> Option<String> {
        let wrong = |entry: &&Entry| {
            let log = &entry.log;
            let in_order = log.firings.windows(2).all(|pair| pair[0].key() < pair[1].key());
            let settled = log.firings.iter().all(|f| f.by_hand.is_some() || f.slot <= log.settled);
            let open = log.open.windows(2).all(|pair| pair[0] < pair[1]) && log.open.len() <= OPEN_MAX;
            !(in_order && settled && open && log.firings.len() <= FIRINGS_KEPT)
        };
        let entry = self.entries.values().find(wrong)?;
        Some(format!("the log of schedule {} is out of order: {:?}", entry.log.name, entry.log))
    }
}

impl Ledger {
    /// A schedule begins with the slot that comes after it was set. Of one that is there already and keeps its
    /// times no slot is lost; set to what it is, nothing changes.
    pub(super) fn set_schedule(&mut self, set: ScheduleSet) -> Outcome {
        let (now, stamp) = (self.head.now, self.stamp());
        let ScheduleSet { schedule, paused } = set;
        if !self.knows_kind(&schedule.job.kind) {
            return Outcome::Refused(Refusal::UnknownKind(schedule.job.kind));
        }
        let Some(mut entry) = self.schedules.entries.get(&schedule.name).cloned() else {
            if self.schedules.entries.len() >= SCHEDULES_MAX {
                return Outcome::Refused(Refusal::TooManySchedules);
            }
            let name = schedule.name.clone();
            let paused = paused.unwrap_or(false);
            let row = ScheduleRow { schedule, paused, created_at: now, defined: stamp, changed: stamp };
            self.keep_schedule(Entry { row, log: empty_log(name, now, stamp) });
            return Outcome::Done;
        };
        let paused = paused.unwrap_or(entry.row.paused);
        let (was, is) = (&entry.row.schedule, &schedule);
        if was == is && paused == entry.row.paused {
            return Outcome::Done;
        }
        let is_retimed = (&was.cron, &was.time_zone) != (&is.cron, &is.time_zone);
        if is_retimed || entry.row.paused {
            entry.log.settled = entry.log.settled.max(now);
        }
        entry.row = ScheduleRow { schedule, paused, defined: stamp, changed: stamp, ..entry.row };
        entry.log.changed = stamp;
        self.keep_schedule(entry);
        Outcome::Done
    }

    pub(super) fn remove_schedule(&mut self, name: &ScheduleName) -> Outcome {
        if self.schedules.drop(name).is_none() {
            return Outcome::Refused(Refusal::NoSuchSchedule);
        }
        self.bury(GoneId::Schedule { number: name.number(), up_to: self.stamp() });
        self.events.push(Event::Schedule(name.clone()));
        Outcome::Done
    }

    /// While a schedule rests nothing is due, and when it goes on nothing was missed.
    pub(super) fn pause_schedule(&mut self, name: &ScheduleName, on: bool) -> Outcome {
        let (now, stamp) = (self.head.now, self.stamp());
        let Some(mut entry) = self.schedules.entries.get(name).cloned() else {
            return Outcome::Refused(Refusal::NoSuchSchedule);
        };
        if entry.row.paused == on {
            return Outcome::Done;
        }
        if entry.row.paused {
            entry.log.settled = entry.log.settled.max(now);
        }
        (entry.row.paused, entry.row.defined, entry.row.changed, entry.log.changed) = (on, stamp, stamp, stamp);
        self.keep_schedule(entry);
        Outcome::Done
    }

    /// Fires at once, beside the slots. A schedule that rests can be fired so, too; whether jobs may overlap
    /// holds here as well.
    pub(super) fn trigger(&mut self, place: Place, name: &ScheduleName, job: JobId, by: String) -> Outcome {
        let Some((row, _)) = self.schedules.find(name) else {
            return Outcome::Refused(Refusal::NoSuchSchedule);
        };
        let (spec, overlap) = (row.schedule.job.clone(), row.schedule.overlap);
        if let Some(known) = self.jobs.read(&self.sheet, job) {
            return Outcome::Submitted { id: job, deduplicated: true, state: known.state.name() };
        }
        if let Some(open) = self.give_way(name, overlap) {
            return Outcome::Refused(Refusal::Overlaps(open));
        }
        let outcome = self.make_job(place, job, spec, by.clone());
        if let Outcome::Submitted { id, .. } = outcome {
            let now = self.head.now;
            self.note(name, Firing { slot: now, by_hand: Some(by), at: now, outcome: FiringOutcome::Job(id) });
        }
        outcome
    }

    /// A slot is due.
    pub(super) fn fire(&mut self, place: Place, fire: Fire) -> Outcome {
        let Some((spec, overlap)) = self.due(&fire) else {
            return Outcome::Refused(Refusal::SlotSettled);
        };
        self.settle(&fire);
        let outcome = match self.give_way(&fire.name, overlap) {
            Some(open) => FiringOutcome::Skipped(open),
            None => match self.make_job(place, self.job_of(&fire), spec, format!("schedule/{}", fire.name)) {
                Outcome::Submitted { id, .. } => FiringOutcome::Job(id),
                _ => FiringOutcome::Refused,
            },
        };
        let done = match outcome {
            FiringOutcome::Job(id) => self.jobs.read(&self.sheet, id).map(|job| job.state.name()),
            _ => None,
        };
        let answer = match (&outcome, done) {
            (FiringOutcome::Job(id), Some(state)) => Outcome::Submitted { id: *id, deduplicated: false, state },
            _ => Outcome::Done,
        };
        self.note(&fire.name, Firing { slot: fire.slot, by_hand: None, at: self.head.now, outcome });
        answer
    }

    /// So many slots up to this one were due while nobody could fire them.
    pub(super) fn miss(&mut self, fire: Fire, count: u64) -> Outcome {
        if self.due(&fire).is_none() {
            return Outcome::Refused(Refusal::SlotSettled);
        }
        self.settle(&fire);
        let at = self.head.now;
        self.note(&fire.name, Firing { slot: fire.slot, by_hand: None, at, outcome: FiringOutcome::Missed(count) });
        Outcome::Done
    }

    /// What the slot is to make, if it is one of the present definition and not settled.
    fn due(&self, fire: &Fire) -> Option<(JobSpec, Overlap)> {
        let (row, log) = self.schedules.find(&fire.name)?;
        let is_due = !row.paused && row.defined == fire.of && fire.slot > log.settled;
        is_due.then(|| (row.schedule.job.clone(), row.schedule.overlap))
    }

    fn settle(&mut self, fire: &Fire) {
        if is_planted("cron-slot-in-memory") {
            return;
        }
        let stamp = self.stamp();
        if let Some(log) = self.schedules.log(&fire.name, stamp) {
            log.settled = fire.slot;
        }
    }

    fn job_of(&self, fire: &Fire) -> JobId {
        let job = fire.name.job_of(fire.slot);
        // What an id would be that does not follow from the slot.
        if is_planted("cron-slot-in-memory") { JobId(job.0 ^ u128::from(self.head.reign.epoch.0)) } else { job }
    }

    /// Makes room for another job of the schedule; a job that is in its way and stays there.
    fn give_way(&mut self, name: &ScheduleName, overlap: Overlap) -> Option<JobId> {
        if overlap == Overlap::Allow {
            return None;
        }
        let known = self.schedules.find(name).map(|(_, log)| log.open.clone()).unwrap_or_default();
        let goes_on = |id: &JobId| self.jobs.read(&self.sheet, *id).is_some_and(|job| !job.state.is_terminal());
        let open: Vec<JobId> = known.into_iter().filter(goes_on).collect();
        let stamp = self.stamp();
        if let Some(log) = self.schedules.log(name, stamp) {
            log.open.clone_from(&open);
        }
        if overlap == Overlap::Forbid {
            return open.last().copied();
        }
        for id in open {
            self.cancel(id, format!("schedule {name} replaces it"));
        }
        None
    }

    fn make_job(&mut self, place: Place, id: JobId, spec: JobSpec, submitted_by: String) -> Outcome {
        self.submit(place, Submit { id, spec, body_hash: 0, submitted_by })
    }

    /// Writes down what became of a slot.
    fn note(&mut self, name: &ScheduleName, firing: Firing) {
        let stamp = self.stamp();
        let Some(log) = self.schedules.log(name, stamp) else { return };
        let counts = &mut log.counts;
        match (&firing.outcome, &firing.by_hand) {
            (FiringOutcome::Job(_), None) => counts.fired += 1,
            (FiringOutcome::Job(_), Some(_)) => counts.by_hand += 1,
            (FiringOutcome::Skipped(_), _) => counts.skipped += 1,
            (FiringOutcome::Missed(count), _) => counts.missed = counts.missed.saturating_add(*count),
            (FiringOutcome::Refused, _) => counts.refused += 1,
        }
        if let FiringOutcome::Job(id) = firing.outcome
            && let Err(place) = log.open.binary_search(&id)
        {
            log.open.insert(place, id);
            let surplus = log.open.len().saturating_sub(OPEN_MAX);
            log.open.drain(..surplus);
        }
        match log.firings.binary_search_by_key(&firing.key(), Firing::key) {
            Ok(place) => log.firings[place] = firing,
            Err(place) => log.firings.insert(place, firing),
        }
        let surplus = log.firings.len().saturating_sub(FIRINGS_KEPT);
        log.firings.drain(..surplus);
    }

    fn keep_schedule(&mut self, entry: Entry) {
        self.events.push(Event::Schedule(entry.row.schedule.name.clone()));
        self.schedules.keep(entry);
    }

    pub(super) fn merge_schedule(&mut self, row: ScheduleRow, log: FiringLog, since: Stamp, merged: &mut Merged) {
        let name = row.schedule.name.clone();
        if self.graves.has_schedule(&name, row.defined) {
            return;
        }
        let stamp = self.stamp();
        let joined = match self.schedules.entries.get(&name) {
            None => Entry { row, log },
            Some(own) => {
                let both_changed = own.row.defined > since && row.defined > since && own.row.defined != row.defined;
                let mut joined = Entry { row: join_schedules(&own.row, &row), log: join_logs(&own.log, &log) };
                (joined.row.changed, joined.log.changed) = (own.row.changed, own.log.changed);
                if joined.row == own.row && joined.log == own.log {
                    return;
                }
                merged.conflicts += u32::from(both_changed);
                joined
            }
        };
        let Entry { row, log } = joined;
        let row = ScheduleRow { changed: stamp, ..row };
        self.keep_schedule(Entry { row, log: FiringLog { changed: stamp, ..log } });
    }

    /// The other side removed a schedule: so does this one, unless it was set anew later.
    pub(super) fn merge_removal(&mut self, number: u128, up_to: Stamp) {
        let removed = |entry: &&Entry| entry.row.schedule.name.number() == number && entry.row.defined <= up_to;
        let name = self.schedules.entries.values().find(removed).map(|entry| entry.row.schedule.name.clone());
        if let Some(name) = name {
            self.schedules.drop(&name);
            self.events.push(Event::Schedule(name));
        }
    }
}

fn empty_log(name: ScheduleName, settled: UnixMs, changed: Stamp) -> FiringLog {
    FiringLog { name, settled, open: Vec::new(), counts: FiringCounts::default(), firings: Vec::new(), changed }
}
