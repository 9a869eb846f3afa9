//! Events as they are written: a name, the id, and a line of JSON.

use super::ring::{Entry, EventId};
use crate::http::view::{Id, Names, Time};
use bytes::Bytes;
use relais_dispatcher::ledger::{Event, Ledger};
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::record::Standing;
use serde::Serialize;
use std::fmt::Write;
use utoipa::ToSchema;

/// What an event says. What it does not have is left out.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Event)]
pub(in crate::http) struct Data<'a> {
    #[schema(nullable = false)]
    at: Option<Time>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<Id>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Id>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<u64>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    draining: Option<bool>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    dispatcher: Option<String>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<&'a str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// An event as it is sent.
pub(super) struct Told {
    /// Its position in its entry.
    pub(super) position: usize,
    /// Its name.
    pub(super) name: String,
    /// The job that it is about, if it is about one.
    pub(super) job: Option<JobId>,
    /// All of it.
    pub(super) text: String,
}

/// The events of an entry that are told at all.
pub(super) fn all_of(entry: &Entry, ledger: &Ledger) -> Vec<Told> {
    let names = Names::of(ledger);
    let events = entry.events().iter().enumerate();
    let told = events.filter_map(|(position, event)| {
        let (name, data) = told(event, ledger, &names)?;
        let mut text = String::new();
        write(&mut text, &name, Some(entry.id(position)), &Data { at: Some(Time(entry.at)), ..data });
        Some(Told { position, name, job: job_of(event), text })
    });
    told.collect()
}

/// The event that says that something is missing before what follows.
pub(super) fn reset(at: Option<EventId>, reason: &str) -> Bytes {
    let mut text = String::new();
    write(&mut text, "reset", at, &Data { reason: Some(reason), ..Data::default() });
    text.into()
}

fn write(text: &mut String, name: &str, id: Option<EventId>, data: &Data<'_>) {
    let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
}

fn job_of(event: &Event) -> Option<JobId> {
    match event {
        Event::State { job, .. }
        | Event::Started { job, .. }
        | Event::CancelWanted { job, .. }
        | Event::AttemptLost { job, .. }
        | Event::Forgotten(job) => Some(*job),
        _ => None,
    }
}

fn told<'a>(event: &'a Event, ledger: &Ledger, names: &Names) -> Option<(String, Data<'a>)> {
    let of_attempt = |name: &str, job: &JobId, node: &NodeId, fence: u64| {
        let data = Data { job: Some(Id(*job)), node: names.place(*node), fence: Some(fence), ..Data::default() };
        Some((name.to_owned(), data))
    };
    match event {
        Event::State { job, state } => {
            let data = Data { job: Some(Id(*job)), state: Some(state.as_str()), ..Data::default() };
            Some((format!("job.{}", state.as_str()), data))
        }
        Event::Started { job, node, fence, .. } => of_attempt("job.attempt_started", job, node, fence.0),
        Event::CancelWanted { job, node, fence } => of_attempt("job.cancel_requested", job, node, fence.0),
        Event::AttemptLost { job, node, fence } => of_attempt("job.attempt_lost", job, node, fence.0),
        Event::Forgotten(job) => Some(("job.forgotten".to_owned(), Data { job: Some(Id(*job)), ..Data::default() })),
        Event::Node(node) => {
            let row = ledger.node(*node);
            let state = row.as_ref().map(|row| standing(row.standing));
            let draining = row.as_ref().map(|row| row.draining);
            let data = Data { node: Some(names.name(*node)), state, draining, ..Data::default() };
            Some(("node.changed".to_owned(), data))
        }
        Event::Promoted { reign, node, .. } => {
            let data = Data {
                dispatcher: Some(names.name(*node)),
                generation: Some(reign.generation.0),
                epoch: Some(reign.epoch.0),
                ..Data::default()
            };
            Some(("cluster.dispatcher".to_owned(), data))
        }
        Event::TakenOver(takeover) => {
            let data = Data {
                node: Some(names.name(takeover.node)),
                generation: Some(takeover.generation.0),
                ..Data::default()
            };
            Some(("cluster.taken_over".to_owned(), data))
        }
        Event::Merged { last: true, .. } => Some(("cluster.healed".to_owned(), Data::default())),
        Event::Schedule(name) => {
            Some(("schedule.changed".to_owned(), Data { schedule: Some(name.as_str()), ..Data::default() }))
        }
        Event::Group(group) => {
            let state = ledger.group(*group).map(|view| view.state.as_str());
            Some(("group.changed".to_owned(), Data { group: Some(Id(group.as_job())), state, ..Data::default() }))
        }
        Event::Merged { .. } | Event::Loaded => None,
    }
}

/// The standing that the node has now: its row has no history.
fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Joining => "joining",
        Standing::Online => "online",
        Standing::Suspect => "suspect",
        Standing::Offline => "offline",
        Standing::Leaving => "leaving",
        Standing::Left => "left",
    }
}
