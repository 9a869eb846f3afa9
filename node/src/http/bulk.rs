//! `POST /v1/jobs:cancel` and `:retry`: what is done to all jobs that pass a filter. The filter is the query
//! of `GET /v1/jobs`, so that what was looked at first is what is changed then; `dry_run=true` only counts.
//!
//! It refuses to take no filter for all jobs: that has to be said by `all=true`.

use super::answer::{Answer, Answered};
use super::jobs::{CancelBody, FILTER_PARAMETERS, ROWS_A_HOLD, filter};
use super::problem::{Kind, Problem};
use super::read;
use super::request::Request;
use super::view::Names;
use super::{Api, json};
use relais_dispatcher::ledger::JobFilter;
use relais_protocol::ids::JobId;
use relais_protocol::job::StateName;
use relais_protocol::record::{Outcome, Record, Refusal};
use serde::Serialize;
use utoipa::ToSchema;

/// Jobs changed by one entry of the journal.
const JOBS_AN_ENTRY: usize = 1_000;

/// What is done to each job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Cancel,
    Retry,
}

impl Verb {
    /// States in which it means anything.
    fn states(self) -> Vec<StateName> {
        let fits = |state: &StateName| match self {
            Self::Cancel => !state.is_terminal(),
            Self::Retry => state.is_terminal() && *state != StateName::Succeeded,
        };
        StateName::ALL.into_iter().filter(fits).collect()
    }
}

/// What came of it.
#[derive(Serialize, Default, ToSchema)]
#[schema(as = BulkResult)]
pub(in crate::http) struct Tally {
    /// Jobs that passed the filter.
    matched: usize,
    /// Those that were cancelled, told to stop, or put in line again.
    changed: usize,
    /// Those that had moved on meanwhile, or could not run.
    refused: usize,
    dry_run: bool,
}

/// Does `verb` to all that pass the filter.
pub(super) async fn change(api: &Api, request: &Request, verb: Verb) -> Answered {
    let query = &request.query;
    let known: Vec<&str> = FILTER_PARAMETERS.iter().copied().chain(["dry_run", "all"]).collect();
    query.only(&known)?;
    let dry_run = query.switch("dry_run")?;
    let reason = match verb {
        Verb::Cancel => json::read_optional::<CancelBody>(&request.body)?.reason()?,
        Verb::Retry => json::read_optional::<super::jobs::Nothing>(&request.body).map(|_| String::new())?,
    };
    if FILTER_PARAMETERS.iter().all(|name| query.all(name).next().is_none()) && !query.switch("all")? {
        let detail = "no filter: that would be every job; give one, as for GET /v1/jobs, or all=true if it is meant";
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    if read::sight(api, false).await.stale_ms.is_some() {
        let detail = "there is no dispatcher to ask which jobs there are; nothing was changed, try again soon";
        return Err(Problem::new(Kind::NoDispatcher, detail));
    }
    let names = Names::of(&api.backend.ledger());
    let mut filter = filter(request, &names)?;
    if filter.states.is_empty() {
        filter.states = verb.states();
    }
    let ids = matching(api, &filter).await;
    let mut tally = Tally { matched: ids.len(), dry_run, ..Tally::default() };
    if !dry_run {
        for part in ids.chunks(JOBS_AN_ENTRY) {
            let records = part.iter().map(|id| record(verb, *id, &reason)).collect();
            let committed = api.backend.propose(records).await?;
            count(&committed.outcomes.each, &mut tally)?;
        }
    }
    Answer::json(&tally)
}

fn record(verb: Verb, job: JobId, reason: &str) -> Record {
    match verb {
        Verb::Cancel => Record::Cancel { job, reason: reason.to_owned() },
        Verb::Retry => Record::Retry { job },
    }
}

/// The ids of all jobs that pass, oldest first: parents are run again before those that depend on them.
async fn matching(api: &Api, filter: &JobFilter) -> Vec<JobId> {
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let (found, next) = api.backend.ledger().list(filter, before, usize::MAX, ROWS_A_HOLD);
        ids.extend(found.iter().map(|job| job.id));
        before = next;
        if before.is_none() {
            ids.reverse();
            return ids;
        }
        // Others read and write between two holds of the ledger.
        tokio::task::yield_now().await;
    }
}

fn count(outcomes: &[Outcome], tally: &mut Tally) -> Result<(), Problem> {
    for outcome in outcomes {
        match outcome {
            Outcome::Refused(stale @ (Refusal::StaleReign | Refusal::NotFounded)) => return Err(stale.clone().into()),
            Outcome::Refused(_) => tally.refused += 1,
            _ => tally.changed += 1,
        }
    }
    Ok(())
}
