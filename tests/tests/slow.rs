//! Slow is not dead: commits go on over a long way and beside a slow disk, and nobody is deposed for it.

use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use relais_tests::load::{Load, Plan, Verdict};
use relais_tests::relay::Rule;
use serde_json::json;
use std::time::Duration;

/// Half of a round trip.
const ONE_WAY: Duration = Duration::from_millis(150);
const JOBS: usize = 30;

/// Submits for a while; nobody must be elected, and all must be well. `handed_over`: a slow dispatcher may give
/// the role away meanwhile, in good order.
fn commits_go_on(cluster: &Cluster, what: &str, handed_over: bool) {
    let before = cluster.dispatcher();
    let spec = json!({"kind": "noop", "payload": {}});
    let load = Load::start(cluster, &[Plan { clients: 4, per_second: 10.0, prefix: "slow", spec }]);
    until("commits", Duration::from_secs(60), || (load.acknowledged() >= JOBS).then_some(()));
    let sent = load.finish();
    cluster.await_all_ended(before.0, Duration::from_secs(60));
    let mut waits: Vec<Duration> =
        sent.iter().filter_map(|sent| sent.acked.as_ref().map(|(at, ..)| *at - sent.at)).collect();
    waits.sort();
    let verdict = Verdict::of(&sent, &cluster.nodes[before.0].jobs(), &[]);
    println!("{what}: commit p50 {:?}, worst {:?}; {verdict}", waits[waits.len() / 2], waits[waits.len() - 1]);
    verdict.assert_flawless();
    let after = cluster.dispatcher();
    let record = cluster.nodes[after.0].read("/v1/cluster/failovers").unwrap_or_default();
    let records = record["failovers"].as_array().cloned().unwrap_or_default();
    let since: Vec<_> = records.iter().filter(|record| record["epoch"].as_u64() > Some(before.1)).collect();
    let in_good_order = handed_over && !since.is_empty() && since.iter().all(|record| record["cause"] == "handover");
    assert!(after == before || in_good_order, "{what}: somebody else was elected: {since:?}");
}

#[test]
fn a_round_trip_of_300_ms_elects_nobody() {
    let cluster = Cluster::start(3, Options { relay: true, ..Options::default() });
    cluster.relay.as_ref().expect("a relay").set_all(Rule::delay(ONE_WAY));
    commits_go_on(&cluster, "300 ms round trip", false);
}

#[test]
fn a_sync_of_200_ms_on_one_voter_elects_nobody() {
    let env = vec![(2, "RELAIS_TEST_SYNC_DELAY_MS", "200".to_owned())];
    let cluster = Cluster::start(3, Options { env, ..Options::default() });
    commits_go_on(&cluster, "200 ms sync on a voter", false);
}

#[test]
fn a_sync_of_200_ms_on_the_dispatcher_elects_nobody() {
    let env = vec![(0, "RELAIS_TEST_SYNC_DELAY_MS", "200".to_owned())];
    let cluster = Cluster::start(3, Options { env, ..Options::default() });
    commits_go_on(&cluster, "200 ms sync on the dispatcher", true);
}
