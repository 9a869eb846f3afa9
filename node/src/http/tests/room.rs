//! Cores and memory, slots and labels that are set of a node, progress, and the words for how a job ended.

use super::NOOP;
use super::rig::Served;
use relais_protocol::job::AttemptOutcome;
use serde_json::{Value, json};

async fn patch(served: &Served, body: &str) -> super::rig::Said {
    let request = served.request("PATCH", "/v1/nodes/n1").header("content-type", "application/json");
    served.send(request.body(body.to_owned())).await
}

#[actix_web::test]
async fn what_a_job_asks_for_is_shown_and_why_it_has_no_node() {
    let served = Served::with_slots(4);
    let text = r#"{"kind":"noop","payload":{},"requires":{"cpu":1.5,"memory":"64GiB"},"placement":"pack"}"#;
    let id = served.job(text).await;
    let job = served.get(&format!("/v1/jobs/{id}")).await.json();
    assert_eq!(job["requires"], json!({"slots": 1, "cpu": 1.5, "memory": "64GiB", "labels": {}}));
    assert_eq!((&job["placement"], &job["state"]), (&json!("pack"), &json!("queued")));
    let said = served.get(&format!("/v1/jobs/{id}/explain")).await.json();
    assert_eq!(said["why"], "no online node has 64 GiB of memory; the largest has 8 GiB; it is next");
    let plain = served.job(NOOP).await;
    let job = served.get(&format!("/v1/jobs/{plain}")).await.json();
    assert_eq!(job["requires"], json!({"slots": 1, "cpu": null, "memory": null, "labels": {}}));
}

#[actix_web::test]
async fn slots_and_labels_of_a_node_are_set_and_unset() {
    let served = Served::with_slots(2);
    let node = served.get("/v1/nodes/n1").await.json();
    assert_eq!((&node["slots"], &node["slots_from"], &node["set"]), (&json!(2), &json!("start"), &Value::Null));
    assert_eq!((&node["cpu"], &node["memory_bytes"]), (&json!(2.0), &json!(8u64 << 30)));
    let node = patch(&served, r#"{"slots":5,"labels":{"zone":"eu","gpu":null}}"#).await;
    assert_eq!(node.status, 200, "{}", node.text);
    let node = node.json();
    assert_eq!(
        (&node["slots"], &node["slots_from"], &node["labels"]),
        (&json!(5), &json!("set"), &json!({"zone": "eu"}))
    );
    assert_eq!(node["started_with"], json!({"slots": 2, "labels": {}}));
    assert_eq!(node["set"], json!({"slots": 5, "labels": {"zone": "eu"}}));
    let node = patch(&served, r#"{"slots":null}"#).await.json();
    assert_eq!((&node["slots"], &node["labels"]), (&json!(2), &json!({"zone": "eu"})));
    let node = patch(&served, r#"{"labels":null}"#).await.json();
    assert_eq!((&node["set"], &node["labels"]), (&Value::Null, &json!({})));
    assert_eq!(patch(&served, "{}").await.json()["slots"], 2, "nothing is wished, nothing changes");
}

#[actix_web::test]
async fn a_wrong_wish_sets_nothing_of_a_node() {
    let served = Served::with_slots(2);
    let many: Value = (0..17).map(|n| (format!("k{n}"), "v".into())).collect::<serde_json::Map<String, Value>>().into();
    let table = [
        (r#"{"slots":-1}"#.to_owned(), "/slots"),
        (r#"{"slots":1.5}"#.to_owned(), "/slots"),
        (r#"{"slots":"2"}"#.to_owned(), "/slots"),
        (r#"{"slots":100001}"#.to_owned(), "/slots"),
        (r#"{"labels":[]}"#.to_owned(), "/labels"),
        (r#"{"labels":"zone=eu"}"#.to_owned(), "/labels"),
        (r#"{"labels":{"zone":5}}"#.to_owned(), "/labels/zone"),
        (r#"{"labels":{"a/B":"x"}}"#.to_owned(), "/labels/a~1B"),
        (r#"{"labels":{"":"x"}}"#.to_owned(), "/labels/"),
        (r#"{"labels":{"a":"x\ny"}}"#.to_owned(), "/labels/a"),
        (json!({ "labels": many }).to_string(), "/labels"),
        (r#"{"memory":"1GiB"}"#.to_owned(), "/memory"),
        (r#"{"slots":9,"drain":true}"#.to_owned(), "/drain"),
    ];
    for (body, pointer) in table {
        let problem = patch(&served, &body).await.problem(400);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    for body in ["", "[]", "5", "{"] {
        patch(&served, body).await.problem(400);
    }
    assert_eq!(served.get("/v1/nodes/n1").await.json()["set"], Value::Null);
    let request = served.request("PATCH", "/v1/nodes/n9").header("content-type", "application/json");
    served.send(request.body(r#"{"slots":1}"#)).await.problem(404);
}

#[actix_web::test]
async fn progress_is_asked_of_the_node_that_runs_it_and_kept_with_the_end() {
    let served = Served::with_slots(2);
    let id = served.job(r#"{"kind":"exec","payload":{"command":["true"]}}"#).await;
    let job = served.get(&format!("/v1/jobs/{id}")).await.json();
    assert_eq!(job["progress"], format!("{id} {}", job["fence"]), "{job}");
    let page = served.get("/v1/jobs").await.json();
    assert_eq!(page["jobs"][0]["progress"], job["progress"]);
    let silent = served.job(NOOP).await;
    assert_eq!(served.get(&format!("/v1/jobs/{silent}")).await.json()["progress"], Value::Null);
    served.rig.finish(&id, AttemptOutcome::Failed);
    let job = served.get(&format!("/v1/jobs/{id}")).await.json();
    assert_eq!((&job["progress"], &job["attempts"][0]["progress"]), (&json!("9 of 10"), &json!("9 of 10")));
}

#[actix_web::test]
async fn it_is_told_how_a_job_ended() {
    let served = Served::with_slots(9);
    let why = async |id: &str| {
        let said = served.get(&format!("/v1/jobs/{id}/explain")).await.json();
        said["why"].as_str().unwrap().to_owned()
    };
    let good = served.job(NOOP).await;
    served.rig.finish(&good, AttemptOutcome::Succeeded);
    assert_eq!(why(&good).await, "attempt 1 on n1 ended well");
    let retry = r#"{"max_attempts":2,"initial_interval":"1s","jitter":"none"}"#;
    let bad = served.job(&format!(r#"{{"kind":"noop","payload":{{}},"retry":{retry}}}"#)).await;
    served.rig.finish(&bad, AttemptOutcome::Failed);
    assert!(why(&bad).await.starts_with("exit code 3 in attempt 1 on n1; 1 of 2 attempts failed; the next is due at "));
    served.rig.pass(1_000);
    served.rig.finish(&bad, AttemptOutcome::Failed);
    let told =
        format!("exit code 3 in attempt 2 on n1; 2 of 2 attempts failed; POST /v1/jobs/{bad}:retry runs it again");
    assert_eq!(why(&bad).await, told);
    let retry = r#"{"max_attempts":5,"non_retryable":["exit:3"]}"#;
    let last = served.job(&format!(r#"{{"kind":"noop","payload":{{}},"retry":{retry}}}"#)).await;
    served.rig.finish(&last, AttemptOutcome::Failed);
    let told = "exit code 3 in attempt 1 on n1; 1 of 5 attempts failed, and `non_retryable` names that end; ";
    assert!(why(&last).await.starts_with(told), "{}", why(&last).await);
    let lost = served.job(r#"{"kind":"noop","payload":{},"retry":{"max_lost":0}}"#).await;
    served.rig.finish(&lost, AttemptOutcome::Lost);
    let said = why(&lost).await;
    assert!(
        said.starts_with(
            "1 attempts were lost, `max_lost` is 0; of the last: exit code 3; the last was attempt 1 on n1; "
        ),
        "{said}"
    );
    let gone = served.job(r#"{"kind":"noop","payload":{},"delay":"1h"}"#).await;
    served.post(&format!("/v1/jobs/{gone}:cancel"), r#"{"reason":"enough"}"#).await;
    assert!(why(&gone).await.ends_with(": enough"), "{}", why(&gone).await);
}
