//! The lease API over HTTP: what is granted, what is said of a lease, what is refused and where.

use super::rig::{Said, Served};
use crate::backend::Backend;
use relais_protocol::ids::NodeId;
use relais_protocol::record::{NodeFacts, Record};
use serde_json::{Value, json};

const EXTERNAL: &str = r#"{"kind":"external","payload":{"n":1}}"#;

impl Served {
    async fn lease(&self, body: &Value) -> Vec<Value> {
        let said = self.post("/v1/leases", &body.to_string()).await;
        assert_eq!(said.status, 200, "{}", said.text);
        said.json().as_array().unwrap().clone()
    }

    /// The node offers a kind of its own from now on.
    fn offer(&self, kind: &str) {
        let row = self.rig.ledger().node(NodeId(1)).unwrap().clone();
        let facts = NodeFacts { kinds: vec![kind.to_owned()], ..row.facts };
        let (node, incarnation) = (NodeId(1), row.incarnation);
        self.rig.apply(vec![Record::NodeUp { node, incarnation, facts: Box::new(facts) }]);
    }

    async fn say(&self, lease: &Value, verb: &str, body: &str) -> Said {
        self.post(&format!("/v1/leases/{}:{verb}", lease["lease_id"].as_str().unwrap()), body).await
    }

    async fn job_of(&self, lease: &Value) -> Value {
        self.get(&format!("/v1/jobs/{}", lease["job"]["id"].as_str().unwrap())).await.json()
    }
}

#[actix_web::test]
async fn a_job_is_leased_done_and_shown_with_its_worker() {
    let served = Served::with_slots(4);
    assert_eq!(served.lease(&json!({})).await, Vec::<Value>::new());
    let id = served.job(EXTERNAL).await;
    assert_eq!(served.get(&format!("/v1/jobs/{id}")).await.json()["state"], "queued", "no node takes it");
    let why = served.get(&format!("/v1/jobs/{id}/explain")).await.json();
    assert!(why["why"].as_str().unwrap().contains("external worker"), "{why}");
    let leases = served.lease(&json!({"worker": "w7", "max": 5, "lease": "10s"})).await;
    assert_eq!(leases.len(), 1);
    let lease = &leases[0];
    assert_eq!((&lease["job"]["payload"]["n"], &lease["job"]["state"]), (&json!(1), &json!("running")));
    assert_eq!((&lease["job"]["worker"], &lease["job"]["node"]), (&json!("w7"), &Value::Null));
    assert_eq!(lease["fence"], lease["job"]["fence"]);
    assert_eq!(lease["lease_id"], format!("{id}.{}", lease["fence"]));
    let beaten = served.say(lease, "heartbeat", r#"{"progress":"half"}"#).await.json();
    assert_eq!((&beaten["cancel_requested"], &beaten["expires_at"]), (&json!(false), &lease["expires_at"]));
    let ended = served.say(lease, "complete", r#"{"result":{"sum":3}}"#).await;
    assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("succeeded")));
    let again = served.say(lease, "complete", r#"{"result":{"sum":3}}"#).await;
    assert_eq!((again.status, again.text), (200, ended.text), "told again, it is the same end");
    let job = served.job_of(lease).await;
    assert_eq!((&job["result"], &job["attempts"][0]["worker"]), (&json!({"sum": 3}), &json!("w7")));
    for (verb, body) in [("complete", r#"{"result":4}"#), ("fail", ""), ("release", ""), ("heartbeat", "")] {
        served.say(lease, verb, body).await.problem(409);
    }
    assert_eq!(served.get(&format!("/v1/jobs/{id}/logs")).await.text, "");
    let story = served.get(&format!("/v1/jobs/{id}/events")).await.json();
    assert!(story["events"].as_array().unwrap().iter().any(|event| event["worker"] == "w7"), "{story}");
}

#[actix_web::test]
async fn a_failure_is_retried_unless_it_is_final_and_what_is_given_back_counts_nothing() {
    let served = Served::with_slots(4);
    let spec = json!({"kind": "external", "payload": 1, "retry": {"max_attempts": 3, "initial_interval": "0s",
        "jitter": "none", "non_retryable": ["worker:BadInput"]}});
    let fail = |kind: &str, retryable: bool| {
        json!({"error": {"type": kind, "message": "no"}, "retryable": retryable}).to_string()
    };
    served.job(&spec.to_string()).await;
    let lease = served.lease(&json!({})).await.remove(0);
    assert_eq!(served.say(&lease, "release", "{}").await.json()["state"], "queued");
    assert_eq!(served.say(&lease, "release", "").await.status, 200, "told again");
    let second = served.lease(&json!({})).await.remove(0);
    assert!(second["fence"].as_u64() > lease["fence"].as_u64(), "{second}");
    served.say(&lease, "complete", "").await.problem(409);
    assert_eq!(served.say(&second, "fail", &fail("Timeout", true)).await.json()["state"], "retrying");
    served.rig.pass(1);
    let third = served.lease(&json!({})).await.remove(0);
    assert_eq!(served.say(&third, "fail", &fail("BadInput", true)).await.json()["state"], "failed");
    let job = served.job_of(&third).await;
    assert_eq!(job["error"], json!({"type": "worker", "message": "BadInput: no"}));
    served.job(&spec.to_string()).await;
    let lease = served.lease(&json!({})).await.remove(0);
    assert_eq!(served.say(&lease, "fail", &fail("Odd", false)).await.json()["state"], "failed");
    assert_eq!(served.job_of(&lease).await["error"]["type"], "worker_final");
}

#[actix_web::test]
async fn a_cancel_is_told_by_the_heartbeat_and_confirmed_by_the_end() {
    let served = Served::with_slots(4);
    let id = served.job(EXTERNAL).await;
    let lease = served.lease(&json!({})).await.remove(0);
    assert_eq!(served.post(&format!("/v1/jobs/{id}:cancel"), "").await.status, 202);
    assert_eq!(served.say(&lease, "heartbeat", "").await.json()["cancel_requested"], true);
    let why = served.get(&format!("/v1/jobs/{id}/explain")).await.json();
    assert!(why["why"].as_str().unwrap().contains("told to stop"), "{why}");
    assert_eq!(served.say(&lease, "release", "").await.json()["state"], "cancelled");
}

#[actix_web::test]
async fn only_what_is_asked_for_is_granted() {
    let served = Served::with_slots(4);
    let spec = |queue: &str, zone: Option<&str>| {
        let labels = zone.map_or(json!({}), |zone| json!({ "zone": zone }));
        json!({"kind": "external", "payload": {}, "queue": queue, "requires": {"labels": labels}}).to_string()
    };
    served.job(r#"{"kind":"noop","payload":{},"queue":"a"}"#).await;
    let (a, b, eu) = (served.job(&spec("a", None)).await, served.job(&spec("b", None)).await, spec("b", Some("eu")));
    let eu = served.job(&eu).await;
    let ids = |leases: Vec<Value>| leases.iter().map(|one| one["job"]["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(served.lease(&json!({"queues": ["c"]})).await), Vec::<Value>::new());
    assert_eq!(ids(served.lease(&json!({"queues": ["b"], "max": 9})).await), [b]);
    assert_eq!(ids(served.lease(&json!({"max": 9})).await), [a]);
    assert_eq!(ids(served.lease(&json!({"labels": {"zone": "eu", "x": "y"}})).await), [eu]);
}

#[actix_web::test]
async fn each_wrong_field_is_pointed_at_and_nothing_is_leased() {
    let served = Served::with_slots(0);
    served.job(EXTERNAL).await;
    let long = json!("x".repeat(201));
    let many = |n: usize| (0..n).map(|n| format!("q{n}")).collect::<Vec<_>>();
    let labels: serde_json::Map<String, Value> = many(17).into_iter().map(|key| (key, json!(""))).collect();
    for (field, value, pointer) in [
        ("queues", json!("mail"), "/queues"),
        ("queues", json!([]), "/queues"),
        ("queues", json!(["ok", "Not"]), "/queues/1"),
        ("queues", json!([5]), "/queues/0"),
        ("queues", json!(many(65)), "/queues"),
        ("kinds", json!("external"), "/kinds"),
        ("kinds", json!([]), "/kinds"),
        ("kinds", json!(["exec"]), "/kinds/0"),
        ("kinds", json!(["external", "unheard-of"]), "/kinds/1"),
        ("kinds", json!([null]), "/kinds/0"),
        ("labels", json!([]), "/labels"),
        ("labels", json!({"zone": 5}), "/labels/zone"),
        ("labels", json!(labels), "/labels"),
        ("max", json!(0), "/max"),
        ("max", json!(101), "/max"),
        ("max", json!("5"), "/max"),
        ("max", json!(1.5), "/max"),
        ("wait", json!(5), "/wait"),
        ("wait", json!("soon"), "/wait"),
        ("wait", json!("11m"), "/wait"),
        ("worker", json!(""), "/worker"),
        ("worker", json!("a\nb"), "/worker"),
        ("worker", long, "/worker"),
        ("worker", json!({}), "/worker"),
        ("lease", json!("2s"), "/lease"),
        ("lease", json!("2h"), "/lease"),
        ("lease", json!("long"), "/lease"),
        ("colour", json!("red"), "/colour"),
    ] {
        let said = served.post("/v1/leases", &json!({field: value}).to_string()).await;
        assert_eq!(said.problem(400)["errors"][0]["pointer"], pointer, "{field}: {value}");
    }
    for body in ["[]", "5", "{", r#"{"max":1}{}"#] {
        served.post("/v1/leases", body).await.problem(400);
    }
    assert_eq!(served.lease(&json!({})).await.len(), 1, "none of it leased anything");
}

#[actix_web::test]
async fn each_wrong_word_about_a_lease_is_refused_and_the_lease_goes_on() {
    let served = Served::with_slots(0);
    served.job(EXTERNAL).await;
    let lease = served.lease(&json!({})).await.remove(0);
    let id = lease["lease_id"].as_str().unwrap();
    let long = |n: usize| "x".repeat(n);
    for (verb, body, pointer) in [
        ("heartbeat", json!({"progress": long(1_025)}), "/progress"),
        ("heartbeat", json!({"progress": [long(1_025)]}), "/progress"),
        ("heartbeat", json!({"fence": "7"}), "/fence"),
        ("heartbeat", json!({"done": 1}), "/done"),
        ("heartbeat", json!([]), ""),
        ("complete", json!({"result": long(65_536)}), "/result"),
        ("complete", json!({"results": 1}), "/results"),
        ("complete", json!({"fence": -1}), "/fence"),
        ("complete", json!([1, 2]), ""),
        ("fail", json!({"error": "no"}), "/error"),
        ("fail", json!({"error": {"type": "a b"}}), "/error/type"),
        ("fail", json!({"error": {"type": ""}}), "/error/type"),
        ("fail", json!({"error": {"type": 5}}), "/error/type"),
        ("fail", json!({"error": {"message": long(4_097)}}), "/error/message"),
        ("fail", json!({"error": {"message": 5}}), "/error/message"),
        ("fail", json!({"error": {"kind": "x"}}), "/error/kind"),
        ("fail", json!({"retryable": "no"}), "/retryable"),
        ("fail", json!({"retryable": 0}), "/retryable"),
        ("release", json!({"reason": "x"}), "/reason"),
        ("release", json!({"fence": 1.5}), "/fence"),
        ("release", json!([]), ""),
    ] {
        let said = served.post(&format!("/v1/leases/{id}:{verb}"), &body.to_string()).await;
        assert_eq!(said.problem(400)["errors"][0]["pointer"], pointer, "{verb} {body}");
    }
    let (job, fence) = id.split_once('.').unwrap();
    for verb in ["heartbeat", "complete", "fail", "release"] {
        for wrong in ["x", job, &format!("{job}."), &format!("{job}.+1"), &format!("{job}.1.2"), "1.1"] {
            served.post(&format!("/v1/leases/{wrong}:{verb}"), "").await.problem(404);
        }
        served.post(&format!("/v1/leases/{job}.{}:{verb}", fence.parse::<u64>().unwrap() - 1), "").await.problem(409);
        served.post(&format!("/v1/leases/{id}:{verb}"), r#"{"fence":1}"#).await.problem(409);
    }
    served.get(&format!("/v1/leases/{id}:complete")).await.problem(405);
    served.post(&format!("/v1/leases/{id}:finish"), "").await.problem(404);
    let right = format!(r#"{{"fence":{fence}}}"#);
    assert_eq!(served.say(&lease, "complete", &right).await.json()["state"], "succeeded");
}

#[actix_web::test]
async fn a_kind_is_unknown_until_a_node_has_offered_it() {
    let served = Served::with_slots(4);
    let spec = r#"{"kind":"resize","payload":{"w":5}}"#;
    let said = served.post("/v1/jobs", spec).await;
    assert_eq!(said.problem(400)["errors"][0]["pointer"], "/kind");
    let batch = served.post("/v1/jobs:batch", &format!("[{spec},{EXTERNAL}]")).await.json();
    assert_eq!((&batch["results"][0]["status"], &batch["results"][1]["status"]), (&json!(400), &json!(201)));
    served.offer("resize");
    let id = served.job(spec).await;
    assert_eq!(served.get(&format!("/v1/jobs/{id}")).await.json()["state"], "running");
    assert_eq!(served.lease(&json!({"kinds": ["resize"]})).await.len(), 0, "the node has it");
}
