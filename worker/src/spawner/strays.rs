//! Descendants that left their job's process group and lost their parent: whose are they, and when do
//! they go?
//!
//! A stray carries its job's mark in its environment, unless it cleared it. One without a mark that says
//! anything goes when every job that ran when it was first seen has ended, so that no running job loses a
//! process of its own. This file decides; it kills nothing.

use super::processes::Mark;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How many ended jobs' marks are remembered: more than can end while a stray is on its way to us.
const ENDED_MARKS_MAX: usize = 4096;

/// Whose a stray is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// This process's, by its mark.
    Token(u64),
    /// Nobody can tell: one of those with a token up to this.
    UpTo(u64),
}

/// The strays known, and the marks to judge new ones by.
#[derive(Default)]
pub(super) struct Strays {
    known: BTreeMap<i32, Owner>,
    running: HashMap<Mark, u64>,
    ended: HashMap<Mark, u64>,
    ended_order: VecDeque<Mark>,
    highest: u64,
}

impl Strays {
    /// A job's process started under `token`.
    pub(super) fn started(&mut self, token: u64, mark: Option<Mark>) {
        self.highest = self.highest.max(token);
        if let Some(mark) = mark {
            self.running.insert(mark, token);
        }
    }

    /// A job's process ended.
    pub(super) fn ended(&mut self, token: u64, mark: Option<Mark>) {
        let Some(mark) = mark else { return };
        if self.running.get(&mark) == Some(&token) {
            self.running.remove(&mark);
        }
        if self.ended.insert(mark.clone(), token).is_none() {
            self.ended_order.push_back(mark);
        }
        if self.ended_order.len() > ENDED_MARKS_MAX
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    /// Whether `pid` has been judged already.
    pub(super) fn knows(&self, pid: i32) -> bool {
        self.known.contains_key(&pid)
    }

    /// Takes in a child that no job was started as, with the mark it carries.
    pub(super) fn adopt(&mut self, pid: i32, mark: Option<&Mark>) {
        let token = mark.and_then(|mark| self.running.get(mark).or_else(|| self.ended.get(mark)));
        self.known.insert(pid, token.map_or(Owner::UpTo(self.highest), |token| Owner::Token(*token)));
    }

    /// A stray ended.
    pub(super) fn forget(&mut self, pid: i32) {
        self.known.remove(&pid);
    }

    /// Whether a stray is known to belong to `token`.
    pub(super) fn has_of(&self, token: u64) -> bool {
        self.known.values().any(|owner| *owner == Owner::Token(token))
    }

    /// The strays whose time is over, given which tokens run and the lowest of them.
    pub(super) fn due(&self, runs: impl Fn(u64) -> bool, lowest_running: Option<u64>) -> Vec<i32> {
        let is_due = |owner: &Owner| match owner {
            Owner::Token(token) => !runs(*token),
            Owner::UpTo(token) => lowest_running.is_none_or(|lowest| lowest > *token),
        };
        self.known.iter().filter(|(_, owner)| is_due(owner)).map(|(pid, _)| *pid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(job: &str) -> Mark {
        Mark::of([("RELAIS_JOB_ID", job), ("RELAIS_FENCE", "65537")].into_iter()).unwrap()
    }

    #[test]
    fn a_marked_stray_goes_with_its_job() {
        let mut strays = Strays::default();
        strays.started(1, Some(mark("a")));
        strays.started(2, Some(mark("b")));
        strays.adopt(100, Some(&mark("a")));
        assert_eq!(strays.due(|t| t <= 2, Some(1)), [0; 0]);
        strays.ended(1, Some(mark("a")));
        assert_eq!(strays.due(|t| t == 2, Some(2)), [100]);
        assert!(strays.has_of(1));
        strays.adopt(101, Some(&mark("a")));
        assert_eq!(strays.due(|t| t == 2, Some(2)), [100, 101]);
        strays.forget(100);
        strays.forget(101);
        assert!(!strays.has_of(1));
    }

    #[test]
    fn an_unmarked_stray_goes_after_all_it_may_belong_to() {
        let mut strays = Strays::default();
        strays.started(1, Some(mark("a")));
        strays.started(2, Some(mark("b")));
        strays.adopt(100, None);
        strays.started(3, Some(mark("c")));
        assert!(strays.due(|t| t != 1, Some(2)).is_empty());
        assert_eq!(strays.due(|t| t == 3, Some(3)), [100]);
        assert_eq!(strays.due(|_| false, None), [100]);
    }

    #[test]
    fn ended_marks_are_bounded() {
        let mut strays = Strays::default();
        for n in 0..10_000u64 {
            strays.started(n, Some(mark(&n.to_string())));
            strays.ended(n, Some(mark(&n.to_string())));
        }
        assert_eq!(strays.ended.len(), ENDED_MARKS_MAX);
        assert_eq!(strays.ended_order.len(), ENDED_MARKS_MAX);
        assert!(strays.running.is_empty());
    }
}
