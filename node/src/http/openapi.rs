//! `GET /v1/openapi.json`: this API described as OpenAPI 3.1, from the types that it reads and writes and a table of
//! its operations; and the same for people, at `/v1/docs` and `/v1/problems`.
//!
//! The table can't miss a route or one of its parameters: tests ask each route what it takes. What it describes is not
//! checked here against what is answered; schemathesis does that, on a live cluster.

mod cluster;
mod docs;
mod jobs;
mod operation;
mod parameter;
mod queues;
mod shape;
pub(super) mod words;

use super::answer::{Answer, Answered, Body};
use super::problem::{Document, Kind};
use super::request::Request;
use super::view;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_SECURITY_POLICY;
use bytes::Bytes;
use operation::Operation;
use serde_json::{Map, Value, json};
use shape::shape;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What the API is, before the operations.
const ABOUT: &str = "The API of a Relais node: any node of a cluster answers alike. Unknown fields and parameters are \
    refused. Durations are texts like `90s` or `1h30m`, times RFC 3339 in UTC. Errors are `application/problem+json` \
    with a stable `type`; `/v1/problems` explains each. While there is no dispatcher, what can't be decided is answered \
    with 503 and `Retry-After`.";

static TEXT: LazyLock<Bytes> = LazyLock::new(|| text().into());
static DOCS: LazyLock<docs::Page> = LazyLock::new(|| docs::of_operations(&document()));
static PROBLEMS: LazyLock<docs::Page> = LazyLock::new(docs::of_problems);

/// `GET /v1/openapi.json`.
pub(super) fn description(request: &Request) -> Answered {
    request.query.only(&[])?;
    Ok(Answer::json_text(StatusCode::OK, TEXT.clone()))
}

/// `GET /v1/docs`.
pub(super) fn docs(request: &Request) -> Answered {
    request.query.only(&[])?;
    Ok(page(&DOCS))
}

/// `GET /v1/problems`.
pub(super) fn problems(request: &Request) -> Answered {
    request.query.only(&[])?;
    Ok(page(&PROBLEMS))
}

fn page(page: &docs::Page) -> Answer {
    Answer::new(StatusCode::OK, "text/html; charset=utf-8", Body::Whole(page.text.clone()))
        .with(CONTENT_SECURITY_POLICY, &page.policy)
}

/// The description as it is served and kept in the tree.
fn text() -> String {
    serde_json::to_string_pretty(&document()).map(|text| text + "\n").unwrap_or_default()
}

fn operations() -> Vec<Operation> {
    [jobs::operations(), queues::operations(), cluster::operations()].into_iter().flatten().collect()
}

fn document() -> Value {
    let operations = operations();
    let mut paths = Map::new();
    for operation in &operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.to_ascii_lowercase()] = operation.to_json();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Relais",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas(&operations),
            "headers": parameter::headers(),
            "responses": responses(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer",
                "description": "An API token, as `POST /v1/tokens` makes them. Without any, this machine alone is let in."}},
        },
    })
}

fn schemas(operations: &[Operation]) -> Map<String, Value> {
    let mut schemas = Map::new();
    let named = [
        shape::<Document<'_>>(),
        shape::<view::Time>(),
        shape::<view::Duration>(),
        shape::<view::Id>(),
        shape::<words::BatchResult>(),
        shape::<words::ExecPayload>(),
        shape::<words::HttpPayload>(),
        shape::<words::NoopPayload>(),
        shape::<words::NodeName>(),
        shape::<words::QueueName>(),
        shape::<words::State>(),
    ];
    for shape in operations.iter().flat_map(Operation::shapes).chain(named) {
        shape.add_to(&mut schemas);
    }
    schemas
}

/// A problem document for each status, with the kinds that have it.
fn responses() -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for kind in Kind::ALL {
        by_status.entry(kind.status()).or_default().push(kind.slug());
    }
    let described = |(status, slugs): (u16, Vec<&str>)| {
        let types: Vec<String> = slugs.iter().map(|slug| format!("urn:relais:problem:{slug}")).collect();
        let more = match status {
            401 => vec!["WWW-Authenticate"],
            429 | 503 | 507 => vec!["Retry-After"],
            _ => Vec::new(),
        };
        let headers: Map<String, Value> = parameter::ALWAYS
            .into_iter()
            .chain(more)
            .map(|name| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")})))
            .collect();
        let schema = json!({"allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"properties": {"type": {"enum": types}, "status": {"const": status}}},
        ]});
        let response = json!({
            "description": format!("One of the types {}.", types.join(", ")),
            "headers": headers,
            "content": {"application/problem+json": {"schema": schema}},
        });
        (format!("Problem{status}"), response)
    };
    by_status.into_iter().map(described).collect()
}

#[cfg(test)]
mod tests;
