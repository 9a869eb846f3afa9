//! Many jobs in one request.

use super::NOOP;
use super::rig::{Said, Served};
use serde_json::{Value, json};

async fn ndjson(served: &Served, path: &str, key: Option<&str>, body: String) -> Said {
    let mut request = served.request("POST", path).header("content-type", "application/x-ndjson");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    served.send(request.body(body)).await
}

fn statuses(said: &Said) -> Vec<u64> {
    let said = said.json();
    said["results"].as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect()
}

#[actix_web::test]
async fn a_bad_item_spoils_only_itself() {
    let served = Served::with_slots(0);
    let items = [NOOP, r#"{"kind":"nope","payload":{}}"#, "5", NOOP];
    let array = served.post("/v1/jobs:batch", &format!("[{}]", items.join(","))).await;
    let lines = ndjson(&served, "/v1/jobs:batch", None, format!("{}\r\n\n{{broken\n", items.join("\n"))).await;
    assert_eq!((array.status, lines.status), (200, 200));
    assert_eq!(statuses(&array), [201, 400, 400, 201]);
    assert_eq!(statuses(&lines), [201, 400, 400, 201, 400]);
    let results = array.json();
    assert_eq!(results["results"][1]["problem"]["errors"][0]["pointer"], "/kind");
    let id = results["results"][3]["id"].as_str().unwrap();
    assert_eq!(served.get(&format!("/v1/jobs/{id}")).await.status, 200);
    assert_eq!(served.rig.jobs(), 4);
}

#[actix_web::test]
async fn lines_are_known_by_their_first_byte() {
    let served = Served::with_slots(0);
    let said = served.post("/v1/jobs:batch", &format!("{NOOP}\n{NOOP}\n")).await;
    assert_eq!(statuses(&said), [201, 201]);
    for neither in ["x", "5", "\"job\""] {
        assert_eq!(served.post("/v1/jobs:batch", neither).await.status, 400, "{neither}");
    }
    assert_eq!(statuses(&served.post("/v1/jobs:batch", "[]").await), [0u64; 0]);
    served.post("/v1/jobs:batch", "").await.problem(400);
    served.post("/v1/jobs:batch", "[{]").await.problem(400);
    served.post("/v1/jobs:batch?atomic=maybe", "[]").await.problem(400);
}

#[actix_web::test]
async fn items_get_keys_by_their_number() {
    let served = Served::with_slots(0);
    let body = format!("{NOOP}\n{{\"kind\":\"bad\"}}\n{NOOP}");
    let first = ndjson(&served, "/v1/jobs:batch", Some("K"), body.clone()).await;
    let again = ndjson(&served, "/v1/jobs:batch", Some("K"), body).await;
    assert_eq!((statuses(&first), statuses(&again)), (vec![201, 400, 201], vec![200, 400, 200]));
    assert_eq!(first.json()["results"][2]["id"], again.json()["results"][2]["id"]);
    assert_eq!(again.json()["results"][2]["deduplicated"], true);
    let single = served.request("POST", "/v1/jobs").header("idempotency-key", "K/2").body(NOOP);
    assert_eq!(served.send(single).await.status, 200);
    let other = r#"{"kind":"noop","payload":{},"priority":1}"#;
    assert_eq!(statuses(&ndjson(&served, "/v1/jobs:batch", Some("K"), other.into()).await), [422]);
    assert_eq!(served.rig.jobs(), 2);
}

#[actix_web::test]
async fn a_full_batch_is_answered_in_order() {
    let served = Served::with_slots(0);
    let lines: String =
        (0..10_000).map(|n| format!("{{\"kind\":\"noop\",\"payload\":{{}},\"name\":\"j{n}\"}}\n")).collect();
    let said = ndjson(&served, "/v1/jobs:batch", None, lines.clone()).await;
    let results = said.json();
    let results = results["results"].as_array().unwrap();
    assert_eq!(results.len(), 10_000);
    let last = results[9_999]["id"].as_str().unwrap();
    assert_eq!(served.get(&format!("/v1/jobs/{last}")).await.json()["name"], "j9999");
    let too_many = ndjson(&served, "/v1/jobs:batch", None, lines + NOOP).await;
    too_many.problem(413);
    assert_eq!(served.rig.jobs(), 10_000);
}

#[actix_web::test]
async fn an_atomic_batch_is_all_or_none() {
    let served = Served::with_slots(0);
    let path = "/v1/jobs:batch?atomic=true";
    let said = served.post(path, &format!("[{NOOP},{NOOP}]")).await;
    assert_eq!(statuses(&said), [201, 201]);
    let spoiled = served.post(path, &format!("[{NOOP},{{\"kind\":\"noop\",\"payload\":{{}},\"priority\":101}}]")).await;
    assert_eq!(spoiled.problem(400)["errors"][0]["pointer"], "/1/priority");
    let keyed =
        |priority: u8| format!(r#"{{"kind":"noop","payload":{{}},"priority":{priority},"idempotency_key":"a"}}"#);
    served.post(path, &format!("[{},{}]", keyed(1), keyed(2))).await.problem(422);
    let many = vec![NOOP; 1_001].join("\n");
    served.post(path, &many).await.problem(413);
    let long = format!("[{{\"kind\":\"noop\",\"payload\":{{}},\"name\":\"{}\"}}]", "x".repeat(1 << 20));
    served.post(path, &long).await.problem(413);
    assert_eq!(served.rig.jobs(), 2);
    // A key that the record knows already is found out by the commit: what was made is taken back.
    served.job(&keyed(1)).await;
    served.post(path, &format!("[{NOOP},{}]", keyed(2))).await.problem(422);
    let count = served.get("/v1/jobs:count").await.json();
    assert_eq!(count["groups"]["queued"], json!(3));
    assert_eq!(count["groups"]["cancelled"], Value::from(1));
}

#[actix_web::test]
async fn a_body_over_the_limit_is_refused() {
    let served = Served::with_slots(0);
    let said = served.post("/v1/jobs", &format!("{NOOP}{}", " ".repeat(3 << 20))).await;
    said.problem(413);
    let payload = format!(r#"{{"kind":"noop","payload":{{"x":"{}"}}}}"#, "y".repeat(1 << 20));
    let too_long = served.post("/v1/jobs", &payload).await.problem(413);
    assert_eq!(too_long["errors"][0]["pointer"], "/payload");
    assert_eq!(served.rig.jobs(), 0);
}
