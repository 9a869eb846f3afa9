//! What is answered while there is no dispatcher, on a full disk, by a node without a ledger; and what has
//! no route.

use super::NOOP;
use super::rig::Served;
use crate::backend::{Backend, PassedOn};
use bytes::Bytes;
use futures::TryStreamExt;
use relais_protocol::record::TokenRole;
use serde_json::Value;
use std::sync::atomic::Ordering;

#[actix_web::test]
async fn without_a_dispatcher_nothing_is_taken_and_nothing_denied() {
    let served = Served::with_slots(0);
    let id = served.job(NOOP).await;
    served.rig.has_dispatcher.store(false, Ordering::SeqCst);
    let refused = served.post("/v1/jobs", NOOP).await;
    let problem = refused.problem(503);
    assert_eq!(
        (refused.header("retry-after"), problem["type"].as_str()),
        ("1", Some("urn:relais:problem:no-dispatcher"))
    );
    assert_eq!(refused.header("relais-dispatcher"), "none");
    served.post("/v1/jobs:batch", &format!("[{NOOP}]")).await.problem(503);
    served.post(&format!("/v1/jobs/{id}:cancel"), "{}").await.problem(503);
    let known = served.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!((known.status, known.header("relais-staleness-ms")), (200, "7"));
    for unknown in ["00000000-0000-7000-8000-000000000000", "ffff"] {
        let said = served.get(&format!("/v1/jobs/{unknown}")).await;
        said.problem(503);
        assert_eq!(said.header("retry-after"), "1");
        // Who asks for no more than this node knows is told just that.
        served.get(&format!("/v1/jobs/{unknown}?consistency=local")).await.problem(404);
    }
    served.get("/v1/nodes/n9").await.problem(503);
    assert_eq!(served.get("/v1/jobs").await.header("relais-staleness-ms"), "7");
    assert_eq!(served.get("/v1/cluster").await.status, 200);
    served.rig.has_dispatcher.store(true, Ordering::SeqCst);
    let fresh = served.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!((fresh.status, fresh.header("relais-staleness-ms")), (200, ""));
    let local = served.get(&format!("/v1/jobs/{id}?consistency=local")).await;
    assert_eq!((local.status, local.header("relais-staleness-ms")), (200, "7"));
    served.get("/v1/jobs/00000000-0000-7000-8000-000000000000").await.problem(404);
    assert_eq!(served.rig.jobs(), 1);
}

#[actix_web::test]
async fn a_full_disk_is_507() {
    let served = Served::with_slots(0);
    served.rig.disk_full.store(true, Ordering::SeqCst);
    served.post("/v1/jobs", NOOP).await.problem(507);
}

#[actix_web::test]
async fn a_node_without_a_ledger_passes_on_what_is_not_its_own() {
    let served = Served::with_slots(0);
    served.rig.has_ledger.store(false, Ordering::SeqCst);
    assert_eq!(served.get("/v1/jobs?limit=2").await.text, r#"{"passed":"on"}"#);
    assert_eq!(served.get("/v1/jobs/0196/logs?follow=true").await.text, r#"{"passed":"on"}"#);
    assert_eq!(served.post("/v1/jobs", NOOP).await.header("location"), "/there");
    served.post("/v1/schedules/a:trigger", "").await;
    let batch = served.post("/v1/jobs:batch", &format!("[{NOOP}]")).await;
    assert_eq!((batch.status, batch.json()["results"][0]["status"].as_u64()), (200, Some(201)));
    assert_eq!(served.get("/livez").await.status, 200);
    let asked = served.rig.asked.lock().clone();
    let asked: Vec<_> =
        asked.iter().map(|one| (one.method.as_str(), one.target.as_str(), one.repeatable, one.id.is_some())).collect();
    let expected = [
        ("GET", "/v1/jobs?limit=2", true, false),
        ("GET", "/v1/jobs/0196/logs?follow=true", true, false),
        ("POST", "/v1/jobs", true, true),
        ("POST", "/v1/schedules/a:trigger", false, false),
    ];
    assert_eq!(asked, expected);
}

fn asked(method: &str, target: &str, body: &str) -> PassedOn {
    PassedOn {
        method: method.to_owned(),
        target: target.to_owned(),
        body: body.as_bytes().to_vec(),
        repeatable: true,
        id: None,
        key: None,
        trace: None,
        minimal: false,
        last_event_id: None,
        caller: ("boss".to_owned(), TokenRole::Admin),
    }
}

#[actix_web::test]
async fn what_is_passed_on_is_answered() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let served = Served::with_slots(0);
    let id = served.rig.new_job_id();
    let question = PassedOn { id: Some(id), key: Some("once".to_owned()), ..asked("POST", "/v1/jobs", NOOP) };
    for (status, deduplicated) in [(201, false), (201, false)] {
        let answer = sent(served.api.answer_passed_on(question.clone())).await;
        let body: Vec<Bytes> = answer.body.try_collect().await.unwrap();
        let job: Value = serde_json::from_slice(&body.concat()).unwrap();
        assert_eq!((answer.head.status, answer.head.whole), (status, true), "{job}");
        let said = (job["id"].as_str(), job["submitted_by"].as_str(), job["deduplicated"].as_bool());
        assert_eq!(said, (Some(id.to_string().as_str()), Some("boss"), Some(deduplicated)));
        assert_eq!(answer.head.headers[0], ("location".to_owned(), format!("/v1/jobs/{id}")));
    }
    assert_eq!(served.rig.jobs(), 1, "the same id, and no second job");
    for (method, target, expected) in
        [("GET", "/v1/jobs/ffff", 404), ("GET", "/livez", 404), ("PUT", "/v1/jobs", 405), ("GET", "/v1/jobs?x=1", 400)]
    {
        let head = served.api.answer_passed_on(asked(method, target, "")).await.head;
        assert_eq!((head.status, head.content_type.as_str()), (expected, "application/problem+json"), "{target}");
    }
    let followed = served.api.answer_passed_on(asked("GET", "/v1/events", "")).await.head;
    assert_eq!((followed.status, followed.whole), (200, false));
    let standing = served.api.token_standing(b"");
    assert_eq!(standing, br#"{"any_token":false,"any_admin":false,"shown":null}"#);
}

#[actix_web::test]
async fn every_error_is_a_problem_document() {
    let served = Served::with_slots(0);
    assert_eq!(served.get("/v2/jobs").await.problem(404)["instance"], "/v2/jobs");
    let said = served.send(served.request("PUT", "/v1/jobs")).await;
    said.problem(405);
    assert_eq!(said.header("allow"), "GET, HEAD, POST");
    for body in ["", "{", "[]", "5", "{\"kind\":", "{} {}", "\u{0}", &"[".repeat(100_000)] {
        served.post("/v1/jobs", body).await.problem(400);
    }
    let form = served.request("POST", "/v1/jobs").header("content-type", "application/x-www-form-urlencoded");
    served.send(form.body(NOOP)).await.problem(415);
    let lines = served.request("POST", "/v1/jobs").header("content-type", "application/x-ndjson");
    served.send(lines.body(NOOP)).await.problem(415);
    assert_eq!(served.rig.jobs(), 0);
    // None at all is taken for JSON.
    assert_eq!(served.send(served.request("POST", "/v1/jobs").body(NOOP)).await.status, 201);
}
