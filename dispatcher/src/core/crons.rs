//! Which slots of schedules are due: worked out by the dispatcher, from the ledger and the stamp it would give,
//! and proposed. That a slot is fired once is not its affair but the ledger's; so nothing here has to survive.
//!
//! ```text
//!   ledger: settled up to here ──► next slot of each schedule, in order of time
//!                                     │ due now, and not late ──► Fired
//!                                     │ late ──► counted, the newest kept ──► Missed(n), Fired …
//! ```
//!
//! A slot is late when more than [`GRACE_MS`] have passed: there was nobody to fire it. Late ones are gone
//! through a limited number at a time, so that a long outage stalls nothing; how many there were is said, and
//! what is to be made up for is fired, when the present is reached.

use crate::cron::Cron;
use crate::ledger::{Event, Ledger};
use relais_protocol::history::Stamp;
use relais_protocol::record::Record;
use relais_protocol::schedule::{Fire, FiringLog, MADE_UP_MAX, Missed, ScheduleName, ScheduleRow};
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A slot that is older can't have been fired in time by anybody.
const GRACE_MS: u64 = 2_000;
/// Slots gone through at a time, of all schedules.
const STRIDE: usize = 4_000;
/// Records proposed together.
const RECORDS_MAX: usize = 100;

/// The schedules that can become due, and when.
#[derive(Default)]
pub(super) struct Crons {
    plans: BTreeMap<ScheduleName, Plan>,
    next: BTreeSet<(UnixMs, ScheduleName)>,
}

/// What is known of one schedule.
struct Plan {
    cron: Cron,
    of: Stamp,
    missed: Missed,
    next: Option<UnixMs>,
    late: Late,
}

/// Late slots that were gone through.
#[derive(Default)]
struct Late {
    /// The newest, as many as are to be made up for.
    kept: VecDeque<UnixMs>,
    /// The newest of those before them, and how many they are.
    dropped: Option<(UnixMs, u64)>,
}

impl Late {
    fn add(&mut self, slot: UnixMs, missed: Missed) {
        let kept_max = match missed {
            Missed::Skip => 0,
            Missed::Once => 1,
            Missed::All => MADE_UP_MAX,
        };
        self.kept.push_back(slot);
        while self.kept.len() > kept_max
            && let Some(dropped) = self.kept.pop_front()
        {
            self.dropped = Some((dropped, self.dropped.map_or(1, |(_, count)| count + 1)));
        }
    }
}

impl Plan {
    fn of(row: &ScheduleRow, log: &FiringLog) -> Option<Self> {
        let schedule = &row.schedule;
        let cron = Cron::parse(&schedule.cron, &schedule.time_zone)
            .inspect_err(|error| tracing::error!(schedule = %schedule.name, %error, "a schedule can't be read"))
            .ok()?;
        let next = cron.next_after(log.settled);
        Some(Self { cron, of: row.defined, missed: schedule.missed, next, late: Late::default() })
    }

    /// Goes through what is due at `now`, `stride` slots at most, and says what that comes to.
    fn due(&mut self, name: &ScheduleName, now: UnixMs, stride: &mut usize) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(slot) = self.next.filter(|slot| *slot <= now) {
            if *stride == 0 {
                return records;
            }
            *stride -= 1;
            if now.since(slot) > GRACE_MS {
                self.late.add(slot, self.missed);
            } else {
                self.make_up(name, &mut records);
                records.push(self.fired(name, slot));
            }
            self.next = self.cron.next_after(slot);
        }
        self.make_up(name, &mut records);
        records
    }

    fn make_up(&mut self, name: &ScheduleName, records: &mut Vec<Record>) {
        let late = std::mem::take(&mut self.late);
        if let Some((slot, count)) = late.dropped {
            records.push(Record::ScheduleMissed(Box::new(self.fire(name, slot)), count));
        }
        records.extend(late.kept.into_iter().map(|slot| self.fired(name, slot)));
    }

    fn fired(&self, name: &ScheduleName, slot: UnixMs) -> Record {
        Record::ScheduleFired(Box::new(self.fire(name, slot)))
    }

    fn fire(&self, name: &ScheduleName, slot: UnixMs) -> Fire {
        Fire { name: name.clone(), of: self.of, slot }
    }
}

impl Crons {
    /// Takes all schedules anew, from what the ledger says is settled.
    pub(super) fn begin(&mut self, ledger: &Ledger) {
        *self = Self::default();
        for (row, log) in ledger.schedules() {
            self.plan(row, log);
        }
    }

    /// Takes those anew that were changed.
    pub(super) fn follow(&mut self, ledger: &Ledger, events: &[Event]) {
        for event in events {
            let Event::Schedule(name) = event else { continue };
            if let Some(next) = self.plans.remove(name).and_then(|plan| plan.next) {
                self.next.remove(&(next, name.clone()));
            }
            if let Some((row, log)) = ledger.schedule(name) {
                self.plan(row, log);
            }
        }
    }

    fn plan(&mut self, row: &ScheduleRow, log: &FiringLog) {
        let name = &row.schedule.name;
        let Some(plan) = Plan::of(row, log).filter(|_| !row.paused) else { return };
        self.next.extend(plan.next.map(|next| (next, name.clone())));
        self.plans.insert(name.clone(), plan);
    }

    /// What is due at `now`, in pieces of a limited size. Costs nothing while nothing is.
    pub(super) fn due(&mut self, now: UnixMs) -> Vec<Vec<Record>> {
        let (mut records, mut stride) = (Vec::new(), STRIDE);
        while stride > 0
            && let Some((_, name)) = self.next.first().filter(|(next, _)| *next <= now).cloned()
        {
            self.next.pop_first();
            let Some(plan) = self.plans.get_mut(&name) else { continue };
            records.extend(plan.due(&name, now, &mut stride));
            self.next.extend(plan.next.map(|next| (next, name)));
        }
        let mut pieces = Vec::new();
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(RECORDS_MAX));
            pieces.push(std::mem::replace(&mut records, rest));
        }
        pieces
    }
}
