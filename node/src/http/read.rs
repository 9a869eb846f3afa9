//! Reading the ledger: as fresh as was asked for, or as fresh as can be had.

use super::Api;
use super::problem::{Kind, Problem};
use super::view::Names;
use super::waiters::Waiter;
use relais_protocol::ids::JobId;
use relais_protocol::job::Job;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a read waits to be made fresh.
const FRESH_MAX: Duration = Duration::from_secs(3);
/// Hex digits that the beginning of an id needs.
const PREFIX_DIGITS_MIN: usize = 4;
/// Jobs named when a beginning fits several.
const CANDIDATES_MAX: usize = 5;

/// How far what is read can be trusted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// Set when it may be old: by how many ms at most, as far as is known.
    pub(super) stale_ms: Option<u64>,
    /// Whether a fresh read was wanted and could not be had: what is not seen may be there.
    dim: bool,
}

/// Makes this node's ledger fresh, unless `local` will do.
pub(super) async fn sight(api: &Api, local: bool) -> Sight {
    if !local && matches!(timeout(FRESH_MAX, api.backend.fresh()).await, Ok(Ok(()))) {
        return Sight { stale_ms: None, dim: false };
    }
    Sight { stale_ms: Some(api.backend.standpoint().staleness_ms), dim: !local }
}

impl Sight {
    /// `problem`, unless what was not seen may be there all the same.
    pub(super) fn not_seen(self, problem: Problem) -> Problem {
        if !self.dim {
            return problem;
        }
        Problem::new(
            Kind::NoDispatcher,
            "this node does not know it, and there is no dispatcher to ask whether that is all; try again soon",
        )
    }
}

/// The job that `text` names: its id, or a beginning of it that fits no other.
pub(super) fn find_job(api: &Api, text: &str, sight: Sight) -> Result<(Job, Names), Problem> {
    let ledger = api.backend.ledger();
    let job = match text.parse::<JobId>() {
        Ok(id) => ledger.job(id),
        Err(_) => {
            let digits = text.chars().filter(|c| *c != '-').count();
            let range = JobId::prefix_range(text).filter(|_| digits >= PREFIX_DIGITS_MIN);
            let Some((low, high)) = range else {
                let detail = format!("`{text}` is no job id, nor the first 4 or more hex digits of one");
                return Err(Problem::new(Kind::NotFound, detail));
            };
            let mut found = ledger.jobs_between(low, high, CANDIDATES_MAX + 1);
            if found.len() > 1 {
                return Err(ambiguous(text, &found));
            }
            found.pop()
        }
    };
    let job = job.ok_or_else(|| sight.not_seen(Problem::no_such_job(text)))?;
    Ok((job, Names::of(&ledger)))
}

fn ambiguous(text: &str, found: &[Job]) -> Problem {
    let more = if found.len() > CANDIDATES_MAX { ", and more" } else { "" };
    let ids: Vec<String> = found.iter().take(CANDIDATES_MAX).map(|job| job.id.to_string()).collect();
    let detail = format!("`{text}` is the beginning of {} jobs{more}; give more digits", ids.len());
    Problem::new(Kind::Conflict, detail).candidates(ids)
}

/// Waits until the job has ended, `wait` at most; the job as it is then, `None` if it is not known here.
pub(super) async fn await_end(api: &Api, id: JobId, waiter: &Waiter, wait: Duration) -> Option<(Job, Names)> {
    let deadline = Instant::now() + wait;
    loop {
        let seen = look(api, id);
        if seen.as_ref().is_some_and(|(job, _)| job.state.is_terminal()) {
            return seen;
        }
        if timeout_at(deadline, waiter.changed()).await.is_err() {
            return look(api, id);
        }
    }
}

/// The job as this node knows it now.
pub(super) fn look(api: &Api, id: JobId) -> Option<(Job, Names)> {
    let ledger = api.backend.ledger();
    Some((ledger.job(id)?, Names::of(&ledger)))
}
