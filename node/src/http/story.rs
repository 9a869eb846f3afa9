//! `GET /v1/jobs/{id}/events` and `/result`: what happened to a job, oldest first, and what it left.
//!
//! The events are read off the job's row, which holds all that is told here: a second record of the same could
//! differ from it. Of a job with very many attempts the row keeps the newest; `forgotten_attempts` counts the rest.

use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::view::{ErrorView, Id, Names, Time, error, given};
use super::{Api, read};
use crate::http::openapi::words;
use actix_web::http::StatusCode;
use bytes::Bytes;
use relais_protocol::job::{Attempt, Job, JobState};
use relais_protocol::time::UnixMs;
use serde::Serialize;
use utoipa::ToSchema;

/// The events of one job.
#[derive(Serialize, ToSchema)]
#[schema(as = JobStory)]
pub(in crate::http) struct Story<'a> {
    id: Id,
    #[schema(value_type = words::State)]
    state: &'static str,
    events: Vec<Told<'a>>,
    forgotten_attempts: u16,
}

/// One event.
#[derive(Serialize, ToSchema)]
#[schema(as = JobEvent)]
struct Told<'a> {
    at: Time,
    event: &'static str,
    /// The state that the job came into by it, where it is known.
    #[schema(value_type = Option<words::State>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u16>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// The external worker that it is with.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<&'a str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[schema(value_type = Option<words::Outcome>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorView<'a>>,
    /// When what it waits for is due.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Time>,
}

impl<'a> Told<'a> {
    fn new(at: UnixMs, event: &'static str) -> Self {
        Self {
            at: Time(at),
            event,
            state: None,
            attempt: None,
            node: None,
            worker: None,
            epoch: None,
            outcome: None,
            reason: None,
            error: None,
            due_at: None,
        }
    }

    fn of_attempt(at: UnixMs, event: &'static str, attempt: &'a Attempt, names: &Names) -> Self {
        Self {
            attempt: Some(attempt.number),
            node: names.place(attempt.node),
            worker: attempt.outside.as_ref().map(|outside| outside.worker.as_str()),
            epoch: Some(attempt.epoch.0),
            ..Self::new(at, event)
        }
    }
}

/// All that the row tells, by time; what happened at one time in the order of a job's life.
fn events<'a>(job: &'a Job, names: &Names) -> Vec<Told<'a>> {
    let mut told = vec![Told { reason: given(&job.submitted_by), ..Told::new(job.created_at, "submitted") }];
    for attempt in &job.attempts {
        told.push(Told::of_attempt(attempt.started_at, "attempt_started", attempt, names));
        if let Some(end) = &attempt.end {
            told.push(Told {
                outcome: Some(end.outcome.as_str()),
                error: end.error.as_ref().map(error),
                ..Told::of_attempt(end.finished_at, "attempt_ended", attempt, names)
            });
        }
    }
    if let Some(wish) = &job.cancel {
        told.push(Told { reason: given(&wish.reason), ..Told::new(wish.at, "cancel_requested") });
    }
    for ending in &job.endings {
        let state = Some(ending.state.as_str());
        told.push(Told { state, error: ending.error.as_ref().map(error), ..Told::new(ending.finished_at, "ended") });
    }
    told.extend(now(job));
    told.sort_by_key(|told| told.at.0);
    told
}

/// How the job came into the state that it is in.
fn now(job: &Job) -> Option<Told<'_>> {
    let state = Some(job.state.name().as_str());
    match job.state {
        JobState::Queued => Some(Told { state, ..Told::new(job.queued_at?, "queued") }),
        JobState::Scheduled { at } => {
            Some(Told { state, due_at: Some(Time(at)), ..Told::new(job.created_at, "scheduled") })
        }
        JobState::Blocked => Some(Told { state, ..Told::new(job.created_at, "blocked") }),
        JobState::Retrying { at } => {
            let failed_at = job.attempts.last()?.end.as_ref()?.finished_at;
            Some(Told { state, due_at: Some(Time(at)), ..Told::new(failed_at, "retrying") })
        }
        // The start of its attempt tells it.
        JobState::Running { .. } => None,
        JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Expired => {
            let error = job.error.as_ref().map(error);
            Some(Told { state, error, ..Told::new(job.finished_at?, "ended") })
        }
    }
}

/// `GET /v1/jobs/{id}/events`.
pub(super) async fn list(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let (job, names) = read::find_job(api, text, sight)?;
    let first_kept = job.attempts.first().map_or(1, |attempt| attempt.number);
    let story = Story {
        id: Id(job.id),
        state: job.state.name().as_str(),
        events: events(&job, &names),
        forgotten_attempts: first_kept.saturating_sub(1),
    };
    Ok(Answer::json(&story)?.stale(sight.stale_ms))
}

/// `GET /v1/jobs/{id}/result`: the JSON that the job left, as it is.
pub(super) async fn result(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let (job, _) = read::find_job(api, text, sight)?;
    let state = job.state.name();
    let Some(result) = job.result else {
        let why = if state.is_terminal() {
            "it left none; a job writes it to the file that RELAIS_RESULT_FILE names".to_owned()
        } else {
            format!("the job is {}; ask again when it has ended", state.as_str())
        };
        return Err(Problem::new(Kind::NotFound, format!("there is no result: {why}")));
    };
    Ok(Answer::json_text(StatusCode::OK, Bytes::from(result)).stale(sight.stale_ms))
}
