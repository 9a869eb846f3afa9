//! Unique keys: one job at a time, what a conflict comes to, what frees a key, and splits that heal.

use super::joins::sides;
use super::*;
use relais_protocol::spec::{OnConflict, Unique};

fn unique(on_conflict: OnConflict, for_ms: Option<u64>) -> JobOptions {
    let unique = Some(Unique { key: "u".into(), for_ms, on_conflict });
    JobOptions { unique, ..JobOptions::default() }
}

fn made(outcome: &Outcome) -> Option<(u128, bool)> {
    match outcome {
        Outcome::Submitted { id, deduplicated, .. } => Some((id.0, *deduplicated)),
        _ => None,
    }
}

#[test]
fn one_key_is_one_job_until_it_has_ended() {
    let mut bench = Bench::new(1);
    let once = || unique(OnConflict::Return, None);
    assert_eq!(made(&bench.does(submit(1, once()))), Some((1, false)));
    for id in 2..100 {
        assert_eq!(made(&bench.does(submit(id, once()))), Some((1, true)));
    }
    let reject = bench.does(submit(100, unique(OnConflict::Reject, None)));
    assert_eq!(reject, Outcome::Refused(Refusal::UniqueHeld(JobId(1))));
    assert_eq!(bench.ledger.counts().iter().sum::<u64>(), 1);
    let fence = bench.fence(1);
    bench.does(finish(1, fence, AttemptOutcome::Succeeded));
    assert_eq!(made(&bench.does(submit(101, once()))), Some((101, false)));
}

#[test]
fn a_key_with_a_window_outlives_its_job_but_not_its_cancel() {
    let mut bench = Bench::new(1);
    let hour = || unique(OnConflict::Return, Some(3_600_000));
    bench.does(submit(1, hour()));
    let fence = bench.fence(1);
    bench.does(finish(1, fence, AttemptOutcome::Succeeded));
    assert_eq!(made(&bench.does(submit(2, hour()))), Some((1, true)));
    bench.now += 3_600_000;
    bench.does(Record::Audit);
    assert_eq!(made(&bench.does(submit(3, hour()))), Some((3, false)));
    bench.does(submit(4, JobOptions::default()));
    let fence = bench.fence(3);
    bench.does(Record::Cancel { job: JobId(3), reason: String::new() });
    bench.does(finish(3, fence, AttemptOutcome::Cancelled));
    assert_eq!(made(&bench.does(submit(5, hour()))), Some((5, false)));
    bench.does(Record::Cancel { job: JobId(5), reason: String::new() });
    bench.does(Record::Delete { job: JobId(5) });
    assert_eq!(made(&bench.does(submit(6, hour()))), Some((6, false)));
}

#[test]
fn a_replacement_cancels_what_waits_and_asks_what_runs_to_stop() {
    let mut bench = Bench::new(1);
    let newest = || unique(OnConflict::Replace, None);
    bench.does(submit(1, newest()));
    assert_eq!(made(&bench.does(submit(2, newest()))), Some((2, false)));
    let first = bench.ledger.job(JobId(1)).unwrap();
    assert_eq!((first.state.name(), first.replaced_by), (StateName::Running, Some(JobId(2))));
    assert!(first.cancel.unwrap().reason.contains("replaced by job"));
    bench.does(submit(3, newest()));
    assert_eq!((bench.state(2), bench.state(3)), (StateName::Cancelled, StateName::Queued));
    let fence = bench.fence(1);
    bench.does(finish(1, fence, AttemptOutcome::Cancelled));
    assert_eq!(bench.state(3), StateName::Running);
    let again = bench.does(Record::Retry { job: JobId(2) });
    assert_eq!(again, Outcome::Refused(Refusal::UniqueHeld(JobId(3))), "run again it would be a second one");
    let fence = bench.fence(3);
    bench.does(finish(3, fence, AttemptOutcome::Succeeded));
    assert_eq!(bench.does(Record::Retry { job: JobId(2) }), Outcome::Done);
    assert_eq!(made(&bench.does(submit(4, unique(OnConflict::Return, None)))), Some((2, true)));
}

#[test]
fn a_repeat_under_one_idempotency_key_is_known_by_that_first() {
    let mut bench = Bench::new(1);
    let both = |key: &str| JobOptions { idempotency_key: Some(key.into()), ..unique(OnConflict::Reject, None) };
    bench.does(submit(1, both("k")));
    assert_eq!(made(&bench.does(submit(2, both("k")))), Some((1, true)));
    assert_eq!(bench.does(submit(3, both("other"))), Outcome::Refused(Refusal::UniqueHeld(JobId(1))));
}

#[test]
fn a_key_that_both_sides_gave_is_the_first_jobs_and_the_other_is_its_alias() {
    let [mut a, mut b] = sides(&[], [&[], &[]]);
    for bench in [&mut a, &mut b] {
        bench.does(Record::Drain { node: NodeId(1), on: true });
        bench.does(Record::Drain { node: NodeId(2), on: true });
    }
    a.does(submit(11, unique(OnConflict::Return, None)));
    b.does(submit(12, unique(OnConflict::Return, None)));
    let merged = b.merges(&a);
    assert_eq!(merged.aliases, 1);
    let later = b.ledger.job(JobId(12)).unwrap();
    assert_eq!((later.state.name(), later.alias_of), (StateName::Cancelled, Some(JobId(11))));
    assert_eq!(b.ledger.unique_holder("u").map(|job| job.id), Some(JobId(11)));
    b.ledger.check_invariants().unwrap();
}

#[test]
fn a_key_that_was_freed_on_one_side_is_not_taken_from_who_has_it_now() {
    let build = || {
        let mut bench = Bench::pair();
        bench.does(submit(1, unique(OnConflict::Return, None)));
        bench
    };
    let (mut a, mut b) = (build(), build());
    let common = a.index;
    let fence = a.fence(1);
    a.takes_over(1, 5, relais_protocol::history::Side::Odd, common);
    b.takes_over(2, 6, relais_protocol::history::Side::Even, common);
    a.does(finish(1, fence, AttemptOutcome::Succeeded));
    a.does(submit(21, unique(OnConflict::Return, None)));
    b.does(Record::Cancel { job: JobId(1), reason: String::new() });
    b.merges(&a);
    assert_eq!(b.ledger.unique_holder("u").map(|job| job.id), Some(JobId(21)), "job 1 has ended there");
    assert_eq!(b.ledger.job(JobId(21)).unwrap().alias_of, None);
}
