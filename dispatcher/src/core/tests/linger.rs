//! Tests of the wait for more proposals after a batch of many.

use super::*;

fn ask(n: u64) -> Input {
    let (kind, queue, payload) = ("noop".into(), QueueName::default(), "{}".into());
    let spec = JobSpec { kind, queue, priority: 50, payload, options: None };
    let submit = Submit { id: JobId(u128::from(n)), spec, body_hash: 0, submitted_by: String::new() };
    Input::Propose(Ticket(n), vec![Record::Submit(Box::new(submit))])
}

/// A core whose first batch, of one, is in flight, with `waiting` proposals behind it; the batch that its
/// commitment sends off. What is told of is counted in `replies`.
fn second_batch(bench: &mut Bench, waiting: u64) -> Batch {
    let now = bench.now();
    let first = bench.core.handle(now, &bench.ledger, ask(100));
    for n in 101..101 + waiting {
        assert!(bench.core.handle(now, &bench.ledger, ask(n)).is_empty());
    }
    let second = commit_first(bench, first);
    proposed(second).expect("what waited goes at once: only one was told")
}

fn commit_first(bench: &mut Bench, effects: Vec<Effect>) -> Vec<Effect> {
    let batch = proposed(effects).expect("a batch");
    let committed = bench.commit(batch);
    bench.core.handle(bench.now(), &bench.ledger, Input::Committed(committed))
}

fn proposed(effects: Vec<Effect>) -> Option<Batch> {
    effects.into_iter().find_map(|effect| match effect {
        Effect::Propose(batch) => Some(batch),
        _ => None,
    })
}

fn lingering() -> Bench {
    let mut bench = Bench::new();
    bench.core.config.linger_ms = 1;
    bench
}

#[test]
fn after_a_batch_of_many_the_next_waits_until_all_have_asked_again() {
    let mut bench = lingering();
    let batch = second_batch(&mut bench, 10);
    bench.core.handle(bench.now(), &bench.ledger, ask(200));
    let committed = bench.commit(batch);
    let told = bench.core.handle(bench.now(), &bench.ledger, Input::Committed(committed));
    assert_eq!(told.iter().filter(|effect| matches!(effect, Effect::Reply(..))).count(), 10);
    assert!(bench.core.lingers() && proposed(told).is_none());
    for n in 201..210 {
        let effects = bench.core.handle(bench.now(), &bench.ledger, ask(n));
        assert!(proposed(effects).is_none(), "{n}");
    }
    let effects = bench.core.handle(bench.now(), &bench.ledger, ask(210));
    assert_eq!(proposed(effects).expect("all are there").records.len(), 11);
    assert!(!bench.core.lingers());
}

#[test]
fn it_waits_no_longer_than_it_may() {
    let mut bench = lingering();
    let batch = second_batch(&mut bench, 10);
    bench.core.handle(bench.now(), &bench.ledger, ask(200));
    let committed = bench.commit(batch);
    bench.core.handle(bench.now(), &bench.ledger, Input::Committed(committed));
    bench.ms += 1;
    let effects = bench.core.handle(bench.now(), &bench.ledger, Input::Voters(3));
    assert_eq!(proposed(effects).expect("its time is over").records.len(), 1);
}

#[test]
fn a_few_do_not_wait_and_nobody_does_where_it_is_off() {
    let mut bench = lingering();
    let batch = second_batch(&mut bench, 7);
    bench.core.handle(bench.now(), &bench.ledger, ask(200));
    let committed = bench.commit(batch);
    let told = bench.core.handle(bench.now(), &bench.ledger, Input::Committed(committed));
    assert!(proposed(told).is_some());
    let mut bench = Bench::new();
    let batch = second_batch(&mut bench, 20);
    bench.core.handle(bench.now(), &bench.ledger, ask(200));
    let committed = bench.commit(batch);
    let told = bench.core.handle(bench.now(), &bench.ledger, Input::Committed(committed));
    assert!(proposed(told).is_some());
}
