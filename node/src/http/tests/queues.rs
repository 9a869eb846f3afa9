//! Queues over HTTP: rows, what is set, what is refused, pause and purge; unique and concurrency keys.

use super::NOOP;
use super::rig::Served;
use relais_protocol::job::AttemptOutcome;
use serde_json::{Value, json};

impl Served {
    async fn put(&self, path: &str, body: &str) -> super::rig::Said {
        let request = self.request("PUT", path).header("content-type", "application/json");
        self.send(request.body(body.to_owned())).await
    }

    async fn state(&self, id: &str) -> String {
        self.get(&format!("/v1/jobs/{id}")).await.json()["state"].as_str().unwrap().to_owned()
    }
}

fn job_in(queue: &str) -> String {
    json!({"kind": "noop", "payload": {}, "queue": queue}).to_string()
}

#[actix_web::test]
async fn a_queue_is_there_by_use_and_by_being_set() {
    let served = Served::with_slots(1);
    assert_eq!(served.get("/v1/queues").await.json(), json!({"queues": []}));
    served.get("/v1/queues/mail").await.problem(404);
    served.job(NOOP).await;
    served.job(NOOP).await;
    served.rig.pass(2_000);
    let row = served.get("/v1/queues/default").await.json();
    assert_eq!((&row["running"], &row["queued"], &row["weight"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(row["oldest_age_ms"], 2_000);
    let body = r#"{"concurrency":4,"rate":{"count":100,"per":"1s"},"weight":2,"retention":{"age":"7d","count":9}}"#;
    let said = served.put("/v1/queues/mail", body).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let row = said.json();
    assert_eq!(row["rate"], json!({"count": 100, "per": "1s", "started": 0}));
    assert_eq!((&row["concurrency"], &row["retention"]["age"]), (&json!(4), &json!("7d")));
    let cleared = served.put("/v1/queues/mail", "{}").await.json();
    assert_eq!(
        (&cleared["concurrency"], &cleared["rate"], &cleared["weight"]),
        (&Value::Null, &Value::Null, &json!(1))
    );
    let names = served.get("/v1/queues").await.json();
    assert_eq!((&names["queues"][0]["name"], &names["queues"][1]["name"]), (&json!("default"), &json!("mail")));
}

#[actix_web::test]
async fn what_is_wrong_is_refused_with_its_place() {
    let served = Served::with_slots(0);
    for (body, pointer) in [
        (r#"{"concurrency":0}"#, "/concurrency"),
        (r#"{"concurrency":"4"}"#, "/concurrency"),
        (r#"{"concurrency":1.5}"#, "/concurrency"),
        (r#"{"weight":0}"#, "/weight"),
        (r#"{"weight":1001}"#, "/weight"),
        (r#"{"weight":[]}"#, "/weight"),
        (r#"{"rate":5}"#, "/rate"),
        (r#"{"rate":{"count":5}}"#, "/rate/per"),
        (r#"{"rate":{"per":"1s"}}"#, "/rate/count"),
        (r#"{"rate":[5,"1s"]}"#, "/rate"),
        (r#"{"retention":["7d",5]}"#, "/retention"),
        ("[4,2]", ""),
        (r#"{"rate":{"count":0,"per":"1s"}}"#, "/rate/count"),
        (r#"{"rate":{"count":1,"per":"0s"}}"#, "/rate/per"),
        (r#"{"rate":{"count":1,"per":"40d"}}"#, "/rate/per"),
        (r#"{"rate":{"count":1,"per":"often"}}"#, "/rate/per"),
        (r#"{"retention":{"age":"x"}}"#, "/retention/age"),
        (r#"{"retention":{"count":-1}}"#, "/retention/count"),
        (r#"{"retention":{"size":1}}"#, "/retention/size"),
        (r#"{"paused":true}"#, "/paused"),
    ] {
        let problem = served.put("/v1/queues/mail", body).await.problem(400);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    served.put("/v1/queues/Mail", "{}").await.problem(400);
    served.put("/v1/queues/mail", "").await.problem(400);
    served.post("/v1/queues/mail:stop", "{}").await.problem(404);
    served.get("/v1/queues/mail").await.problem(404);
}

#[actix_web::test]
async fn a_paused_queue_holds_what_a_purge_cancels() {
    let served = Served::with_slots(2);
    let paused = served.post("/v1/queues/mail:pause", "").await.json();
    assert_eq!((&paused["paused"], &paused["held_by"]), (&json!(true), &json!("paused")));
    let first = served.job(&job_in("mail")).await;
    let explained = served.get(&format!("/v1/jobs/{first}/explain")).await.json();
    assert!(explained["why"].as_str().unwrap().contains("queue `mail` is paused"), "{explained}");
    assert_eq!(served.post("/v1/queues/mail:purge", "{}").await.json(), json!({"cancelled": 1}));
    assert_eq!(served.state(&first).await, "cancelled");
    let second = served.job(&job_in("mail")).await;
    assert_eq!(served.state(&second).await, "queued");
    assert_eq!(served.post("/v1/queues/mail:resume", "{}").await.json()["paused"], false);
    assert_eq!(served.state(&second).await, "running");
}

#[actix_web::test]
async fn a_unique_key_returns_rejects_or_replaces() {
    let served = Served::with_slots(1);
    let spec = |on_conflict: &str| {
        json!({"kind": "noop", "payload": {}, "unique": {"key": "r", "on_conflict": on_conflict}}).to_string()
    };
    let first = served.job(&spec("return")).await;
    let again = served.post("/v1/jobs", &spec("return")).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(first)));
    assert_eq!(again.json()["deduplicated"], true);
    let refused = served.post("/v1/jobs", &spec("reject")).await.problem(409);
    assert_eq!(refused["errors"][0]["pointer"], "/unique/key");
    assert!(refused["detail"].as_str().unwrap().contains(&first), "{refused}");
    let newer = served.job(&spec("replace")).await;
    let old = served.get(&format!("/v1/jobs/{first}")).await.json();
    assert_eq!((&old["state"], &old["replaced_by"]), (&json!("running"), &json!(newer)));
    assert!(old["cancel_requested"]["reason"].as_str().unwrap().contains("replaced"));
    served.rig.finish(&first, AttemptOutcome::Cancelled);
    assert_eq!((served.state(&first).await, served.state(&newer).await), ("cancelled".into(), "running".into()));
    let shown = served.get(&format!("/v1/jobs/{newer}")).await.json();
    assert_eq!(shown["unique"], json!({"key": "r", "for": null, "on_conflict": "replace"}));
}

#[actix_web::test]
async fn a_concurrency_key_is_shown_and_explained() {
    let served = Served::with_slots(4);
    let spec = r#"{"kind":"noop","payload":{},"concurrency":{"key":"tenant-7"}}"#;
    let (first, second) = (served.job(spec).await, served.job(spec).await);
    let shown = served.get(&format!("/v1/jobs/{second}")).await.json();
    assert_eq!((&shown["state"], &shown["concurrency"]["limit"]), (&json!("queued"), &json!(1)));
    let explained = served.get(&format!("/v1/jobs/{second}/explain")).await.json();
    assert!(explained["why"].as_str().unwrap().contains("`tenant-7` is at its limit of 1"), "{explained}");
    served.rig.finish(&first, AttemptOutcome::Succeeded);
    assert_eq!(served.state(&second).await, "running");
}
