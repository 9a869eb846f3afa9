//! W3C trace context, from the header of a submit to the environment of the process and to external workers.

use relais_tests::cluster::http::Answer;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};

const ONE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TWO: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-00";
const MINE: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

fn post(cluster: &Cluster, target: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let json = [("Content-Type", "application/json")];
    let headers: Vec<_> = json.iter().chain(headers).copied().collect();
    // Of another node than the dispatcher's: what it takes in has to come along.
    let node = &cluster.nodes[cluster.others(cluster.dispatcher().0)[0]];
    node.client().send("POST", target, &headers, body.to_string().as_bytes()).expect("an answer")
}

fn told(more: &Value) -> Value {
    let mut spec = json!({"kind": "exec", "payload": {"command": ["sh", "-c", "echo \"$TRACEPARENT|$TRACESTATE\""]}});
    for (name, value) in more.as_object().expect("an object") {
        spec[name] = value.clone();
    }
    spec
}

/// What the process of a job saw.
fn seen(cluster: &Cluster, id: &Value) -> String {
    let id = id.as_str().expect("an id");
    cluster.until("the job's end", |cluster| {
        let job = cluster.row(id);
        assert!(!["failed", "cancelled"].contains(&job["state"].as_str()?), "{job}");
        (job["state"] == "succeeded").then_some(())
    });
    cluster.until("its output", |cluster| {
        let answer = cluster.nodes[0].ask("GET", &format!("/v1/jobs/{id}/logs?stream=stdout"), "")?;
        (answer.status == 200).then(|| answer.text().trim_end().to_owned())
    })
}

#[test]
fn a_trace_goes_from_the_submit_to_the_process_and_to_external_workers() {
    let cluster = Cluster::start(3, Options::default());
    let submit = |headers: &[(&str, &str)], more: &Value| post(&cluster, "/v1/jobs", headers, &told(more));
    let traced = [("traceparent", ONE), ("tracestate", "congo=t61")];

    let answer = submit(&traced, &json!({}));
    assert_eq!(
        (answer.status, &answer.json()["metadata"]),
        (201, &json!({"traceparent": ONE, "tracestate": "congo=t61"}))
    );
    assert_eq!(seen(&cluster, &answer.json()["id"]), format!("{ONE}|congo=t61"));

    let own = submit(&traced, &json!({"metadata": {"traceparent": MINE, "x": 1}})).json();
    assert_eq!(own["metadata"], json!({"traceparent": MINE, "x": 1}), "the job's own goes before the header");
    assert_eq!(seen(&cluster, &own["id"]), format!("{MINE}|"));
    let mut spec = told(&json!({}));
    spec["payload"]["env"] = json!({"TRACEPARENT": "as I say"});
    let named = post(&cluster, "/v1/jobs", &traced, &spec).json();
    assert_eq!(seen(&cluster, &named["id"]), "as I say|", "and so does its environment");

    let none = submit(&[("traceparent", "00-zz-1-1"), ("tracestate", "a=b")], &json!({}));
    assert_eq!((none.status, &none.json()["metadata"]), (201, &json!({})), "one that is none is passed over");
    assert_eq!(seen(&cluster, &none.json()["id"]), "|");

    let key = |parent| [("Idempotency-Key", "once"), ("traceparent", parent)];
    let (first, again) = (submit(&key(ONE), &json!({})), submit(&key(TWO), &json!({})));
    assert_eq!((first.status, again.status), (201, 200), "{}", again.text());
    assert_eq!((&again.json()["id"], &again.json()["metadata"]["traceparent"]), (&first.json()["id"], &json!(ONE)));

    let batch =
        post(&cluster, "/v1/jobs:batch", &traced, &json!([told(&json!({})), told(&json!({"metadata": {"x": 1}}))]));
    for result in batch.json()["results"].as_array().expect("results") {
        assert_eq!(seen(&cluster, &result["id"]), format!("{ONE}|congo=t61"));
    }
    let array = submit(&traced, &json!({"array": {"count": 2}})).json();
    assert_eq!(seen(&cluster, &array["first_id"]), format!("{ONE}|congo=t61"));

    post(&cluster, "/v1/jobs", &traced, &json!({"kind": "external", "payload": {}, "queue": "out"}));
    let ask = json!({"max": 1, "worker": "w", "queues": ["out"], "wait": "30s"});
    let leases = post(&cluster, "/v1/leases", &[], &ask).json();
    assert_eq!(leases[0]["job"]["metadata"]["traceparent"], ONE, "{leases}");
}
