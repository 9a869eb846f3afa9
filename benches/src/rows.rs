//! The rows of the table. Each starts what it needs, and leaves nothing behind.

mod done;
mod exec;
mod gaps;
mod growth;
mod memory;
mod store;
mod width;

use crate::Failed;
use crate::run::Run;
use std::fmt::{self, Display};
use std::str::FromStr;

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Durable submits in batches.
    W1,
    /// Durable submits, one a request.
    W1s,
    /// Submit to done, many at once.
    W2,
    /// Submit to done, one at a time.
    W3,
    /// Memory.
    W4,
    /// Processes.
    W5,
    /// Gaps when the dispatcher is hit.
    W6,
    /// Growth with what is queued.
    W7,
    /// Width: many nodes.
    W8,
}

/// All of them, in order.
pub const ALL: [Row; 9] = [Row::W1, Row::W1s, Row::W2, Row::W3, Row::W4, Row::W5, Row::W6, Row::W7, Row::W8];

impl Row {
    /// What is done in it.
    #[must_use]
    pub fn work(self) -> &'static str {
        match self {
            Self::W1 => "durable submits, batches of 1,000 over 4 connections",
            Self::W1s => "durable submits, one a request over 64 connections",
            Self::W2 => "submit to succeeded, many at once",
            Self::W3 => "submit to succeeded, one at a time",
            Self::W4 => "memory of a node, idle and with jobs queued",
            Self::W5 => "processes `true`, output captured",
            Self::W6 => "gaps when the dispatcher is killed, stopped, or hands over",
            Self::W7 => "growth with what is queued",
            Self::W8 => "three voters and many workers",
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// When it can't be done, or a promise was broken.
    pub fn run(self, run: &mut Run) -> Result<(), Failed> {
        match self {
            Self::W1 => store::batches(run),
            Self::W1s => store::singles(run),
            Self::W2 => done::many(run),
            Self::W3 => done::one_by_one(run),
            Self::W4 => memory::idle_and_full(run),
            Self::W5 => exec::processes(run),
            Self::W6 => gaps::when_hit(run),
            Self::W7 => growth::with_depth(run),
            Self::W8 => width::many_workers(run),
        }
    }
}

impl Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}

impl FromStr for Row {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = ALL.into_iter().find(|row| row.to_string().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("`{text}` is no row; there are W1, W1s and W2 to W8"))
    }
}
