//! `POST /v1/nodes/{name}:drill`: a node does a fault to itself, for `relais drill`. It is refused unless the
//! cluster's setting `drill` is on.

use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::view::Names;
use super::{Api, json, read};
use crate::drill::LONGEST_MS;
use crate::http::view;
use actix_web::http::StatusCode;
use relais_protocol::message::DrillFault;
use relais_protocol::time::parse_duration_ms;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How long a fault lasts where the body does not say.
const FOR_MS: u64 = 5_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = DrillSpec)]
pub(in crate::http) struct Body {
    fault: Fault,
    #[schema(value_type = Option<view::Duration>)]
    #[serde(rename = "for")]
    lasts: Option<String>,
}

/// What is about to happen to whom.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Struck<'a> {
    node: &'a str,
    fault: &'static str,
    for_ms: u64,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DrillFault)]
enum Fault {
    Kill,
    Pause,
    Cut,
    Restart,
}

impl Fault {
    fn of(self) -> (DrillFault, &'static str) {
        match self {
            Self::Kill => (DrillFault::Kill, "kill"),
            Self::Pause => (DrillFault::Pause, "pause"),
            Self::Cut => (DrillFault::Cut, "cut"),
            Self::Restart => (DrillFault::Restart, "restart"),
        }
    }
}

/// Strikes the node in a moment: 202.
pub(super) async fn strike(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&[])?;
    let body: Body = json::read(&request.body)?;
    let for_ms = match &body.lasts {
        Some(text) => parse_duration_ms(text).map_err(|why| Problem::field("/for", why))?,
        None => FOR_MS,
    };
    if for_ms > LONGEST_MS {
        return Err(Problem::field("/for", format!("must be at most {} minutes", LONGEST_MS / 60_000)));
    }
    let sight = read::sight(api, false).await;
    let node = Names::of(&api.backend.ledger()).id(name);
    let node = node.ok_or_else(|| sight.not_seen(Problem::no_such_node(name)))?;
    let (fault, said) = body.fault.of();
    let struck = api.backend.drill(node, fault, for_ms).await;
    struck.map_err(|why| Problem::new(Kind::Conflict, format!("{name} was not struck: {why}")))?;
    Answer::json_as(StatusCode::ACCEPTED, &Struck { node: name, fault: said, for_ms })
}
