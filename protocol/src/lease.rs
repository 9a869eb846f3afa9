//! Leases of external workers: programs in any language that ask for jobs over HTTP, and are no nodes.
//!
//! ```text
//!   ask ──► Record::Lease ──► an attempt that runs outside ──► Record::LeaseEnd ──► the job's next state
//!                                  └ beats renew its lease, in the dispatcher's memory only
//! ```
//!
//! What is granted and how it ended are records; when a lease is over is not: a dispatcher counts it on its own
//! monotonic clock, and a new one grants each lease anew, in full.

use crate::ids::{Fence, Index, JobId};
use crate::job::JobError;
use crate::spec::{Labels, QueueName, Requires};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// The kind of jobs that no node runs.
pub const EXTERNAL: &str = "external";
/// Jobs that one ask may be granted.
pub const GRANT_MAX: u16 = 100;
/// The shortest lease, in ms.
pub const LEASE_MS_MIN: u64 = 3_000;
/// A lease where none is asked for, in ms.
pub const LEASE_MS: u64 = 30_000;
/// The longest lease, in ms.
pub const LEASE_MS_MAX: u64 = 3_600_000;
/// Bytes that a result may have, as JSON text.
pub const RESULT_BYTES_MAX: usize = 64 << 10;
/// Bytes that a progress may have.
pub const PROGRESS_BYTES_MAX: usize = 1 << 10;

/// An ask, named by the node that received it: told again, it is the same ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AskId(pub u128);

/// A worker asks for jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAsk {
    /// Its id.
    pub id: AskId,
    /// Who asks: a name for people.
    pub worker: String,
    /// Only of these queues; of all, when it names none.
    pub queues: Vec<QueueName>,
    /// Only of these kinds.
    pub kinds: Vec<String>,
    /// What the worker bears: a job that requires other labels is not for it.
    pub labels: Labels,
    /// So many jobs at most.
    pub max: u16,
    /// How long each lease is, in ms.
    pub lease_ms: u64,
}

impl LeaseAsk {
    /// Whether it takes jobs that ask this of who runs them. Slots are a matter of nodes.
    #[must_use]
    pub fn takes(&self, requires: &Requires) -> bool {
        requires.kind.as_ref().is_some_and(|kind| self.kinds.contains(kind))
            && requires.labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// An ask, and how it is to be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseWish {
    /// The ask.
    pub ask: LeaseAsk,
    /// How long it may wait for the first job, in ms.
    pub wait_ms: u64,
    /// Whether it was sent before, and may have been granted.
    pub again: bool,
}

/// Whose an attempt is that runs outside of the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// The worker's name.
    pub worker: String,
    /// What it was granted to.
    pub ask: AskId,
    /// How long each beat renews it, in ms.
    pub lease_ms: u64,
}

/// An attempt that runs outside is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseEnd {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub fence: Fence,
    /// How it ended.
    pub how: LeaseOutcome,
}

/// How an attempt that ran outside ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseOutcome {
    /// It did what it should.
    Completed {
        /// JSON text.
        result: Option<String>,
    },
    /// It did not.
    Failed(JobError),
    /// Its worker gives it back: it counts as no attempt.
    Released,
    /// Nobody renewed its lease.
    Over,
}

/// A worker is still at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseBeat {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub fence: Fence,
    /// How far it is, if it says so.
    pub progress: Option<String>,
}

/// What a beat is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BeatAnswer {
    /// The lease goes on.
    Held {
        /// Until then, by the dispatcher's wall clock.
        expires_at: UnixMs,
        /// Whether the job is to be cancelled.
        cancel: bool,
    },
    /// The lease is over.
    Over,
    /// The dispatcher can't say just now; ask again.
    Busy,
}

/// What an ask was granted.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Granted {
    /// Where in the journal.
    pub index: Index,
    /// The leases; none when there was nothing in time.
    pub leases: Vec<Lease>,
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub fence: Fence,
    /// Until when, by the dispatcher's wall clock, unless it is renewed.
    pub expires_at: UnixMs,
}
