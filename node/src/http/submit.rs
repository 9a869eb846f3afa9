//! `POST /v1/jobs`: one job.

use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::read::look;
use super::request::Request;
use super::spec::{self, Checked};
use super::view::{Id, JobView};
use super::{Api, groups, progress, read, trace};
use crate::http::openapi::words;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use relais_protocol::ids::{Index, JobId};
use relais_protocol::job::StateName;
use relais_protocol::record::{Committed, Outcome, Record, Submit};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// How long an answer waits for this node to have the job that was just committed.
const SEEN_MAX: Duration = Duration::from_millis(500);

/// What a submit came to.
struct Accepted {
    id: JobId,
    deduplicated: bool,
    state: StateName,
    index: Index,
}

/// A job in three words, where its row is not asked for or not at hand.
#[derive(Serialize, ToSchema)]
#[schema(as = JobBrief)]
pub(in crate::http) struct Brief {
    id: Id,
    #[schema(value_type = words::State)]
    state: &'static str,
    deduplicated: bool,
    #[schema(value_type = words::Durability)]
    durability: &'static str,
}

/// The record of a checked spec.
pub(super) fn record(id: JobId, checked: Checked, submitted_by: &str) -> Record {
    Record::Submit(Box::new(Submit {
        id,
        spec: checked.spec,
        body_hash: checked.body_hash,
        submitted_by: submitted_by.to_owned(),
    }))
}

/// Answers a submit, at once or when the job has ended.
pub(super) async fn submit(api: &Api, request: &Request) -> Answered {
    request.query.only(&["wait"])?;
    let wait = request.query.wait()?;
    let mut checked = spec::check_alone(&request.body, request.key.clone())?;
    trace::keep(&mut checked.spec, request.trace.as_ref());
    if let Some(array) = checked.array.take() {
        return groups::submit(api, request, checked, array).await;
    }
    let record = record(request.job_id(api), checked, &request.caller.name);
    let own = match &record {
        Record::Submit(submit) => Some(submit.id),
        _ => None,
    };
    let mut accepted = accepted(api.backend.propose(vec![record]).await?)?;
    // Its own id is known already when this node had to send it again: that is no second submit.
    accepted.deduplicated &= Some(accepted.id) != own;
    let answer = match wait {
        Some(wait) => ended(api, &accepted, wait).await?,
        None => present(api, &accepted, request.minimal).await?,
    };
    Ok(answer.with(LOCATION, &format!("/v1/jobs/{}", accepted.id)))
}

fn accepted(mut committed: Committed) -> Result<Accepted, Problem> {
    match committed.outcomes.each.pop() {
        Some(Outcome::Submitted { id, deduplicated, state }) => {
            Ok(Accepted { id, deduplicated, state, index: committed.index })
        }
        Some(Outcome::Refused(refusal)) => Err(refusal.into()),
        other => Err(Problem::new(Kind::Internal, format!("a submit came to {other:?}"))),
    }
}

impl Accepted {
    fn status(&self) -> StatusCode {
        if self.deduplicated { StatusCode::OK } else { StatusCode::CREATED }
    }

    fn brief(&self, api: &Api, status: StatusCode) -> Answered {
        let durability = api.backend.durability();
        let (state, deduplicated) = (self.state.as_str(), self.deduplicated);
        let brief = Brief { id: Id(self.id), state, deduplicated, durability };
        Answer::json_as(status, &brief)
    }
}

/// The job as it stands. It is committed already: that this node does not have it yet is no error.
async fn present(api: &Api, accepted: &Accepted, minimal: bool) -> Answered {
    let status = accepted.status();
    if minimal {
        return accepted.brief(api, status);
    }
    if api.backend.ledger().applied() < accepted.index {
        // Either it is there afterwards or the brief answer has to do.
        drop(tokio::time::timeout(SEEN_MAX, api.backend.has_applied(accepted.index)).await);
    }
    match look(api, accepted.id) {
        Some((job, names)) => Answer::json_as(
            status,
            &JobView::of(&job, &names, api.backend.durability()).deduplicated(accepted.deduplicated),
        ),
        None => accepted.brief(api, status),
    }
}

/// The job when it has ended; 202 when the wait is over before that.
async fn ended(api: &Api, accepted: &Accepted, wait: Duration) -> Answered {
    let waiter = api.waiters.of(accepted.id);
    match read::await_end(api, accepted.id, &waiter, wait).await {
        Some((job, names)) => {
            let status = if job.state.is_terminal() { accepted.status() } else { StatusCode::ACCEPTED };
            let said = progress::of(api, &job).await;
            let view = JobView::of(&job, &names, api.backend.durability()).progress(said);
            Answer::json_as(status, &view.deduplicated(accepted.deduplicated))
        }
        None => accepted.brief(api, StatusCode::ACCEPTED),
    }
}

/// `GET /v1/jobs/{id}`.
pub(super) async fn job(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&["wait", "consistency"])?;
    let wait = request.query.wait()?;
    let sight = read::sight(api, request.query.local()?).await;
    let (mut job, mut names) = read::find_job(api, text, sight)?;
    if let Some(wait) = wait.filter(|_| !job.state.is_terminal()) {
        let waiter = api.waiters.of(job.id);
        if let Some(later) = read::await_end(api, job.id, &waiter, wait).await {
            (job, names) = later;
        }
    }
    let said = progress::of(api, &job).await;
    Ok(Answer::json(&JobView::of(&job, &names, api.backend.durability()).progress(said))?.stale(sight.stale_ms))
}
