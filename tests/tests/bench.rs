//! `relais bench` on a real cluster: it measures in a queue of its own, what it submitted is in the record and done, it
//! refuses to begin beside another one, and leaves no job behind.

use relais_tests::cluster::binary::program;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::Duration;

fn bench(cluster: &Cluster, arguments: &[&str]) -> Output {
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.http.to_string()).collect();
    let mut command = Command::new(program());
    command.arg("bench").args(arguments).env("RELAIS_ADDR", addresses.join(",")).env("NO_COLOR", "1");
    command.output().expect("relais can be run")
}

#[test]
fn a_bench_measures_and_leaves_nothing_behind() {
    let cluster = Cluster::start(3, Options::default());
    let fixed = ["--jobs", "500", "--batch", "50", "--one-at-a-time", "10"];
    let output = bench(&cluster, &[&fixed[..], &["-o", "json"]].concat());
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&told).expect("a report");
    println!("{report}");
    assert_eq!((&report["good"], &report["acknowledged"]), (&json!(true), &json!(560)), "{report}");
    assert_eq!((&report["lost"], &report["duplicates"], &report["cancelled"]), (&json!(0), &json!(0), &json!(0)));
    for rate in ["batched_submits_per_second", "done_per_second", "single_submits_per_second"] {
        assert!(report[rate].as_f64().is_some_and(|rate| rate > 0.0), "{rate}: {report}");
    }
    let p50 = report["submit_to_done"]["p50_ms"].as_f64().expect("a latency");
    assert!(p50 > 0.0 && p50 <= report["submit_to_done"]["max_ms"].as_f64().expect("a latency"), "{report}");
    let queue = |cluster: &Cluster| {
        let queues = cluster.nodes[0].read("/v1/queues")?;
        queues["queues"].as_array()?.iter().find(|queue| queue["name"] == "relais-bench").cloned()
    };
    assert_eq!(queue(&cluster).expect("its queue")["retention"]["age"], "1m", "what ended goes soon");

    let left = json!({"kind": "noop", "payload": {}, "queue": "relais-bench", "delay": "1h"});
    let _ = cluster.submit_all(&[left]);
    let refused = bench(&cluster, &fixed);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains("in use by another bench"), "{why}");
}

#[test]
fn an_interrupted_bench_cancels_what_is_left() {
    let cluster = Cluster::start(3, Options::default());
    // Paused: its jobs can't get done, so that it is still at it when it is interrupted.
    let paused = cluster.nodes[0].ask("POST", "/v1/queues/relais-bench:pause", "{}").expect("an answer");
    assert_eq!(paused.status, 200, "{}", paused.text());
    let mut command = Command::new(program());
    let addr = cluster.nodes[0].http.to_string();
    let mut child = command.args(["bench", "--jobs", "100"]).env("RELAIS_ADDR", addr).spawn().expect("relais runs");
    let waiting = |cluster: &Cluster| cluster.nodes[0].read("/v1/jobs:count")?["groups"]["queued"].as_u64();
    cluster.until("its jobs to wait", |cluster| waiting(cluster).filter(|count| *count == 100));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it can be interrupted");
    let ended =
        relais_tests::cluster::wait::until("its end", Duration::from_secs(60), || child.try_wait().expect("a child"));
    assert_eq!(ended.code(), Some(1), "it says that it was interrupted");
    let counts = cluster.nodes[0].read("/v1/jobs:count").expect("counts");
    assert_eq!((&counts["groups"]["queued"], &counts["groups"]["cancelled"]), (&json!(0), &json!(100)), "{counts}");
}
