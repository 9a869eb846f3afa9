//! What is forgotten, paused, held to a rate or bound to a node: rules that are broken are found, and kept ones pass.

use super::*;
use crate::history::{Every, JobFacts, Keeping, KeepingKind};
use relais_protocol::queue::Rate;
use relais_protocol::time::UnixMs;
use std::collections::BTreeSet;

const OTHER: JobId = JobId(9);

/// The right history with a second job that ended at index 8, an entry each second of the ledger's time.
fn kept(h: &mut History) {
    h.stamps = (1..200).map(|n| (Index(n), UnixMs(n * 1_000))).collect();
    h.facts.insert(JOB, JobFacts { created_at: UnixMs(3_000), ..JobFacts::default() });
    h.facts.insert(OTHER, JobFacts { created_at: UnixMs(8_000), ..JobFacts::default() });
    let other = |index, state| Step { job: OTHER, ..step(index, state) };
    h.steps.extend([other(8, StateName::Queued), other(8, StateName::Cancelled)]);
}

fn keeping(h: &History, index: u64, what: KeepingKind) -> Keeping {
    Keeping { index: Index(index), at: At(index * 1_000), steps: h.steps.len(), what }
}

/// The first job, which ended at 7 s, is forgotten at `index`, by what is set.
fn forgets(index: u64, age_ms: u64, before: u64, count: Option<u64>) -> impl Fn(&mut History) {
    move |h: &mut History| {
        kept(h);
        let set = KeepingKind::Set { queue: None, age_ms: Some(age_ms), count };
        h.keeping.push(Keeping { at: At(0), ..keeping(h, 1, set) });
        let jobs = BTreeSet::from([JOB]);
        h.keeping.push(keeping(h, index, KeepingKind::Forgotten { jobs, before: UnixMs(before) }));
        h.finals.clear();
        h.executions.clear();
    }
}

#[test]
fn what_is_forgotten_by_the_rule_may_be_missing() {
    assert_eq!(found(kept), Vec::<&str>::new());
    assert_eq!(found(forgets(60, 50_000, 8_000, None)), Vec::<&str>::new());
    assert_eq!(found(forgets(60, 900_000, 0, Some(1))), Vec::<&str>::new(), "one of two is too many");
    let read = |h: &mut History| {
        forgets(60, 50_000, 8_000, None)(h);
        let (began, ended) = (At(70_000), At(70_001));
        h.reads.push(Read { began, ended, node: NodeId(1), job: JOB, found: None, applied: Index(60) });
    };
    assert_eq!(found(read), Vec::<&str>::new());
}

#[test]
fn what_is_forgotten_otherwise_is_found() {
    let only = ["forgets-by-rule"];
    assert_eq!(found(forgets(60, 50_000, 7_000, None)), only, "it ended later");
    assert_eq!(found(forgets(60, 55_000, 8_000, None)), only, "its time was not over");
    assert_eq!(found(forgets(60, 900_000, 0, Some(2))), only, "there were no more than are to be kept");
    assert_eq!(found(forgets(12, 1_000, 8_000, None)), only, "it may be sent again");
    let with = |spoil: fn(&mut JobFacts)| {
        move |h: &mut History| {
            forgets(60, 50_000, 8_000, None)(h);
            spoil(h.facts.get_mut(&JOB).expect("it is there"));
        }
    };
    assert_eq!(found(with(|facts| facts.keyed = true)), only);
    assert_eq!(found(with(|facts| facts.unique_for = Some(("k".into(), 90_000)))), only);
    assert_eq!(found(with(|facts| facts.notified = true)), only);
    assert_eq!(found(with(|facts| facts.group = Some(JobId(0)))), only);
    let needed = |h: &mut History| {
        forgets(60, 50_000, 8_000, None)(h);
        h.facts.get_mut(&OTHER).expect("it is there").parents = vec![JOB];
        h.steps.truncate(h.steps.len() - 2);
        h.steps.push(Step { job: OTHER, ..step(8, StateName::Blocked) });
        h.keeping.iter_mut().for_each(|keeping| keeping.steps = h.steps.len());
    };
    assert_eq!(found(needed), only);
    let runs = |h: &mut History| {
        forgets(60, 50_000, 8_000, None)(h);
        h.keeping.last_mut().expect("it is there").steps = 4;
    };
    assert_eq!(found(runs), only);
    let again = |h: &mut History| {
        forgets(60, 50_000, 8_000, None)(h);
        h.reopened.push((Index(61), JOB));
        h.steps.push(step(61, StateName::Queued));
    };
    assert!(found(again).contains(&only[0]), "it came back");
    let newest = |h: &mut History| {
        forgets(60, 900_000, 0, Some(1))(h);
        let older = JobId(0);
        h.facts.insert(older, JobFacts { created_at: UnixMs(1_000), ..JobFacts::default() });
        h.steps.insert(0, Step { job: older, ..step(1, StateName::Cancelled) });
        h.steps.insert(0, Step { job: older, ..step(1, StateName::Queued) });
        h.keeping.iter_mut().for_each(|keeping| keeping.steps = h.steps.len());
    };
    assert_eq!(found(newest), only, "an older one stayed");
}

#[test]
fn starts_in_a_pause_and_above_a_rate_are_found() {
    let queue = QueueName::default();
    let paused = |from: u64, to: u64| {
        let queue = queue.clone();
        move |h: &mut History| {
            kept(h);
            h.queue_pauses = vec![(Index(from), queue.clone(), true), (Index(to), queue, false)];
        }
    };
    // It starts at 4 and at 6.
    assert_eq!(found(paused(4, 6)), Vec::<&str>::new());
    assert_eq!(found(paused(3, 5)), ["queues-hold"]);
    let rated = |count: u32, per_ms: u64| {
        let queue = queue.clone();
        move |h: &mut History| {
            kept(h);
            h.queue_rates = vec![(Index(2), queue, Some(Rate { count, per_ms }))];
        }
    };
    assert_eq!(found(rated(1, 2_000)), Vec::<&str>::new());
    assert_eq!(found(rated(2, 9_000)), Vec::<&str>::new());
    assert_eq!(found(rated(1, 2_001)), ["queues-hold"]);
}

#[test]
fn a_node_without_its_member_and_a_member_elsewhere_are_found() {
    let group = JobId(1 << 30);
    let every = |count: usize, nodes: &[u32], node: Option<u32>, halted: bool| {
        let nodes = Some(nodes.iter().map(|node| NodeId(*node)).collect());
        move |h: &mut History| {
            kept(h);
            h.every.push(Every { group, count, nodes, halted });
            let facts = h.facts.get_mut(&JOB).expect("it is there");
            (facts.group, facts.node) = (Some(group), node.map(NodeId));
        }
    };
    let only = ["each-node-once"];
    assert_eq!(found(every(1, &[1], Some(1), false)), Vec::<&str>::new());
    assert_eq!(found(every(2, &[1, 2], Some(1), true)), Vec::<&str>::new(), "no more were to be made");
    assert_eq!(found(every(2, &[1, 2], Some(1), false)), only);
    assert_eq!(found(every(1, &[1, 2], Some(1), false)), only);
    assert_eq!(found(every(1, &[2], Some(2), false)), only, "it ran elsewhere");
    assert_eq!(found(every(1, &[1], None, false)), only);
}

#[test]
fn labels_that_are_missing_and_ends_that_are_tried_again_are_found() {
    let asks = |zone: &str| {
        let labels = |zone: &str| Labels::from([("zone".to_owned(), zone.to_owned())]);
        let requires = Requires { labels: labels(zone), ..Requires::default() };
        move |h: &mut History| {
            let node = NodeId(1);
            h.asked = vec![Asked { job: JOB, requires }];
            let (slots, cpu_millis, memory_bytes) = (2, 0, 0);
            h.rooms = vec![Room { index: Index(1), node, slots, cpu_millis, memory_bytes, labels: labels("a") }];
            h.started = vec![Started { index: Index(4), job: JOB, node }];
        }
    };
    assert_eq!(found(asks("a")), Vec::<&str>::new());
    assert_eq!(found(asks("b")), ["room-holds"]);
    assert_eq!(found(|h| h.finals[0].fatal = [Fence::new(Epoch(1), 2)].into()), Vec::<&str>::new());
    assert_eq!(found(|h| h.finals[0].fatal = [Fence::new(Epoch(1), 1)].into()), ["bounded-executions"]);
}
