//! What the benchmark `cluster` is made of: real processes, a client that costs little, the work, the limit
//! of the disk, and the figures that come of it.
//!
//! ```text
//!   cluster.rs ─► work, failover ─► Cluster (three `relais start`)
//!                     │  acknowledged ids         │ GET /v1/jobs
//!                     ▼                           ▼
//!                  Record ───────── every one there, once
//! ```
//!
//! It judges nothing but promises: a job that was acknowledged and is not in the record, or is in it twice,
//! fails the run, and so does an election that nobody asked for. Figures are printed, not judged.

pub mod cluster;
pub mod disk;
pub mod failover;
pub mod figure;
pub mod http;
pub mod load;
pub mod record;
pub mod work;

/// Why a run can't go on, in a sentence for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// A connection, a file or a process failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// An answer was not what it must be.
    #[error("{0}")]
    Answer(String),
    /// A promise was broken.
    #[error("BROKEN PROMISE: {0}")]
    Promise(String),
    /// Something did not come about in time.
    #[error("waited in vain for {0}")]
    Late(String),
    /// The program is not there.
    #[error("{0}")]
    NoProgram(String),
}
