//! Schedules over HTTP: set, shown, fired by hand, paused, removed, refused.

use super::rig::Served;
use serde_json::json;

const EVERY_SECOND: &str = r#"{"cron":"* * * * * *","job":{"kind":"noop","payload":{}}}"#;

#[actix_web::test]
async fn a_schedule_is_set_shown_and_sent_back() {
    let served = Served::with_slots(0);
    let put = |body: String| served.send(served.request("PUT", "/v1/schedules/nightly").body(body));
    let body = r#"{"cron":"0 30 2 * * *","time_zone":"Europe/Paris","missed":"once","overlap":"forbid",
        "job":{"kind":"noop","name":"n","payload":{},"queue":"q","labels":{"a":"b"}}}"#;
    let said = put(body.to_owned()).await;
    assert_eq!((said.status, said.header("location")), (201, "/v1/schedules/nightly"), "{}", said.text);
    let mut schedule = said.json();
    assert_eq!(schedule["next"].as_array().unwrap().len(), 5);
    assert_eq!(schedule["next"][0], "2026-09-22T00:30:00.000Z");
    assert_eq!((&schedule["last"], &schedule["paused"]), (&json!(null), &json!(false)));
    assert_eq!(served.get("/v1/schedules/nightly").await.json(), schedule);
    let listed = served.get("/v1/schedules").await.json();
    assert_eq!(listed["schedules"], json!([schedule.clone()]));
    // What is shown of it is what sets it.
    for added in ["name", "created_at", "next", "last", "counts"] {
        schedule.as_object_mut().unwrap().remove(added);
    }
    let again = put(schedule.to_string()).await;
    assert_eq!((again.status, again.json()), (200, served.get("/v1/schedules/nightly").await.json()));
}

#[actix_web::test]
async fn a_schedule_is_triggered_paused_resumed_and_removed() {
    let served = Served::with_slots(0);
    let put = |name: &str, body: &str| {
        served.send(served.request("PUT", &format!("/v1/schedules/{name}")).body(body.to_owned()))
    };
    assert_eq!(put("a", EVERY_SECOND).await.status, 201);
    let triggered = served.post("/v1/schedules/a:trigger", "").await;
    assert_eq!(triggered.status, 201, "{}", triggered.text);
    let job = triggered.json();
    assert_eq!((&job["kind"], &job["state"]), (&json!("noop"), &json!("queued")));
    assert_eq!(triggered.header("location"), format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    let firings = served.get("/v1/schedules/a/firings").await.json();
    assert_eq!(firings["firings"][0]["job"], job["id"]);
    assert_eq!(firings["firings"][0]["triggered"], true);
    let paused = served.post("/v1/schedules/a:pause", "{}").await.json();
    assert_eq!((&paused["paused"], &paused["next"]), (&json!(true), &json!([])));
    assert_eq!(served.post("/v1/schedules/a:resume", "").await.json()["paused"], false);

    let forbid = EVERY_SECOND.replace("\"job\"", "\"overlap\":\"forbid\",\"job\"");
    put("a", &forbid).await;
    served.post("/v1/schedules/a:trigger", "").await.problem(409);
    assert_eq!(served.delete("/v1/schedules/a").await.status, 204);
    served.delete("/v1/schedules/a").await.problem(404);
    assert_eq!(served.get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await.status, 200);
}

#[actix_web::test]
async fn what_is_wrong_is_pointed_at_and_nothing_is_stored() {
    let served = Served::with_slots(0);
    for (name, body, pointer) in [
        ("a", EVERY_SECOND.replace("* * * * * *", "sometimes"), "/cron"),
        ("a", EVERY_SECOND.replace("\"job\"", "\"time_zone\":\"Mars\",\"job\""), "/time_zone"),
        ("a", EVERY_SECOND.replace("noop", "dance"), "/job/kind"),
        (
            "a",
            EVERY_SECOND.replace("\"payload\":{}", "\"payload\":{},\"idempotency_key\":\"k\""),
            "/job/idempotency_key",
        ),
        ("Bad", EVERY_SECOND.to_owned(), "/name"),
    ] {
        let said = served.send(served.request("PUT", &format!("/v1/schedules/{name}")).body(body)).await;
        assert_eq!(said.problem(400)["errors"][0]["pointer"], pointer);
    }
    assert_eq!(served.get("/v1/schedules").await.json(), json!({"schedules": []}));
    for path in ["/v1/schedules/a", "/v1/schedules/Bad", "/v1/schedules/a/firings"] {
        served.get(path).await.problem(404);
    }
    for verb in ["trigger", "pause", "resume"] {
        served.post(&format!("/v1/schedules/a:{verb}"), "").await.problem(404);
    }
    served.post("/v1/schedules/a:trigger", r#"{"now":true}"#).await.problem(400);
}
