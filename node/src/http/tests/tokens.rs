//! Tokens made, listed, revoked; their secrets shown once.

use super::rig::Served;
use serde_json::json;

#[actix_web::test]
async fn a_secret_is_shown_once() {
    let served = Served::with_slots(0);
    let made = served.post("/v1/tokens", r#"{"role":"submit","name":"ci","ttl":"1h"}"#).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"));
    let token = made.json();
    let secret = token["token"].as_str().unwrap();
    assert!(secret.starts_with("rlt_") && secret.len() == 68, "{secret}");
    assert_eq!((&token["role"], &token["name"]), (&json!("submit"), &json!("ci")));
    assert_eq!(token["expires_at"], "2026-09-21T15:13:20.000Z");
    let admin = served.post("/v1/tokens", r#"{"role":"admin"}"#).await.json();
    let bearer = |method: &str, path: &str| {
        served.send(served.request(method, path).bearer_auth(admin["token"].as_str().unwrap()))
    };
    let list = bearer("GET", "/v1/tokens").await;
    assert!(!list.text.contains(secret) && !list.text.contains("rlt_") && !list.text.contains("hash"), "{}", list.text);
    assert_eq!(list.json()["tokens"][0]["id"], token["id"]);
    assert_eq!(list.json()["tokens"].as_array().unwrap().len(), 2);
    let path = format!("/v1/tokens/{}", token["id"].as_str().unwrap());
    assert_eq!(bearer("DELETE", &path).await.status, 204);
    bearer("DELETE", &path).await.problem(404);
    bearer("DELETE", "/v1/tokens/x").await.problem(404);
    let revoked = served.request("GET", "/v1/jobs").bearer_auth(secret);
    served.send(revoked).await.problem(401);
}

#[actix_web::test]
async fn a_join_token_comes_with_its_address_and_closes_nothing() {
    let served = Served::with_slots(0);
    let made = served.post("/v1/tokens", r#"{"kind":"join","ttl":"24h"}"#).await;
    assert_eq!(made.status, 201);
    let token = made.json();
    assert_eq!((&token["token"], &token["join"]), (&json!("rl1.secret"), &json!("10.0.0.1:7800")));
    assert_eq!((&token["kind"], &token["expires_at"]), (&json!("join"), &json!("2026-09-22T14:13:20.000Z")));
    assert_eq!(served.get("/v1/jobs").await.status, 200);
}

#[actix_web::test]
async fn a_wrong_token_body_makes_nothing() {
    let served = Served::with_slots(0);
    for (body, pointer) in [
        ("{}", "/role"),
        (r#"{"role":"root"}"#, "/role"),
        (r#"{"kind":"join","role":"admin"}"#, "/role"),
        (r#"{"kind":"x"}"#, "/kind"),
        (r#"{"role":"read","ttl":"soon"}"#, "/ttl"),
        (r#"{"role":"read","ttl":"0s"}"#, "/ttl"),
        (r#"{"kind":"join","ttl":"31d"}"#, "/ttl"),
        (r#"{"role":5}"#, "/role"),
        (r#"{"role":"read","scope":"x"}"#, "/scope"),
    ] {
        let problem = served.post("/v1/tokens", body).await.problem(400);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    assert_eq!(served.get("/v1/tokens").await.json(), json!({"tokens": []}));
}
