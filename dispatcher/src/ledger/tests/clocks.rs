//! Two sides whose clocks differ, made into one.

use super::heal::apart;
use super::*;

#[test]
fn what_waits_on_a_side_whose_clock_was_ahead_does_not_wait_for_the_clock_here() {
    let [mut ahead, mut winner] = apart(|_| {});
    ahead.now += 3_600_000;
    ahead.does(submit(7, JobOptions { start: StartTime::After(500), ..JobOptions::default() }));
    winner.merges(&ahead);
    assert_eq!(winner.ledger.now(), ahead.ledger.now());
    winner.now = ahead.now + 500;
    winner.does(Record::Tick);
    assert_ne!(winner.ledger.job(JobId(7)).unwrap().state.name(), StateName::Scheduled);
}
