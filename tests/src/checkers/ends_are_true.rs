//! The record says of an attempt what its executor saw: no end is made up, none is another's.

use crate::history::History;
use relais_protocol::ids::{Fence, JobId};
use relais_protocol::job::AttemptOutcome::{self, *};
use std::collections::{BTreeMap, BTreeSet};

/// Attempts whose end in the record no execution had.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let mut ends: BTreeMap<(JobId, Fence), BTreeSet<AttemptOutcome>> = BTreeMap::new();
    for execution in &history.executions {
        ends.entry((execution.job, execution.fence)).or_default().extend(execution.outcome);
    }
    let mut seen = Vec::new();
    for job in &history.finals {
        for (fence, outcome) in &job.attempts {
            let Some(outcome @ (Succeeded | Failed | TimedOut)) = outcome else { continue };
            let had = ends.get(&(job.id, *fence)).is_some_and(|had| had.contains(outcome));
            if !had {
                seen.push(format!("attempt {fence} of {} is recorded as {outcome:?}, and no execution ended so", job.id));
            }
        }
    }
    seen
}
