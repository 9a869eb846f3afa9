//! Events as they are written: a name, the id, and a line of JSON.

use super::Wanted;
use super::ring::EventId;
use crate::http::view::{Id, Names, Time};
use bytes::Bytes;
use relais_dispatcher::ledger::{Event, Ledger};
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::record::Standing;
use relais_protocol::time::UnixMs;
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

/// Events in a row.
#[derive(Default)]
pub(super) struct Frames {
    text: String,
    names: Option<Names>,
}

impl Frames {
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// `None` if there are none.
    pub(super) fn into_bytes(self) -> Option<Bytes> {
        (!self.text.is_empty()).then(|| self.text.into())
    }

    /// Adds an event, if it is told at all and wanted.
    pub(super) fn add(&mut self, id: EventId, at: UnixMs, event: &Event, ledger: &Ledger, wanted: &Wanted) {
        let names = self.names.get_or_insert_with(|| Names::of(ledger));
        let Some((name, data)) = told(event, ledger, names) else { return };
        if wanted.takes(&name, job_of(event)) {
            write(&mut self.text, &name, Some(id), &Data { at: Some(Time(at)), ..data });
        }
    }
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
