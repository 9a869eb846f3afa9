//! Schedules: set, shown, fired by hand, paused and removed. Whether a cron text means something, and when that
//! is, is asked of the dispatcher's crate; that a slot is fired once is the ledger's affair.

pub(super) mod body;
pub(super) mod view;

use super::answer::{Answer, Answered};
use super::jobs::{after, commit, seen};
use super::problem::Problem;
use super::request::Request;
use super::{Api, json, read};
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use bytes::Bytes;
use relais_protocol::record::{Outcome, Record};
use relais_protocol::schedule::ScheduleName;
use serde::Deserialize;
use view::{FiringsView, ScheduleView, Schedules};

/// A body that has nothing to say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Nothing {}

/// A name that no schedule can have is one that there is none of.
fn name_of(text: &str) -> Result<ScheduleName, Problem> {
    ScheduleName::parse(text).map_err(|_| Problem::no_such_schedule(text))
}

/// `GET /v1/schedules`.
pub(super) async fn list(api: &Api, request: &Request) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let now = api.backend.now();
    // Copied, since when each is due next takes longer than the ledger should be held.
    let rows: Vec<_> = api.backend.ledger().schedules().map(|(row, log)| (row.clone(), log.clone())).collect();
    let schedules = rows.iter().map(|(row, log)| ScheduleView::of(row, log, now)).collect();
    Ok(Answer::json(&Schedules { schedules })?.stale(sight.stale_ms))
}

/// `GET /v1/schedules/{name}`.
pub(super) async fn one(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let found = name_of(name).map(|name| shown(api, &name, StatusCode::OK));
    let answer = found?.ok_or_else(|| sight.not_seen(Problem::no_such_schedule(name)))?;
    Ok(answer?.stale(sight.stale_ms))
}

/// `GET /v1/schedules/{name}/firings`.
pub(super) async fn firings(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let found = api.backend.ledger().schedule(&name_of(name)?).map(|(_, log)| log.clone());
    let log = found.ok_or_else(|| sight.not_seen(Problem::no_such_schedule(name)))?;
    Ok(Answer::json(&FiringsView::of(&log))?.stale(sight.stale_ms))
}

/// `PUT /v1/schedules/{name}`: 201 when it is new, as far as is known here.
pub(super) async fn set(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&[])?;
    let set = body::check(&request.body, name, api.backend.now())?;
    let name = set.schedule.name.clone();
    let is_known = api.backend.ledger().schedule(&name).is_some();
    let committed = commit(api, Record::ScheduleSet(Box::new(set))).await;
    let (_, index) = committed.map_err(|problem| problem.under("/job"))?;
    seen(api, index).await;
    let status = if is_known { StatusCode::OK } else { StatusCode::CREATED };
    answered(api, &name, status).map(|answer| answer.with(LOCATION, &format!("/v1/schedules/{name}")))
}

/// `DELETE /v1/schedules/{name}`. Its jobs stay.
pub(super) async fn remove(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&[])?;
    let (_, index) = commit(api, Record::ScheduleRemoved(name_of(name)?)).await?;
    seen(api, index).await;
    Ok(Answer::json_text(StatusCode::NO_CONTENT, Bytes::new()))
}

/// `POST /v1/schedules/{name}:pause` and `:resume`.
pub(super) async fn pause(api: &Api, request: &Request, name: &str, on: bool) -> Answered {
    request.query.only(&[])?;
    let _: Nothing = json::read_optional(&request.body)?;
    let name = name_of(name)?;
    let (_, index) = commit(api, Record::SchedulePaused { name: name.clone(), on }).await?;
    seen(api, index).await;
    answered(api, &name, StatusCode::OK)
}

/// `POST /v1/schedules/{name}:trigger`: answers as a submit does, with the job.
pub(super) async fn trigger(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&[])?;
    let _: Nothing = json::read_optional(&request.body)?;
    let (name, job) = (name_of(name)?, api.backend.new_job_id());
    let by = request.caller.name.clone();
    let (outcome, index) = commit(api, Record::ScheduleTriggered { name, job, by }).await?;
    let id = if let Outcome::Submitted { id, .. } = outcome { id } else { job };
    Ok(after(api, id, index, StatusCode::CREATED).await?.with(LOCATION, &format!("/v1/jobs/{id}")))
}

/// The schedule as this node knows it.
fn shown(api: &Api, name: &ScheduleName, status: StatusCode) -> Option<Answered> {
    let found = api.backend.ledger().schedule(name).map(|(row, log)| (row.clone(), log.clone()));
    let (row, log) = found?;
    Some(Answer::json_as(status, &ScheduleView::of(&row, &log, api.backend.now())))
}

/// What was just committed; in brief where this node does not have it yet.
fn answered(api: &Api, name: &ScheduleName, status: StatusCode) -> Answered {
    let brief = || Answer::json_as(status, &serde_json::json!({ "name": name.as_str() }));
    shown(api, name, status).unwrap_or_else(brief)
}
