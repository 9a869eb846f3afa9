//! Jobs of one batch that name each other.

use super::NOOP;
use super::rig::Served;
use serde_json::{Value, json};

async fn batch(served: &Served, key: Option<&str>, jobs: &Value) -> Vec<Value> {
    let mut request = served.request("POST", "/v1/jobs:batch").header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let said = served.send(request.body(jobs.to_string())).await;
    assert_eq!(said.status, 200, "{}", said.text);
    said.json()["results"].as_array().expect("results").clone()
}

fn job(name: &str, parents: &[&str]) -> Value {
    let depends_on: Vec<Value> = parents.iter().map(|parent| json!({"ref": parent})).collect();
    json!({"kind": "noop", "payload": {}, "ref": name, "depends_on": depends_on})
}

fn statuses(results: &[Value]) -> Vec<u64> {
    results.iter().map(|item| item["status"].as_u64().expect("a status")).collect()
}

#[actix_web::test]
async fn children_may_come_before_their_parents() {
    let served = Served::with_slots(0);
    let results = batch(&served, None, &json!([job("c", &["a", "b"]), job("a", &[]), job("b", &["a"])])).await;
    assert_eq!(statuses(&results), [201, 201, 201]);
    let child = served.get(&format!("/v1/jobs/{}", results[0]["id"].as_str().unwrap())).await.json();
    assert_eq!((child["state"].as_str(), child["depends_on"][0]["on"].as_str()), (Some("blocked"), Some("succeeded")));
    assert_eq!(child["depends_on"][0]["id"], results[1]["id"]);
    assert_eq!(child["depends_on"][1]["id"], results[2]["id"]);
    let why = served.get(&format!("/v1/jobs/{}/explain", results[0]["id"].as_str().unwrap())).await.json();
    assert!(why["why"].as_str().unwrap().contains("waits for 2 jobs"), "{why}");
}

#[actix_web::test]
async fn a_circle_an_unknown_name_and_a_bad_parent_spoil_what_they_concern() {
    let served = Served::with_slots(0);
    let jobs = json!([
        job("a", &["b"]),
        job("b", &["c"]),
        job("c", &["a"]),
        job("d", &["c"]),
        job("e", &["nobody"]),
        job("f", &["e"]),
        job("g", &[]),
        job("g", &[]),
        job("h", &["g"]),
        job("i", &["i"]),
    ]);
    let results = batch(&served, None, &jobs).await;
    assert_eq!(statuses(&results), [400, 400, 400, 400, 400, 400, 201, 400, 201, 400]);
    let pointer = |at: usize| results[at]["problem"]["errors"][0]["pointer"].clone();
    assert_eq!([pointer(0), pointer(4), pointer(7)], ["/depends_on", "/depends_on/0/ref", "/ref"]);
    assert_eq!(served.rig.jobs(), 2);
    served
        .post("/v1/jobs:batch?atomic=true", &json!([job("a", &["b"]), job("b", &["a"])]).to_string())
        .await
        .problem(400);
    assert_eq!(served.rig.jobs(), 2);
}

#[actix_web::test]
async fn a_batch_sent_again_under_its_key_makes_no_second_graph() {
    let served = Served::with_slots(0);
    let first = batch(&served, Some("K"), &json!([job("a", &[]), job("b", &["a"])])).await;
    let again = batch(&served, Some("K"), &json!([job("a", &[]), job("b", &["a"])])).await;
    assert_eq!((statuses(&first), statuses(&again)), (vec![201, 201], vec![200, 200]));
    assert_eq!(first[1]["id"], again[1]["id"]);
    // Only the parent had arrived: the child follows the one that is there.
    let parent = batch(&served, Some("L"), &json!([job("a", &[])])).await;
    let both = batch(&served, Some("L"), &json!([job("a", &[]), job("b", &["a"])])).await;
    assert_eq!(statuses(&both), [200, 201]);
    let child = served.get(&format!("/v1/jobs/{}", both[1]["id"].as_str().unwrap())).await.json();
    assert_eq!(child["depends_on"][0]["id"], parent[0]["id"]);
}

#[actix_web::test]
async fn a_single_job_depends_on_ids_alone() {
    let served = Served::with_slots(0);
    let problem = served.post("/v1/jobs", &job("a", &["b"]).to_string()).await.problem(400);
    assert_eq!(
        (problem["errors"][0]["pointer"].as_str(), problem["errors"].as_array().map(Vec::len)),
        (Some("/ref"), Some(2))
    );
    let unknown = r#"{"kind":"noop","payload":{},"depends_on":[{"id":"01963a0c-0000-7000-8000-000000000000"}]}"#;
    served.post("/v1/jobs", unknown).await.problem(422);
    let id = served.job(NOOP).await;
    let known = format!(r#"{{"kind":"noop","payload":{{}},"depends_on":[{{"id":"{id}","on":"failed"}}]}}"#);
    assert_eq!(served.post("/v1/jobs", &known).await.json()["state"], "blocked");
}
