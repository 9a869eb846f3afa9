//! The cluster as a whole: how it stands, and handing the role over.

use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::view::Names;
use super::{Api, json};
use crate::http::openapi::words;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[schema(as = Cluster)]
pub(in crate::http) struct ClusterView {
    id: String,
    name: String,
    #[schema(value_type = words::ClusterStatus)]
    status: String,
    reason: String,
    #[schema(value_type = words::ClusterMode)]
    mode: String,
    epoch: u64,
    generation: u64,
    dispatcher: Option<String>,
    nodes: NodeCount,
    high_availability: bool,
    survives: String,
    succession: Vec<Successor>,
}

#[derive(Serialize, ToSchema)]
struct NodeCount {
    online: usize,
    registered: usize,
}

#[derive(Serialize, ToSchema)]
struct Successor {
    name: String,
    why: String,
}

/// `GET /v1/cluster`. Never waits for the dispatcher: whether there is one is what is asked.
pub(super) fn show(api: &Api, request: &Request) -> Answered {
    request.query.only(&["consistency"])?;
    request.query.local()?;
    let vitals = api.backend.vitals();
    let names = Names::of(&api.backend.ledger());
    Answer::json(&ClusterView {
        id: vitals.id,
        name: vitals.name,
        status: vitals.status,
        reason: vitals.reason,
        mode: vitals.mode,
        epoch: vitals.reign.epoch.0,
        generation: vitals.reign.generation.0,
        dispatcher: vitals.dispatcher.map(|node| names.name(node)),
        nodes: NodeCount { online: vitals.online, registered: vitals.registered },
        high_availability: vitals.high_availability,
        survives: vitals.survives,
        succession: vitals.succession.into_iter().map(|(name, why)| Successor { name, why }).collect(),
    })
}

/// Who has the role now.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HandedOver {
    dispatcher: String,
    epoch: u64,
    generation: u64,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = HandoverSpec)]
pub(in crate::http) struct HandoverBody {
    #[schema(value_type = Option<words::NodeName>)]
    to: Option<String>,
}

/// `POST /v1/cluster:handover`.
pub(super) async fn hand_over(api: &Api, request: &Request) -> Answered {
    request.query.only(&[])?;
    let body: HandoverBody = json::read_optional(&request.body)?;
    let to = match body.to {
        None => None,
        Some(name) => {
            let node = Names::of(&api.backend.ledger()).id(&name);
            let unknown = || Problem::field("/to", format!("there is no node `{name}`; GET /v1/nodes lists them"));
            Some(node.ok_or_else(unknown)?)
        }
    };
    let node = api.backend.hand_over(to).await.map_err(|why| {
        Problem::new(
            Kind::Conflict,
            format!("the role was not handed over: {why}; GET /v1/cluster shows the succession"),
        )
    })?;
    let name = Names::of(&api.backend.ledger()).name(node);
    let reign = api.backend.standpoint().reign;
    Answer::json(&HandedOver { dispatcher: name, epoch: reign.epoch.0, generation: reign.generation.0 })
}
