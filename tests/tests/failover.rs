//! The dispatcher dies, or falls silent, under load: another takes over, and nothing acknowledged is lost.
//!
//! `RELAIS_ROUNDS=30/15` runs so many rounds of `kill -9` and of SIGSTOP instead of one: a short look at what F1 and
//! F4 of `relais_tests::faults` try, and the way to measure the gap over many rounds.

use nix::sys::signal::Signal;
use relais_protocol::time::UnixMs;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use relais_tests::load::{Gap, Hit, Load, Plan, Verdict};
use serde_json::json;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a gap may be here, where other programs run beside; what it should be is in the design.
const GAP_MAX: Duration = Duration::from_secs(5);
/// After that a node's leases are over, whatever became of it.
const LEASE_OVER: Duration = Duration::from_millis(4_500);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Blow {
    Kill,
    Pause,
}

fn rounds(place: usize, default: usize) -> usize {
    let given = std::env::var("RELAIS_ROUNDS").unwrap_or_default();
    given.split('/').nth(place).and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn plans() -> [Plan; 2] {
    let spec = json!({"kind": "noop", "payload": {}});
    // Rounds follow each other faster than any machine dies: a job may be hit in each of them.
    let retry = json!({"max_lost": 100});
    let second = json!({"kind": "exec", "payload": {"command": ["sleep", "1"]}, "retry": retry});
    [
        // More than the 50/s each that are meant: who waits for an answer comes late for its next one.
        Plan { clients: 8, per_second: 80.0, prefix: "quick", spec },
        Plan { clients: 1, per_second: 6.0, prefix: "second", spec: second },
    ]
}

/// Waits until one-second jobs run on all nodes.
fn await_work_everywhere(cluster: &Cluster) {
    cluster.until("jobs that run on all nodes", |cluster| {
        let runs = |node: usize| cluster.nodes[node].figure("relais_attempts_running").unwrap_or(0) > 0;
        (0..cluster.nodes.len()).all(runs).then_some(())
    });
}

/// One round: the dispatcher is hit, another follows, the node comes back. The gap, and who was hit when.
fn round(cluster: &mut Cluster, load: &Load, blow: Blow) -> (Duration, Hit) {
    await_work_everywhere(cluster);
    let (hit, epoch) = cluster.dispatcher();
    load.avoid(hit);
    let before = load.acknowledged();
    until("submits elsewhere", GAP_MAX, || (load.acknowledged() > before + 50).then_some(()));
    let (from, at) = (cluster.now(), Instant::now());
    match blow {
        Blow::Kill => cluster.nodes[hit].kill(),
        Blow::Pause => cluster.nodes[hit].signal(Signal::SIGSTOP),
    }
    let first = until("an acknowledgement after the blow", Duration::from_secs(60), || {
        load.first_acknowledged_of_those_sent_after(at)
    });
    let (next, epoch_after) = cluster.successor(hit, epoch);
    match blow {
        Blow::Kill => cluster.nodes[hit].start(),
        Blow::Pause => {
            // Longer than its lease: what it ran must be given to others, and be dead here.
            until("the end of its leases", LEASE_OVER * 2, || (at.elapsed() > LEASE_OVER).then_some(()));
            cluster.nodes[hit].signal(Signal::SIGCONT);
        }
    }
    let whole = cluster.await_whole();
    let until = cluster.now();
    assert_eq!((whole.dispatcher, whole.epoch), (Some(next), epoch_after), "the role stays where it is");
    println!("  {blow:?} of n{}: {} ms ({})", hit + 1, (first - at).as_millis(), record(cluster, from));
    (first - at, Hit { node: cluster.nodes[hit].name.clone(), from, until })
}

/// What the nodes logged of it, in milliseconds since the blow.
fn record(cluster: &Cluster, blow: UnixMs) -> String {
    let mut steps = Vec::new();
    for node in &cluster.nodes {
        for line in
            node.log().lines().filter(|line| line.contains("stands for") || line.contains("is the dispatcher reign"))
        {
            let at = line.split(' ').next().and_then(|text| UnixMs::parse_rfc3339(text).ok());
            if let Some(at) = at.filter(|at| *at >= blow) {
                let what = if line.contains("stands for") { "stands" } else { "leads" };
                steps.push((at.since(blow), format!("{} {what}", node.name)));
            }
        }
    }
    steps.sort();
    steps.iter().map(|(ms, what)| format!("{what} +{ms}")).collect::<Vec<_>>().join(", ")
}

/// One test has the machine for itself: a gap is a time.
static ALONE: Mutex<()> = Mutex::new(());

fn run(blow: Blow, count: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = Cluster::start(3, Options { slots: 16, ..Options::default() });
    let load = Load::start(&cluster, &plans());
    let (mut gaps, mut hits) = (Gap::default(), Vec::new());
    let begun = Instant::now();
    for _ in 0..count {
        let (gap, hit) = round(&mut cluster, &load, blow);
        gaps.0.push(gap);
        hits.push(hit);
    }
    let sent = load.finish();
    println!("  {:.0} submits/s in all, outages included", sent.len() as f64 / begun.elapsed().as_secs_f64());
    cluster.await_all_ended(0, Duration::from_secs(60));
    let verdict = Verdict::of(&sent, &cluster.nodes[0].jobs(), &hits);
    println!("failover by {blow:?}: {gaps}; {verdict}");
    assert!(gaps.worst() <= GAP_MAX, "worst gap {:?}", gaps.worst());
    verdict.assert_flawless();
}

#[test]
fn a_killed_dispatcher_is_followed_and_nothing_is_lost() {
    run(Blow::Kill, rounds(0, 1));
}

#[test]
fn a_paused_dispatcher_is_followed_and_nothing_is_lost() {
    run(Blow::Pause, rounds(1, 1));
}
