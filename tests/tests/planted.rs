//! Bugs that are planted on purpose are found by checks that healthy clusters pass. The switches are in the
//! program only when it was built together with these tests (`cargo test --workspace`).

use relais_tests::cluster::binary::has_planted_bugs;
use relais_tests::cluster::late::Late;
use relais_tests::cluster::wait::look_for;
use relais_tests::cluster::{Cluster, Options};
use relais_tests::load::{Load, Plan};
use relais_tests::relay::Rule;
use serde_json::json;
use std::time::Duration;

const TRIES: usize = 6;

/// A cluster with a bug, or with none; `None`, loudly, when the program can't have it.
fn cluster(bug: Option<&str>, relay: bool) -> Option<Cluster> {
    if !has_planted_bugs() {
        println!(
            "SKIPPED: this `relais` was built without the feature `planted`, so no bug can be planted in it; \
             `cargo test --workspace --release` builds it with them"
        );
        return None;
    }
    let env = (0..3).filter_map(|node| Some((node, "RELAIS_PLANTED", bug?.to_owned())));
    Some(Cluster::start(3, Options { relay, env: env.collect(), ..Options::default() }))
}

/// The check: a store has synced at least as often as it has acknowledged. What breaks it.
fn unsynced(cluster: &Cluster) -> Vec<String> {
    let spec = json!({"kind": "noop", "payload": {}});
    let load = Load::start(cluster, &[Plan { clients: 2, per_second: 50.0, prefix: "sync", spec }]);
    cluster.until("acknowledged jobs", |_| (load.acknowledged() >= 50).then_some(()));
    let _ = load.finish();
    let wrong = cluster.nodes.iter().filter_map(|node| {
        let acknowledged = node.figure("relais_journal_acknowledged_total").expect("a figure");
        // Read later: it can only have grown.
        let synced = node.figure("relais_journal_syncs_total").expect("a figure");
        (acknowledged > synced).then(|| format!("{}: {acknowledged} appends acknowledged, {synced} synced", node.name))
    });
    wrong.collect()
}

#[test]
fn a_dropped_sync_is_found_by_counting() {
    let Some(healthy) = cluster(None, false) else { return };
    assert_eq!(unsynced(&healthy), Vec::<String>::new());
    drop(healthy);
    let Some(planted) = cluster(Some("sync-skipped"), false) else { return };
    let found = unsynced(&planted);
    println!("sync-skipped is found: {found:?}");
    assert!(!found.is_empty(), "the planted bug was not found");
}

/// The check: a dispatcher that reaches nobody acknowledges nothing. Status codes that it answered 201 with.
fn acknowledged_alone(cluster: &Cluster) -> Vec<u16> {
    let (dispatcher, _) = cluster.dispatcher();
    cluster.relay.as_ref().expect("a relay").set_around(dispatcher, Rule::cut());
    let spec = json!({"kind": "noop", "payload": {}}).to_string();
    let answers = (0..3).filter_map(|_| cluster.nodes[dispatcher].ask("POST", "/v1/jobs", &spec));
    let answers: Vec<u16> = answers.map(|answer| answer.status).collect();
    cluster.relay.as_ref().expect("a relay").set_around(dispatcher, Rule::pass());
    answers.into_iter().filter(|status| *status == 201).collect()
}

#[test]
fn an_acknowledgement_before_the_commit_is_found_by_cutting_it_off() {
    let Some(healthy) = cluster(None, true) else { return };
    assert_eq!(acknowledged_alone(&healthy), Vec::<u16>::new());
    drop(healthy);
    let Some(planted) = cluster(Some("early-acknowledgement"), true) else { return };
    let found = acknowledged_alone(&planted);
    println!("early-acknowledgement is found: a dispatcher that reached nobody answered {found:?}");
    assert!(!found.is_empty(), "the planted bug was not found");
}

/// The check: a report of an old epoch is refused. What came of it, try by try, until one was refused or
/// `enough` were made to arrive late.
fn late_reports(cluster: &Cluster, enough: usize) -> Vec<Late> {
    let mut tries = Vec::new();
    while tries.len() < TRIES
        && !matches!(tries.last(), Some(Late::Refused(..)))
        && tries.iter().filter(|late| **late == Late::NotRefused).count() < enough
    {
        tries.push(cluster.late_report());
    }
    tries
}

#[test]
fn an_ignored_epoch_is_found_by_a_late_report() {
    let Some(healthy) = cluster(None, true) else { return };
    let tries = late_reports(&healthy, TRIES);
    assert!(matches!(tries.last(), Some(Late::Refused(..))), "{tries:?}");
    drop(healthy);
    let Some(planted) = cluster(Some("epoch-ignored"), true) else { return };
    let tries = late_reports(&planted, 2);
    println!("epoch-ignored is found: late reports came to {tries:?}");
    assert!(tries.contains(&Late::NotRefused), "no report was made to arrive late: {tries:?}");
    assert!(!tries.iter().any(|late| matches!(late, Late::Refused(..))), "the planted bug was not found: {tries:?}");
}

/// The check: nobody stands while a majority hears the dispatcher. How often somebody did who alone does not.
fn stands_alone(cluster: &Cluster) -> u64 {
    let (dispatcher, _) = cluster.dispatcher();
    let deaf = cluster.others(dispatcher)[0];
    let stands = || cluster.nodes[deaf].figure("relais_election_stands_total").unwrap_or(0);
    let before = stands();
    cluster.relay.as_ref().expect("a relay").set((dispatcher, deaf), Rule::cut());
    let after = look_for(Duration::from_secs(4), || Some(stands()).filter(|now| *now > before));
    cluster.relay.as_ref().expect("a relay").set((dispatcher, deaf), Rule::pass());
    after.map_or(0, |after| after - before)
}

#[test]
fn a_skipped_confirm_round_is_found_by_one_deaf_voter() {
    let Some(healthy) = cluster(None, true) else { return };
    assert_eq!(stands_alone(&healthy), 0);
    drop(healthy);
    let Some(planted) = cluster(Some("confirm-round-skipped"), true) else { return };
    let found = stands_alone(&planted);
    println!("confirm-round-skipped is found: a voter that alone heard nothing stood {found} times");
    assert!(found > 0, "the planted bug was not found");
}
