//! The cluster as a whole: how it stands, its failovers, and handing the role over.

use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::view::{Names, Time};
use super::{Api, json, read};
use relais_protocol::record::Failover;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct ClusterView {
    id: String,
    name: String,
    status: String,
    reason: String,
    mode: String,
    epoch: u64,
    generation: u64,
    dispatcher: Option<String>,
    nodes: NodeCount,
    high_availability: bool,
    survives: String,
    succession: Vec<Successor>,
}

#[derive(Serialize)]
struct NodeCount {
    online: usize,
    registered: usize,
}

#[derive(Serialize)]
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

#[derive(Serialize)]
struct FailoverView {
    epoch: u64,
    generation: u64,
    from: Option<String>,
    to: String,
    cause: String,
    suspected_at: Time,
    elected_at: Time,
    first_dispatch_at: Option<Time>,
    unavailable_ms: u64,
    jobs: JobsMoved,
}

#[derive(Serialize)]
struct JobsMoved {
    adopted: u32,
    retried: u32,
    lost_attempts: u32,
}

#[derive(Serialize)]
struct Failovers {
    failovers: Vec<FailoverView>,
}

fn failover(failover: &Failover, names: &Names) -> FailoverView {
    FailoverView {
        epoch: failover.epoch.0,
        generation: failover.generation.0,
        from: failover.from.map(|node| names.name(node)),
        to: names.name(failover.to),
        cause: failover.cause.clone(),
        suspected_at: Time(failover.suspected_at),
        elected_at: Time(failover.elected_at),
        first_dispatch_at: failover.first_dispatch_at.map(Time),
        unavailable_ms: failover.unavailable_ms,
        jobs: JobsMoved { adopted: failover.adopted, retried: failover.retried, lost_attempts: failover.lost_attempts },
    }
}

/// `GET /v1/cluster/failovers`, newest first.
pub(super) async fn failovers(api: &Api, request: &Request) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let ledger = api.backend.ledger();
    let names = Names::of(&ledger);
    let failovers = Failovers { failovers: ledger.failovers().rev().map(|one| failover(one, &names)).collect() };
    drop(ledger);
    Ok(Answer::json(&failovers)?.stale(sight.stale_ms))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct HandoverBody {
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
    Answer::json(&serde_json::json!({
        "dispatcher": name, "epoch": reign.epoch.0, "generation": reign.generation.0,
    }))
}
