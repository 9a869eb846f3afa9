//! Ended jobs are forgotten by age and by number; what is still needed stays.

use super::*;
use relais_protocol::spec::{Condition, Dependency, OnConflict, Unique};

/// Jobs 1 to `count`, each ended a second after the one before, and nothing since for so long that none of them is
/// sent again.
fn ended(count: u128) -> Bench {
    let mut bench = Bench::new(1);
    for id in 1..=count {
        bench.now += 1_000;
        bench.does(submit(id, JobOptions::default()));
        let fence = bench.fence(id);
        bench.does(finish(id, fence, AttemptOutcome::Succeeded));
    }
    bench.now += 20_000;
    bench
}

fn there(bench: &Bench) -> Vec<u128> {
    let jobs = bench.ledger.jobs_between(JobId(0), JobId(u128::MAX), usize::MAX);
    jobs.iter().rev().map(|job| job.id.0).collect()
}

/// Sets the number of ended jobs that are kept, so that this many are too many.
fn keep_all_but(bench: &mut Bench, count: u64) {
    let kept = bench.ledger.ended_count().saturating_sub(count).max(1);
    bench.does(Record::Setting { key: "retention_count".into(), value: kept.to_string() });
}

fn forget(bench: &mut Bench, from: u128, before: u64, surplus: u32) -> (u32, Option<u128>) {
    keep_all_but(bench, surplus.into());
    let record = Record::Forget { from: JobId(from), before: UnixMs(before), surplus };
    match bench.does(record) {
        Outcome::Forgot { count, next } => (count, next.map(|id| id.0)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_ended_long_ago_goes_and_the_newer_stays() {
    let mut bench = ended(10);
    assert!(bench.ledger.has_to_forget(UnixMs(bench.now), UnixMs(5_500)));
    // The clock began at 1,000: job n ended at 1,000 + n × 1,000.
    assert_eq!(forget(&mut bench, 0, 5_500, 0), (4, None));
    assert_eq!(there(&bench), [5, 6, 7, 8, 9, 10]);
    assert!(!bench.ledger.has_to_forget(UnixMs(bench.now), UnixMs(5_500)));
    assert_eq!((forget(&mut bench, 0, 0, 2), there(&bench)), ((2, None), vec![7, 8, 9, 10]));
    assert_eq!(bench.ledger.ended_count(), 4);
}

#[test]
fn a_step_is_bounded_and_says_where_to_go_on() {
    let mut bench = ended(2_100);
    let all = bench.now + 1;
    assert_eq!(forget(&mut bench, 0, all, 0), (1_000, Some(1_001)));
    assert_eq!(forget(&mut bench, 1_001, all, 0), (1_000, Some(2_001)));
    assert_eq!(forget(&mut bench, 2_001, all, 0), (100, None));
    assert!(there(&bench).is_empty());
}

#[test]
fn what_has_not_ended_is_needed_or_has_a_key_that_stands_is_kept() {
    let mut bench = ended(1);
    bench.does(submit(2, JobOptions { idempotency_key: Some("k".into()), ..JobOptions::default() }));
    let fence = bench.fence(2);
    bench.does(finish(2, fence, AttemptOutcome::Succeeded));
    bench.does(submit(3, JobOptions::default()));
    let on = |job| Dependency { job: JobId(job), on: Condition::Succeeded };
    bench.does(submit(4, JobOptions { depends_on: vec![on(1), on(3)], ..JobOptions::default() }));
    bench.now += 10_000;
    let all = bench.now;
    assert_eq!(forget(&mut bench, 0, all, 9), (0, None));
    assert_eq!(there(&bench), [1, 2, 3, 4]);
    let fence = bench.fence(3);
    bench.does(finish(3, fence, AttemptOutcome::Succeeded));
    assert_eq!(forget(&mut bench, 0, all, 0), (1, None));
    // A day later the key says nothing any more, and the job under it can go.
    bench.now += 25 * 3_600_000;
    let all = bench.now;
    assert_eq!((forget(&mut bench, 0, all, 0), there(&bench)), ((2, None), vec![4]));
}

#[test]
fn replicas_forget_the_same_whether_they_checkpoint_or_not() {
    let mut bench = ended(30);
    let rows = Arc::new(MemoryRows::default());
    keep_all_but(&mut bench, 10);
    rows.keep(&bench.ledger.drain_changes());
    let mut other = Ledger::load(rows, bench.ledger.applied()).unwrap();
    let batch = bench.batch(vec![Record::Forget { from: JobId(0), before: UnixMs(9_000), surplus: 10 }]);
    bench.index += 1;
    let effects = bench.ledger.apply_batch(Index(bench.index), batch.clone());
    assert_eq!(effects.events.iter().filter(|event| matches!(event, Event::Forgotten(_))).count(), 10);
    other.apply_batch(Index(bench.index), batch);
    assert_eq!(bench.ledger.digest(), other.digest());
}

#[test]
fn a_queue_keeps_what_is_set_of_it() {
    let mut bench = ended(10);
    let all = bench.now;
    // Nothing is too old by the cluster's setting, two thirds are by the queue's.
    bench.does(super::queues::set("default", |config| config.retention.age_ms = Some(23_500)));
    assert!(bench.ledger.has_to_forget(UnixMs(all), UnixMs(0)));
    assert_eq!((forget(&mut bench, 0, 0, 0), there(&bench)), ((6, None), vec![7, 8, 9, 10]));
    bench.does(super::queues::set("default", |config| config.retention.count = Some(1)));
    assert_eq!((forget(&mut bench, 0, 0, 0), there(&bench)), ((3, None), vec![10]));
    assert!(!bench.ledger.has_to_forget(UnixMs(all), UnixMs(0)));
}

#[test]
fn what_goes_by_its_age_makes_the_rest_less() {
    let mut bench = ended(10);
    // Ten are there and six are to stay: the four that are too old are these four.
    assert_eq!((forget(&mut bench, 0, 5_500, 4), there(&bench)), ((4, None), vec![5, 6, 7, 8, 9, 10]));
    assert_eq!((forget(&mut bench, 0, 6_500, 3), there(&bench)), ((3, None), vec![8, 9, 10]));
    // The first that came ended last: it is not one too many, since the other two are too old.
    let mut bench = Bench::new(3);
    (1..=3).for_each(|id| drop(bench.does(submit(id, JobOptions::default()))));
    for id in [2, 3, 1] {
        bench.now += 1_000;
        let fence = bench.fence(id);
        bench.does(finish(id, fence, AttemptOutcome::Succeeded));
    }
    let before = bench.now;
    bench.now += 20_000;
    assert_eq!((forget(&mut bench, 0, before, 1), there(&bench)), ((2, None), vec![1]));
}

#[test]
fn no_more_go_than_are_too_many_when_it_is_applied() {
    let mut bench = ended(10);
    keep_all_but(&mut bench, 3);
    let step = || Record::Forget { from: JobId(0), before: UnixMs(0), surplus: 3 };
    // The same step comes twice, as after an answer that was lost; and once more for one that is too many by then.
    assert_eq!(bench.does(step()), Outcome::Forgot { count: 3, next: None });
    assert_eq!(bench.does(step()), Outcome::Forgot { count: 0, next: None });
    keep_all_but(&mut bench, 1);
    assert_eq!(bench.does(step()), Outcome::Forgot { count: 1, next: None });
    assert_eq!(there(&bench), [5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_needed_job_is_not_one_of_those_that_are_too_many() {
    let mut bench = ended(3);
    let on = |job| Dependency { job: JobId(job), on: Condition::Succeeded };
    bench.does(submit(4, JobOptions::default()));
    bench.does(submit(5, JobOptions { depends_on: vec![on(1), on(4)], ..JobOptions::default() }));
    assert_eq!((forget(&mut bench, 0, 0, 1), there(&bench)), ((1, None), vec![1, 3, 4, 5]));
}

#[test]
fn what_came_just_now_may_come_again_under_its_id() {
    let mut bench = ended(1);
    bench.does(submit(2, JobOptions::default()));
    let fence = bench.fence(2);
    bench.does(finish(2, fence, AttemptOutcome::Succeeded));
    assert_eq!((forget(&mut bench, 0, u64::MAX, 2), there(&bench)), ((1, None), vec![2]));
    let again = bench.does(submit(2, JobOptions::default()));
    assert!(matches!(again, Outcome::Submitted { deduplicated: true, .. }), "{again:?}");
    bench.now += 10_000;
    assert!(bench.ledger.has_to_forget(UnixMs(bench.now), UnixMs(u64::MAX)));
    assert_eq!(forget(&mut bench, 0, u64::MAX, 0), (1, None));
}

#[test]
fn a_unique_key_that_stands_for_a_while_keeps_its_job() {
    let mut bench = Bench::new(1);
    let unique = Unique { key: "k".into(), for_ms: Some(60_000), on_conflict: OnConflict::Return };
    let options = JobOptions { unique: Some(unique), ..JobOptions::default() };
    bench.does(submit(1, options.clone()));
    let fence = bench.fence(1);
    bench.does(finish(1, fence, AttemptOutcome::Succeeded));
    bench.now += 30_000;
    assert_eq!(forget(&mut bench, 0, u64::MAX, 1), (0, None));
    let same = bench.does(submit(2, options.clone()));
    assert!(matches!(same, Outcome::Submitted { id: JobId(1), deduplicated: true, .. }), "{same:?}");
    bench.now += 30_000;
    assert_eq!(forget(&mut bench, 0, u64::MAX, 0), (1, None));
    let next = bench.does(submit(2, options));
    assert!(matches!(next, Outcome::Submitted { id: JobId(2), deduplicated: false, .. }), "{next:?}");
}
