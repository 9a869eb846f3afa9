//! The promises hold at full speed: the dispatcher is killed, and falls silent, while clients submit as fast as they
//! can and the nodes run what they submit. Nothing acknowledged is lost or doubled, and all of it is done.
//!
//! `RELAIS_ROUNDS=10/5` runs so many rounds of `kill -9` and of SIGSTOP instead of one.

use nix::sys::signal::Signal;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use relais_tests::load::flood::Flood;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Jobs acknowledged before each blow, and after it.
const FLOW: usize = 4_000;
/// How long the flow may take to go on, however slow the machine.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
enum Blow {
    Kill,
    Pause,
}

fn rounds(place: usize) -> usize {
    let given = std::env::var("RELAIS_ROUNDS").unwrap_or_default();
    given.split('/').nth(place).and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn await_flow(flood: &Flood) {
    let before = flood.acknowledged();
    until("the flow of jobs", LIMIT, || (flood.acknowledged() >= before + FLOW).then_some(()));
}

/// The dispatcher is hit in the middle of the flow, and comes back.
fn strike(cluster: &mut Cluster, flood: &Flood, blow: Blow) {
    await_flow(flood);
    let (hit, epoch) = cluster.dispatcher();
    flood.avoid(hit);
    let (before, at) = (flood.acknowledged(), Instant::now());
    match blow {
        Blow::Kill => cluster.nodes[hit].kill(),
        Blow::Pause => cluster.nodes[hit].signal(Signal::SIGSTOP),
    }
    let (next, _) = cluster.successor(hit, epoch);
    println!("{blow:?} of n{} at {before} jobs: n{} follows after {} ms", hit + 1, next + 1, at.elapsed().as_millis());
    await_flow(flood);
    match blow {
        Blow::Kill => cluster.nodes[hit].start(),
        Blow::Pause => cluster.nodes[hit].signal(Signal::SIGCONT),
    }
    assert_eq!(cluster.await_whole().dispatcher, Some(next), "the role stays where it is");
    flood.avoid_nobody();
}

#[test]
fn a_failover_at_full_speed_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start(3, Options { slots: 32, ..Options::default() });
    // Rounds follow each other faster than any machine dies: a job may be hit in each of them.
    let spec = json!({"kind": "noop", "payload": {}, "queue": "flood", "retry": {"max_lost": 100}});
    let flood = Flood::start(&cluster, spec);
    for (place, blow) in [Blow::Kill, Blow::Pause].into_iter().enumerate() {
        for _ in 0..rounds(place) {
            strike(&mut cluster, &flood, blow);
        }
    }
    let flooded = flood.finish();
    println!("{} jobs were acknowledged, {} batches sent again", flooded.ids.len(), flooded.again);
    flooded.assert_kept(&cluster, LIMIT * 5);
}
