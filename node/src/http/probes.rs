//! Probes, and the version.

use super::Api;
use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::request::Request;
use actix_web::http::StatusCode;
use relais_protocol::codec::FORMAT;
use relais_protocol::record::RULES;
use serde::Serialize;
use utoipa::ToSchema;

/// Whether the node is fit to serve, part by part.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Fitness {
    ready: bool,
    parts: Vec<Part>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FitnessPart)]
struct Part {
    name: String,
    healthy: bool,
    detail: String,
}

/// What a node is.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Version {
    name: &'static str,
    version: &'static str,
    api: &'static str,
    /// The format of what is on disk and on the wire.
    format: u8,
    /// The rules by which records are applied.
    rules: u16,
}

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
        let part = |(name, healthy, detail): (String, bool, String)| Part { name, healthy, detail };
        let parts = readiness.parts.into_iter().map(part).collect();
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return Answer::json_as(status, &Fitness { ready: readiness.ready, parts });
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
    let version = env!("CARGO_PKG_VERSION");
    Answer::json(&Version { name: "relais", version, api: "v1", format: FORMAT, rules: RULES })
}
