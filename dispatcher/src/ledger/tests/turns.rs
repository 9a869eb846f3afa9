//! Whose turn it is: between queues by their weights, within one by priority and age.

use super::queues::{pause, set, submit_to};
use super::*;

#[test]
fn the_least_served_queue_is_next_by_its_weight() {
    let mut bench = Bench::new(1);
    bench.does(set("a", |config| config.weight = 3));
    bench.does(pause("a", true));
    bench.does(pause("b", true));
    for id in 0..200u128 {
        bench.does(submit_to(if id % 2 == 0 { "a" } else { "b" }, 50, id + 1, JobOptions::default()));
    }
    bench.does(pause("a", false));
    bench.does(pause("b", false));
    let mut served = Vec::new();
    for round in 0..80 {
        let id = bench.running()[0];
        served.push(id % 2 == 1);
        bench.succeeds(id);
        if round == 40 {
            bench = bench.reloaded();
        }
    }
    let of_a = |range: &[bool]| range.iter().filter(|is_a| **is_a).count();
    assert!((58..=62).contains(&of_a(&served)), "{} of 80 were of the queue of weight 3", of_a(&served));
    assert!(served.chunks(8).all(|part| (5..=7).contains(&of_a(part))), "not evenly: {served:?}");
}

#[test]
fn a_queue_that_wanted_nothing_has_saved_nothing_up() {
    let mut bench = Bench::new(1);
    for id in 1..=100 {
        bench.does(submit_to(["a", "b"][usize::from(id > 50)], 50, id, JobOptions::default()));
    }
    for _ in 0..60 {
        let id = bench.running()[0];
        bench.succeeds(id);
    }
    for id in 101..=140 {
        bench.does(submit_to("c", 50, id, JobOptions::default()));
    }
    let mut of_c = 0;
    for _ in 0..20 {
        let id = bench.running()[0];
        of_c += u32::from(id > 100);
        bench.succeeds(id);
    }
    assert!((5..=8).contains(&of_c), "{of_c} of 20 among three queues");
}

#[test]
fn a_job_is_overtaken_only_by_those_that_came_within_its_bound() {
    let mut bench = Bench::new(1);
    bench.does(Record::Setting { key: "priority_aging".into(), value: "100ms".into() });
    bench.does(submit_to("a", 50, 1, JobOptions::default()));
    bench.does(submit_to("a", 10, 2, JobOptions::default()));
    let bound = bench.ledger.turn_of(&bench.job(2));
    assert_eq!(bound, UnixMs(bench.now + 9_000));
    for id in 10..15 {
        bench.does(submit_to("a", 90, id, JobOptions::default()));
    }
    let mut next = 15u128;
    // An endless stream of priority 90, always some of it in line.
    while bench.state(2) == StateName::Queued {
        assert!(bench.now <= bound.0 + 500, "it starves");
        bench.now += 50;
        bench.does(submit_to("a", 90, next, JobOptions::default()));
        next += 1;
        let id = bench.running()[0];
        bench.succeeds(id);
    }
    let overtook = (10..next).filter(|id| !bench.job(*id).attempts.is_empty()).map(|id| bench.job(id).created_at).max();
    assert!(overtook.unwrap() < bound && bench.now > 7_000, "{overtook:?} at {}", bench.now);
}

#[test]
fn another_aging_orders_what_waits_anew() {
    let mut bench = Bench::new(1);
    bench.does(submit_to("a", 50, 1, JobOptions::default()));
    bench.does(submit_to("a", 0, 2, JobOptions::default()));
    bench.now += 1_000;
    bench.does(submit_to("a", 100, 3, JobOptions::default()));
    let ahead = |bench: &Bench, id| bench.ledger.waiting(&bench.job(id)).unwrap().ahead;
    assert_eq!((ahead(&bench, 2), ahead(&bench, 3)), (1, 0));
    bench.does(Record::Setting { key: "priority_aging".into(), value: "1ms".into() });
    assert_eq!((ahead(&bench, 2), ahead(&bench, 3)), (0, 1));
    bench = bench.reloaded();
    bench.succeeds(1);
    assert_eq!(bench.running(), [2]);
}
