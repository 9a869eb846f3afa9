//! Who may ask: Host, Origin, tokens, roles, guesses.

use super::NOOP;
use super::rig::{Said, Served};
use crate::http::access::admit;
use crate::http::may_bind;
use crate::http::route::Route;
use std::net::IpAddr;

async fn token(served: &Served, body: &str) -> String {
    let said = served.post("/v1/tokens", body).await;
    assert_eq!(said.status, 201, "{}", said.text);
    said.json()["token"].as_str().unwrap().to_owned()
}

async fn with(served: &Served, token: &str, method: &str, path: &str, body: &str) -> Said {
    let request = served.request(method, path).bearer_auth(token).header("content-type", "application/json");
    served.send(request.body(body.to_owned())).await
}

#[actix_web::test]
async fn foreign_hosts_and_origins_are_refused() {
    let served = Served::with_slots(0);
    let own = served.url.clone();
    for (header, value, status) in [
        ("host", "evil.example", 403),
        ("host", "127.0.0.1.evil.example:80", 403),
        ("host", "n1.example:7700", 201),
        ("host", "localhost", 201),
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("origin", own.as_str(), 201),
    ] {
        let request = served.request("POST", "/v1/jobs").header(header, value);
        let said = served.send(request.header("content-type", "application/json").body(NOOP)).await;
        assert_eq!(said.status, status, "{header}: {value}: {}", said.text);
    }
    // From a page, a body without a content type is refused: no preflight was asked.
    let bare = served.request("POST", "/v1/jobs").header("origin", own).body(NOOP);
    served.send(bare).await.problem(415);
    let read = served.request("GET", "/v1/jobs").header("host", "evil.example");
    served.send(read).await.problem(403);
}

#[actix_web::test]
async fn each_role_may_do_its_own() {
    let served = Served::with_slots(0);
    let read = token(&served, r#"{"role":"read","name":"r"}"#).await;
    let submit = token(&served, r#"{"role":"submit","name":"s"}"#).await;
    let admin = token(&served, r#"{"role":"admin","name":"a"}"#).await;
    let unknown = served.post("/v1/jobs", NOOP).await;
    unknown.problem(401);
    assert!(unknown.header("www-authenticate").starts_with("Bearer"));
    served.get("/v1/jobs").await.problem(401);
    for (token, statuses) in [(&read, [200, 403, 403]), (&submit, [200, 201, 403]), (&admin, [200, 201, 200])] {
        let got = [
            with(&served, token, "GET", "/v1/jobs", "").await.status,
            with(&served, token, "POST", "/v1/jobs", NOOP).await.status,
            with(&served, token, "POST", "/v1/nodes/n1:drain", "").await.status,
        ];
        assert_eq!(got, statuses);
    }
    let made = with(&served, &submit, "POST", "/v1/jobs", NOOP).await.json();
    assert_eq!(made["submitted_by"], "s");
    with(&served, &submit, "GET", "/v1/tokens", "").await.problem(403);
    for open in ["/livez", "/readyz", "/metrics", "/"] {
        assert_eq!(served.get(open).await.status, 200, "{open}");
    }
    let basic = served.request("GET", "/v1/jobs").basic_auth("a", Some(&admin));
    served.send(basic).await.problem(401);
}

#[actix_web::test]
async fn wrong_tokens_are_limited_and_right_ones_are_not() {
    let served = Served::with_slots(0);
    let admin = token(&served, r#"{"role":"admin"}"#).await;
    for _ in 0..10 {
        with(&served, "rlt_wrong", "GET", "/v1/jobs", "").await.problem(401);
    }
    let limited = with(&served, "rlt_wrong", "GET", "/v1/jobs", "").await;
    limited.problem(429);
    assert!(limited.header("retry-after").parse::<u64>().unwrap() <= 61);
    assert_eq!(with(&served, &admin, "GET", "/v1/jobs", "").await.status, 200);
}

#[actix_web::test]
async fn an_api_without_a_good_admin_token_can_be_opened_from_its_own_machine_only() {
    let served = Served::with_slots(0);
    let short = token(&served, r#"{"role":"admin","ttl":"1h"}"#).await;
    served.post("/v1/tokens", r#"{"role":"admin"}"#).await.problem(401);
    served.rig.pass(3_600_000);
    with(&served, &short, "GET", "/v1/jobs", "").await.problem(401);
    // That tokens ran out opens nothing but the way to a new one.
    served.get("/v1/jobs").await.problem(401);
    let far = IpAddr::from([10, 0, 0, 9]);
    assert!(admit(&served.api, far, None, &Route::TokenMake).await.is_err());
    let next = token(&served, r#"{"role":"admin"}"#).await;
    assert_eq!(with(&served, &next, "GET", "/v1/jobs", "").await.status, 200);
    served.post("/v1/tokens", r#"{"role":"admin"}"#).await.problem(401);
}

#[actix_web::test]
async fn without_tokens_only_this_machine_is_served() {
    let served = Served::with_slots(0);
    let (near, far) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 9]));
    for (peer, route, open) in [
        (near, Route::Submit, true),
        ("::ffff:127.0.0.1".parse().unwrap(), Route::Submit, true),
        (far, Route::Submit, false),
        (far, Route::Jobs, false),
        (far, Route::Metrics, false),
        (far, Route::Live, true),
    ] {
        assert_eq!(admit(&served.api, peer, None, &route).await.is_ok(), open, "{peer} {route:?}");
    }
    let made = token(&served, r#"{"role":"read"}"#).await;
    assert!(admit(&served.api, far, Some(&made), &Route::Metrics).await.is_ok());
}

#[test]
fn beyond_loopback_a_token_is_needed() {
    let (near, far) = ("127.0.0.1:7700".parse().unwrap(), "0.0.0.0:7700".parse().unwrap());
    assert!(may_bind(near, false, false).is_ok());
    assert!(may_bind("[::1]:7700".parse().unwrap(), false, false).is_ok());
    assert!(may_bind(far, false, false).unwrap_err().contains("relais token create"));
    assert!(may_bind(far, true, false).is_ok());
    assert!(may_bind(far, false, true).is_ok());
}

#[actix_web::test]
async fn a_port_in_use_is_told() {
    let served = Served::with_slots(0);
    let addr = served.url.strip_prefix("http://").unwrap().parse().unwrap();
    let config = crate::http::HttpConfig { addr, insecure: false, names: vec![] };
    let error = crate::http::Api::new(config, served.rig.clone()).serve().err().expect("it is in use");
    assert!(error.to_string().contains("is in use by another process"), "{error}");
}
