//! A program of one's own in a real cluster: its kind is known once its node has joined, jobs of it go there and
//! nowhere else, and run on when the dispatcher dies.

use relais_tests::cluster::binary::example;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a job may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn count(payload: &Value) -> Value {
    let retry = json!({"max_attempts": 3, "initial_interval": "10ms", "jitter": "none"});
    json!({"kind": "count-words", "payload": payload, "retry": retry})
}

fn ended(cluster: &Cluster, id: &str) -> Value {
    until("a job to end", LIMIT, || {
        let job = cluster.nodes[0].read(&format!("/v1/jobs/{id}"))?;
        matches!(job["state"].as_str()?, "succeeded" | "failed" | "cancelled").then_some(job)
    })
}

#[test]
fn a_kind_of_ones_own_runs_where_it_is_offered_and_nowhere_else() {
    let own = example("own_kind");
    let mut cluster = Cluster::start(2, Options { programs: vec![(2, own)], ..Options::default() });
    let spec = count(&json!({"text": "to be or not to be"}));
    let refused = cluster.nodes[0].ask("POST", "/v1/jobs", &spec.to_string()).expect("an answer");
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (400, &json!("/kind")), "{}", refused.text());
    let mut third = cluster.plan(2);
    third.start();
    cluster.nodes.push(third);
    cluster.await_whole();
    assert_eq!(cluster.nodes[0].read("/v1/nodes/n3").expect("the node")["kinds"], json!(["count-words"]));

    let ids: Vec<String> = (0..12).map(|number| cluster.nodes[number % 3].submit(&spec)).collect();
    for id in &ids {
        let job = ended(&cluster, id);
        assert_eq!((&job["state"], &job["node"]), (&json!("succeeded"), &json!("n3")), "{job}");
        assert_eq!(job["result"]["counts"], json!({"be": 2, "not": 1, "or": 1, "to": 2}));
        assert_eq!((&job["result"]["fence"], &job["result"]["node"]), (&job["fence"], &json!("n3")));
    }
    let id = cluster.nodes[1].submit(&count(&json!({"text": "a", "fail_times": 2})));
    let job = ended(&cluster, &id);
    let outcomes: Vec<_> = job["attempts"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failed", "failed", "succeeded"], "{job}");
    let id = cluster.nodes[1].submit(&count(&json!({})));
    let job = ended(&cluster, &id);
    assert_eq!(job["error"], json!({"type": "worker_final", "message": "`text` is missing"}), "{job}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "it is in vain to try again");

    let id = cluster.nodes[2].submit(&count(&json!({"text": "a b", "pause_ms": 600_000})));
    cluster.until("it to run", |cluster| {
        (cluster.nodes[0].read(&format!("/v1/jobs/{id}"))?["state"] == "running").then_some(())
    });
    let told = cluster.nodes[0].ask("POST", &format!("/v1/jobs/{id}:cancel"), "{}").expect("an answer");
    assert_eq!(told.status, 202, "{}", told.text());
    assert_eq!(ended(&cluster, &id)["state"], "cancelled");

    // The dispatcher dies meanwhile: the handler goes on, and its end counts.
    let (old, epoch) = cluster.dispatcher();
    assert_ne!(old, 2, "who came later does not take the role");
    let id = cluster.nodes[2].submit(&count(&json!({"text": "a b", "pause_ms": 1_500})));
    cluster.until("it to run", |cluster| {
        (cluster.nodes[2].read(&format!("/v1/jobs/{id}"))?["state"] == "running").then_some(())
    });
    cluster.nodes[old].kill();
    let _ = cluster.successor(old, epoch);
    cluster.nodes[old].start();
    cluster.await_whole();
    let job = ended(&cluster, &id);
    assert_eq!((&job["state"], job["attempts"].as_array().map(Vec::len)), (&json!("succeeded"), Some(1)), "{job}");

    // Its node dies with a job: the job waits for it, since no other node has the kind.
    let id = cluster.nodes[0].submit(&count(&json!({"text": "a b c", "pause_ms": 700})));
    cluster.until("it to run", |cluster| {
        (cluster.nodes[0].read(&format!("/v1/jobs/{id}"))?["state"] == "running").then_some(())
    });
    cluster.nodes[2].kill();
    let why = until("it to be given up", LIMIT, || {
        let job = cluster.nodes[0].read(&format!("/v1/jobs/{id}"))?;
        let why = cluster.nodes[0].read(&format!("/v1/jobs/{id}/explain"))?;
        (job["state"] == "queued").then_some(why)
    });
    assert!(why["why"].as_str().unwrap().contains("offers kind `count-words`"), "{why}");
    cluster.nodes[2].start();
    let job = ended(&cluster, &id);
    assert_eq!((&job["state"], &job["node"]), (&json!("succeeded"), &json!("n3")), "{job}");
    assert_eq!(job["attempts"][0]["outcome"], "lost", "{job}");
}
