//! When the dispatcher proposes to forget what has ended.

use super::*;

fn set(bench: &mut Bench, key: &str, value: &str) {
    let record = Record::Setting { key: key.into(), value: value.into() };
    bench.input(Input::Propose(Ticket(77), vec![record]));
}

/// Lets so many ms pass, in ticks.
fn wait(bench: &mut Bench, ms: u64) {
    for _ in 0..ms / 20 {
        bench.ms += 20;
        bench.report(1, vec![], vec![]);
        bench.input(Input::Tick);
    }
}

fn end(bench: &mut Bench, id: u128) {
    bench.submit(id);
    bench.input(Input::Propose(Ticket(78), vec![Record::Cancel { job: JobId(id), reason: String::new() }]));
}

#[test]
fn ended_jobs_go_when_their_time_is_over_and_an_idle_record_is_left_alone() {
    let mut bench = Bench::new();
    // No slot: a job waits, and its cancel ends it.
    bench.slots = 0;
    bench.report(1, vec![], vec![]);
    set(&mut bench, "retention", "15s");
    end(&mut bench, 1);
    wait(&mut bench, 9_000);
    end(&mut bench, 2);
    assert!(bench.ledger.job(JobId(1)).is_some());
    wait(&mut bench, 9_000);
    assert!(bench.ledger.job(JobId(1)).is_none(), "its time was over");
    assert!(bench.ledger.job(JobId(2)).is_some());
    wait(&mut bench, 12_000);
    assert!(bench.ledger.job(JobId(2)).is_none());
    let index = bench.index;
    wait(&mut bench, 10_000);
    assert_eq!(bench.index, index, "nothing is written when there is nothing to forget");
}

#[test]
fn what_is_too_many_goes_oldest_first() {
    let mut bench = Bench::new();
    bench.slots = 0;
    bench.report(1, vec![], vec![]);
    for id in 1..=6 {
        end(&mut bench, id);
    }
    set(&mut bench, "retention_count", "4");
    set(&mut bench, "retention", "60s");
    wait(&mut bench, 2_000);
    assert!(bench.ledger.job(JobId(1)).is_some(), "it may be sent again");
    wait(&mut bench, 12_000);
    assert!(bench.ledger.job(JobId(2)).is_none());
    assert!(bench.ledger.job(JobId(3)).is_some());
    assert_eq!(bench.ledger.ended_count(), 4);
}
