//! Cores and memory: never more is placed than there is, what ended is given back to the byte, and who has no node
//! is told why.

use super::*;
use relais_protocol::node::NodeChange;
use relais_protocol::spec::{OnDisconnect, Placement, Requires};
use std::collections::BTreeMap;

const GIB: u64 = 1 << 30;

fn sized(node: u32, incarnation: u64, slots: u32, cpu_millis: u32, memory_bytes: u64) -> Record {
    let labels = BTreeMap::from([("zone".to_owned(), format!("z{node}"))]);
    let facts = NodeFacts { name: format!("n{node}"), slots, cpu_millis, memory_bytes, labels, ..NodeFacts::default() };
    Record::NodeUp { node: NodeId(node), incarnation: Incarnation(incarnation), facts: Box::new(facts) }
}

fn asks(slots: u32, cpu_millis: u32, memory_bytes: u64) -> JobOptions {
    JobOptions {
        requires: Requires { slots, cpu_millis, memory_bytes, ..Requires::default() },
        ..JobOptions::default()
    }
}

fn packed(slots: u32) -> JobOptions {
    JobOptions { placement: Placement::Pack, ..asks(slots, 0, 0) }
}

fn labelled(key: &str, value: &str) -> JobOptions {
    let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    JobOptions { requires: Requires { labels, ..Requires::default() }, ..JobOptions::default() }
}

fn set_slots(node: u32, slots: Option<u32>) -> Record {
    Record::NodeSet(Box::new(NodeChange { node: NodeId(node), slots: Some(slots), ..NodeChange::default() }))
}

fn set_label(node: u32, key: &str, value: Option<&str>) -> Record {
    let labels = BTreeMap::from([(key.to_owned(), value.map(str::to_owned))]);
    Record::NodeSet(Box::new(NodeChange { node: NodeId(node), labels, ..NodeChange::default() }))
}

/// A record about room, by three numbers: a job that asks for something, a node that is set, or one that comes back
/// larger or smaller.
pub(super) fn record_of(job: u128, node: u8, number: u16) -> Record {
    let part = u64::from(number % 5);
    match number % 9 {
        0 => set_slots(node.into(), (number % 2 == 0).then_some(u32::from(number % 4))),
        1 => set_label(node.into(), "zone", (number % 2 == 0).then_some("z2")),
        2 => sized(node.into(), 1, 1 + u32::from(number % 3), 1_000 * u32::from(number % 4), part * GIB),
        _ => {
            let requires = Requires {
                slots: 1 + u32::from(number % 3 == 0),
                cpu_millis: 250 * u32::from(number % 7),
                memory_bytes: part * GIB / 2,
                labels: if number % 8 == 0 { BTreeMap::from([("zone".into(), "z2".into())]) } else { BTreeMap::new() },
                ..Requires::default()
            };
            let on_disconnect = if number % 2 == 0 { OnDisconnect::Stop } else { OnDisconnect::Continue };
            let placement = if number % 4 == 0 { Placement::Pack } else { Placement::Spread };
            let options = JobOptions { requires, on_disconnect, placement, ..JobOptions::default() };
            submit(job + u128::from(number) * 1_000, options)
        }
    }
}

/// Something is set of a node on one side of a split.
pub(super) fn set_on(node: u32, side: u128, what: u8) -> Record {
    match what {
        0 => set_slots(node, None),
        1 | 2 => set_slots(node, Some(what.into())),
        _ => set_label(
            node,
            ["a", "b"][usize::from(what % 2)],
            (what > 3).then_some(["w", "x", "y", "z"][side as usize]),
        ),
    }
}

impl Bench {
    /// Three nodes: with 4 slots, 4 cores and 8 GiB, with half of each, and with a quarter.
    fn three() -> Self {
        let mut bench = Self::new(0);
        for node in 2..4 {
            bench.ledger.admit_for_test(NodeId(node));
        }
        for (node, part) in [(1, 1), (2, 2), (3, 4)] {
            bench.does(sized(node, 1, 4 / part, 4_000 / part, 8 * GIB / u64::from(part)));
        }
        bench
    }

    fn node_of(&self, id: u128) -> Option<u32> {
        match self.job(id).state {
            JobState::Running { node, .. } => Some(node.0),
            _ => None,
        }
    }

    /// What runs on a node, counted by the specs of the jobs alone: slots, cores, memory.
    fn counted(&self, node: NodeId) -> (u64, u64, u64) {
        let jobs = self.ledger.running_on(node).map(|(job, _)| self.ledger.job(job).unwrap());
        jobs.fold((0, 0, 0), |(slots, cpu, memory), job| {
            let asks = &job.spec.options().requires;
            (slots + u64::from(asks.slots), cpu + u64::from(asks.cpu_millis), memory + asks.memory_bytes)
        })
    }

    fn why(&self, id: u128) -> String {
        self.ledger.why_it_waits(&self.job(id))
    }
}

#[test]
fn a_node_takes_what_it_has_and_what_ends_is_given_back() {
    let mut bench = Bench::new(0);
    bench.does(sized(1, 1, 8, 2_000, 4 * GIB));
    bench.does(submit(1, asks(1, 1_500, GIB)));
    bench.does(submit(2, asks(1, 501, GIB)));
    bench.does(submit(3, asks(1, 500, 3 * GIB)));
    bench.does(submit(4, asks(1, 0, 1)));
    bench.does(submit(5, asks(1, 0, 0)));
    assert_eq!(bench.running(), [1, 3, 5], "what asks for nothing takes a slot alone");
    assert_eq!(bench.why(2), "it is next; no node that fits has 0.501 cores free; the most is 0 cores");
    assert_eq!(
        bench.why(4),
        "1 job is ahead of it in queue `default`; no node that fits has 1 B of memory free; the most is 0 B"
    );
    bench.succeeds(3);
    assert_eq!(bench.running(), [1, 4, 5], "job 2 lacks a thousandth of a core");
    bench.succeeds(1);
    assert_eq!(bench.running(), [2, 4, 5]);
    [2, 4, 5].into_iter().for_each(|id| bench.succeeds(id));
    assert_eq!(bench.counted(NodeId(1)), (0, 0, 0));
    bench.does(submit(6, asks(8, 2_000, 4 * GIB)));
    assert_eq!(bench.node_of(6), Some(1), "all of it is free again");
}

#[test]
fn who_fits_nowhere_is_told_what_is_missing() {
    let mut bench = Bench::three();
    let table = [
        (asks(1, 0, 64 * GIB), "no online node has 64 GiB of memory; the largest has 8 GiB; it is next"),
        (asks(1, 4_500, 0), "no online node has 4.5 cores; the largest has 4 cores; 1 job is ahead"),
        (asks(5, 0, 0), "no online node has 5 slots; the largest has 4 slots; 2 jobs are ahead"),
        (labelled("gpu", "yes"), "no online node has label gpu=yes; 3 jobs are ahead"),
        (
            JobOptions { requires: Requires { cpu_millis: 3_000, ..labelled("zone", "z2").requires }, ..asks(1, 0, 0) },
            "no online node with zone=z2 has 3 cores; the largest has 2 cores; 4 jobs are ahead",
        ),
    ];
    for (id, (options, why)) in (1u128..).zip(table) {
        bench.does(submit(id, options));
        assert_eq!(bench.state(id), StateName::Queued);
        assert!(bench.why(id).starts_with(why), "{} is not {why}", bench.why(id));
    }
    bench.does(Record::Drain { node: NodeId(1), on: true });
    bench.does(submit(9, asks(4, 0, 0)));
    let why = "no online node has 4 slots; the largest has 2 slots; n1 could hold it, but is asked to take no new jobs";
    assert!(bench.why(9).starts_with(why), "{}", bench.why(9));
    bench.does(sized(2, 1, 9, 1_000, GIB));
    bench.does(submit(10, asks(6, 1_500, 0)));
    assert!(bench.why(10).starts_with("no online node has 1.5 cores; the largest has 1 core"), "{}", bench.why(10));
    bench.does(sized(3, 1, 1, 8_000, GIB));
    let why = "no online node has 6 slots and 1.5 cores at once";
    assert!(bench.why(10).starts_with(why), "{}", bench.why(10));
}

#[test]
fn spread_takes_the_emptiest_node_and_pack_the_fullest_that_fits() {
    let mut bench = Bench::three();
    (1..=3).for_each(|id| drop(bench.does(submit(id, JobOptions::default()))));
    assert_eq!([1, 2, 3].map(|id| bench.node_of(id)), [Some(1), Some(2), Some(3)], "one each");
    let mut bench = Bench::three();
    (1..=5).for_each(|id| drop(bench.does(submit(id, packed(1)))));
    assert_eq!([1, 2, 3, 4, 5].map(|id| bench.node_of(id)), [Some(1), Some(1), Some(1), Some(1), Some(2)]);
    bench.does(submit(6, packed(2)));
    assert_eq!(bench.node_of(6), None, "no node has 2 slots left");
    // What is full of memory counts as full, whatever its slots say.
    let mut bench = Bench::three();
    bench.does(submit(1, asks(1, 0, 7 * GIB)));
    bench.does(submit(2, asks(1, 0, GIB)));
    assert_eq!((bench.node_of(1), bench.node_of(2)), (Some(1), Some(2)));
    bench.does(submit(3, JobOptions { placement: Placement::Pack, ..asks(1, 0, GIB) }));
    assert_eq!(bench.node_of(3), Some(1));
}

#[test]
fn the_node_that_failed_it_last_is_left_alone_if_another_fits() {
    let mut bench = Bench::three();
    let retry = RetryPolicy { max_attempts: 5, initial_interval_ms: 0, ..RetryPolicy::default() };
    for (id, placement) in [(1, Placement::Spread), (2, Placement::Pack)] {
        bench.does(submit(id, JobOptions { retry: retry.clone(), placement, ..asks(1, 0, 0) }));
        let first = bench.node_of(id);
        let fence = bench.fence(id);
        bench.does(finish(id, fence, AttemptOutcome::Failed));
        assert!(first.is_some() && bench.node_of(id) != first, "{id} went to {first:?} twice");
    }
    bench.does(submit(3, JobOptions { retry, ..asks(1, 3_500, 0) }));
    let fence = bench.fence(3);
    bench.does(finish(3, fence, AttemptOutcome::Failed));
    assert_eq!(bench.node_of(3), Some(1), "there is no other");
}

#[test]
fn what_is_set_of_a_node_holds_at_once_and_when_it_starts_again() {
    let mut bench = Bench::new(1);
    (1..=3).for_each(|id| drop(bench.does(submit(id, JobOptions::default()))));
    assert_eq!(bench.running(), [1]);
    bench.does(set_slots(1, Some(2)));
    assert_eq!(bench.running(), [1, 2], "in the same entry");
    bench.does(set_slots(1, Some(0)));
    assert_eq!(bench.running(), [1, 2], "what runs goes on");
    bench.succeeds(1);
    assert_eq!(bench.running(), [2]);
    let mut bench = bench.reloaded();
    bench.does(up(1, 2, 5));
    assert_eq!((bench.ledger.node(NodeId(1)).unwrap().slots(), bench.running()), (0, vec![]));
    bench.does(set_slots(1, None));
    assert_eq!(bench.running(), [2, 3], "as it was started: 5");
    bench.does(submit(4, labelled("gpu", "yes")));
    assert_eq!(bench.state(4), StateName::Queued);
    bench.does(set_label(1, "gpu", Some("yes")));
    assert_eq!(bench.state(4), StateName::Running);
    let unknown = bench.does(set_slots(9, Some(1)));
    assert_eq!(unknown, Outcome::Refused(Refusal::NoSuchNode));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Counted by the specs alone: a start never takes a node above what it has, however nodes shrink and grow
    /// meanwhile, and when all has ended nothing is in use.
    #[test]
    fn nothing_is_placed_beyond_what_a_node_has(
        steps in proptest::collection::vec((0u8..8, 0u8..12, 1u8..4, 0u16..900), 1..100),
    ) {
        let mut bench = Bench::three();
        for (what, id, node, number) in steps {
            let running = bench.running();
            let job = running.get(usize::from(id)).copied();
            let record = match (what, job) {
                (0..=3, _) => record_of(id.into(), node, number),
                (4, _) => Record::NodeStanding {
                    node: NodeId(node.into()),
                    incarnation: bench.ledger.node(NodeId(node.into())).unwrap().incarnation,
                    standing: if number % 2 == 0 { Standing::Offline } else { Standing::Suspect },
                },
                (_, Some(job)) => finish(job, bench.fence(job), AttemptOutcome::Succeeded),
                (_, None) => Record::Tick,
            };
            bench.index += 1;
            bench.now += 10;
            let batch = bench.batch(vec![record]);
            let effects = bench.ledger.apply_batch(Index(bench.index), batch);
            bench.ledger.check_invariants().unwrap();
            for event in effects.events {
                let Event::Started { job, node, .. } = event else { continue };
                let row = bench.ledger.node(node).unwrap();
                let (slots, cpu, memory) = bench.counted(node);
                let asks = bench.ledger.job(job).unwrap().spec.options().requires.clone();
                prop_assert!(slots <= u64::from(row.slots()), "{job} on {node}: {slots} of {} slots", row.slots());
                prop_assert!(asks.cpu_millis == 0 || cpu <= u64::from(row.facts.cpu_millis), "{job} on {node}: {cpu}");
                prop_assert!(asks.memory_bytes == 0 || memory <= row.facts.memory_bytes, "{job} on {node}: {memory}");
            }
            if number % 10 == 0 {
                bench = bench.reloaded();
            }
        }
        for node in 1..4 {
            bench.does(Record::Drain { node: NodeId(node), on: true });
        }
        for id in bench.running() {
            bench.succeeds(id);
        }
        for node in (1..4).map(NodeId) {
            prop_assert_eq!(bench.ledger.nodes.used(node), super::super::load::Load::default());
        }
    }
}
