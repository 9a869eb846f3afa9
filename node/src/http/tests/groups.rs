//! Arrays: submitted, shown, waited for, cancelled; and what does not go with one.

use super::rig::Served;
use relais_protocol::job::AttemptOutcome;
use serde_json::{Value, json};

async fn array(served: &Served, spec: &Value) -> (String, String) {
    let said = served.post("/v1/jobs", &spec.to_string()).await;
    assert_eq!(said.status, 201, "{}", said.text);
    let body = said.json();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(said.header("location"), format!("/v1/groups/{}", text("group")));
    (text("group"), text("first_id"))
}

#[actix_web::test]
async fn an_array_is_a_group_of_jobs_each_with_its_input() {
    let served = Served::with_slots(1);
    let spec = json!({"kind": "noop", "payload": {}, "name": "scan", "labels": {"a": "b"},
        "array": {"inputs": ["x y", 7, {"z": [1,
            2]}], "first": 1, "max_failures": 0},
        "on_complete": {"kind": "noop", "payload": {}, "name": "after"}});
    let (group, first) = array(&served, &spec).await;
    let job = served.get(&format!("/v1/jobs/{first}")).await.json();
    assert_eq!((&job["group"], &job["array"]), (&json!(group), &json!({"index": 1, "input": "x y"})));
    assert_eq!((&job["name"], &job["labels"], &job["on_complete"]), (&json!("scan"), &json!({"a": "b"}), &Value::Null));
    let shown = served.get(&format!("/v1/groups/{group}")).await.json();
    assert_eq!((&shown["total"], &shown["state"], &shown["progress"]), (&json!(3), &json!("running"), &json!(0.0)));
    assert_eq!((&shown["counts"]["running"], &shown["counts"]["queued"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&shown["name"], &shown["max_failures"], &shown["first_id"]),
        (&json!("scan"), &json!(0), &json!(first))
    );
    let listed = served.get(&format!("/v1/jobs?group={group}&limit=2")).await.json();
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(2));
    assert_eq!(listed["jobs"][0]["array"], json!({"index": 3, "input": {"z": [1, 2]}}));
    served.rig.finish(&first, AttemptOutcome::Failed);
    let ended = served.get(&format!("/v1/groups/{group}?wait=5s")).await.json();
    assert_eq!((&ended["state"], &ended["progress"]), (&json!("failed"), &json!(1.0)));
    assert_eq!((&ended["counts"]["failed"], &ended["counts"]["cancelled"]), (&json!(1), &json!(2)));
    assert!(ended["reason"].as_str().unwrap().contains("`max_failures` is 0"), "{ended}");
    let after = served.get(&format!("/v1/jobs/{}", ended["on_complete"].as_str().unwrap())).await.json();
    assert_eq!((&after["name"], &after["completes"]), (&json!("after"), &json!({"id": group, "state": "failed"})));
}

#[actix_web::test]
async fn a_million_members_are_answered_for_before_they_are_made() {
    let served = Served::with_slots(1);
    let (group, first) = array(&served, &json!({"kind": "noop", "payload": {}, "array": {"count": 1_000_000}})).await;
    let shown = served.get(&format!("/v1/groups/{group}")).await.json();
    assert_eq!((&shown["total"], &shown["counts"]["queued"]), (&json!(1_000_000), &json!(999_999)));
    let last = shown["last_id"].as_str().unwrap();
    let job = served.get(&format!("/v1/jobs/{last}")).await.json();
    assert_eq!((&job["state"], &job["array"]["index"]), (&json!("queued"), &json!(999_999)));
    let why = served.get(&format!("/v1/jobs/{last}/explain")).await.json();
    assert!(why["why"].as_str().unwrap().contains("other members of its group"), "{why}");
    let early = served.post(&format!("/v1/jobs/{last}:cancel"), "{}").await.problem(409);
    assert!(early["detail"].as_str().unwrap().contains(&group), "{early}");
    served.post(&format!("/v1/groups/{group}:cancel"), r#"{"reason":5}"#).await.problem(400);
    let cancelled = served.post(&format!("/v1/groups/{group}:cancel"), r#"{"reason":"enough"}"#).await;
    assert_eq!((cancelled.status, &cancelled.json()["reason"]), (202, &json!("enough")), "one runs");
    served.rig.finish(&first, AttemptOutcome::Cancelled);
    let ended = served.get(&format!("/v1/groups/{group}?wait=5s")).await.json();
    assert_eq!((&ended["state"], &ended["counts"]["cancelled"]), (&json!("cancelled"), &json!(1_000_000)));
    served.post(&format!("/v1/groups/{group}:cancel"), "").await.problem(409);
    assert_eq!(served.get(&format!("/v1/jobs/{last}")).await.json()["state"], "cancelled");
}

#[actix_web::test]
async fn a_key_makes_one_group() {
    let served = Served::with_slots(0);
    let keyed = |body: Value| {
        let request = served.request("POST", "/v1/jobs").header("idempotency-key", "k");
        served.send(request.body(body.to_string()))
    };
    let spec = |count: u32| json!({"kind": "noop", "payload": {}, "array": {"count": count}});
    let first = keyed(spec(3)).await;
    let again = keyed(spec(3)).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!((&first.json()["group"], &again.json()["deduplicated"]), (&again.json()["group"], &json!(true)));
    keyed(spec(4)).await.problem(422);
    keyed(json!({"kind": "noop", "payload": {}})).await.problem(422);
    assert_eq!(served.rig.jobs(), 3);
}

#[actix_web::test]
async fn what_makes_a_group_goes_alone() {
    let served = Served::with_slots(1);
    let spec = json!({"kind": "noop", "payload": {}, "array": {"count": 2}});
    let batch = served.post("/v1/jobs:batch", &json!([spec]).to_string()).await.json();
    assert_eq!(batch["results"][0]["problem"]["errors"][0]["pointer"], "/array");
    served.post("/v1/jobs?wait=1s", &spec.to_string()).await.problem(400);
    let refused = |field: &str, value: Value| {
        let mut spec = spec.clone();
        spec[field] = value;
        let served = &served;
        let pointer = format!("/{field}");
        async move {
            let problem = served.post("/v1/jobs", &spec.to_string()).await.problem(400);
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        }
    };
    refused("unique", json!({"key": "k"})).await;
    refused("placement", json!("every")).await;
    refused("ref", json!("a")).await;
    refused("notify", json!({"webhook": {"url": "http://127.0.0.1:1/"}})).await;
    let long = json!({"kind": "exec", "array": {"count": 2}, "payload": {"command": ["x".repeat(70_000)]}});
    let problem = served.post("/v1/jobs", &long.to_string()).await.problem(400);
    assert_eq!(problem["errors"][0]["pointer"], "/payload");
    let inputs = json!({"kind": "noop", "payload": {}, "array": {"inputs": vec!["x".repeat(1 << 20); 2]}});
    let status = served.post("/v1/jobs", &inputs.to_string()).await.status;
    assert!([400, 413].contains(&status), "{status}");
    assert_eq!(served.rig.jobs(), 0);
    for id in ["x", "01963a0c-7f1e-7abc-8def-000000000001", "01963a0c-7f1e-7abc-8def-000000000000"] {
        served.get(&format!("/v1/groups/{id}")).await.problem(404);
        served.post(&format!("/v1/groups/{id}:cancel"), "").await.problem(404);
    }
}

#[actix_web::test]
async fn every_node_that_matches_gets_a_job() {
    let served = Served::with_slots(1);
    let spec = |slots: u32| json!({"kind": "noop", "payload": {}, "placement": "every", "requires": {"slots": slots}});
    let (_, first) = array(&served, &spec(1)).await;
    let job = served.get(&format!("/v1/jobs/{first}")).await.json();
    assert_eq!((&job["placement"], &job["node"]), (&json!("every"), &json!("n1")));
    served.post("/v1/jobs", &spec(9).to_string()).await.problem(409);
}
