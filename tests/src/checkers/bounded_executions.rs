//! Executions are bounded: each attempt in the record runs at most once, nothing runs that is not in the
//! record, policies are kept, and two executions of one job overlap only if the right of the first to run
//! had ended before the second began.

use crate::history::{Execution, Final, History};
use relais_protocol::ids::{Fence, JobId};
use relais_protocol::job::AttemptOutcome;
use std::collections::{BTreeMap, BTreeSet};

/// Attempts that a row keeps at least; older ones may be missing from it.
const ATTEMPTS_KEPT: usize = 50;

/// Overlaps, repeats, executions nobody ordered, and broken policies.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let mut by_job: BTreeMap<JobId, Vec<&Execution>> = BTreeMap::new();
    for execution in &history.executions {
        by_job.entry(execution.job).or_default().push(execution);
    }
    let mut seen = Vec::new();
    for executions in by_job.values() {
        overlaps(executions, &mut seen);
    }
    for job in &history.finals {
        let executions = by_job.get(&job.id).map_or(&[][..], Vec::as_slice);
        let reopened = history.reopened.iter().filter(|(_, id)| *id == job.id).count();
        unordered(job, executions, &mut seen);
        policy(job, reopened, &mut seen);
    }
    seen
}

fn overlaps(executions: &[&Execution], seen: &mut Vec<String>) {
    let mut fences = BTreeSet::new();
    for execution in executions {
        if !fences.insert(execution.fence) {
            seen.push(format!("attempt {} of {} was executed twice", execution.fence, execution.job));
        }
    }
    for (n, first) in executions.iter().enumerate() {
        for second in &executions[n + 1..] {
            let (first, second) = if first.began <= second.began { (first, second) } else { (second, first) };
            let apart = first.ended.is_some_and(|end| end <= second.began);
            let lapsed = first.lease_over.is_some_and(|over| over <= second.began);
            if !apart && !lapsed && first.fence != second.fence {
                seen.push(format!("two executions of {} overlap: {first:?} and {second:?}", first.job));
            }
        }
    }
}

fn unordered(job: &Final, executions: &[&Execution], seen: &mut Vec<String>) {
    let known: BTreeSet<Fence> = job.attempts.iter().map(|(fence, _)| *fence).collect();
    if known.len() >= ATTEMPTS_KEPT {
        return;
    }
    for execution in executions.iter().filter(|execution| !known.contains(&execution.fence)) {
        seen.push(format!("attempt {} of {} was executed and is not in the record", execution.fence, job.id));
    }
}

fn policy(job: &Final, reopened: usize, seen: &mut Vec<String>) {
    let count = |these: &[AttemptOutcome]| {
        job.attempts.iter().filter(|(_, end)| end.is_some_and(|end| these.contains(&end))).count()
    };
    let failed = count(&[AttemptOutcome::Failed, AttemptOutcome::TimedOut]);
    if failed > usize::from(job.failures_max) * (reopened + 1) {
        seen.push(format!("{} failed {failed} times, {} are allowed", job.id, job.failures_max));
    }
    let lost = count(&[AttemptOutcome::Lost]);
    if lost > (usize::from(job.losses_max) + 1) * (reopened + 1) {
        seen.push(format!("{} was lost {lost} times, {} are allowed", job.id, job.losses_max));
    }
    let last = job.attempts.last().map(|(fence, _)| *fence);
    if let Some(fence) = job.fatal.iter().find(|fence| reopened == 0 && Some(**fence) != last) {
        seen.push(format!("{} was tried again after attempt {fence}, whose end is not to be retried", job.id));
    }
    let is_final = last.is_some_and(|fence| job.fatal.contains(&fence));
    let early = job.state == relais_protocol::job::StateName::Failed && reopened == 0 && !is_final;
    if early && failed < usize::from(job.failures_max) && lost <= usize::from(job.losses_max) {
        seen.push(format!("{} was given up after {failed} failures and {lost} losses", job.id));
    }
}
