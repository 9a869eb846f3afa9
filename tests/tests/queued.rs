//! F24: many jobs in line. Submits are as quick as with none, leases are renewed while a node is sent a snapshot of
//! them all, and a cluster that was killed as a whole is soon back with each of them.
//!
//! 20,000 of them, or as many as `RELAIS_QUEUED` says: with 1,000,000 and a release build it is the fault of the table,
//! and held to its times. With fewer the times only have to be sane, whatever else the machine does.

use relais_tests::cluster::http::Http;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use relais_tests::load::flood::states;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const SOME: usize = 20_000;
/// The number that the table speaks of.
const MANY: usize = 1_000_000;
const BATCH: usize = 1_000;
/// Single submits whose times are looked at, in each of three rounds, of which the best counts: the machine has
/// other things to do.
const SUBMITS: usize = 300;
const LIMIT: Duration = Duration::from_secs(300);
const RESTART_MAX: Duration = Duration::from_secs(15);
/// What a lease may stall while a snapshot is made and sent.
const STALL_MAX: Duration = Duration::from_secs(1);
/// The lease of the external worker, which is lost when it is not renewed for so long.
const LEASE: Duration = Duration::from_secs(6);

fn queued() -> usize {
    std::env::var("RELAIS_QUEUED").ok().and_then(|text| text.parse().ok()).unwrap_or(SOME)
}

fn post(node: &mut Http, target: &str, body: &str) -> Value {
    let answer =
        node.send("POST", target, &[("Content-Type", "application/json")], body.as_bytes()).expect("an answer");
    assert!(answer.status < 300, "POST {target}: {} {}", answer.status, answer.text());
    answer.json()
}

fn spec() -> Value {
    json!({"kind": "noop", "payload": {}, "queue": "line"})
}

/// Puts so many in line, and returns their ids.
fn fill(nodes: &[SocketAddr], jobs: usize) -> Vec<String> {
    let body = Value::from(vec![spec(); BATCH]).to_string();
    let batches = |from: usize| {
        let mut node = Http::new(nodes[from], LIMIT);
        let mut ids = Vec::new();
        for _ in (from..jobs / BATCH).step_by(nodes.len()) {
            let answer = post(&mut node, "/v1/jobs:batch", &body);
            let results = answer["results"].as_array().expect("results");
            ids.extend(results.iter().map(|result| result["id"].as_str().expect("an id").to_owned()));
        }
        ids
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..nodes.len()).map(|from| scope.spawn(move || batches(from))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("ids")).collect()
    })
}

/// The 99th of a hundred submits, the best of three rounds; the ids are added.
fn p99(at: SocketAddr, ids: &mut Vec<String>) -> Duration {
    let mut node = Http::new(at, LIMIT);
    let mut round = || {
        let mut times = Vec::new();
        for _ in 0..SUBMITS {
            let start = Instant::now();
            let job = post(&mut node, "/v1/jobs", &spec().to_string());
            times.push(start.elapsed());
            ids.push(job["id"].as_str().expect("an id").to_owned());
        }
        times.sort_unstable();
        times[SUBMITS * 99 / 100]
    };
    (0..3).map(|_| round()).min().expect("three rounds")
}

/// Renews a lease until it is told to stop; the longest time between two renewals.
fn renew(at: SocketAddr, lease: &str, stop: &AtomicBool) -> Duration {
    let (mut node, mut last, mut longest) = (Http::new(at, LIMIT), Instant::now(), Duration::ZERO);
    while !stop.load(Ordering::Acquire) {
        post(&mut node, &format!("/v1/leases/{lease}:heartbeat"), "{}");
        longest = longest.max(last.elapsed());
        last = Instant::now();
        std::thread::sleep(Duration::from_millis(20));
    }
    longest
}

/// A follower's journal is taken away while it is down: it needs a snapshot of all. How long leases stalled.
fn snapshot(cluster: &mut Cluster) -> Duration {
    let (dispatcher, _) = cluster.dispatcher();
    let others = cluster.others(dispatcher);
    let (hit, asked) = (others[0], cluster.nodes[others[1]].http);
    let held = json!({"kind": "external", "payload": {}, "queue": "held"});
    let job = cluster.submit_all(&[held]).remove(0);
    let wish = json!({"queues": ["held"], "lease": format!("{}s", LEASE.as_secs())}).to_string();
    let leases = post(&mut Http::new(asked, LIMIT), "/v1/leases", &wish);
    let lease = leases[0]["lease_id"].as_str().expect("a lease").to_owned();
    cluster.nodes[hit].kill();
    std::fs::remove_file(cluster.nodes[hit].journal().join("current/vote")).expect("a vote to take away");
    let stop = AtomicBool::new(false);
    let longest = std::thread::scope(|scope| {
        let renewing = scope.spawn(|| renew(asked, &lease, &stop));
        cluster.nodes[hit].start();
        until("the node to have all of it again", LIMIT, || {
            let index = |node: usize| cluster.nodes[node].figure("relais_journal_applied_index");
            let caught_up =
                cluster.nodes[hit].figure("relais_journal_votes")? == 1 && index(hit)? >= index(dispatcher)?;
            caught_up.then_some(())
        });
        stop.store(true, Ordering::Release);
        renewing.join().expect("a lease that is renewed")
    });
    assert!(cluster.nodes[hit].log().contains("the journal is damaged"), "it began anew");
    post(&mut Http::new(asked, LIMIT), &format!("/v1/leases/{lease}:complete"), "{}");
    let row = cluster.await_state(&job, "succeeded");
    assert_eq!(row["attempt"], 1, "the lease was never lost: {row}");
    longest
}

/// All nodes die at once; how long it takes until a submit is acknowledged again.
fn restart(cluster: &mut Cluster, ids: &mut Vec<String>) -> Duration {
    (0..cluster.nodes.len()).for_each(|node| cluster.nodes[node].kill());
    let start = Instant::now();
    (0..cluster.nodes.len()).for_each(|node| cluster.nodes[node].start());
    let text = spec().to_string();
    let id = until("a submit after the restart", LIMIT, || {
        let answer = cluster.nodes[0].ask("POST", "/v1/jobs", &text).filter(|answer| answer.status == 201)?;
        answer.json()["id"].as_str().map(str::to_owned)
    });
    ids.push(id);
    start.elapsed()
}

#[test]
fn a_long_queue_slows_nothing_down_and_outlives_a_restart() {
    let (mut cluster, jobs) = (Cluster::start(3, Options { slots: 4, ..Options::default() }), queued());
    let nodes: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.http).collect();
    post(&mut Http::new(nodes[0], LIMIT), "/v1/queues/line:pause", "{}");
    let mut ids = Vec::new();
    let empty = p99(nodes[0], &mut ids);
    ids.extend(fill(&nodes, jobs));
    let full = p99(nodes[0], &mut ids);
    let stall = snapshot(&mut cluster);
    let down = restart(&mut cluster, &mut ids);
    println!("{jobs} queued: submit p99 {empty:?}, then {full:?}; leases stalled {stall:?}; restart {down:?}");
    let strict = jobs >= MANY && !cfg!(debug_assertions);
    let slack = Duration::from_millis(if strict { 1 } else { 250 });
    assert!(full <= empty * 2 + slack, "submits: {empty:?} with none in line, {full:?} with {jobs}");
    assert!(stall < if strict { STALL_MAX } else { LEASE }, "leases stalled for {stall:?}");
    assert!(down < if strict { RESTART_MAX } else { LIMIT }, "it took {down:?} to restart");
    cluster.await_whole();
    let states = states(&cluster.nodes[1]);
    let waiting = states.values().filter(|state| *state == "queued").count();
    assert_eq!(waiting, ids.len(), "all that was acknowledged waits, and nothing else");
    assert_eq!(ids.iter().filter(|id| !states.contains_key(*id)).count(), 0, "each of them is in the record");
}
