//! Ended jobs and their output are forgotten after the time that is set, also when the dispatcher that began to count
//! is killed.

use relais_tests::cluster::{Cluster, Options};
use serde_json::json;

fn output(cluster: &Cluster, node: usize, job: &str) -> bool {
    cluster.nodes[node].data_dir.join("output").join(job).exists()
}

#[test]
fn an_ended_job_and_its_output_are_gone_after_their_time_everywhere() {
    let mut cluster = Cluster::start(3, Options::default());
    cluster.await_whole();
    let job = cluster.nodes[0].submit(&json!({"kind": "exec", "payload": {"command": ["echo", "hello"]}}));
    let target = format!("/v1/jobs/{job}");
    let ended = cluster.nodes[1].read(&format!("{target}?wait=30s")).expect("the job");
    assert_eq!(ended["state"], "succeeded");
    let ran_on = (0..3).find(|node| cluster.nodes[*node].name == ended["node"]).expect("a node");
    cluster.until("its output", |cluster| output(cluster, ran_on, &job).then_some(()));
    let (hit, epoch) = cluster.dispatcher();
    let set = cluster.nodes[hit].ask("PATCH", "/v1/cluster/settings", r#"{"retention": "3s"}"#).expect("an answer");
    assert_eq!(set.status, 200, "{}", set.text());
    cluster.nodes[hit].kill();
    let (_, after) = cluster.successor(hit, epoch);
    assert!(after > epoch);
    cluster.nodes[hit].start();
    cluster.until("the job to be forgotten by all nodes", |cluster| {
        let gone = |node: usize| cluster.nodes[node].ask("GET", &target, "").is_some_and(|answer| answer.status == 404);
        (0..3).all(gone).then_some(())
    });
    // Whoever ran it may have been away when it went: then it looks through its output a minute after its start.
    cluster.until("its output to be gone", |cluster| (!output(cluster, ran_on, &job)).then_some(()));
    let count = cluster.nodes[ran_on].read("/v1/jobs:count").expect("the counts");
    assert_eq!(count["total"], 0);
}
