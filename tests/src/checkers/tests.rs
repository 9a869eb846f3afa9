//! Each checker passes a history that is right and finds what it is for in one that is not.

mod keeping;

use super::*;
use crate::history::{
    Asked, At, Began, Deed, DeedKind, Digest, Execution, Final, Read, Recovery, Room, Shared, Stand, Started, Step,
    Submitted,
};
use relais_protocol::ids::{Epoch, Fence, Generation, Incarnation, Index, JobId, NodeId, Reign};
use relais_protocol::job::{AttemptOutcome, StateName};
use relais_protocol::spec::{Concurrency, Labels, QueueName, Requires};
use std::collections::BTreeSet;

const JOB: JobId = JobId(1);

fn reign(epoch: u64) -> Reign {
    Reign { generation: Generation(0), epoch: Epoch(epoch) }
}

fn step(index: u64, state: StateName) -> Step {
    Step { index: Index(index), job: JOB, state }
}

fn execution(number: u16, began: u64, ended: u64) -> Execution {
    Execution {
        job: JOB,
        fence: Fence::new(Epoch(1), number),
        node: NodeId(1),
        began: At(began),
        ended: Some(At(ended)),
        lease_over: None,
        outcome: Some(AttemptOutcome::Succeeded),
    }
}

/// A job that was lost once and then succeeded, under one reign.
fn right() -> History {
    let began = Began { index: Index(2), reign: reign(1), node: NodeId(1), incarnation: Incarnation(1) };
    let attempt = |number, outcome| (Fence::new(Epoch(1), number), Some(outcome));
    History {
        submits: vec![Submitted { key: Some("k".into()), sent_as: vec![JOB], acked: vec![(At(5), JOB)] }],
        steps: [StateName::Queued, StateName::Running, StateName::Queued, StateName::Running, StateName::Succeeded]
            .into_iter()
            .enumerate()
            .map(|(n, state)| step(n as u64 + 3, state))
            .collect(),
        executions: vec![execution(1, 10, 20), execution(2, 20, 30)],
        reigns: vec![began],
        deeds: vec![Deed { at: At(9), node: NodeId(1), what: DeedKind::Ordered(reign(1)) }],
        finals: vec![Final {
            id: JOB,
            state: StateName::Succeeded,
            key: Some("k".into()),
            attempts: vec![attempt(1, AttemptOutcome::Lost), attempt(2, AttemptOutcome::Succeeded)],
            failures_max: 1,
            losses_max: 1,
            fatal: BTreeSet::new(),
        }],
        recovery: Some(Recovery { dispatcher: Some(At(100)), all_ended: Some(At(200)), ..Recovery::default() }),
        ..History::default()
    }
}

/// What is found in the right history once `spoil` has been at it.
fn found(spoil: impl FnOnce(&mut History)) -> Vec<&'static str> {
    let mut history = right();
    spoil(&mut history);
    let mut found: Vec<_> = check_all(&history).into_iter().map(|violation| violation.property).collect();
    found.dedup();
    found
}

#[test]
fn a_right_history_passes() {
    assert_eq!(found(|_| {}), Vec::<&str>::new());
}

#[test]
fn lost_and_doubled_jobs_are_found() {
    assert_eq!(found(|h| h.finals.clear()), ["acked-is-kept"]);
    let twin = |h: &mut History| {
        let twin = Final { id: JobId(2), attempts: vec![], ..h.finals[0].clone() };
        h.submits[0].sent_as.push(JobId(2));
        h.finals.push(twin);
    };
    assert_eq!(found(twin), ["acked-is-kept"]);
}

#[test]
fn a_second_end_and_an_impossible_step_are_found() {
    let second = |h: &mut History| {
        h.steps.push(step(9, StateName::Failed));
        h.finals[0].state = StateName::Failed;
        h.finals[0].failures_max = 0;
    };
    assert_eq!(found(second), ["one-terminal", "job-history"]);
    assert_eq!(found(|h| h.steps[1].state = StateName::Scheduled), ["job-history"]);
    let retried = |h: &mut History| {
        h.steps.truncate(4);
        h.steps.extend([step(8, StateName::Failed), step(9, StateName::Queued)]);
        h.finals[0].state = StateName::Queued;
        h.reopened.push((Index(9), JOB));
    };
    assert_eq!(found(retried), Vec::<&str>::new(), "a manual retry may reopen");
}

#[test]
fn overlaps_repeats_and_strangers_are_found() {
    assert_eq!(found(|h| h.executions[1].began = At(15)), ["bounded-executions"]);
    let lapsed = |h: &mut History| {
        h.executions[1].began = At(15);
        h.executions[0].lease_over = Some(At(14));
    };
    assert_eq!(found(lapsed), Vec::<&str>::new(), "its lease was over");
    assert_eq!(found(|h| h.executions.push(execution(2, 40, 50))), ["bounded-executions"]);
    assert_eq!(found(|h| h.executions.push(execution(3, 40, 50))), ["bounded-executions"]);
    assert_eq!(found(|h| h.finals[0].attempts[1].1 = Some(AttemptOutcome::Lost)), Vec::<&str>::new());
    assert_eq!(found(|h| h.finals[0].losses_max = 0), Vec::<&str>::new());
    assert_eq!(
        found(|h| h.finals[0].attempts.fill((Fence::new(Epoch(1), 2), Some(AttemptOutcome::Failed)))),
        ["bounded-executions", "ends-are-true"]
    );
}

#[test]
fn exceeded_limits_are_found() {
    let few = QueueName::default();
    let shared = |job, key: &str, unique: Option<&str>| Shared {
        job,
        queue: QueueName::default(),
        concurrency: Some(Concurrency { key: key.into(), limit: 1 }),
        unique: unique.map(str::to_owned),
    };
    // Another job runs while the first one does.
    let beside = |h: &mut History| h.steps.insert(2, Step { job: JobId(2), ..step(4, StateName::Running) });
    let set = |h: &mut History, second: Shared| {
        beside(h);
        h.shared = vec![shared(JOB, "a", Some("u")), second];
    };
    let limited = |limit: u32| {
        let few = few.clone();
        move |h: &mut History| {
            set(h, shared(JobId(2), "b", None));
            h.queue_limits.push((Index(1), few, Some(limit)));
        }
    };
    assert_eq!(found(limited(2)), ["job-history"]);
    assert_eq!(found(limited(1)), ["job-history", "limits-hold"]);
    assert_eq!(found(|h| set(h, shared(JobId(2), "a", None))), ["job-history", "limits-hold"]);
    assert_eq!(found(|h| set(h, shared(JobId(2), "b", Some("u")))), ["job-history", "limits-hold"]);
}

#[test]
fn a_node_that_is_overfull_is_found() {
    let spoil = |second: u64, room: u64| {
        move |h: &mut History| {
            let asks = |job: u128, memory_bytes: u64| Asked {
                job: JobId(job),
                requires: Requires { memory_bytes, ..Requires::default() },
            };
            let node = NodeId(3);
            h.asked = vec![asks(8, 600), asks(9, second)];
            h.rooms = vec![
                Room { index: Index(1), node, slots: 2, cpu_millis: 0, memory_bytes: room, labels: Labels::new() },
                Room { index: Index(99), node, slots: 0, cpu_millis: 0, memory_bytes: 0, labels: Labels::new() },
            ];
            for job in [8, 9] {
                let (index, job) = (Index(job as u64), JobId(job));
                h.started.push(Started { index, job, node });
                h.steps.push(Step { index, job, state: StateName::Running });
            }
        }
    };
    assert_eq!(found(spoil(400, 1_000)), ["job-history"]);
    assert_eq!(found(spoil(401, 1_000)), ["job-history", "room-holds"]);
    assert_eq!(found(spoil(0, 500)), ["job-history", "room-holds"], "by the first alone");
}

#[test]
fn usurpers_are_found() {
    let two = |h: &mut History| {
        let other = Began { index: Index(7), node: NodeId(2), ..h.reigns[0] };
        h.reigns.push(other);
    };
    assert_eq!(found(two), ["one-dispatcher-per-epoch"]);
    let deeds = [
        DeedKind::Ordered(reign(2)),
        DeedKind::TookReport { by: reign(1), report: reign(0) },
        DeedKind::TookEffect { proposed: reign(0), in_force: reign(1) },
    ];
    for what in deeds {
        assert_eq!(found(|h| h.deeds.push(Deed { at: At(1), node: NodeId(1), what })), ["one-dispatcher-per-epoch"]);
    }
    let obeys = |epoch| Deed { at: At(1), node: NodeId(3), what: DeedKind::Obeyed(reign(epoch)) };
    assert_eq!(found(|h| h.deeds.extend([obeys(2), obeys(1)])), ["one-dispatcher-per-epoch"]);
}

#[test]
fn stale_reads_and_invented_ends_are_found() {
    let read = |began, found, applied| {
        let (began, ended, applied) = (At(began), At(began + 5), Index(applied));
        Read { began, ended, node: NodeId(2), job: JOB, found, applied }
    };
    let there = Some(StateName::Queued);
    let reads = |reads: Vec<Read>| {
        move |h: &mut History| {
            h.answers = vec![(At(5), Index(3)), (At(20), Index(7))];
            h.reads = reads;
        }
    };
    assert_eq!(found(reads(vec![read(6, there, 3), read(21, there, 9), read(4, None, 1)])), Vec::<&str>::new());
    assert_eq!(found(reads(vec![read(21, there, 6)])), ["reads-are-fresh"]);
    assert_eq!(found(reads(vec![read(6, None, 3)])), ["reads-are-fresh"]);
    assert_eq!(found(|h| h.executions[1].outcome = Some(AttemptOutcome::Cancelled)), ["ends-are-true"]);
}

#[test]
fn differences_false_suspicions_and_standstill_are_found() {
    let digest = |node, digest| Digest { node: NodeId(node), index: Index(8), digest };
    assert_eq!(found(|h| h.digests.extend([digest(1, 7), digest(2, 8)])), ["replicas-agree"]);
    let stand = |heard_by| Stand { at: At(1), node: NodeId(2), against: NodeId(1), heard_by, voters: 3 };
    assert_eq!(found(|h| h.stands.push(stand(1))), Vec::<&str>::new());
    assert_eq!(found(|h| h.stands.push(stand(2))), ["sticky"]);
    assert_eq!(found(|h| h.recovery.as_mut().unwrap().dispatcher = Some(At(5_001))), ["progress"]);
    assert_eq!(found(|h| h.recovery.as_mut().unwrap().gave_up = Some(At(60_000))), ["progress"]);
}
