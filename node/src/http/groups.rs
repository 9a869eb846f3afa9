//! Groups: an array is submitted, a group shown, waited for and cancelled.

use super::answer::{Answer, Answered};
use super::jobs::{self, CancelBody};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::spec::{Array, Checked};
use super::view::{Id, Time, given};
use super::{Api, json, read};
use crate::http::openapi::words;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use relais_dispatcher::ledger::GroupView;
use relais_protocol::group::{GroupId, GroupSubmit, completion_of, window_of};
use relais_protocol::ids::JobId;
use relais_protocol::job::StateName;
use relais_protocol::record::{Outcome, Record};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

/// The answer to a submit.
#[derive(Serialize, ToSchema)]
#[schema(as = GroupSubmitted)]
pub(in crate::http) struct Submitted {
    group: Id,
    count: u32,
    first_id: Id,
    deduplicated: bool,
    #[schema(value_type = words::Durability)]
    durability: &'static str,
}

/// A group.
#[derive(Serialize, ToSchema)]
#[schema(as = Group)]
pub(in crate::http) struct Shown<'a> {
    id: Id,
    name: Option<&'a str>,
    #[schema(value_type = words::Kind)]
    kind: &'a str,
    #[schema(value_type = words::QueueName)]
    queue: &'a str,
    #[schema(value_type = words::State)]
    state: &'static str,
    /// Why no more of it is to run, if so.
    reason: Option<&'a str>,
    /// When somebody cancelled it, or it was given up.
    halted_at: Option<Time>,
    total: u32,
    #[schema(value_type = BTreeMap<String, u64>)]
    counts: BTreeMap<&'static str, u64>,
    ended: u64,
    /// Members that are in the record no more.
    forgotten: u64,
    /// From 0 to 1.
    progress: f64,
    max_failures: Option<u32>,
    first_id: Id,
    last_id: Id,
    created_at: Time,
    finished_at: Option<Time>,
    /// The job that follows on its end, once it is submitted.
    on_complete: Option<Id>,
    submitted_by: Option<&'a str>,
    #[schema(value_type = words::Durability)]
    durability: &'static str,
}

/// `POST /v1/jobs` with an array.
pub(super) async fn submit(api: &Api, request: &Request, checked: Checked, array: Array) -> Answered {
    if request.query.wait()?.is_some() {
        let detail = "`wait` is for one job; submit the array without it, then GET /v1/groups/ID?wait=30s";
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    let (id, window) = (GroupId::of(request.job_id(api)), window_of(&checked.spec));
    let record = Record::SubmitGroup(Box::new(GroupSubmit {
        id,
        spec: checked.spec,
        size: array.size,
        first: array.first,
        window,
        max_failures: array.max_failures,
        body_hash: checked.body_hash,
        submitted_by: request.caller.name.clone(),
    }));
    let (outcome, index) = jobs::commit(api, record).await?;
    let Outcome::Grouped { id: known, count, deduplicated } = outcome else {
        return Err(Problem::new(Kind::Internal, format!("an array came to {outcome:?}")));
    };
    jobs::seen(api, index).await;
    // Its own id is known already when this node had to send it again: that is no second submit.
    let deduplicated = deduplicated && known != id;
    let answer = Submitted {
        group: Id(known.as_job()),
        count,
        first_id: Id(known.member(0)),
        deduplicated,
        durability: api.backend.durability(),
    };
    let status = if deduplicated { StatusCode::OK } else { StatusCode::CREATED };
    Ok(Answer::json_as(status, &answer)?.with(LOCATION, &format!("/v1/groups/{known}")))
}

fn id_of(text: &str) -> Result<GroupId, Problem> {
    text.parse().map_err(|_| no_such_group(text))
}

fn no_such_group(text: &str) -> Problem {
    let detail = format!("there is no group `{text}`; a job's `group` names its own, and the whole id is needed");
    Problem::new(Kind::NotFound, detail)
}

/// `GET /v1/groups/{id}`, at once or when it has ended.
pub(super) async fn show(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&["wait", "consistency"])?;
    let wait = request.query.wait()?;
    let id = id_of(text)?;
    let sight = read::sight(api, request.query.local()?).await;
    let mut view = look(api, id).ok_or_else(|| sight.not_seen(no_such_group(text)))?;
    if let Some(wait) = wait.filter(|_| view.row.ended.is_none()) {
        view = await_end(api, id, wait).await.unwrap_or(view);
    }
    Ok(Answer::json(&shown(&view, api.backend.durability()))?.stale(sight.stale_ms))
}

fn look(api: &Api, id: GroupId) -> Option<GroupView> {
    api.backend.ledger().group(id)
}

async fn await_end(api: &Api, id: GroupId, wait: Duration) -> Option<GroupView> {
    let waiter = api.waiters.of(id.as_job());
    let deadline = Instant::now() + wait;
    loop {
        let seen = look(api, id);
        let is_over = seen.as_ref().is_none_or(|view| view.row.ended.is_some());
        if is_over || timeout_at(deadline, waiter.changed()).await.is_err() {
            return look(api, id);
        }
    }
}

/// `POST /v1/groups/{id}:cancel`.
pub(super) async fn cancel(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&[])?;
    let reason = json::read_optional::<CancelBody>(&request.body)?.reason()?;
    let id = id_of(text)?;
    let (outcome, index) = jobs::commit(api, Record::CancelGroup { group: id, reason }).await?;
    let status = match outcome {
        Outcome::Cancelled { now: false } => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    jobs::seen(api, index).await;
    match look(api, id) {
        Some(view) => Answer::json_as(status, &shown(&view, api.backend.durability())),
        None => Answer::json_as(status, &serde_json::json!({ "id": id.to_string() })),
    }
}

fn shown<'a>(view: &'a GroupView, durability: &'static str) -> Shown<'a> {
    let (row, spec) = (&view.row, &view.spec.spec);
    let options = spec.options();
    let completion: JobId = completion_of(row.id.as_job());
    Shown {
        id: Id(row.id.as_job()),
        name: given(&spec.name),
        kind: &spec.kind,
        queue: spec.queue.as_str(),
        state: view.state.as_str(),
        reason: row.halt.as_ref().and_then(|halt| given(&halt.wish.reason)),
        halted_at: row.halt.as_ref().map(|halt| Time(halt.wish.at)),
        total: row.count,
        counts: StateName::ALL.iter().zip(view.counts).map(|(state, count)| (state.as_str(), count)).collect(),
        ended: view.ended(),
        forgotten: view.forgotten,
        progress: view.ended() as f64 / f64::from(row.count.max(1)),
        max_failures: row.max_failures,
        first_id: Id(row.id.member(0)),
        last_id: Id(row.id.member(row.count.saturating_sub(1))),
        created_at: Time(row.created_at),
        finished_at: row.ended.map(|(at, _)| Time(at)),
        on_complete: (row.completed && options.on_complete.is_some()).then_some(Id(completion)),
        submitted_by: given(&view.spec.submitted_by),
        durability,
    }
}
