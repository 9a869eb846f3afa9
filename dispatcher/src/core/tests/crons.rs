//! Schedules and the dispatcher: slots are found, fired once, and accounted for, whatever becomes of the
//! dispatcher, its proposals and its clock.

use super::*;
use crate::cron::Cron;
use crate::ledger::JobFilter;
use proptest::prelude::*;
use relais_protocol::schedule::{
    FiringCounts, FiringOutcome, MADE_UP_MAX, Missed, Overlap, Schedule, ScheduleName, ScheduleSet,
};
use std::collections::BTreeMap;

const START: u64 = 1_795_000_000_000;

/// What becomes of the next batch that is proposed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Committed,
    CommittedTwice,
    Lost,
    /// It is committed, but its proposer is told that nobody knows.
    Unknown,
}

/// A dispatcher whose process can die: its ledger is loaded from rows again.
struct World {
    core: Core,
    rows: Arc<MemoryRows>,
    ledger: Ledger,
    /// Applies the same, and never restarts.
    replica: Ledger,
    index: u64,
    mono: u64,
    unix: u64,
    incarnation: u64,
    fate: Fate,
}

fn name(text: &str) -> ScheduleName {
    ScheduleName::parse(text).unwrap()
}

fn set(text: &str, cron: &str, missed: Missed) -> Record {
    let job = JobSpec {
        kind: "noop".into(),
        queue: QueueName::default(),
        priority: 50,
        name: String::new(),
        payload: "{}".into(),
        options: None,
    };
    let (cron, time_zone, overlap) = (cron.to_owned(), "UTC".to_owned(), Overlap::Allow);
    let schedule = Schedule { name: name(text), cron, time_zone, job, missed, overlap };
    Record::ScheduleSet(Box::new(ScheduleSet { schedule, paused: None }))
}

impl World {
    fn new() -> Self {
        let rows = Arc::new(MemoryRows::default());
        let mut world = Self {
            core: Core::new(CoreConfig::default(), NodeId(1), Incarnation(1)),
            ledger: Ledger::new(rows.clone()),
            rows,
            replica: Ledger::new(Arc::new(MemoryRows::default())),
            index: 0,
            mono: 1_000,
            unix: START,
            incarnation: 1,
            fate: Fate::Committed,
        };
        world.commit(Batch {
            rules: 1,
            generation: Generation(0),
            epoch: Epoch(0),
            stamp: UnixMs(START),
            records: vec![Record::Found { cluster: ClusterId(1), name: "n1".into() }],
        });
        world.reigns();
        world
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.mono), unix: UnixMs(self.unix) }
    }

    fn commit(&mut self, batch: Batch) -> Committed {
        self.index += 1;
        self.replica.apply_batch(Index(self.index), batch.clone());
        let applied = self.ledger.apply_batch(Index(self.index), batch);
        let effects = self.core.handle(self.now(), &self.ledger, Input::Applied(applied.events));
        assert!(effects.iter().all(|effect| !matches!(effect, Effect::Propose(_))), "one batch is in flight");
        Committed { index: Index(self.index), outcomes: applied.outcomes }
    }

    fn input(&mut self, input: Input) {
        let mut todo = self.core.handle(self.now(), &self.ledger, input);
        while let Some(at) = todo.iter().position(|effect| matches!(effect, Effect::Propose(_))) {
            let Effect::Propose(batch) = todo.remove(at) else { continue };
            let fate = std::mem::replace(&mut self.fate, Fate::Committed);
            let outcome = match fate {
                Fate::Lost => Input::Failed(Rejection::NotDispatcher),
                Fate::Committed => Input::Committed(self.commit(batch)),
                Fate::CommittedTwice => {
                    self.commit(batch.clone());
                    Input::Committed(self.commit(batch))
                }
                Fate::Unknown => {
                    self.commit(batch);
                    Input::Failed(Rejection::Unknown)
                }
            };
            todo.extend(self.core.handle(self.now(), &self.ledger, outcome));
        }
    }

    fn reigns(&mut self) {
        self.input(Input::Majority(true));
        self.fate = Fate::Committed;
        self.input(Input::Promote(NodeId(1), Incarnation(self.incarnation)));
        assert!(self.core.reign().is_some());
    }

    fn proposes(&mut self, record: Record) {
        self.fate = Fate::Committed;
        self.input(Input::Propose(Ticket(1), vec![record]));
    }

    /// Both clocks go on, with a look every 20 ms.
    fn passes(&mut self, ms: u64) {
        let until = self.mono + ms;
        while self.mono < until {
            let step = (until - self.mono).min(20);
            (self.mono, self.unix) = (self.mono + step, self.unix + step);
            self.input(Input::Tick);
        }
    }

    /// The process dies, and is back after so long.
    fn dies(&mut self, ms: u64) {
        self.rows.keep(&self.ledger.drain_changes());
        self.ledger = Ledger::load(self.rows.clone(), Index(self.index)).unwrap();
        (self.mono, self.unix) = (self.mono + ms, self.unix + ms);
        self.incarnation += 1;
        self.core = Core::new(CoreConfig::default(), NodeId(1), Incarnation(self.incarnation));
        self.reigns();
    }

    fn counts(&self, text: &str) -> FiringCounts {
        self.ledger.schedule(&name(text)).unwrap().1.counts
    }

    /// How many jobs each slot of a schedule has.
    fn made(&self, text: &str) -> BTreeMap<UnixMs, usize> {
        let jobs = self.ledger.list(&JobFilter::default(), None, usize::MAX, usize::MAX).0;
        let mut made = BTreeMap::new();
        for job in jobs.iter().filter(|job| job.submitted_by == format!("schedule/{text}")) {
            *made.entry(UnixMs(job.id.unix_ms())).or_default() += 1;
        }
        made
    }

    /// All slots of `cron` that must be settled by now.
    fn slots(&self, cron: &str, text: &str) -> Vec<UnixMs> {
        let settled = self.ledger.schedule(&name(text)).unwrap().1.settled;
        let cron = Cron::parse(cron, "UTC").unwrap();
        let all = std::iter::successors(cron.next_after(UnixMs(START)), |slot| cron.next_after(*slot));
        all.take_while(|slot| *slot <= settled).collect()
    }
}

#[test]
fn each_slot_is_fired_at_its_time() {
    let mut world = World::new();
    world.proposes(set("a", "* * * * * *", Missed::Skip));
    world.proposes(set("b", "*/5 * * * * *", Missed::Skip));
    world.passes(10_040);
    assert_eq!((world.counts("a").fired, world.counts("b").fired), (10, 2));
    let (_, log) = world.ledger.schedule(&name("a")).unwrap();
    assert!(log.firings.iter().all(|firing| firing.at.since(firing.slot) <= 40), "{:?}", log.firings);
    world.proposes(Record::SchedulePaused { name: name("a"), on: true });
    world.passes(5_000);
    world.proposes(Record::SchedulePaused { name: name("a"), on: false });
    world.passes(2_000);
    assert_eq!(world.counts("a"), FiringCounts { fired: 12, ..FiringCounts::default() });
    world.proposes(Record::ScheduleRemoved(name("b")));
    world.passes(10_000);
    assert!(world.ledger.schedule(&name("b")).is_none());
}

#[test]
fn what_was_missed_is_skipped_fired_once_or_all_of_it() {
    let mut world = World::new();
    for (text, missed) in [("skip", Missed::Skip), ("once", Missed::Once), ("all", Missed::All)] {
        world.proposes(set(text, "* * * * * *", missed));
    }
    world.passes(3_000);
    world.dies(10_000);
    world.passes(100);
    let counts = |fired, missed| FiringCounts { fired, missed, ..FiringCounts::default() };
    // Slots 4 to 13; the last two are not late.
    assert_eq!(world.counts("skip"), counts(3 + 2, 8));
    assert_eq!(world.counts("once"), counts(3 + 2 + 1, 7));
    assert_eq!(world.counts("all"), counts(13, 0));
}

#[test]
fn of_a_long_outage_the_newest_thousand_are_made_up_for_and_the_rest_is_counted() {
    let mut world = World::new();
    world.proposes(set("all", "* * * * * *", Missed::All));
    world.proposes(set("skip", "* * * * * *", Missed::Skip));
    world.dies(20_000_000);
    world.passes(500);
    let (made, counts) = (world.made("all"), world.counts("all"));
    assert_eq!(counts.fired + counts.missed, 20_000);
    assert!((MADE_UP_MAX as u64..MADE_UP_MAX as u64 + 10).contains(&counts.fired), "{counts:?}");
    assert_eq!(made.last_key_value().map(|(slot, _)| *slot), Some(UnixMs(START + 20_000_000)));
    assert!(made.values().all(|jobs| *jobs == 1));
    let counts = world.counts("skip");
    assert_eq!(counts.fired + counts.missed, 20_000);
    assert!(counts.fired <= 5);
}

#[test]
fn a_clock_that_is_set_back_fires_nothing_twice_and_one_set_forward_fires_nothing_before_it_is_compared() {
    let mut world = World::new();
    world.input(Input::Clock(ClockWord::Unknown));
    world.proposes(set("a", "* * * * * *", Missed::All));
    world.passes(3_000);
    assert_eq!(world.counts("a").fired, 0, "nobody has compared it");
    world.input(Input::Clock(ClockWord::Right(world.now())));
    world.passes(20);
    assert_eq!(world.counts("a").fired, 3);

    world.unix -= 3_600_000;
    world.passes(5_000);
    world.input(Input::Clock(ClockWord::Wrong));
    world.passes(5_000);
    assert_eq!(world.counts("a").fired, 3, "a wrong clock fires nothing");
    world.unix += 3_600_000;
    world.input(Input::Clock(ClockWord::Right(world.now())));
    world.passes(20);
    assert_eq!(world.counts("a").fired, 13);

    let before = world.ledger.now();
    world.unix += 3_600_000;
    world.passes(900);
    world.input(Input::Clock(ClockWord::Wrong));
    world.passes(1_000);
    assert_eq!((world.counts("a").fired, world.counts("a").missed), (13, 0));
    world.input(Input::Propose(Ticket(1), vec![Record::Tick]));
    assert!(world.ledger.now().since(before) < 2_000, "its time is stamped into nothing");
}

#[test]
fn before_its_log_is_applied_a_node_brings_no_time_of_a_clock_that_nobody_compared() {
    let mut world = World::new();
    world.input(Input::Clock(ClockWord::Unknown));
    world.ledger = Ledger::new(Arc::new(MemoryRows::default()));
    let config = CoreConfig { clock_compared: true, ..CoreConfig::default() };
    world.core = Core::new(config, NodeId(1), Incarnation(2));
    world.unix += 3_600_000;
    let effects = world.core.handle(world.now(), &world.ledger, Input::Promote(NodeId(1), Incarnation(2)));
    let stamps = effects.iter().filter_map(|effect| match effect {
        Effect::Propose(batch) => Some(batch.stamp),
        _ => None,
    });
    assert_eq!(stamps.collect::<Vec<_>>(), [UnixMs(0)]);
}

#[test]
fn nothing_is_proposed_while_proposals_are_held_and_all_of_it_is_afterwards() {
    let mut world = World::new();
    world.proposes(set("a", "* * * * * *", Missed::All));
    world.input(Input::Hold(true));
    world.passes(5_000);
    assert_eq!(world.counts("a").fired, 0);
    world.input(Input::Hold(false));
    world.passes(20);
    assert_eq!(world.counts("a").fired, 5);
}

#[test]
fn a_schedule_without_a_further_slot_rests() {
    let mut world = World::new();
    world.proposes(set("never", "0 0 30 2 *", Missed::All));
    world.passes(1_000);
    let (_, log) = world.ledger.schedule(&name("never")).unwrap();
    assert_eq!((log.counts, log.firings.len()), (FiringCounts::default(), 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Dispatchers that die, clocks that are set, proposals that are lost, repeated or left in doubt.
    #[test]
    fn each_slot_is_accounted_for_once(
        missed in prop::sample::select(Missed::ALL.to_vec()),
        cron in prop::sample::select(vec!["* * * * * *", "*/3 * * * * *", "7,8,50 * * * * *"]),
        acts in proptest::collection::vec((0u8..8, 1u64..6_000), 1..30),
    ) {
        let mut world = World::new();
        world.proposes(set("a", cron, missed));
        for (act, ms) in acts {
            match act {
                0 => world.dies(ms * 2),
                1 => world.unix = (world.unix - ms * 100).max(START),
                2 => world.fate = Fate::CommittedTwice,
                3 => world.fate = Fate::Lost,
                4 => world.fate = Fate::Unknown,
                5 => world.proposes(Record::Promote { node: NodeId(1), incarnation: Incarnation(world.incarnation) }),
                _ => {}
            }
            world.passes(ms);
            world.ledger.check_invariants().unwrap();
        }
        world.fate = Fate::Committed;
        world.passes(3_000);
        let (slots, made, counts) = (world.slots(cron, "a"), world.made("a"), world.counts("a"));
        prop_assert!(made.values().all(|jobs| *jobs == 1), "a slot made two jobs: {made:?}");
        prop_assert!(made.keys().all(|slot| slots.contains(slot)), "a job of no slot");
        prop_assert_eq!(counts.fired, made.len() as u64);
        prop_assert_eq!(counts.fired + counts.missed, slots.len() as u64, "{:?}", counts);
        prop_assert!(missed != Missed::All || counts.missed == 0);
        let told = world.ledger.schedule(&name("a")).unwrap().1.firings.clone();
        let told_right = told.iter().all(|firing| match firing.outcome {
            FiringOutcome::Job(id) => id.unix_ms() == firing.slot.0,
            FiringOutcome::Missed(count) => count > 0,
            _ => false,
        });
        prop_assert!(told_right, "{told:?}");
        prop_assert_eq!(world.ledger.digest(), world.replica.digest());
    }
}
