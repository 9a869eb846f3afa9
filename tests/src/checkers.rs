//! The checkers: each file is one safety property, a pure function from a [`History`] to its violations.

pub mod acked_is_kept;
pub mod bounded_executions;
pub mod each_node_once;
pub mod ends_are_true;
pub mod forgets_by_rule;
pub mod job_history;
pub mod limits_hold;
pub mod one_dispatcher;
pub mod one_terminal;
pub mod progress;
pub mod queues_hold;
pub mod reads_are_fresh;
pub mod replicas_agree;
pub mod room_holds;
pub mod sticky;

use crate::history::History;
use std::fmt;

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which property.
    pub property: &'static str,
    /// What was seen instead, in words.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.seen)
    }
}

/// What breaks one property, in words.
type Check = fn(&History) -> Vec<String>;

/// Every property, every violation.
#[must_use]
pub fn check_all(history: &History) -> Vec<Violation> {
    let all: [(&'static str, Check); 15] = [
        ("acked-is-kept", acked_is_kept::check),
        ("one-terminal", one_terminal::check),
        ("job-history", job_history::check),
        ("bounded-executions", bounded_executions::check),
        ("limits-hold", limits_hold::check),
        ("queues-hold", queues_hold::check),
        ("room-holds", room_holds::check),
        ("each-node-once", each_node_once::check),
        ("forgets-by-rule", forgets_by_rule::check),
        ("ends-are-true", ends_are_true::check),
        ("reads-are-fresh", reads_are_fresh::check),
        ("one-dispatcher-per-epoch", one_dispatcher::check),
        ("replicas-agree", replicas_agree::check),
        ("sticky", sticky::check),
        ("progress", progress::check),
    ];
    let violations = |(property, check): (&'static str, Check)| {
        check(history).into_iter().map(move |seen| Violation { property, seen })
    };
    all.into_iter().flat_map(violations).collect()
}

#[cfg(test)]
mod tests;
