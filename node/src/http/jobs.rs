//! Jobs in the plural, and what is done to one: list, count, cancel, retry, delete.

use super::answer::{Answer, Answered};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::view::{JobView, Names};
use super::{Api, json, progress, read};
use actix_web::http::StatusCode;
use bytes::Bytes;
use relais_dispatcher::ledger::JobFilter;
use relais_protocol::ids::{Index, JobId};
use relais_protocol::job::{Job, StateName};
use relais_protocol::record::{Outcome, Record};
use relais_protocol::spec::QueueName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// The parameters that say which jobs.
pub(super) const FILTER_PARAMETERS: [&str; 8] = ["state", "queue", "label", "name", "node", "since", "until", "group"];
/// Rows looked at under one hold of the ledger: applying waits meanwhile.
pub(super) const ROWS_A_HOLD: usize = 2_000;
/// Holds for one page; a page that ends here is short, and its cursor goes on.
const HOLDS_MAX: usize = 25;
/// Characters of a cancel's reason.
const REASON_CHARS_MAX: usize = 500;
/// How long an answer waits for this node to have what was just committed.
const SEEN_MAX: Duration = Duration::from_millis(500);

#[derive(Serialize, ToSchema)]
#[schema(as = JobPage)]
pub(in crate::http) struct Page<'a> {
    jobs: Vec<JobView<'a>>,
    next_cursor: Option<String>,
}

/// `GET /v1/jobs`.
pub(super) async fn list(api: &Api, request: &Request) -> Answered {
    let query = &request.query;
    let known: Vec<&str> = FILTER_PARAMETERS.iter().copied().chain(["cursor", "limit", "consistency"]).collect();
    query.only(&known)?;
    let limit = query.number("limit", 1, 500)?.unwrap_or(50) as usize;
    let mut before = query.one("cursor")?.map(read_cursor).transpose()?;
    let sight = read::sight(api, query.local()?).await;
    let names = Names::of(&api.backend.ledger());
    let filter = filter(request, &names)?;
    let mut jobs: Vec<Job> = Vec::new();
    // The count says it without a look at each job.
    let nowhere = is_in_no_job(&api.backend.ledger().counts(), &filter);
    before = before.filter(|_| !nowhere);
    for _ in 0..if nowhere { 0 } else { HOLDS_MAX } {
        let (found, next) = api.backend.ledger().list(&filter, before, limit - jobs.len(), ROWS_A_HOLD);
        jobs.extend(found);
        before = next;
        if before.is_none() || jobs.len() == limit {
            break;
        }
    }
    let durability = api.backend.durability();
    let mut said = progress::of_all(api, &jobs).await;
    let shown = |job| JobView::of(job, &names, durability);
    let page = Page {
        jobs: jobs.iter().map(|job| shown(job).progress(said.remove(&job.id))).collect(),
        next_cursor: before.map(cursor),
    };
    Ok(Answer::json(&page)?.stale(sight.stale_ms))
}

/// Whether no job is in any of the states that are asked for.
fn is_in_no_job(counts: &[u64; StateName::ALL.len()], filter: &JobFilter) -> bool {
    let mut all = StateName::ALL.iter().zip(counts);
    !filter.states.is_empty() && all.all(|(state, count)| *count == 0 || !filter.states.contains(state))
}

fn cursor(before: JobId) -> String {
    format!("c{:032x}", before.0)
}

fn read_cursor(text: &str) -> Result<JobId, Problem> {
    let digits = text.strip_prefix('c').filter(|digits| digits.len() == 32);
    digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()).map(JobId).ok_or_else(|| {
        Problem::new(Kind::InvalidRequest, "`cursor` is none; give the `next_cursor` of the page before, as it is")
    })
}

pub(super) fn filter(request: &Request, names: &Names) -> Result<JobFilter, Problem> {
    let wrong = |detail: String| Problem::new(Kind::InvalidRequest, detail);
    let query = &request.query;
    let mut filter = JobFilter { since: query.time("since")?, until: query.time("until")?, ..JobFilter::default() };
    for state in query.all("state").flat_map(|states| states.split(',')) {
        let known = StateName::parse(state).ok_or_else(|| {
            let states: Vec<&str> = StateName::ALL.iter().map(|state| state.as_str()).collect();
            wrong(format!("`state` is `{state}`, but must be one of {}", states.join(", ")))
        })?;
        filter.states.push(known);
    }
    if let Some(queue) = query.one("queue")? {
        let queue = QueueName::parse(queue).map_err(|why| wrong(format!("`queue`: {why}")))?;
        filter.queue = Some(queue.as_str().to_owned());
    }
    for label in query.all("label") {
        let (key, value) =
            label.split_once(':').ok_or_else(|| wrong(format!("`label` is `{label}`, but must be KEY:VALUE")))?;
        filter.labels.push((key.to_owned(), value.to_owned()));
    }
    filter.name = query.one("name")?.map(str::to_owned);
    if let Some(group) = query.one("group")? {
        let group = group.parse().map_err(|_| wrong(format!("`group` is `{group}`, which is no id of a group")))?;
        filter.group = Some(group);
    }
    if let Some(name) = query.one("node")? {
        let node = names.id(name);
        filter.node =
            Some(node.ok_or_else(|| wrong(format!("`node`: there is no node `{name}`; GET /v1/nodes lists them")))?);
    }
    Ok(filter)
}

#[derive(Serialize, ToSchema)]
#[schema(as = JobCounts)]
pub(in crate::http) struct Counts {
    total: u64,
    groups: BTreeMap<String, u64>,
}

/// `GET /v1/jobs:count`.
pub(super) async fn count(api: &Api, request: &Request) -> Answered {
    request.query.only(&["group_by", "consistency"])?;
    let by_queue = match request.query.one("group_by")? {
        None | Some("state") => false,
        Some("queue") => true,
        Some(other) => {
            let detail = format!("`group_by` is `{other}`, but must be state or queue");
            return Err(Problem::new(Kind::InvalidRequest, detail));
        }
    };
    let sight = read::sight(api, request.query.local()?).await;
    let ledger = api.backend.ledger();
    let groups: BTreeMap<String, u64> = if by_queue {
        ledger.queues().map(|queue| (queue.name, queue.counts.iter().sum())).collect()
    } else {
        let counts = ledger.counts();
        StateName::ALL.iter().zip(counts).map(|(state, count)| (state.as_str().to_owned(), count)).collect()
    };
    drop(ledger);
    Ok(Answer::json(&Counts { total: groups.values().sum(), groups })?.stale(sight.stale_ms))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::http) struct CancelBody {
    #[schema(max_length = 500)]
    reason: Option<String>,
}

impl CancelBody {
    /// The reason, if it is not too long.
    pub(super) fn reason(self) -> Result<String, Problem> {
        let reason = self.reason.unwrap_or_default();
        if reason.chars().count() > REASON_CHARS_MAX {
            return Err(Problem::field("/reason", "is longer than 500 characters"));
        }
        Ok(reason)
    }
}

/// `POST /v1/jobs/{id}:cancel`.
pub(super) async fn cancel(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&[])?;
    let reason = json::read_optional::<CancelBody>(&request.body)?.reason()?;
    let id = resolve(api, text).await?;
    let (outcome, index) = commit(api, Record::Cancel { job: id, reason }).await?;
    let status = match outcome {
        Outcome::Cancelled { now: false } => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    after(api, id, index, status).await
}

/// `POST /v1/jobs/{id}:retry`.
pub(super) async fn retry(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&[])?;
    json::read_optional::<Nothing>(&request.body)?;
    let id = resolve(api, text).await?;
    let (_, index) = commit(api, Record::Retry { job: id }).await?;
    after(api, id, index, StatusCode::OK).await
}

/// A body that says nothing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an empty object")]
pub(in crate::http) struct Nothing {}

/// `DELETE /v1/jobs/{id}`.
pub(super) async fn delete(api: &Api, request: &Request, text: &str) -> Answered {
    request.query.only(&[])?;
    let id = resolve(api, text).await?;
    commit(api, Record::Delete { job: id }).await?;
    Ok(Answer::json_text(StatusCode::NO_CONTENT, Bytes::new()))
}

/// The id that `text` stands for. A whole id needs no look: the ledger says when there is no such job.
async fn resolve(api: &Api, text: &str) -> Result<JobId, Problem> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let sight = read::sight(api, false).await;
    read::find_job(api, text, sight).map(|(job, _)| job.id)
}

/// Commits one record; a refusal is a problem.
pub(super) async fn commit(api: &Api, record: Record) -> Result<(Outcome, Index), Problem> {
    let mut committed = api.backend.propose(vec![record]).await?;
    match committed.outcomes.each.pop() {
        Some(Outcome::Refused(refusal)) => Err(refusal.into()),
        Some(outcome) => Ok((outcome, committed.index)),
        None => Err(Problem::new(Kind::Internal, "a record came to no outcome")),
    }
}

/// Waits a little until this node has applied `index`, so that it can show what was just committed.
pub(super) async fn seen(api: &Api, index: Index) {
    if api.backend.ledger().applied() < index {
        drop(tokio::time::timeout(SEEN_MAX, api.backend.fresh()).await);
    }
}

pub(super) async fn after(api: &Api, id: JobId, index: Index, status: StatusCode) -> Answered {
    seen(api, index).await;
    match read::look(api, id) {
        Some((job, names)) => Answer::json_as(status, &JobView::of(&job, &names, api.backend.durability())),
        None => Answer::json_as(status, &serde_json::json!({ "id": id.to_string() })),
    }
}
