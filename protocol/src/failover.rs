//! A failover told in full: when each of its phases ended, and what became of each job that ran.

use crate::ids::{JobId, NodeId};
use crate::record::Failover;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Jobs that a tale names; beyond these they are only counted.
pub const FATES_MAX: usize = 1_000;

/// A failover in full. Its beginning, the suspicion, and the election are in [`Failover`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverTale {
    /// What is told of every failover.
    pub failover: Failover,
    /// When a majority of the voters had confirmed the suspicion; `None` where nobody had to be asked.
    pub confirmed_at: Option<UnixMs>,
    /// When every attempt that ran at the beginning of the reign was accounted for: reported by its worker, or
    /// given up. `None` while some are not.
    pub reconciled_at: Option<UnixMs>,
    /// Attempts that ran when the reign began.
    pub running: u32,
    /// Of those: their ends were reported, they never stopped.
    pub kept: u32,
    /// Of those given up: their worker still ran them, or reported their end, afterwards.
    pub duplicate: u32,
    /// What became of each, up to [`FATES_MAX`] of them.
    pub fates: Vec<JobFate>,
}

/// What became of a job that ran when a reign began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFate {
    /// The job.
    pub job: JobId,
    /// Where it ran.
    pub node: NodeId,
    /// What became of the attempt.
    pub fate: Fate,
}

/// What became of an attempt that ran when a reign began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fate {
    /// Nothing was heard of it yet.
    Open,
    /// It never stopped; its end was the first that its worker reported of it.
    Kept,
    /// Its worker reported it as running, and the new dispatcher took it on.
    Adopted,
    /// It was given up, and its job goes by its retry policy.
    Retried,
    /// It was given up, and its worker ran it, or ended it, all the same.
    Duplicate,
}

impl Fate {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Kept => "kept",
            Self::Adopted => "adopted",
            Self::Retried => "retried",
            Self::Duplicate => "duplicate",
        }
    }
}
