//! Schedules of a world: some seeds have a few, from soon after the beginning until the heal; their clocks are
//! compared as nodes do it. In the end each slot has one job at most, and every slot is accounted for.
//!
//! What they are is drawn from dice of their own: the other seeds are what they were without them.

use super::World;
use super::bench::Script;
use super::dice::Dice;
use super::event::Event;
use relais_dispatcher::core::{ClockWord, Input};
use relais_dispatcher::cron::Cron;
use relais_dispatcher::ledger::Ledger;
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::job::Job;
use relais_protocol::record::Record;
use relais_protocol::schedule::{
    FiringLog, MADE_UP_MAX, Missed, Overlap, Schedule, ScheduleName, ScheduleRow, ScheduleSet,
};
use relais_protocol::spec::{JobSpec, QueueName};
use relais_protocol::time::UnixMs;
use std::collections::BTreeMap;

/// How often somebody looks after the schedules and the clocks, in ms.
const LOOK_MS: u64 = 1_000;
/// Of all seeds, in how many there are schedules.
const SEEDS_PERCENT: u64 = 40;
/// A clock that is off by more is wrong, in ms.
const SKEW_MAX_MS: u64 = 2_000;
/// Tells these dice from those of the rest.
const OWN_DICE: u64 = 0x5c4e_d01e_5eed_0001;

/// The schedules of a seed. Of two clocks nobody can tell which is wrong: where one that is set forward by an hour
/// is believed, no schedule makes up for all that is due then, which would be more work than there is time for.
pub(super) fn of_seed(seed: u64, nodes: u32) -> Vec<ScheduleSet> {
    let mut dice = Dice::new(seed.rotate_left(23) ^ OWN_DICE);
    if !dice.chance(SEEDS_PERCENT) {
        return Vec::new();
    }
    let count = dice.range(1, 3);
    let mut sets: Vec<ScheduleSet> = (0..count).filter_map(|number| any_schedule(&mut dice, number)).collect();
    for set in sets.iter_mut().filter(|set| nodes < 3 && set.schedule.missed == Missed::All) {
        set.schedule.missed = Missed::Once;
    }
    sets
}

fn any_schedule(dice: &mut Dice, number: u64) -> Option<ScheduleSet> {
    let script = Script { ms: dice.range(10, 1_500), ..Script::default() };
    let job = JobSpec {
        kind: "noop".into(),
        queue: QueueName::default(),
        priority: 50,
        name: String::new(),
        payload: script.payload(),
        options: None,
    };
    let schedule = Schedule {
        name: ScheduleName::parse(&format!("s{number}")).ok()?,
        cron: dice.pick(&["* * * * * *", "*/2 * * * * *", "*/3 * * * * *"])?.to_owned(),
        time_zone: "UTC".to_owned(),
        job,
        missed: dice.pick(&Missed::ALL)?,
        overlap: dice.pick(&Overlap::ALL)?,
    };
    Some(ScheduleSet { schedule, paused: None })
}

/// The job was made by a slot.
pub(super) fn made(job: &Job) -> bool {
    job.submitted_by.starts_with("schedule/")
}

impl World {
    /// Somebody looks after the schedules: sets those that are missing, lets all rest once the world is healed.
    pub(super) fn on_schedules(&mut self) {
        self.on_arrays();
        self.on_operator();
        if !self.schedules.is_empty() {
            self.compare_clocks();
            self.deliver_notices();
        }
        let is_healed = self.history.recovery.is_some();
        let known = |ledger: &Ledger, name: &ScheduleName| ledger.schedule(name).map(|(row, _)| row.paused);
        let life = self.dispatcher().and_then(|id| self.nodes[id.0 as usize - 1].life.as_deref());
        if let Some(ledger) = life.map(|life| &life.ledger) {
            let wish = |set: &ScheduleSet| {
                let name = &set.schedule.name;
                match known(ledger, name) {
                    None if !is_healed => Some(Record::ScheduleSet(Box::new(set.clone()))),
                    Some(false) if is_healed => Some(Record::SchedulePaused { name: name.clone(), on: true }),
                    _ => None,
                }
            };
            let wishes: Vec<Record> = self.schedules.iter().filter_map(wish).collect();
            for record in wishes {
                self.ask_somewhere(vec![record]);
            }
        }
        self.at(LOOK_MS, Event::Schedules);
    }

    /// Each node is told what its clock is worth. That the comparison is a model does not matter: what a node
    /// makes of it is not.
    fn compare_clocks(&mut self) {
        let mut skews: Vec<i64> = self.nodes.iter().map(|node| node.skew).collect();
        skews.sort_unstable();
        let median = skews[(skews.len() - 1) / 2];
        let now = self.now;
        let up: Vec<NodeId> = self.nodes.iter().filter(|node| node.turns()).map(|node| node.id).collect();
        for id in up {
            let node = self.node(id);
            let wall = node.wall(now);
            let is_wrong = node.skew.abs_diff(median) > SKEW_MAX_MS;
            let Some(both) = node.life.as_deref().map(|life| life.now(now, wall)) else { continue };
            self.dispatch(id, Input::Clock(if is_wrong { ClockWord::Wrong } else { ClockWord::Right(both) }));
        }
    }

    /// Schedules that have yet to rest.
    pub(super) fn schedules_that_go_on(ledger: &Ledger) -> impl Iterator<Item = String> {
        ledger.schedules().filter(|(row, _)| !row.paused).map(|(row, _)| format!("{} goes on", row.schedule.name))
    }

    /// What the record says of each schedule, told if it can't be.
    pub(super) fn check_schedules(&self, ledger: &Ledger, jobs: &[Job]) -> Vec<String> {
        let mut slots: BTreeMap<(&str, u64), u32> = BTreeMap::new();
        for job in jobs.iter().filter(|job| made(job)) {
            *slots.entry((&job.submitted_by, job.id.unix_ms())).or_default() += 1;
        }
        let twice = slots.iter().filter(|(_, jobs)| **jobs > 1);
        let mut wrong: Vec<String> = twice.map(|((by, slot), jobs)| format!("{by} at {slot}: {jobs} jobs")).collect();
        let forgotten = self.history.forgotten();
        for (row, log) in ledger.schedules().filter(|(row, _)| !self.operator.unclear.contains(&row.schedule.name)) {
            let by = format!("schedule/{}", row.schedule.name);
            let jobs = slots.keys().filter(|(name, _)| *name == by).count();
            let is_of_it = |job: &&JobId| self.history.facts.get(*job).is_some_and(|facts| facts.by == by);
            let all = jobs + forgotten.keys().filter(is_of_it).count();
            let rests = self.operator.rests.iter().filter(|(name, ..)| *name == row.schedule.name);
            let rests: Vec<(UnixMs, UnixMs)> = rests.map(|(_, from, to)| (*from, *to)).collect();
            wrong.extend(miscounted(row, log, all as u64, &rests));
        }
        wrong
    }
}

/// Every slot since the schedule was set has made a job, was skipped, or was missed, unless the schedule rested.
fn miscounted(row: &ScheduleRow, log: &FiringLog, jobs: u64, rests: &[(UnixMs, UnixMs)]) -> Option<String> {
    let cron = Cron::parse(&row.schedule.cron, &row.schedule.time_zone).ok()?;
    let all = std::iter::successors(cron.next_after(row.created_at), |slot: &UnixMs| cron.next_after(*slot));
    let is_due = |slot: &UnixMs| !rests.iter().any(|(from, to)| slot > from && slot <= to);
    let slots = all.take_while(|slot| *slot <= log.settled).filter(is_due).count() as u64;
    let counts = log.counts;
    let told = counts.fired + counts.skipped + counts.missed + counts.refused;
    // Where no three clocks can be compared one that is set forward is believed: then more are due than is made up for.
    let is_whole = row.schedule.missed != Missed::All || counts.missed == 0 || slots > MADE_UP_MAX as u64;
    let is_right = told == slots && counts.fired == jobs && is_whole;
    (!is_right).then(|| format!("{}: {slots} slots, {jobs} jobs, {counts:?}", row.schedule.name))
}
