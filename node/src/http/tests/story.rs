//! What happened to a job, in order, and what it left.

use super::NOOP;
use super::rig::Served;
use serde_json::{Value, json};

fn names(story: &Value) -> Vec<String> {
    let events = story["events"].as_array().expect("events");
    events.iter().map(|event| event["event"].as_str().expect("a name").to_owned()).collect()
}

#[actix_web::test]
async fn a_job_that_waits_and_is_cancelled_tells_its_story() {
    let served = Served::with_slots(0);
    let id = served.job(NOOP).await;
    let target = format!("/v1/jobs/{id}/events");
    assert_eq!(names(&served.get(&target).await.json()), ["submitted", "queued"]);
    served.post(&format!("/v1/jobs/{id}:cancel"), r#"{"reason":"no need"}"#).await;
    let story = served.get(&target).await.json();
    assert_eq!(names(&story), ["submitted", "cancel_requested", "ended"]);
    assert_eq!((&story["events"][1]["reason"], &story["events"][2]["state"]), (&json!("no need"), &json!("cancelled")));
    assert_eq!(story["events"][2]["error"]["type"], "cancelled");
    served.post(&format!("/v1/jobs/{id}:retry"), "").await;
    let story = served.get(&target).await.json();
    assert_eq!(names(&story).last().map(String::as_str), Some("queued"), "{story}");
    assert!(names(&story).contains(&"ended".to_owned()), "the earlier end is kept");
    served.get("/v1/jobs/ffff/events").await.problem(404);
    served.get(&format!("{target}?x=1")).await.problem(400);
}

#[actix_web::test]
async fn an_attempt_that_runs_is_told_with_its_node() {
    let served = Served::with_slots(1);
    let id = served.job(NOOP).await;
    let story = served.get(&format!("/v1/jobs/{id}/events")).await.json();
    assert_eq!(names(&story), ["submitted", "attempt_started"]);
    assert_eq!((&story["state"], &story["events"][1]["attempt"]), (&json!("running"), &json!(1)));
    assert!(story["events"][1]["node"].is_string() && story["events"][1]["epoch"].is_u64());
    let none = served.get(&format!("/v1/jobs/{id}/result")).await;
    assert!(none.problem(404)["detail"].as_str().unwrap().contains("is running"));
}
