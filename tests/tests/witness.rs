//! Two nodes and a witness, as real processes: the witness votes and stores, runs nothing, takes next to no
//! memory, and reigns never; but what only it still has, it passes on.

use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(60);
/// The witness's number.
const W: usize = 2;
/// Resident memory that a witness may have.
const RESIDENT_KIB_MAX: u64 = 30 << 10;

/// Two nodes and a witness, all voting.
fn cluster() -> Cluster {
    let mut cluster = Cluster::start(2, Options::default());
    let mut witness = cluster.plan(W);
    witness.name = "w1".to_owned();
    witness.witness = true;
    witness.start();
    cluster.nodes.push(witness);
    cluster.until("the mode `witness` at all nodes", |cluster| {
        let all = cluster.nodes.iter().all(|node| {
            let voters = node.figure("relais_journal_voters");
            voters == Some(3) && node.read("/v1/cluster").is_some_and(|seen| seen["mode"] == "witness")
        });
        all.then_some(())
    });
    cluster
}

fn row(cluster: &Cluster, name: &str) -> Option<Value> {
    let rows = cluster.nodes[0].read("/v1/nodes?consistency=local")?;
    rows["nodes"].as_array()?.iter().find(|row| row["name"] == name).cloned()
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

fn children(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let of = |task: std::path::PathBuf| std::fs::read_to_string(task.join("children")).unwrap_or_default();
    tasks.flatten().map(|task| of(task.path()).split_whitespace().count()).sum()
}

#[test]
fn it_votes_and_stores_and_runs_nothing() {
    let mut cluster = cluster();
    let seen = cluster.until("the witness's row", |cluster| {
        row(cluster, "w1").filter(|row| row["status"] == "online" && row["voter"] == true)
    });
    assert_eq!((&seen["role"], &seen["slots"]), (&json!("witness"), &json!(0)));
    let spec = json!({"kind": "exec", "payload": {"command": ["true"]}});
    let jobs: Vec<String> = (0..100).map(|n| cluster.nodes[n % 3].submit(&spec)).collect();
    cluster.await_all_ended(W, SOON);
    for id in &jobs {
        let job = cluster.nodes[W].job(id).expect("a job");
        assert!(job.state == "succeeded" && job.attempts.iter().all(|attempt| attempt.node != "w1"), "{job:?}");
    }
    let pid = cluster.nodes[W].pid();
    assert_eq!(children(pid), 0, "a witness has no process that starts jobs");
    let resident = resident_kib(pid);
    println!("resident: the witness {resident} KiB, a node {} KiB", resident_kib(cluster.nodes[0].pid()));
    if cfg!(debug_assertions) {
        println!("SKIPPED: whether it is under {RESIDENT_KIB_MAX} KiB, which is asked of a release build");
    } else {
        assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");
    }

    let refused = cluster.nodes[0].ask("POST", "/v1/cluster:handover", r#"{"to":"w1"}"#).expect("an answer");
    assert_eq!(refused.status, 409, "{}", refused.text());
    let status = cluster.nodes[W].read("/v1/cluster").expect("the cluster");
    let last = status["succession"].as_array().expect("rows").last().cloned().unwrap_or_default();
    assert!(last["name"] == "w1" && last["why"].as_str().is_some_and(|why| why.contains("witness")), "{status}");

    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let (new, epoch) = cluster.successor(old, epoch);
    assert_ne!(new, W);
    let tale = cluster.until("the record of the failover", |cluster| {
        let said = cluster.nodes[new].read("/v1/cluster/failovers")?;
        said["failovers"].as_array()?.iter().find(|one| one["epoch"] == epoch).cloned()
    });
    println!("the dispatcher was killed: {} ms without one; {}", tale["unavailable_ms"], tale["phases_ms"]);
    assert!(tale["unavailable_ms"].as_u64().is_some_and(|ms| ms < 1_000), "{tale}");
    let id = cluster.nodes[W].submit(&spec);
    until("the job's end", SOON, || cluster.nodes[new].job(&id).filter(|job| job.state == "succeeded"));
}

#[test]
fn what_only_it_still_has_it_passes_on() {
    let mut cluster = cluster();
    let (dispatcher, _) = cluster.dispatcher();
    let other = 1 - dispatcher;
    cluster.nodes[other].kill();
    let spec = json!({"kind": "noop", "payload": {}});
    let jobs: Vec<String> = (0..50).map(|_| cluster.nodes[dispatcher].submit(&spec)).collect();
    let epoch = cluster.sight(dispatcher).expect("an answer").epoch;
    cluster.nodes[dispatcher].kill();
    let at = Instant::now();
    cluster.nodes[other].start();
    let new = cluster.until("the node that was behind to dispatch", |cluster| {
        let sight = cluster.agreed(&[other, W]).filter(|sight| sight.epoch > epoch)?;
        assert_ne!(sight.dispatcher, Some(W), "a witness never reigns");
        sight.dispatcher
    });
    assert_eq!(new, other);
    println!("behind at its start, it dispatches {:?} after it", at.elapsed());
    for id in &jobs {
        until("a job's end", SOON, || cluster.nodes[other].job(id).filter(|job| job.state == "succeeded"));
    }
    let log = cluster.nodes[W].log();
    assert!(log.contains("caught it up and handed on") || log.contains("leads the journal without the role"), "{log}");
    assert!(!log.contains("this node is the dispatcher reign"), "a witness never reigns");
    cluster.nodes[dispatcher].start();
    cluster.await_whole();
}

#[test]
fn it_begins_no_cluster() {
    let cluster = Cluster::start(1, Options::default());
    let mut alone = cluster.plan(7);
    alone.join = None;
    alone.witness = true;
    alone.start();
    let status = alone.reap(SOON);
    assert_eq!(status.code(), Some(1));
    assert!(
        alone.log().contains("a witness can't begin a cluster") && alone.log().contains("--join"),
        "{}",
        alone.log()
    );
}
