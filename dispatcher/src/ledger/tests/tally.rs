//! What is counted of what was applied.

use super::*;

fn gone() -> Record {
    Record::NodeStanding { node: NodeId(1), incarnation: Incarnation(1), standing: Standing::Offline }
}

#[test]
fn each_end_is_counted_once_with_its_times() {
    let mut bench = Bench::new(1);
    let retry = RetryPolicy { max_attempts: 2, ..RetryPolicy::default() };
    bench.does(submit(1, JobOptions { retry, ..JobOptions::default() }));
    bench.does(submit(2, JobOptions::default()));
    bench.does(submit(3, JobOptions { expires_at: Some(UnixMs(bench.now + 50)), ..JobOptions::default() }));
    let first = bench.fence(1);
    bench.now += 40;
    bench.does(finish(1, first, AttemptOutcome::Failed));
    assert_eq!(bench.state(2), StateName::Running, "it waited 40 ms");
    bench.now += 200;
    bench.does(finish(2, bench.fence(2), AttemptOutcome::Succeeded));
    bench.does(finish(2, bench.fence(2), AttemptOutcome::Succeeded));
    bench.does(Record::Cancel { job: JobId(1), reason: String::new() });
    let tally = *bench.ledger.tally();
    assert_eq!(tally.jobs, [1, 0, 1, 1], "succeeded, failed, cancelled, expired");
    assert_eq!(tally.attempts, [1, 1, 0, 0, 0]);
    assert_eq!((tally.waited.count, tally.waited.sum_ms), (2, 40));
    assert_eq!((tally.ran.count, tally.ran.sum_ms), (2, 240));
    let place = |ms| BOUNDS_MS.iter().position(|bound| *bound == ms).unwrap();
    assert_eq!((tally.ran.within[place(50)], tally.ran.within[place(250)]), (1, 1));
    assert_eq!(tally.refused_ends, 1, "an end that was told twice");
}

#[test]
fn a_node_is_given_up_once_and_a_loss_stays_one() {
    let mut bench = Bench::new(1);
    bench.does(submit(1, JobOptions::default()));
    let fence = bench.fence(1);
    bench.does(gone());
    bench.does(gone());
    bench.does(finish(1, fence, AttemptOutcome::Succeeded));
    let tally = bench.ledger.tally();
    assert_eq!((tally.leases_ended, tally.attempts), (1, [0, 0, 0, 0, 1]));
    assert_eq!(tally.jobs, [1, 0, 0, 0]);
}

#[test]
fn what_is_applied_again_is_not_counted_and_a_load_keeps_the_counts() {
    let mut bench = Bench::new(1);
    bench.ledger.count_from(UnixMs(bench.now + 10));
    bench.does(submit(1, JobOptions::default()));
    bench.does(finish(1, bench.fence(1), AttemptOutcome::Succeeded));
    assert_eq!(bench.ledger.tally().jobs, [0; 4], "stamped before");
    bench.now += 10;
    bench.does(submit(2, JobOptions::default()));
    bench.does(finish(2, bench.fence(2), AttemptOutcome::Failed));
    assert_eq!(bench.ledger.tally().jobs, [0, 1, 0, 0]);
    let mut loaded = Ledger::new(Arc::new(MemoryRows::default()));
    loaded.count_on(&bench.ledger);
    assert_eq!(loaded.tally(), bench.ledger.tally());
}
