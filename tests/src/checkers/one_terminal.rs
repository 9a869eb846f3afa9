//! One terminal state per job, never changed; only a committed `:retry` opens it again.

use crate::history::History;
use relais_protocol::ids::JobId;
use relais_protocol::job::StateName;
use std::collections::{BTreeMap, BTreeSet};

/// Jobs whose terminal state changed, and final states that are not the last step.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let reopened: BTreeSet<_> = history.reopened.iter().copied().collect();
    let mut last: BTreeMap<JobId, StateName> = BTreeMap::new();
    let mut seen = Vec::new();
    for step in &history.steps {
        let before = last.insert(step.job, step.state);
        if let Some(before) = before.filter(|state| state.is_terminal())
            && !reopened.contains(&(step.index, step.job))
        {
            seen.push(format!("{} was {before:?} and became {:?} at index {}", step.job, step.state, step.index));
        }
    }
    for job in &history.finals {
        if last.get(&job.id).is_some_and(|state| *state != job.state) {
            seen.push(format!("{} ends as {:?}, its last step was to {:?}", job.id, job.state, last.get(&job.id)));
        }
    }
    seen
}
