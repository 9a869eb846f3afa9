//! Nothing acknowledged is lost: every job that an acknowledgement named is in the final record, unless it was
//! forgotten (whether it might be is another property), and one key is one job, answered or not.

use crate::history::{Final, History};
use relais_protocol::ids::JobId;
use std::collections::{BTreeMap, BTreeSet};

/// What was acknowledged and is gone; keys with two jobs; jobs that nobody submitted.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let kept: BTreeMap<JobId, &Final> = history.finals.iter().map(|job| (job.id, job)).collect();
    let forgotten = history.forgotten();
    let is_lost = |job: &JobId| !kept.contains_key(job) && !forgotten.contains_key(job);
    let mut seen = Vec::new();
    for submit in &history.submits {
        for (at, job) in submit.acked.iter().filter(|(_, job)| is_lost(job)) {
            seen.push(format!("{job} was acknowledged at {} ms and is not in the record", at.0));
        }
        let named: BTreeSet<JobId> = submit.acked.iter().map(|(_, job)| *job).collect();
        if named.len() > 1 {
            seen.push(format!("one submit was acknowledged as {named:?}"));
        }
        let was_there = |job: &&JobId| kept.contains_key(*job) || forgotten.contains_key(*job);
        let there: Vec<_> = submit.sent_as.iter().filter(was_there).collect();
        if there.len() > 1 {
            seen.push(format!("one submit became {there:?}"));
        }
    }
    let mut keys: BTreeMap<&str, JobId> = BTreeMap::new();
    for job in &history.finals {
        let key = job.key.as_deref();
        if let Some(other) = key.and_then(|key| keys.insert(key, job.id)) {
            seen.push(format!("the key {key:?} has the jobs {other} and {}", job.id));
        }
    }
    let sent: BTreeSet<JobId> = history.submits.iter().flat_map(|submit| submit.sent_as.iter().copied()).collect();
    let invented = history.finals.iter().filter(|job| !sent.contains(&job.id));
    seen.extend(invented.map(|job| format!("nobody submitted {}", job.id)));
    seen
}
