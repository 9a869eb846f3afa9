//! The node table: the ledger's rows with the live figures that this node has.

use super::answer::{Answer, Answered};
use super::jobs::{commit, seen};
use super::problem::Problem;
use super::request::Request;
use super::view::Names;
use super::{Api, read};
use crate::backend::{ActorState, NodeVitals};
use crate::http::openapi::words;
use relais_dispatcher::ledger::{Ledger, NodeRow};
use relais_protocol::record::{Record, Standing};
use relais_protocol::spec::Labels;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[schema(as = Node)]
pub(in crate::http) struct NodeView {
    name: String,
    id: u32,
    #[schema(value_type = words::NodeRole)]
    role: &'static str,
    #[schema(value_type = words::NodeStatus)]
    status: &'static str,
    reason: Option<String>,
    version: String,
    machine: String,
    pid: u32,
    http: String,
    slots: u32,
    running: usize,
    cpu_percent: Option<f32>,
    memory_available_bytes: Option<u64>,
    net_in_bytes_per_second: Option<u64>,
    net_out_bytes_per_second: Option<u64>,
    journal_index: Option<u64>,
    last_heard_ms: Option<u64>,
    #[schema(value_type = words::Labels)]
    labels: Labels,
    /// `set` (by PATCH), `start` (a flag) or `derived` (from cores and memory).
    #[schema(value_type = words::SlotsFrom)]
    slots_from: &'static str,
    /// Kinds that it offers beside those that every node has.
    kinds: Vec<String>,
    slots_used: u32,
    /// Cores that jobs may ask for, and have asked for.
    cpu: f64,
    cpu_used: f64,
    /// Memory that jobs may ask for, and have asked for.
    memory_bytes: u64,
    memory_used_bytes: u64,
    started_with: Started,
    /// What was set since, and goes before it.
    set: Option<SetView>,
    voter: bool,
    draining: bool,
    /// Its actors and threads, as it says itself; null in a list, and where it does not answer.
    actors: Option<Vec<ActorView>>,
}

/// An actor or thread of a node.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeActor)]
struct ActorView {
    #[schema(value_type = words::ActorName)]
    name: String,
    /// What waits for it: inputs, of `net` tasks, of the journal entries in the log that are not applied.
    depth: u64,
    /// For how long it has not had its turn; null of one that wakes only for work.
    idle_ms: Option<u64>,
    /// How often it died and was started again since the node started.
    restarts: u64,
    /// Why it is not well, if it is not.
    ailing: Option<String>,
}

impl ActorView {
    fn of(state: ActorState) -> Self {
        let ActorState { name, depth, idle_ms, restarts, ailing } = state;
        Self { name, depth, idle_ms, restarts, ailing }
    }
}

/// What the node was started with.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeStarted)]
struct Started {
    slots: u32,
    #[schema(value_type = words::Labels)]
    labels: Labels,
}

/// What was set of it; a label that is null is one that it bears no more.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeSet)]
struct SetView {
    slots: Option<u32>,
    labels: BTreeMap<String, Option<String>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NodePage)]
pub(in crate::http) struct Nodes {
    nodes: Vec<NodeView>,
}

fn view(ledger: &Ledger, row: &NodeRow, vitals: &[NodeVitals]) -> NodeView {
    let unknown = NodeVitals::default();
    let live = vitals.iter().find(|vitals| vitals.id == row.id);
    let is_self = live.is_some_and(|live| live.last_heard_ms.is_none());
    let vitals = live.unwrap_or(&unknown);
    let (status, reason) = status(row, vitals);
    let used = ledger.in_use(row.id);
    NodeView {
        name: row.name.clone(),
        id: row.id.0,
        role: match (row.facts.witness, vitals.dispatcher) {
            (true, _) => "witness",
            (false, true) => "dispatcher+worker",
            (false, false) => "worker",
        },
        status,
        reason,
        version: row.facts.version.clone(),
        machine: row.facts.machine.clone(),
        pid: row.facts.pid,
        http: row.facts.http.clone(),
        slots: row.slots(),
        running: ledger.running_on(row.id).count(),
        cpu_percent: vitals.cpu_percent,
        memory_available_bytes: vitals.memory_available_bytes,
        net_in_bytes_per_second: vitals.net_in_bytes_per_second,
        net_out_bytes_per_second: vitals.net_out_bytes_per_second,
        journal_index: vitals.journal_index.map(|index| index.0),
        last_heard_ms: if is_self { Some(0) } else { vitals.last_heard_ms },
        labels: row.labels(),
        kinds: row.facts.kinds.clone(),
        slots_from: match (row.set.slots, row.facts.slots_derived) {
            (Some(_), _) => "set",
            (None, true) => "derived",
            (None, false) => "start",
        },
        slots_used: used.slots,
        cpu: f64::from(row.facts.cpu_millis) / 1_000.0,
        cpu_used: used.cpu_millis as f64 / 1_000.0,
        memory_bytes: row.facts.memory_bytes,
        memory_used_bytes: used.memory_bytes,
        started_with: Started { slots: row.facts.slots, labels: row.facts.labels.clone() },
        set: (!row.set.is_void()).then(|| SetView { slots: row.set.slots, labels: row.set.labels.clone() }),
        voter: vitals.voter,
        draining: row.draining,
        actors: None,
    }
}

fn status(row: &NodeRow, vitals: &NodeVitals) -> (&'static str, Option<String>) {
    let said = |reason: &str| Some(reason.to_owned());
    match row.standing {
        Standing::Left => ("left", said("it said goodbye")),
        Standing::Leaving => ("draining", said("it is about to leave, and lets what runs come to its end")),
        Standing::Offline => ("offline", said("it was not heard of for a lease")),
        Standing::Joining => ("joining", said("it was admitted, and has not reported yet")),
        _ if vitals.limited.is_some() => ("limited", vitals.limited.clone()),
        Standing::Suspect => ("suspect", said("it is out of reach; what it runs goes on until its lease is over")),
        Standing::Online if vitals.suspect => ("suspect", said("gossip does not reach it")),
        Standing::Online if row.draining => ("draining", said("it was asked to take no new jobs")),
        Standing::Online => ("online", vitals.clock.clone()),
    }
}

/// `GET /v1/nodes`.
pub(super) async fn list(api: &Api, request: &Request) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let vitals = api.backend.vitals().nodes;
    let ledger = api.backend.ledger();
    let nodes = Nodes { nodes: ledger.nodes().map(|row| view(&ledger, row, &vitals)).collect() };
    drop(ledger);
    Ok(Answer::json(&nodes)?.stale(sight.stale_ms))
}

/// `GET /v1/nodes/{name}`.
pub(super) async fn one(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    show(api, name).await.map_err(|problem| sight.not_seen(problem)).map(|answer| answer.stale(sight.stale_ms))
}

pub(super) async fn show(api: &Api, name: &str) -> Answered {
    let vitals = api.backend.vitals().nodes;
    let (id, mut node) = {
        let ledger = api.backend.ledger();
        let row = ledger.nodes().find(|row| row.name == name).ok_or_else(|| Problem::no_such_node(name))?;
        (row.id, view(&ledger, row, &vitals))
    };
    let actors = api.backend.actors(id).await;
    node.actors = actors.map(|actors| actors.into_iter().map(ActorView::of).collect());
    Answer::json(&node)
}

/// `POST /v1/nodes/{name}:drain` and `:undrain`.
pub(super) async fn drain(api: &Api, request: &Request, name: &str, on: bool) -> Answered {
    request.query.only(&[])?;
    let sight = read::sight(api, false).await;
    let node = Names::of(&api.backend.ledger()).id(name);
    let node = node.ok_or_else(|| sight.not_seen(Problem::no_such_node(name)))?;
    let (_, index) = commit(api, Record::Drain { node, on }).await?;
    seen(api, index).await;
    show(api, name).await
}
