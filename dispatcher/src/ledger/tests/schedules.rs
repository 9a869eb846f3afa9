//! Schedules in the ledger: what each record does, what a slot comes to, and the laws of their joins.

use super::super::merge::{join_logs, join_schedules};
use super::joins::Step;
use super::*;
use proptest::test_runner::TestCaseError;
use relais_protocol::history::Stamp;
use relais_protocol::schedule::{
    FIRINGS_KEPT, Fire, FiringLog, FiringOutcome, Missed, Overlap, Schedule, ScheduleRow, ScheduleSet,
};

fn name(text: &str) -> ScheduleName {
    ScheduleName::parse(text).unwrap()
}

fn set(text: &str, cron: &str, overlap: Overlap) -> Record {
    let schedule = Schedule {
        name: name(text),
        cron: cron.to_owned(),
        time_zone: "UTC".to_owned(),
        job: spec(JobOptions::default()),
        missed: Missed::Skip,
        overlap,
    };
    Record::ScheduleSet(Box::new(ScheduleSet { schedule, paused: None }))
}

fn fire(ledger: &Ledger, text: &str, slot: u64) -> Fire {
    let of = ledger.schedule(&name(text)).map_or((Generation(0), Index(0)), |(row, _)| row.defined);
    Fire { name: name(text), of, slot: UnixMs(slot) }
}

/// One step in the life of a side: three schedules, whose slots are the same seconds on every side.
pub(super) fn step(ledger: &Ledger, side: u128, now: u64, (kind, a, b): Step) -> Record {
    let text = format!("s{}", a % 3);
    let fire = fire(ledger, &text, now / 1_000 * 1_000);
    match (kind, b) {
        (14, 0..=3) => set(&text, &format!("{b} {} * * *", a + side as u8), Overlap::ALL[usize::from(a % 3)]),
        (14, _) => Record::ScheduleRemoved(name(&text)),
        (15, 5) => Record::ScheduleMissed(Box::new(fire), u64::from(a) + 1),
        (17, 0) => Record::SchedulePaused { name: name(&text), on: a > 5 },
        (17, 1) => {
            let job = JobId(u128::from(now) * 100 + side);
            Record::ScheduleTriggered { name: name(&text), job, by: format!("side {side}") }
        }
        _ => Record::ScheduleFired(Box::new(fire)),
    }
}

/// Those of `ledger`, without what differs by who merged whom: jobs that have ended may have been noticed to have.
pub(super) fn faces(ledger: &Ledger) -> Vec<(ScheduleRow, FiringLog)> {
    let none: Stamp = (Generation(0), Index(0));
    let goes_on = |id: &JobId| ledger.job(*id).is_some_and(|job| !job.state.is_terminal());
    let face = |(row, log): (&ScheduleRow, &FiringLog)| {
        let open = log.open.iter().copied().filter(goes_on).collect();
        (ScheduleRow { changed: none, ..row.clone() }, FiringLog { changed: none, open, ..log.clone() })
    };
    ledger.schedules().map(face).collect()
}

/// The joins of schedules are commutative, associative and idempotent.
pub(super) fn laws_hold(sides: [&Ledger; 3]) -> Result<(), TestCaseError> {
    for text in ["s0", "s1", "s2"] {
        let [Some((a, log_a)), Some((b, log_b)), Some((c, log_c))] = sides.map(|side| side.schedule(&name(text)))
        else {
            continue;
        };
        prop_assert_eq!(join_schedules(a, b), join_schedules(b, a));
        prop_assert_eq!(join_schedules(&join_schedules(a, b), c), join_schedules(a, &join_schedules(b, c)));
        prop_assert_eq!(&join_schedules(a, a), a);
        prop_assert_eq!(join_logs(log_a, log_b), join_logs(log_b, log_a));
        let left = join_logs(&join_logs(log_a, log_b), log_c);
        prop_assert_eq!(left, join_logs(log_a, &join_logs(log_b, log_c)));
        prop_assert_eq!(&join_logs(log_a, log_a), log_a);
    }
    Ok(())
}

impl Bench {
    fn log(&self, text: &str) -> FiringLog {
        self.ledger.schedule(&name(text)).unwrap().1.clone()
    }

    fn fires(&mut self, text: &str, slot: u64) -> Outcome {
        self.now = self.now.max(slot);
        let fire = fire(&self.ledger, text, slot);
        self.does(Record::ScheduleFired(Box::new(fire)))
    }

    fn made(&self, text: &str) -> usize {
        let from = format!("schedule/{text}");
        self.jobs().iter().filter(|job| job.submitted_by == from).count()
    }
}

fn settled(outcome: &Outcome) -> bool {
    *outcome == Outcome::Refused(Refusal::SlotSettled)
}

#[test]
fn a_slot_makes_one_job_however_often_it_is_told() {
    let mut bench = Bench::new(9);
    bench.does(set("a", "* * * * * *", Overlap::Allow));
    let told = fire(&bench.ledger, "a", 5_000);
    let Outcome::Submitted { id, .. } = bench.fires("a", 5_000) else { panic!("not fired") };
    assert_eq!((id, id.unix_ms()), (name("a").job_of(UnixMs(5_000)), 5_000));
    assert!(settled(&bench.fires("a", 5_000)) && settled(&bench.fires("a", 4_000)));
    bench.does(Record::Promote { node: NodeId(1), incarnation: Incarnation(1) });
    assert!(settled(&bench.does(Record::ScheduleFired(Box::new(told)))));
    assert!(settled(&bench.fires("nobody", 9_000)));
    assert_eq!(bench.made("a"), 1);
    let log = bench.log("a");
    assert_eq!((log.counts.fired, log.firings.len(), log.settled), (1, 1, UnixMs(5_000)));
}

#[test]
fn a_slot_of_a_definition_that_is_over_is_void_and_one_that_keeps_its_times_loses_none() {
    let mut bench = Bench::new(9);
    bench.does(set("a", "* * * * * *", Overlap::Allow));
    let before = fire(&bench.ledger, "a", 2_000);
    bench.now = 4_500;
    // Only the job's overlap changes: slot 2,000 can be worked out again.
    assert_eq!(bench.does(set("a", "* * * * * *", Overlap::Forbid)), Outcome::Done);
    assert!(settled(&bench.does(Record::ScheduleFired(Box::new(before)))));
    assert!(!settled(&bench.fires("a", 2_000)));
    let defined = bench.ledger.schedule(&name("a")).unwrap().0.defined;
    bench.does(set("a", "* * * * * *", Overlap::Forbid));
    assert_eq!(bench.ledger.schedule(&name("a")).unwrap().0.defined, defined, "nothing was changed");
    bench.does(set("a", "*/2 * * * * *", Overlap::Forbid));
    assert_eq!(bench.log("a").settled, UnixMs(4_500), "other times begin now");
}

#[test]
fn while_a_schedule_rests_nothing_is_due_and_nothing_is_missed_afterwards() {
    let mut bench = Bench::new(9);
    bench.does(set("a", "* * * * * *", Overlap::Allow));
    assert_eq!(bench.does(Record::SchedulePaused { name: name("a"), on: true }), Outcome::Done);
    assert!(settled(&bench.fires("a", 2_000)));
    let by_hand = Record::ScheduleTriggered { name: name("a"), job: JobId(77), by: "ops".into() };
    assert!(matches!(bench.does(by_hand.clone()), Outcome::Submitted { id: JobId(77), deduplicated: false, .. }));
    assert!(matches!(bench.does(by_hand), Outcome::Submitted { id: JobId(77), deduplicated: true, .. }));
    bench.now = 9_000;
    bench.does(Record::SchedulePaused { name: name("a"), on: false });
    assert!(settled(&bench.fires("a", 9_000)));
    assert!(!settled(&bench.fires("a", 10_000)));
    let log = bench.log("a");
    assert_eq!((log.counts.fired, log.counts.by_hand, log.counts.missed), (1, 1, 0));
    let nobody = Record::SchedulePaused { name: name("b"), on: true };
    assert_eq!(bench.does(nobody), Outcome::Refused(Refusal::NoSuchSchedule));
}

#[test]
fn what_must_not_overlap_is_skipped_or_replaced() {
    let mut bench = Bench::new(2);
    bench.does(set("f", "* * * * * *", Overlap::Forbid));
    let Outcome::Submitted { id: first, .. } = bench.fires("f", 2_000) else { panic!("not fired") };
    assert_eq!(bench.fires("f", 3_000), Outcome::Done);
    let by_hand = Record::ScheduleTriggered { name: name("f"), job: JobId(77), by: "ops".into() };
    assert_eq!(bench.does(by_hand), Outcome::Refused(Refusal::Overlaps(first)));
    assert_eq!(bench.log("f").firings.last().unwrap().outcome, FiringOutcome::Skipped(first));
    bench.does(finish(first.0, bench.fence(first.0), AttemptOutcome::Succeeded));
    assert!(matches!(bench.fires("f", 4_000), Outcome::Submitted { .. }));
    assert_eq!((bench.log("f").counts.fired, bench.log("f").counts.skipped), (2, 1));

    bench.does(set("r", "* * * * * *", Overlap::Replace));
    let Outcome::Submitted { id: old, .. } = bench.fires("r", 5_000) else { panic!("not fired") };
    assert_eq!(bench.state(old.0), StateName::Running);
    let Outcome::Submitted { id: new, .. } = bench.fires("r", 6_000) else { panic!("not fired") };
    let wish = bench.ledger.job(old).unwrap().cancel.expect("a wish to cancel it is kept");
    assert_eq!(wish.reason, "schedule r replaces it");
    bench.does(finish(old.0, bench.fence(old.0), AttemptOutcome::Cancelled));
    assert_eq!((bench.state(old.0), bench.log("r").open.contains(&new)), (StateName::Cancelled, true));
}

#[test]
fn missed_slots_are_counted_and_old_firings_forgotten() {
    let mut bench = Bench::new(1);
    bench.does(set("a", "* * * * * *", Overlap::Allow));
    let missed = Record::ScheduleMissed(Box::new(fire(&bench.ledger, "a", 90_000)), 88);
    bench.now = 99_000;
    assert_eq!(bench.does(missed.clone()), Outcome::Done);
    assert!(settled(&bench.does(missed)) && settled(&bench.fires("a", 90_000)));
    for second in 100..=100 + FIRINGS_KEPT as u64 {
        bench.fires("a", second * 1_000);
    }
    let log = bench.log("a");
    assert_eq!((log.counts.missed, log.counts.fired), (88, FIRINGS_KEPT as u64 + 1));
    assert_eq!((log.firings.len(), log.firings[0].slot), (FIRINGS_KEPT, UnixMs(101_000)));
}

#[test]
fn a_removed_schedule_is_gone_and_a_new_one_begins_anew() {
    let mut bench = Bench::new(9);
    bench.does(set("a", "* * * * * *", Overlap::Allow));
    bench.fires("a", 2_000);
    assert_eq!(bench.does(Record::ScheduleRemoved(name("a"))), Outcome::Done);
    assert_eq!(bench.does(Record::ScheduleRemoved(name("a"))), Outcome::Refused(Refusal::NoSuchSchedule));
    assert!(settled(&bench.fires("a", 3_000)));
    bench.does(set("a", "* * * * * *", Overlap::Allow));
    assert_eq!((bench.log("a").counts.fired, bench.log("a").settled), (0, UnixMs(bench.now)));
    assert_eq!(bench.made("a"), 1, "its jobs stay");
    // Both rows are there after a restart, and none of a schedule that was removed.
    bench.does(set("b", "* * * * * *", Overlap::Allow));
    bench.does(Record::ScheduleRemoved(name("b")));
    let rows = Arc::new(MemoryRows::default());
    rows.keep(&bench.ledger.drain_changes());
    let mut loaded = Ledger::load(rows, bench.ledger.applied()).unwrap();
    assert_eq!(faces(&loaded), faces(&bench.ledger));
    assert_eq!(loaded.digest(), bench.ledger.digest());
}
