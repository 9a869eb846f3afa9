//! `GET /v1/jobs/{id}/explain`: why a job is where it is, in words.

use super::answer::{Answer, Answered};
use super::request::Request;
use super::view::{Id, Names, Time};
use super::{Api, read};
use crate::http::openapi::words;
use relais_protocol::ids::NodeId;
use relais_protocol::job::{Attempt, Job, JobState};
use serde::Serialize;
use utoipa::ToSchema;

/// Jobs named where there may be many.
const SHOWN_MAX: usize = 5;

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Explanation {
    id: Id,
    #[schema(value_type = words::State)]
    state: &'static str,
    why: String,
    due_at: Option<Time>,
    attempts: usize,
    failures: u16,
    losses: u16,
}

/// `GET /v1/jobs/{id}/explain`.
pub(super) async fn explain(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let (job, names) = read::find_job(api, text, sight)?;
    let explanation = Explanation {
        id: Id(job.id),
        state: job.state.name().as_str(),
        why: why(api, &job, &names),
        due_at: match job.state {
            JobState::Scheduled { at } | JobState::Retrying { at } => Some(Time(at)),
            _ => None,
        },
        attempts: job.attempts.len(),
        failures: job.failures,
        losses: job.losses,
    };
    Ok(Answer::json(&explanation)?.stale(sight.stale_ms))
}

fn why(api: &Api, job: &Job, names: &Names) -> String {
    match job.state {
        JobState::Scheduled { at } => format!("it may not start before {at}"),
        JobState::Queued => api.backend.ledger().why_it_waits(job),
        JobState::Running { node: NodeId::OUTSIDE, .. } => {
            let outside = job.attempts.last().and_then(|last| last.outside.as_ref());
            let told =
                if job.cancel.is_some() { ", which is told to stop it when it next says that it is at it" } else { "" };
            format!("the external worker `{}` runs it{told}", outside.map_or("", |outside| &outside.worker))
        }
        JobState::Running { node, .. } if job.cancel.is_some() => {
            format!("it runs on {}, which was told to stop it and has not confirmed that yet", names.name(node))
        }
        JobState::Running { node, .. } => format!("it runs on {}", names.name(node)),
        JobState::Retrying { at } => format!("{}; {}; the next is due at {at}", last_end(job, names), counts(job)),
        JobState::Succeeded => match job.attempts.last() {
            Some(last) => format!("{} ended well", named(last, names)),
            None => "it ended well".to_owned(),
        },
        JobState::Failed => how_it_failed(job, names),
        JobState::Cancelled => how_it_was_cancelled(job),
        JobState::Expired => message(job).unwrap_or("it was not started in time").to_owned(),
        JobState::Blocked => {
            let (open, all) = api.backend.ledger().waits_for(job, SHOWN_MAX);
            let ids: Vec<String> = open.iter().map(ToString::to_string).collect();
            let more = if all > open.len() { " and others" } else { "" };
            format!("it waits for {all} jobs that it depends on to end: {}{more}", ids.join(", "))
        }
    }
}

fn message(job: &Job) -> Option<&str> {
    job.error.as_ref().map(|error| error.message.as_str())
}

/// `attempt 2 on n1`.
fn named(attempt: &Attempt, names: &Names) -> String {
    match &attempt.outside {
        Some(outside) => format!("attempt {} by the external worker `{}`", attempt.number, outside.worker),
        None => format!("attempt {} on {}", attempt.number, names.name(attempt.node)),
    }
}

/// What became of the last attempt: `exit code 7 in attempt 2 on n1`.
fn last_end(job: &Job, names: &Names) -> String {
    let Some(last) = job.attempts.last() else { return "it was never started".to_owned() };
    let error = last.end.as_ref().and_then(|end| end.error.as_ref());
    format!("{} in {}", error.map_or("it failed", |error| &error.message), named(last, names))
}

fn counts(job: &Job) -> String {
    let lost = if job.losses > 0 { format!(" and {} were lost", job.losses) } else { String::new() };
    format!("{} of {} attempts failed{lost}", job.failures, job.spec.options().retry.max_attempts)
}

fn how_it_failed(job: &Job, names: &Names) -> String {
    let again = format!("POST /v1/jobs/{}:retry runs it again", job.id);
    let policy = &job.spec.options().retry;
    if job.ended_by.is_none() {
        // Not one attempt's end, but that too many were lost.
        let last =
            job.attempts.last().map_or_else(String::new, |last| format!("; the last was {}", named(last, names)));
        return format!("{}{last}; {again}", message(job).unwrap_or("it failed"));
    }
    let is_final = job.failures < policy.max_attempts;
    let is_final = if is_final { ", and `non_retryable` names that end" } else { "" };
    format!("{}; {}{is_final}; {again}", last_end(job, names), counts(job))
}

fn how_it_was_cancelled(job: &Job) -> String {
    if let Some(other) = job.replaced_by {
        return format!("job {other} took its unique key");
    }
    match &job.cancel {
        Some(wish) if wish.reason.is_empty() => format!("that was wished at {}", wish.at),
        Some(wish) => format!("that was wished at {}: {}", wish.at, wish.reason),
        None => message(job).unwrap_or("it was cancelled").to_owned(),
    }
}
