//! Limits hold: by the journal there never run more jobs of a queue than its limit then was, nor more jobs with a
//! concurrency key than the limit of the one that starts, and a unique key has one job at a time, or within its time.

use crate::history::{History, Shared, Step};
use relais_protocol::ids::{Index, JobId};
use relais_protocol::job::StateName;
use relais_protocol::spec::QueueName;
use std::collections::{BTreeMap, BTreeSet};

/// Starts above a limit, and second jobs under a unique key.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let shared: BTreeMap<JobId, &Shared> = history.shared.iter().map(|one| (one.job, one)).collect();
    let mut running: BTreeSet<JobId> = BTreeSet::new();
    let mut live: BTreeMap<&str, BTreeSet<JobId>> = BTreeMap::new();
    let mut seen = Vec::new();
    for step in &history.steps {
        let Some(own) = shared.get(&step.job).copied() else { continue };
        running.remove(&step.job);
        if step.state == StateName::Running {
            running.insert(step.job);
            let together: Vec<&Shared> = running.iter().filter_map(|job| shared.get(job).copied()).collect();
            let limit = limit_at(history, &own.queue, step.index);
            over_limits(own, limit, &together, step, &mut seen);
        }
        if let Some(key) = own.unique.as_deref() {
            let jobs = live.entry(key).or_default();
            jobs.remove(&step.job);
            if !step.state.is_terminal() {
                jobs.insert(step.job);
            }
            if jobs.len() > 1 {
                seen.push(format!("the unique key {key} has the jobs {jobs:?} at index {}", step.index));
            }
        }
    }
    seen.extend(within_their_time(history));
    seen
}

/// Jobs that came under a unique key which was another's for a while.
fn within_their_time(history: &History) -> Vec<String> {
    let mut last: BTreeMap<JobId, StateName> = BTreeMap::new();
    let mut seen = Vec::new();
    for step in &history.steps {
        let facts = history.facts.get(&step.job);
        let Some((facts, (key, _))) = facts.and_then(|facts| Some((facts, facts.unique_for.as_ref()?))) else {
            continue;
        };
        let is_new = last.insert(step.job, step.state).is_none();
        let holds = |other: &&JobId| {
            let given_up = matches!(last.get(*other), Some(StateName::Cancelled | StateName::Expired));
            let own = history.facts.get(*other).and_then(|other| Some((other.created_at, other.unique_for.as_ref()?)));
            own.is_some_and(|(at, (name, ms))| name == key && at.plus(*ms) > facts.created_at && !given_up)
        };
        let holder = last.keys().filter(|other| **other != step.job).find(holds);
        if let Some(holder) = holder.filter(|_| is_new) {
            seen.push(format!("{} came under the unique key {key} of {holder}, at index {}", step.job, step.index));
        }
    }
    seen
}

fn limit_at(history: &History, queue: &QueueName, index: Index) -> Option<u32> {
    let set = history.queue_limits.iter().filter(|(at, name, _)| *at <= index && name == queue);
    set.last().and_then(|(.., limit)| *limit)
}

fn over_limits(own: &Shared, limit: Option<u32>, together: &[&Shared], step: &Step, seen: &mut Vec<String>) {
    let in_queue = together.iter().filter(|other| other.queue == own.queue).count();
    if limit.is_some_and(|limit| in_queue > limit as usize) {
        seen.push(format!("{in_queue} jobs of {} run at index {}, its limit is {limit:?}", own.queue, step.index));
    }
    let Some(key) = &own.concurrency else { return };
    let with_key = together.iter().filter(|other| other.concurrency.as_ref().is_some_and(|one| one.key == key.key));
    let with_key = with_key.count();
    if with_key > key.limit as usize {
        seen.push(format!("{} starts as one of {with_key} with {key:?} at index {}", own.job, step.index));
    }
}
