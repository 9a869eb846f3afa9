//! A read that promised to be fresh shows all that anybody was told before it was asked for (linearizable
//! reads, Herlihy and Wing 1990); of a job that was forgotten it may show nothing.

use crate::history::{At, History};
use relais_protocol::ids::{Index, JobId};
use std::collections::BTreeMap;

/// Reads as of an entry before one that had been answered, and jobs acknowledged and not found.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let mut answers = history.answers.clone();
    answers.sort_unstable();
    let mut highest = Index(0);
    for (_, index) in &mut answers {
        highest = highest.max(*index);
        *index = highest;
    }
    let mut acked: BTreeMap<JobId, At> = BTreeMap::new();
    for (at, job) in history.submits.iter().flat_map(|submit| &submit.acked) {
        let first = acked.entry(*job).or_insert(*at);
        *first = (*first).min(*at);
    }
    let forgotten = history.forgotten();
    let mut seen = Vec::new();
    for read in &history.reads {
        let before = answers.partition_point(|(at, _)| *at < read.began);
        let known = before.checked_sub(1).map_or(Index(0), |last| answers[last].1);
        if read.applied < known {
            seen.push(format!(
                "node {} answered a fresh read at {} ms as of {}, and {known} had been answered before {} ms",
                read.node, read.ended.0, read.applied, read.began.0
            ));
        }
        let is_forgotten = forgotten.get(&read.job).is_some_and(|at| *at <= read.applied);
        if read.found.is_none() && !is_forgotten && acked.get(&read.job).is_some_and(|at| *at < read.began) {
            seen.push(format!("node {} did not find {}, acknowledged before {} ms", read.node, read.job, read.began.0));
        }
    }
    seen
}
