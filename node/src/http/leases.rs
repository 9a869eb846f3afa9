//! `POST /v1/leases` and what is said of a lease: the API of workers in any language.
//!
//! A lease's id is its job and its fence, so any node can tell whose it is without having given it out.

use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::view::{Id, JobView, Names, Time};
use super::{Api, json};
use crate::http::openapi::words;
use actix_web::http::StatusCode;
use relais_protocol::ids::{Fence, Index, JobId};
use relais_protocol::job::{ErrorKind, JobError, StateName};
use relais_protocol::lease::{
    BeatAnswer, Granted, Lease, LeaseBeat, LeaseEnd, LeaseOutcome, PROGRESS_BYTES_MAX, RESULT_BYTES_MAX,
};
use relais_protocol::record::{Outcome, Record, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

mod ask;

pub(super) use ask::RawAsk;

/// How long an answer waits for this node to have the jobs that were just granted.
const SEEN_MAX: Duration = Duration::from_secs(2);
/// Characters of an error's type and of its message.
const TYPE_CHARS_MAX: usize = 64;
const MESSAGE_CHARS_MAX: usize = 4_096;

/// What may be said of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// I am still at it.
    Heartbeat,
    /// Done.
    Complete,
    /// It can't be done.
    Fail,
    /// Let another do it.
    Release,
}

impl Verb {
    /// Reads the last word of a path.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "heartbeat" => Some(Self::Heartbeat),
            "complete" => Some(Self::Complete),
            "fail" => Some(Self::Fail),
            "release" => Some(Self::Release),
            _ => None,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Lease)]
pub(in crate::http) struct LeaseView<'a> {
    lease_id: String,
    fence: u64,
    expires_at: Time,
    job: JobView<'a>,
}

/// `POST /v1/leases`.
pub(super) async fn lease(api: &Api, request: &Request) -> Answered {
    request.query.only(&[])?;
    let (ask, wait) = ask::check(&request.body, api.backend.random())?;
    ask::check_kinds(api, &ask).await?;
    let granted = api.backend.lease(ask, wait).await?;
    see(api, granted.index).await?;
    show(api, &granted)
}

/// Waits until this node has what was granted.
async fn see(api: &Api, index: Index) -> Result<(), Problem> {
    let deadline = Instant::now() + SEEN_MAX;
    while api.backend.ledger().applied() < index {
        let fresh = timeout_at(deadline, api.backend.fresh()).await;
        if fresh.is_err() {
            let detail = "jobs were granted, but this node does not have them yet; they come back when their lease \
                          is over; ask another node";
            return Err(Problem::new(Kind::NotReady, detail));
        }
    }
    Ok(())
}

fn show(api: &Api, granted: &Granted) -> Answered {
    let (jobs, names): (Vec<_>, Names) = {
        let ledger = api.backend.ledger();
        let seen = |lease: &Lease| ledger.job(lease.job).map(|job| (*lease, job));
        (granted.leases.iter().filter_map(seen).collect(), Names::of(&ledger))
    };
    let durability = api.backend.durability();
    let view = |(lease, job)| LeaseView {
        lease_id: id_text(lease),
        fence: lease.fence.0,
        expires_at: Time(lease.expires_at),
        job: JobView::of(job, &names, durability).unveiled(job),
    };
    Answer::json(&jobs.iter().map(|(lease, job)| view((lease, job))).collect::<Vec<_>>())
}

fn id_text(lease: &Lease) -> String {
    format!("{}.{}", lease.job, lease.fence)
}

fn parse_id(text: &str) -> Option<(JobId, Fence)> {
    let (job, fence) = text.split_once('.')?;
    let is_plain = !fence.is_empty() && fence.bytes().all(|byte| byte.is_ascii_digit());
    Some((job.parse().ok()?, Fence(fence.parse().ok().filter(|_| is_plain)?)))
}

/// `POST /v1/leases/{id}:VERB`.
pub(super) async fn say(api: &Api, request: &Request, text: &str, verb: Verb) -> Answered {
    request.query.only(&[])?;
    let Some((job, fence)) = parse_id(text) else {
        let detail = format!("`{text}` is no lease id; it is the `lease_id` that POST /v1/leases answered");
        return Err(Problem::new(Kind::NotFound, detail));
    };
    let body = &request.body;
    match verb {
        Verb::Heartbeat => beat(api, job, fence, body).await,
        Verb::Complete => end(api, job, fence, completed(body, fence)?).await,
        Verb::Fail => end(api, job, fence, failed(body, fence)?).await,
        Verb::Release => end(api, job, fence, released(body, fence)?).await,
    }
}

/// The fence may be said again in each body; one that is not the lease's is another attempt's.
fn check_fence(said: Option<u64>, fence: Fence) -> Result<(), Problem> {
    match said {
        Some(said) if said != fence.0 => Err(Problem::new(
            Kind::Conflict,
            format!("the body says fence {said}, but the lease is of fence {fence}: stop, another attempt was meant"),
        )),
        _ => Ok(()),
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Heartbeat)]
pub(in crate::http) struct RawBeat {
    #[schema(value_type = Option<Value>)]
    progress: Option<Value>,
    fence: Option<u64>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Completion)]
pub(in crate::http) struct RawComplete<'a> {
    #[schema(value_type = Option<Value>)]
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    fence: Option<u64>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Failure)]
pub(in crate::http) struct RawFail {
    #[schema(value_type = Option<RawError>)]
    error: Option<RawError>,
    retryable: Option<bool>,
    fence: Option<u64>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = FailureError)]
struct RawError {
    #[schema(pattern = "^[A-Za-z0-9_.-]{1,64}$")]
    #[serde(rename = "type")]
    kind: Option<String>,
    #[schema(max_length = 4096)]
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Release)]
pub(in crate::http) struct RawRelease {
    fence: Option<u64>,
}

/// Reads a body that may be left out; an array would be read as the fields in their order.
fn read<'a, T: Deserialize<'a> + Default>(body: &'a [u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::field("", "must be an object"));
    }
    json::read_optional(body)
}

#[derive(Serialize, ToSchema)]
#[schema(as = HeartbeatAnswer)]
pub(in crate::http) struct Beaten {
    expires_at: Time,
    cancel_requested: bool,
}

async fn beat(api: &Api, job: JobId, fence: Fence, body: &[u8]) -> Answered {
    let raw: RawBeat = read(body)?;
    check_fence(raw.fence, fence)?;
    let progress = match raw.progress {
        None => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
    };
    if progress.as_ref().is_some_and(|text| text.len() > PROGRESS_BYTES_MAX) {
        return Err(Problem::field("/progress", "is longer than 1 KiB"));
    }
    match api.backend.beat(LeaseBeat { job, fence, progress }).await? {
        BeatAnswer::Held { expires_at, cancel } => {
            Answer::json(&Beaten { expires_at: Time(expires_at), cancel_requested: cancel })
        }
        BeatAnswer::Over | BeatAnswer::Busy => Err(over(job, fence)),
    }
}

fn completed(body: &[u8], fence: Fence) -> Result<LeaseOutcome, Problem> {
    let raw: RawComplete<'_> = read(body)?;
    check_fence(raw.fence, fence)?;
    let result = raw.result.map(|result| result.get().to_owned());
    if result.as_ref().is_some_and(|text| text.len() > RESULT_BYTES_MAX) {
        return Err(Problem::field("/result", "is longer than 64 KiB; put the data elsewhere, and name that place"));
    }
    Ok(LeaseOutcome::Completed { result })
}

fn failed(body: &[u8], fence: Fence) -> Result<LeaseOutcome, Problem> {
    let raw: RawFail = read(body)?;
    check_fence(raw.fence, fence)?;
    let error = raw.error.unwrap_or_default();
    if error.kind.as_ref().is_some_and(|kind| !is_type(kind)) {
        return Err(Problem::field("/error/type", "must have 1 to 64 letters, digits, `_`, `-` or `.`"));
    }
    let message = error.message.unwrap_or_else(|| "its worker says that it failed".to_owned());
    if message.chars().count() > MESSAGE_CHARS_MAX {
        return Err(Problem::field("/error/message", "is longer than 4096 characters"));
    }
    let message = error.kind.map_or(message.clone(), |kind| format!("{kind}: {message}"));
    let kind = if raw.retryable == Some(false) { ErrorKind::WorkerFinal } else { ErrorKind::Worker };
    Ok(LeaseOutcome::Failed(JobError { kind, message }))
}

/// Whether a text can be the type of a worker's error: `non_retryable` names it, after `worker:`.
pub(super) fn is_type(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=TYPE_CHARS_MAX).contains(&text.len()) && text.chars().all(plain)
}

fn released(body: &[u8], fence: Fence) -> Result<LeaseOutcome, Problem> {
    let raw: RawRelease = read(body)?;
    check_fence(raw.fence, fence)?;
    Ok(LeaseOutcome::Released)
}

#[derive(Serialize, ToSchema)]
#[schema(as = LeaseEnded)]
pub(in crate::http) struct Ended {
    id: Id,
    fence: u64,
    #[schema(value_type = words::State)]
    state: &'static str,
}

async fn end(api: &Api, job: JobId, fence: Fence, how: LeaseOutcome) -> Answered {
    let record = Record::LeaseEnd(Box::new(LeaseEnd { job, fence, how }));
    let mut committed = api.backend.propose(vec![record]).await?;
    let state = match committed.outcomes.each.pop() {
        Some(Outcome::LeaseEnded(state)) => state,
        // The job is gone with what became of it.
        Some(Outcome::Done) => StateName::Succeeded,
        Some(Outcome::Refused(Refusal::LeaseOver | Refusal::NoSuchJob)) => return Err(over(job, fence)),
        Some(Outcome::Refused(refusal)) => return Err(refusal.into()),
        other => return Err(Problem::new(Kind::Internal, format!("the end of a lease came to {other:?}"))),
    };
    Answer::json_as(StatusCode::OK, &Ended { id: Id(job), fence: fence.0, state: state.as_str() })
}

fn over(job: JobId, fence: Fence) -> Problem {
    Problem::new(
        Kind::Conflict,
        format!(
            "the lease of job {job} under fence {fence} is over: its time ran out, it was ended, or another attempt \
             has begun; stop this work, nothing of it counts, and ask for another job"
        ),
    )
}
