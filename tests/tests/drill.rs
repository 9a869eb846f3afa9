//! `relais drill` on a real cluster: refused without the cluster's consent; with it, each kind of fault
//! strikes, the clients' record is printed, and nothing is lost.

use relais_tests::cluster::binary::program;
use relais_tests::cluster::{Cluster, Options};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

fn relais(cluster: &Cluster, arguments: &[&str]) -> Output {
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.http.to_string()).collect();
    Command::new(program())
        .args(arguments)
        .env("RELAIS_ADDR", addresses.join(","))
        .env("NO_COLOR", "1")
        .output()
        .expect("relais can be run")
}

fn drill(cluster: &Cluster, arguments: &[&str]) -> Value {
    let fixed = ["--rounds", "1", "--for", "1s", "--max-gap", "20s", "--yes", "-o", "json"];
    let output = relais(cluster, &[&["drill"], arguments, &fixed].concat());
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let report: Value = serde_json::from_str(&told)
        .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {told}{}", String::from_utf8_lossy(&output.stderr)));
    println!("{arguments:?}: {report}");
    assert_eq!(report["good"], true, "{arguments:?}: {report}");
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    report
}

#[test]
fn a_cluster_is_struck_only_when_it_agrees_and_loses_nothing() {
    let cluster = Cluster::start(3, Options::default());
    let refused = relais(&cluster, &["drill", "kill", "--yes"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains("relais cluster set drill=on"), "{why}");
    let direct = cluster.nodes[0].ask("POST", "/v1/nodes/n2:drill", r#"{"fault": "kill"}"#).expect("an answer");
    assert_eq!(direct.status, 409, "{}", direct.text());

    let set = relais(&cluster, &["cluster", "set", "drill=on"]);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let unasked = relais(&cluster, &["drill", "kill"]);
    assert_eq!(unasked.status.code(), Some(2), "without a terminal nobody can say yes");

    for kind in ["kill", "pause", "cut", "handover"] {
        let report = drill(&cluster, &[kind]);
        assert_eq!((&report["lost"], &report["duplicates"]), (&0.into(), &0.into()), "{report}");
        let blow = &report["blows"][0];
        assert_ne!(blow["from"], blow["to"], "{kind} of the dispatcher moves the role: {report}");
        assert!(report["acknowledged"].as_u64().is_some_and(|count| count > 20), "{report}");
    }
    let rolling = drill(&cluster, &["rolling"]);
    assert_eq!(rolling["blows"].as_array().map(Vec::len), Some(3), "every node: {rolling}");
    let rows = cluster.nodes[0].read("/v1/nodes").expect("nodes");
    let told = rows["nodes"].as_array().into_iter().flatten().filter_map(|row| row["pid"].as_u64());
    let pids: BTreeSet<u64> = told.collect();
    let ours: BTreeSet<u64> = cluster.nodes.iter().map(|node| node.pid().into()).collect();
    assert_eq!(pids, ours, "who supervises the processes has nothing to mend");
}
