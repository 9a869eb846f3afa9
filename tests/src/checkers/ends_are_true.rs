//! The record says of an attempt what its executor saw: no end is made up, none is another's. Attempts whose
//! end nobody saw say nothing.

use crate::history::History;
use relais_protocol::ids::{Fence, JobId};
use relais_protocol::job::AttemptOutcome::{self, *};
use std::collections::{BTreeMap, BTreeSet};

/// Attempts whose end in the record is not the one that was seen.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let mut ends: BTreeMap<(JobId, Fence), BTreeSet<AttemptOutcome>> = BTreeMap::new();
    for execution in &history.executions {
        if let Some(outcome) = execution.outcome {
            ends.entry((execution.job, execution.fence)).or_default().insert(outcome);
        }
    }
    let mut seen = Vec::new();
    for job in &history.finals {
        for (fence, outcome) in &job.attempts {
            let Some(outcome @ (Succeeded | Failed | TimedOut)) = outcome else { continue };
            if let Some(had) = ends.get(&(job.id, *fence)).filter(|had| !had.contains(outcome)) {
                seen.push(format!("attempt {fence} of {} is recorded as {outcome:?}, and ended as {had:?}", job.id));
            }
        }
    }
    seen
}
