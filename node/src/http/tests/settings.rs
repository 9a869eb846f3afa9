//! The cluster's settings over HTTP.

use super::rig::{Said, Served};
use serde_json::json;

async fn patch(served: &Served, body: &str) -> Said {
    let request = served.request("PATCH", "/v1/cluster/settings").header("content-type", "application/json");
    served.send(request.body(body.to_owned())).await
}

#[actix_web::test]
async fn settings_are_shown_changed_and_given_back() {
    let served = Served::with_slots(0);
    let defaults = served.get("/v1/cluster/settings").await.json();
    let expected = json!({"name": "relais", "takeover": "available", "takeover_after": "3s", "lease": "3s",
        "pair_lease": "6s", "voters": 5, "replace_after": "1m", "drill": false, "priority_aging": "1m",
        "retention": "7d", "retention_count": 1_000_000});
    assert_eq!(defaults, expected);
    let said = patch(&served, r#"{"takeover":"tiebreak:gw:22","takeover_after":"5s","pair_lease":"8s"}"#).await;
    assert_eq!((said.status, &said.json()["takeover_after"]), (200, &json!("5s")), "{}", said.text);
    let said = patch(&served, r#"{"voters":3,"drill":true,"replace_after":"5s"}"#).await;
    assert_eq!((said.status, &said.json()["voters"], &said.json()["drill"]), (200, &json!(3), &json!(true)));
    assert_eq!(served.get("/v1/cluster/settings").await.json(), said.json());
    let said = patch(&served, r#"{"voters":null,"drill":"off"}"#).await;
    assert_eq!((&said.json()["voters"], &said.json()["drill"]), (&json!(5), &json!(false)));
    assert_eq!(said.json()["takeover"], "tiebreak:gw:22");
    assert_eq!(patch(&served, "{}").await.json(), said.json());
}

#[actix_web::test]
async fn a_wrong_setting_is_pointed_at_and_changes_nothing() {
    let served = Served::with_slots(0);
    for (body, pointers) in [
        (r#"{"voters":4}"#, &["/voters"][..]),
        (r#"{"colour":"red"}"#, &["/colour"]),
        (r#"{"colour":null}"#, &["/colour"]),
        (r#"{"lease":["3s"]}"#, &["/lease"]),
        (r#"{"lease":"1h","replace_after":"never","voters":3}"#, &["/lease", "/replace_after"]),
        (r#"{"takeover_after":"4s"}"#, &["/pair_lease"]),
        (r#"{"takeover":"on"}"#, &["/takeover"]),
        (r#"{"name":false}"#, &["/name"]),
        (r#"{"name":7,"voters":3}"#, &["/name"]),
    ] {
        let problem = patch(&served, body).await.problem(400);
        let named: Vec<&str> =
            problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
        assert_eq!(named, pointers, "{body}");
    }
    patch(&served, "").await.problem(400);
    patch(&served, "[]").await.problem(400);
    served.post("/v1/cluster/settings", "{}").await.problem(405);
    assert_eq!(served.get("/v1/cluster/settings").await.json()["voters"], 5);
}

#[actix_web::test]
async fn settings_are_for_admins() {
    let served = Served::with_slots(0);
    let token = served.post("/v1/tokens", r#"{"role":"submit"}"#).await.json();
    for method in ["GET", "PATCH"] {
        let request = served.request(method, "/v1/cluster/settings").bearer_auth(token["token"].as_str().unwrap());
        served.send(request).await.problem(403);
    }
}
