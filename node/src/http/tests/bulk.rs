//! Cancelling and running again by filter.

use super::NOOP;
use super::rig::Served;
use serde_json::json;

#[actix_web::test]
async fn what_passes_the_filter_is_changed_and_nothing_else() {
    let served = Served::with_slots(0);
    for queue in ["a", "a", "b"] {
        let spec = json!({"kind": "noop", "payload": {}, "queue": queue}).to_string();
        assert_eq!(served.post("/v1/jobs", &spec).await.status, 201);
    }
    let looked = served.post("/v1/jobs:cancel?queue=a&dry_run=true", "").await.json();
    assert_eq!(looked, json!({"matched": 2, "changed": 0, "refused": 0, "dry_run": true}));
    assert_eq!(served.get("/v1/jobs:count").await.json()["groups"]["queued"], 3);
    let done = served.post("/v1/jobs:cancel?queue=a", r#"{"reason":"wrong input"}"#).await.json();
    assert_eq!(done, json!({"matched": 2, "changed": 2, "refused": 0, "dry_run": false}));
    let cancelled = served.get("/v1/jobs?state=cancelled").await.json();
    assert_eq!(cancelled["jobs"][1]["cancel_requested"]["reason"], "wrong input");
    let again = served.post("/v1/jobs:retry?queue=a", "").await.json();
    assert_eq!((again["matched"].clone(), again["changed"].clone()), (json!(2), json!(2)));
    // One that is asked for in a state in which it can't be run again.
    let refused = served.post("/v1/jobs:retry?state=queued", "").await.json();
    assert_eq!(refused, json!({"matched": 3, "changed": 0, "refused": 3, "dry_run": false}));
}

#[actix_web::test]
async fn no_filter_is_not_all_jobs() {
    let served = Served::with_slots(0);
    served.job(NOOP).await;
    served.post("/v1/jobs:cancel", "").await.problem(400);
    served.post("/v1/jobs:cancel?state=nope", "").await.problem(400);
    served.post("/v1/jobs:cancel?limit=5", "").await.problem(400);
    served.post("/v1/jobs:retry?all=true", r#"{"reason":"x"}"#).await.problem(400);
    assert_eq!(served.get("/v1/jobs:count").await.json()["groups"]["queued"], 1);
    assert_eq!(served.post("/v1/jobs:cancel?all=true", "").await.json()["changed"], 1);
}

#[actix_web::test]
async fn a_graph_is_run_again_parents_first() {
    let served = Served::with_slots(0);
    let jobs = json!([
        {"kind": "noop", "payload": {}, "ref": "a"},
        {"kind": "noop", "payload": {}, "ref": "b", "depends_on": [{"ref": "a"}]},
    ]);
    assert_eq!(served.post("/v1/jobs:batch", &jobs.to_string()).await.status, 200);
    assert_eq!(served.post("/v1/jobs:cancel?state=queued", "").await.json()["changed"], 1);
    assert_eq!(served.get("/v1/jobs:count").await.json()["groups"]["cancelled"], 2);
    assert_eq!(served.post("/v1/jobs:retry?all=true", "").await.json()["changed"], 2);
    let groups = served.get("/v1/jobs:count").await.json()["groups"].clone();
    assert_eq!((groups["queued"].clone(), groups["blocked"].clone()), (json!(1), json!(1)));
}
