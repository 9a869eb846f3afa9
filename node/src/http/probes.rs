//! Probes, and the version.

use super::Api;
use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::request::Request;
use actix_web::http::StatusCode;
use relais_protocol::codec::FORMAT;
use relais_protocol::record::RULES;
use serde_json::json;

/// `GET /livez`: the process answers.
pub(super) fn live() -> Answered {
    Ok(Answer::text(StatusCode::OK, "ok\n"))
}

/// `GET /readyz`: the node is fit to serve.
pub(super) fn ready(api: &Api, request: &Request) -> Answered {
    request.query.only(&["verbose"])?;
    let verbose = request.query.switch("verbose")?;
    let readiness = api.backend.readiness();
    if verbose {
        let part = |(name, healthy, detail): &(String, bool, String)| json!({ "name": name, "healthy": healthy, "detail": detail });
        let parts: Vec<_> = readiness.parts.iter().map(part).collect();
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return Answer::json_as(status, &json!({ "ready": readiness.ready, "parts": parts }));
    }
    if readiness.ready {
        return Ok(Answer::text(StatusCode::OK, "ok\n"));
    }
    let sick: Vec<String> =
        readiness.parts.iter().filter(|part| !part.1).map(|(name, _, detail)| format!("{name}: {detail}")).collect();
    Err(Problem::new(Kind::NotReady, format!("{}; /readyz?verbose has all parts", sick.join(", "))))
}

/// `GET /v1/version`.
pub(super) fn version(request: &Request) -> Answered {
    request.query.only(&[])?;
    Answer::json(&json!({
        "name": "relais", "version": env!("CARGO_PKG_VERSION"), "api": "v1", "format": FORMAT, "rules": RULES,
    }))
}
