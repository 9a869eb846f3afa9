//! Each job's history is a legal walk of the job state machine.
//!
//! A job that waits in line may end without running again: by the late report of an attempt that was
//! given up. A job that waits for a retry may not: its attempt has ended already, and an end counts once.

use crate::history::History;
use relais_protocol::ids::JobId;
use relais_protocol::job::StateName::{self, *};
use std::collections::BTreeMap;

/// Steps that the state machine does not have.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let mut last: BTreeMap<JobId, StateName> = BTreeMap::new();
    let mut seen = Vec::new();
    for step in &history.steps {
        let before = last.insert(step.job, step.state);
        if !is_legal(before, step.state) {
            seen.push(format!("{} went from {before:?} to {:?} at index {}", step.job, step.state, step.index));
        }
    }
    seen
}

/// Whether a job may go from the one state to the other; it begins from none.
#[must_use]
pub fn is_legal(from: Option<StateName>, to: StateName) -> bool {
    let Some(from) = from else { return matches!(to, Blocked | Scheduled | Queued) };
    match from {
        Blocked => matches!(to, Scheduled | Queued | Cancelled | Expired),
        Scheduled => matches!(to, Queued | Cancelled | Expired),
        Queued => to != Scheduled && to != Blocked,
        Running => matches!(to, Queued | Retrying | Succeeded | Failed | Cancelled),
        Retrying => matches!(to, Queued | Cancelled | Expired),
        // Whether it may be opened at all is another property.
        Failed | Cancelled | Expired => matches!(to, Queued | Blocked),
        Succeeded => false,
    }
}
