//! Somebody who looks after a cluster while it is in use: some seeds have one. He sets how long jobs are kept, leases,
//! aging, what queues may do, labels of nodes; pauses queues and schedules for a while, triggers slots by hand. When
//! the world is healed he lets everything flow again.
//!
//! What he does is drawn from dice of their own: the other seeds are what they were without him.

use super::World;
use super::dice::Dice;
use super::node;
use super::room::{TIER, TOP, ZONE, zone};
use crate::history::Submitted;
use relais_dispatcher::ledger::Ledger;
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::job::Job;
use relais_protocol::node::NodeChange;
use relais_protocol::queue::{QueueAct, QueueChange, QueueConfig, Rate, Retention};
use relais_protocol::record::{Outcome, Record, Refusal};
use relais_protocol::schedule::{ScheduleName, ScheduleSet};
use relais_protocol::spec::QueueName;
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// Of all seeds, in how many there is one.
const SEEDS_PERCENT: u64 = 50;
/// Tells these dice from those of the rest.
const OWN_DICE: u64 = 0x0b5e_55ed_5eed_0001;
/// What he does by hand is submitted by him.
const NAME: &str = "operator";

/// Something to be done once.
#[derive(Debug)]
struct Errand {
    at: u64,
    record: Record,
    done: bool,
}

/// What he has to do, and what is known of the pauses of schedules.
#[derive(Debug, Default)]
pub(super) struct Operator {
    errands: Vec<Errand>,
    /// There is one, whether he has anything to do or not.
    is_there: bool,
    /// Up to which slot a schedule that rests had settled.
    resting: BTreeMap<ScheduleName, UnixMs>,
    /// Slots after the first time and up to the second were never due.
    pub(super) rests: Vec<(ScheduleName, UnixMs, UnixMs)>,
    /// It can't be told which slots of these were due.
    pub(super) unclear: BTreeSet<ScheduleName>,
}

/// The queue that he sets, and pauses.
pub(super) fn bulk() -> QueueName {
    QueueName::parse("bulk").unwrap_or_default()
}

impl Operator {
    pub(super) fn of_seed(seed: u64, nodes: u32, schedules: &[ScheduleSet], labels: bool) -> Self {
        let mut dice = Dice::new(seed.rotate_left(11) ^ OWN_DICE);
        let all = dice.chance(SEEDS_PERCENT);
        let mut operator = Self { is_there: all || labels, ..Self::default() };
        if operator.is_there {
            operator.mind_labels(&mut dice, nodes);
        }
        if all {
            operator.mind_settings(&mut dice);
            operator.mind_queues(&mut dice);
            for set in schedules {
                operator.mind_schedule(&mut dice, &set.schedule.name);
            }
        }
        operator
    }

    pub(super) fn is_away(&self) -> bool {
        !self.is_there
    }

    fn plan(&mut self, at: u64, record: Record) {
        self.errands.push(Errand { at, record, done: false });
    }

    fn set(&mut self, at: u64, key: &str, value: String) {
        self.plan(at, Record::Setting { key: key.to_owned(), value });
    }

    fn mind_settings(&mut self, dice: &mut Dice) {
        if dice.chance(60) {
            let at = dice.range(1_500, 6_000);
            self.set(at, "retention", format!("{}ms", dice.range(1_000, 6_000)));
            if dice.chance(40) {
                self.set(at + dice.range(1_000, 5_000), "retention", format!("{}ms", dice.range(1_000, 9_000)));
            }
        }
        if dice.chance(40) {
            self.set(dice.range(1_500, 9_000), "retention_count", dice.range(3, 60).to_string());
        }
        if dice.chance(40) {
            self.set(dice.range(1_500, 6_000), "priority_aging", format!("{}ms", dice.range(5, 2_000)));
        }
        if dice.chance(25) {
            self.set(dice.range(1_500, 9_000), "lease", format!("{}ms", dice.range(2_000, 5_000)));
        }
    }

    fn mind_queues(&mut self, dice: &mut Dice) {
        if dice.chance(60) {
            let rate = Rate { count: dice.range(3, 8) as u32, per_ms: dice.range(300, 1_500) };
            let retention = Retention {
                age_ms: dice.chance(40).then(|| dice.range(1_000, 8_000)),
                count: dice.chance(30).then(|| dice.range(1, 6)),
            };
            let config = QueueConfig {
                weight: dice.range(1, 10) as u32,
                concurrency: dice.chance(30).then(|| dice.range(2, 4) as u32),
                rate: dice.chance(70).then_some(rate),
                retention,
            };
            self.act(dice.range(900, 5_000), bulk(), QueueAct::Set(config));
        }
        if dice.chance(60) {
            let queue = if dice.chance(60) { bulk() } else { QueueName::default() };
            let at = dice.range(1_500, 8_000);
            self.act(at, queue.clone(), QueueAct::Pause(true));
            self.act(at + dice.range(500, 4_000), queue, QueueAct::Pause(false));
        }
        if dice.chance(25) {
            let queue = if dice.chance(50) { bulk() } else { QueueName::default() };
            self.act(dice.range(2_500, 9_000), queue, QueueAct::Purge { upto: None });
        }
    }

    fn act(&mut self, at: u64, queue: QueueName, act: QueueAct) {
        self.plan(at, Record::Queue(Box::new(QueueChange { queue, act })));
    }

    /// Some nodes get one more label, and one loses its own for a while.
    fn mind_labels(&mut self, dice: &mut Dice, nodes: u32) {
        for node in (1..=nodes).map(NodeId) {
            if dice.chance(40) {
                let at = dice.range(1_000, 7_000);
                self.label(at, node, TIER, Some(TOP));
                if dice.chance(30) {
                    self.label(at + dice.range(500, 4_000), node, TIER, None);
                }
            }
        }
        if dice.chance(40) {
            let (node, at) = (NodeId(dice.range(1, nodes.into()) as u32), dice.range(1_500, 7_000));
            self.label(at, node, ZONE, None);
            self.label(at + dice.range(500, 4_000), node, ZONE, Some(zone(node)));
        }
    }

    fn label(&mut self, at: u64, node: NodeId, key: &str, value: Option<&str>) {
        self.plan(at, set_label(node, key, value));
    }

    fn mind_schedule(&mut self, dice: &mut Dice, name: &ScheduleName) {
        if dice.chance(50) {
            let at = dice.range(2_500, 7_000);
            self.plan(at, Record::SchedulePaused { name: name.clone(), on: true });
            self.plan(at + dice.range(500, 3_000), Record::SchedulePaused { name: name.clone(), on: false });
        }
        if dice.chance(50) {
            let at = dice.range(2_500, 8_000);
            let job = JobId::v7(node::wall(at, 0).0, dice.wide());
            self.plan(at, Record::ScheduleTriggered { name: name.clone(), job, by: NAME.to_owned() });
        }
    }
}

fn set_label(node: NodeId, key: &str, value: Option<&str>) -> Record {
    let labels = BTreeMap::from([(key.to_owned(), value.map(str::to_owned))]);
    Record::NodeSet(Box::new(NodeChange { node, labels, ..NodeChange::default() }))
}

/// The job was made by hand.
pub(super) fn made(job: &Job) -> Option<Submitted> {
    (job.submitted_by == NAME).then(|| Submitted { key: None, sent_as: vec![job.id], acked: Vec::new() })
}

impl World {
    /// He does what it is time for; later, what is left for all to come right.
    pub(super) fn on_operator(&mut self) {
        if self.operator.is_away() {
            return;
        }
        let now = self.now;
        let life = self.dispatcher().and_then(|id| self.nodes[id.0 as usize - 1].life.as_deref());
        let Some(ledger) = life.map(|life| &life.ledger) else { return };
        let wishes: Vec<Record> = if self.history.recovery.is_some() {
            left_to_do(ledger)
        } else {
            let due = self.operator.errands.iter().filter(|errand| !errand.done && errand.at <= now);
            due.map(|errand| errand.record.clone()).collect()
        };
        for record in wishes {
            self.ask_somewhere(vec![record]);
        }
    }

    /// What he has yet to let go on.
    pub(super) fn held_by_operator(&self, ledger: &Ledger) -> usize {
        if self.operator.is_away() { 0 } else { left_to_do(ledger).len() }
    }

    /// A record is committed: he need not ask again.
    pub(super) fn done(&mut self, record: &Record, outcome: &Outcome) {
        let again = matches!(outcome, Outcome::Refused(Refusal::StaleReign | Refusal::NoSuchSchedule));
        let errand = self.operator.errands.iter_mut().find(|errand| !errand.done && errand.record == *record);
        errand.into_iter().for_each(|errand| errand.done = !again);
    }

    /// A schedule rests, or goes on: which of its slots were never due.
    pub(super) fn note_pauses(&mut self, id: NodeId, record: &Record, outcome: &Outcome) {
        let (Record::SchedulePaused { name, on }, Outcome::Done) = (record, outcome) else { return };
        let Some(life) = self.nodes[id.0 as usize - 1].life.as_deref() else { return };
        let Some((row, log)) = life.ledger.schedule(name) else { return };
        let operator = &mut self.operator;
        match (on, operator.resting.get(name).copied()) {
            // Both in one entry: what was settled between them is not seen.
            _ if row.paused != *on => {
                operator.unclear.insert(name.clone());
            }
            (true, None) => {
                operator.resting.insert(name.clone(), log.settled);
            }
            (false, Some(settled)) => {
                operator.resting.remove(name);
                operator.rests.push((name.clone(), settled, log.settled));
            }
            _ => {}
        }
    }
}

/// Queues that are paused, and labels that are not as they are to be in the end.
fn left_to_do(ledger: &Ledger) -> Vec<Record> {
    let flow = |name: &str| {
        let queue = QueueName::parse(name).unwrap_or_default();
        Record::Queue(Box::new(QueueChange { queue, act: QueueAct::Pause(false) }))
    };
    let paused = ledger.queues().filter(|queue| queue.paused).map(|queue| flow(&queue.name));
    let mut left: Vec<Record> = paused.collect();
    for row in ledger.nodes().filter(|row| !row.facts.labels.is_empty()) {
        for (key, value) in [(ZONE, zone(row.id)), (TIER, TOP)] {
            if row.label(key) != Some(value) {
                left.push(set_label(row.id, key, Some(value)));
            }
        }
    }
    left
}
