//! One job: submitted, shown, waited for, cancelled, retried, deleted, explained.

use super::NOOP;
use super::rig::Served;
use relais_protocol::job::AttemptOutcome;
use serde_json::json;

#[actix_web::test]
async fn a_submit_is_answered_with_the_job_and_its_place() {
    let served = Served::with_slots(1);
    let body = r#"{"kind":"exec","name":"x","payload":{"command":["true"],  "env":{}},"timeout":"90s",
        "retry":{"max_attempts":3},"labels":{"team":"data"},"metadata":{"a":[1]}}"#;
    let said = served.post("/v1/jobs", body).await;
    assert_eq!(said.status, 201);
    let job = said.json();
    assert_eq!(said.header("location"), format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!(
        (said.header("relais-node"), said.header("relais-dispatcher"), said.header("relais-epoch")),
        ("n1", "n1", "1")
    );
    assert_eq!((&job["state"], &job["attempt"], &job["node"]), (&json!("running"), &json!(1), &json!("n1")));
    assert_eq!((&job["timeout"], &job["queue"], &job["priority"]), (&json!("1m30s"), &json!("default"), &json!(50)));
    assert_eq!(job["retry"]["maximum_interval"], "10m");
    assert_eq!(job["retry"]["backoff_coefficient"], 2.0);
    assert_eq!((&job["metadata"], &job["labels"]), (&json!({"a": [1]}), &json!({"team": "data"})));
    assert_eq!(job["created_at"], "2026-09-21T14:13:20.000Z");
    assert_eq!((&job["deduplicated"], &job["fence"]), (&json!(false), &json!(65_537)));
    // A payload keeps its text.
    assert!(said.text.contains(r#""payload":{"command":["true"],  "env":{}}"#), "{}", said.text);
    let shown = served.get(said.header("location")).await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.json()["attempts"][0]["epoch"], 1);
}

#[actix_web::test]
async fn who_prefers_little_gets_little() {
    let served = Served::with_slots(0);
    let request = served.request("POST", "/v1/jobs").header("prefer", "return=minimal").body(NOOP);
    let said = served.send(request).await;
    assert_eq!(said.status, 201);
    let job = said.json();
    assert_eq!(job.as_object().unwrap().len(), 4);
    assert_eq!((&job["state"], &job["deduplicated"]), (&json!("queued"), &json!(false)));
    assert!(job["durability"].is_string(), "{job}");
}

#[actix_web::test]
async fn a_key_makes_one_job() {
    let served = Served::with_slots(0);
    let keyed = |key: &str, body: &str| {
        served.send(served.request("POST", "/v1/jobs").header("idempotency-key", key).body(body.to_owned()))
    };
    let first = keyed("k", NOOP).await;
    assert_eq!(first.status, 201);
    let again = keyed("\"k\"", r#" {"payload": {}, "kind": "noop", "priority": 50}"#).await;
    let beyond = keyed("k", r#"{"kind":"noop","payload":{},"idempotency_key":"k"}"#).await;
    for again in [again, beyond] {
        assert_eq!(again.status, 200, "{}", again.text);
        assert_eq!(again.json()["id"], first.json()["id"]);
        assert_eq!(again.json()["deduplicated"], true);
    }
    let in_body = served.post("/v1/jobs", r#"{"kind":"noop","payload":{},"idempotency_key":"k"}"#).await;
    assert_eq!(in_body.status, 200);
    keyed("k", r#"{"kind":"noop","payload":{},"priority":1}"#).await.problem(422);
    keyed("k", r#"{"kind":"noop","payload":{},"idempotency_key":"other"}"#).await.problem(400);
    keyed("", NOOP).await.problem(400);
    assert_eq!(served.rig.jobs(), 1);
}

#[actix_web::test]
async fn a_wait_ends_with_the_job_or_with_its_time() {
    let served = Served::with_slots(1);
    let over = served.post("/v1/jobs?wait=20ms", NOOP).await;
    assert_eq!(over.status, 202, "{}", over.text);
    let id = over.json()["id"].as_str().unwrap().to_owned();
    let unfinished = served.get(&format!("/v1/jobs/{id}?wait=20ms")).await;
    assert_eq!((unfinished.status, &unfinished.json()["state"]), (200, &json!("running")));
    let path = format!("/v1/jobs/{id}?wait=60s");
    let finishes = async {
        // Whenever it comes, before or after the other has begun to wait, it is seen.
        tokio::task::yield_now().await;
        served.rig.finish(&id, AttemptOutcome::Succeeded);
    };
    let (waited, ()) = futures::join!(served.get(&path), finishes);
    assert_eq!((waited.status, &waited.json()["state"]), (200, &json!("succeeded")));
    for bad in ["wait=30", "wait=11m", "wait=1s&wait=2s", "Wait=1s"] {
        served.post(&format!("/v1/jobs?{bad}"), NOOP).await.problem(400);
    }
    assert_eq!(served.rig.jobs(), 1);
}

#[actix_web::test]
async fn a_submit_can_wait_for_its_job() {
    let served = Served::with_slots(1);
    let rig = served.rig.clone();
    let mut events = crate::backend::Backend::events(&*rig);
    let finishes = async {
        loop {
            let batch = events.recv().await.unwrap();
            if let Some(relais_dispatcher::ledger::Event::Started { job, .. }) =
                batch.1.iter().find(|event| matches!(event, relais_dispatcher::ledger::Event::Started { .. }))
            {
                return rig.finish(&job.to_string(), AttemptOutcome::Failed);
            }
        }
    };
    let (waited, ()) = futures::join!(served.post("/v1/jobs?wait=60s", NOOP), finishes);
    assert_eq!((waited.status, &waited.json()["state"]), (201, &json!("failed")));
    assert_eq!(waited.json()["error"], json!({"type": "exit", "message": "exit code 3"}));
    assert_eq!(waited.json()["attempts"][0]["output_tail"], "tail");
}

#[actix_web::test]
async fn a_job_is_cancelled_now_or_told_to_end() {
    let served = Served::with_slots(1);
    let running = served.job(NOOP).await;
    let queued = served.job(NOOP).await;
    let now = served.post(&format!("/v1/jobs/{queued}:cancel"), r#"{"reason":"wrong input"}"#).await;
    assert_eq!((now.status, &now.json()["state"]), (200, &json!("cancelled")));
    assert_eq!(now.json()["cancel_requested"]["reason"], "wrong input");
    let told = served.send(served.request("POST", &format!("/v1/jobs/{running}:cancel"))).await;
    assert_eq!((told.status, &told.json()["state"]), (202, &json!("running")));
    assert!(told.json()["cancel_requested"]["at"].is_string());
    served.post(&format!("/v1/jobs/{queued}:cancel"), "{}").await.problem(409);
    let wrong = served.post(&format!("/v1/jobs/{running}:cancel"), r#"{"why":"x"}"#).await.problem(400);
    assert_eq!(wrong["errors"][0]["pointer"], "/why");
    served.post("/v1/jobs/00000000-0000-7000-8000-000000000000:cancel", "{}").await.problem(404);
}

#[actix_web::test]
async fn an_ended_job_is_run_again_or_deleted() {
    let served = Served::with_slots(1);
    let id = served.job(NOOP).await;
    served.post(&format!("/v1/jobs/{id}:retry"), "{}").await.problem(409);
    served.delete(&format!("/v1/jobs/{id}")).await.problem(409);
    served.rig.finish(&id, AttemptOutcome::Failed);
    let again = served.post(&format!("/v1/jobs/{id}:retry"), "{}").await;
    assert_eq!((again.status, &again.json()["attempt"]), (200, &json!(2)));
    served.rig.finish(&id, AttemptOutcome::Succeeded);
    let gone = served.delete(&format!("/v1/jobs/{id}")).await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    served.get(&format!("/v1/jobs/{id}")).await.problem(404);
}

#[actix_web::test]
async fn a_beginning_of_an_id_will_do_if_it_fits_one() {
    let served = Served::with_slots(0);
    let (one, other) = (served.job(NOOP).await, served.job(NOOP).await);
    let shared = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    assert!(shared >= 3, "{one} {other}");
    let unique = &one[..=shared.max(4)];
    let found = served.get(&format!("/v1/jobs/{unique}")).await;
    assert_eq!((found.status, found.json()["id"].as_str().unwrap()), (200, one.as_str()));
    for bad in ["abc", "zzzz", "0", "ffff", "0196-"] {
        served.get(&format!("/v1/jobs/{bad}")).await.problem(404);
    }
    // Ids of the same millisecond share half of their text.
    for n in 0..9u128 {
        let id = relais_protocol::ids::JobId::v7(1, n);
        let spec = crate::http::spec::check(NOOP.as_bytes(), None).unwrap().spec;
        let submit = relais_protocol::record::Submit { id, spec, body_hash: 0, submitted_by: String::new() };
        served.rig.apply(vec![relais_protocol::record::Record::Submit(Box::new(submit))]);
    }
    let several = served.get("/v1/jobs/00000000").await.problem(409);
    assert_eq!(several["candidates"].as_array().unwrap().len(), 5);
}

#[actix_web::test]
async fn it_is_told_why_a_job_is_where_it_is() {
    let served = Served::with_slots(1);
    let running = served.job(NOOP).await;
    let queued = served.job(NOOP).await;
    let later = served.job(r#"{"kind":"noop","payload":{},"delay":"1h"}"#).await;
    for (id, why) in [(&running, "it runs on n1"), (&queued, "it is next"), (&later, "may not start before")] {
        let said = served.get(&format!("/v1/jobs/{id}/explain")).await.json();
        assert!(said["why"].as_str().unwrap().contains(why), "{said}");
    }
    served.rig.finish(&running, AttemptOutcome::Failed);
    let said = served.get(&format!("/v1/jobs/{running}/explain")).await.json();
    assert!(
        said["why"].as_str().unwrap().starts_with("exit code 3 in attempt 1 on n1; 1 of 1 attempts failed"),
        "{said}"
    );
    let said = served.get(&format!("/v1/jobs/{later}")).await.json();
    assert_eq!((&said["state"], &said["delay"]), (&json!("scheduled"), &json!("1h")));
    assert_eq!(said["due_at"], "2026-09-21T15:13:20.000Z");
}

#[actix_web::test]
async fn a_wrong_spec_makes_no_job() {
    let served = Served::with_slots(0);
    for &(field, value, pointer) in crate::http::spec::tests::FIELDS {
        let text = format!(r#"{{"kind":"noop","payload":{{}},"{field}":{value}}}"#);
        let problem = served.post("/v1/jobs", &text).await.problem(400);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{text}");
    }
    assert_eq!(served.rig.jobs(), 0);
}
