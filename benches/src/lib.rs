//! What the benchmark `cluster` is made of: real processes, a client that costs little, the work, what it is
//! compared with, and the figures that come of it.
//!
//! ```text
//!   cluster.rs ─► Run ─► rows ─┬─► Cluster (three `relais start`) ─► Record: every one there, once
//!                         │    ├─► Servers (three `nats-server`), the same work in turn
//!                         ▼    └─► xargs, a plain write and sync
//!                      figures ─► table, result file
//! ```
//!
//! [`solo`] and [`store`] are for the benches of the parts: `micro` times them, `instructions` counts.
//!
//! It judges promises first: a job that was acknowledged and is not in the record, or is in it twice, fails its
//! row, and so does an election that nobody asked for. A figure that misses its aim is printed with by how much.

pub mod cluster;
pub mod disk;
pub mod failover;
pub mod figure;
pub mod http;
pub mod load;
pub mod open;
pub mod peer;
pub mod process;
pub mod record;
pub mod rows;
pub mod run;
pub mod scale;
pub mod solo;
pub mod store;
pub mod table;
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
