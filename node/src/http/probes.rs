//! Probes, the version, and the page at `/`.

use super::Api;
use super::answer::{Answer, Answered, Body};
use super::problem::{Kind, Problem};
use super::request::Request;
use actix_web::http::StatusCode;
use relais_protocol::codec::FORMAT;
use relais_protocol::record::RULES;
use serde::Serialize;
use utoipa::ToSchema;

const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Relais</title>\
<h1>Relais</h1><p>This is a node of a Relais cluster. Its API is under <code>/v1</code>:\
<ul><li><a href=\"/v1/cluster\">/v1/cluster</a><li><a href=\"/v1/nodes\">/v1/nodes</a>\
<li><a href=\"/v1/jobs\">/v1/jobs</a><li><a href=\"/readyz?verbose\">/readyz?verbose</a>\
<li><a href=\"/metrics\">/metrics</a></ul></html>\n";

/// `GET /`.
pub(super) fn page() -> Answered {
    Ok(Answer::new(StatusCode::OK, "text/html; charset=utf-8", Body::Whole(PAGE.into())))
}

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
