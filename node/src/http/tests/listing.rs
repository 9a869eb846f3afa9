//! Lists, pages and counts.

use super::NOOP;
use super::rig::Served;
use relais_protocol::job::AttemptOutcome;
use serde_json::{Value, json};

fn ids(page: &Value) -> Vec<String> {
    page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let served = Served::with_slots(0);
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(served.job(NOOP).await);
    }
    made.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/jobs?limit=3".to_owned();
    loop {
        let page = served.get(&path).await.json();
        seen.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/jobs?limit=3&cursor={cursor}"),
            None => break,
        }
        // What comes in meanwhile is newer, and on no later page.
        served.job(NOOP).await;
    }
    assert_eq!(seen, made);
}

#[actix_web::test]
async fn filters_narrow_the_list() {
    let served = Served::with_slots(1);
    let ran =
        served.job(r#"{"kind":"noop","payload":{},"name":"nightly report","labels":{"team":"data","a":"b"}}"#).await;
    served.rig.finish(&ran, AttemptOutcome::Failed);
    served.rig.pass(10_000);
    let other = served.job(r#"{"kind":"noop","payload":{},"queue":"q2","delay":"1h","labels":{"team":"data"}}"#).await;
    let cases = [
        ("state=failed", vec![&ran]),
        ("state=failed,scheduled", vec![&other, &ran]),
        ("state=failed&state=scheduled", vec![&other, &ran]),
        ("queue=q2", vec![&other]),
        ("label=team:data", vec![&other, &ran]),
        ("label=team:data&label=a:b", vec![&ran]),
        ("name=report", vec![&ran]),
        ("node=n1", vec![&ran]),
        ("since=2026-09-21T14:13:25Z", vec![&other]),
        ("until=2026-09-21T14:13:25Z", vec![&ran]),
        ("state=queued", vec![]),
    ];
    for (query, expected) in cases {
        let page = served.get(&format!("/v1/jobs?{query}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.text);
        assert_eq!(ids(&page.json()), expected.into_iter().cloned().collect::<Vec<_>>(), "{query}");
        assert_eq!(page.json()["next_cursor"], Value::Null);
    }
}

#[actix_web::test]
async fn a_wrong_query_is_refused() {
    let served = Served::with_slots(0);
    let wrong = [
        "state=lost",
        "queue=A",
        "label=x",
        "node=n9",
        "since=yesterday",
        "limit=0",
        "limit=501",
        "limit=x",
        "cursor=7",
        "cursor=c123",
        "status=failed",
        "limit=1&limit=2",
        "consistency=eventual",
    ];
    for query in wrong {
        served.get(&format!("/v1/jobs?{query}")).await.problem(400);
    }
    served.get("/v1/jobs:count?group_by=color").await.problem(400);
}

#[actix_web::test]
async fn jobs_are_counted_by_state_and_queue() {
    let served = Served::with_slots(1);
    served.job(NOOP).await;
    served.job(NOOP).await;
    served.job(r#"{"kind":"noop","payload":{},"queue":"q2","delay":"1h"}"#).await;
    let by_state = served.get("/v1/jobs:count?group_by=state").await.json();
    assert_eq!(by_state["total"], 3);
    let groups = &by_state["groups"];
    assert_eq!((&groups["running"], &groups["queued"], &groups["scheduled"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(groups["expired"], 0);
    let by_queue = served.get("/v1/jobs:count?group_by=queue").await.json();
    assert_eq!(by_queue, json!({"total": 3, "groups": {"default": 2, "q2": 1}}));
}
