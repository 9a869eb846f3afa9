//! What is answered while there is no dispatcher, on a full disk, by a node without a ledger; and what has
//! no route.

use super::NOOP;
use super::rig::Served;
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
async fn a_node_without_a_ledger_passes_reads_on() {
    let served = Served::with_slots(0);
    served.rig.has_ledger.store(false, Ordering::SeqCst);
    assert_eq!(served.get("/v1/jobs?limit=2").await.text, r#"{"passed":"on"}"#);
    let made = served.post("/v1/jobs", NOOP).await;
    assert_eq!((made.status, made.json()["state"].as_str()), (201, Some("queued")));
    served.get("/v1/jobs/0196/logs?follow=true").await.problem(503);
    let asked = served.rig.asked.lock().clone();
    assert!(asked.contains(&"GET /v1/jobs?limit=2".to_owned()), "{asked:?}");
}

#[actix_web::test]
async fn what_is_passed_on_is_answered() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let served = Served::with_slots(0);
    let id = served.job(NOOP).await;
    let (status, content_type, body) =
        sent(served.api.answer_passed_on("GET", &format!("/v1/jobs/{id}"), vec![])).await;
    assert_eq!((status, content_type.as_str()), (200, "application/json"));
    assert!(String::from_utf8(body).unwrap().contains(&id));
    for (method, target, expected) in [
        ("GET", "/v1/jobs/ffff", 404),
        ("POST", "/v1/jobs", 404),
        ("PUT", "/v1/jobs", 405),
        ("GET", "/v1/jobs?x=1", 400),
    ] {
        let (status, content_type, _) = served.api.answer_passed_on(method, target, vec![]).await;
        assert_eq!((status, content_type.as_str()), (expected, "application/problem+json"), "{method} {target}");
    }
    let (_, _, standing) = served.api.answer_passed_on("POST", "/internal/token", vec![]).await;
    assert_eq!(standing, br#"{"any_token":false,"any_admin":false,"shown":null}"#);
    // No client reaches that.
    served.post("/internal/token", "").await.problem(404);
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
