//! The spawner: one small process per node that starts the jobs' processes and outlives the node by a
//! moment, to see to it that none of them outlives the node by more.
//!
//! ```text
//!   node ── Spawner ══ socket pair, frames of requests and events ══ spawner process ── job ── …
//!    ▲                                                               (subreaper)    └── job ── …
//!    └── reads the jobs' stdout and stderr itself: the pipes' write ends travel with the requests
//! ```
//!
//! Each job gets a process group of its own, umask 077, no descriptor but the three standard ones, and
//! default signal dispositions. When its leader ends, the rest of the group is killed, and so is every
//! descendant that left the group, as far as it can be told whose it is. When the socket closes, because
//! the node died or let go, every descendant is killed and the spawner ends.
//!
//! It refuses to decide anything: which job runs, for how long, and what its end means is known to
//! [`crate::executor`]; output is kept by [`crate::output`]. It is single-threaded and holds no job's output.

mod client;
mod frame;
mod keeper;
mod link;
mod processes;
mod strays;

pub use client::{Process, SpawnError, Spawner, Start};
pub use frame::Exit;

use std::process::ExitCode;

/// The spawner process itself: to be called first thing, before any thread or runtime exists, with one
/// end of the node's socket pair as standard input. Every descriptor above 2 is closed. Returns once the other end is closed and no
/// descendant is left.
#[must_use]
pub fn main() -> ExitCode {
    match keeper::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relais: the spawner process failed: {error}; it is started by a node, never by hand");
            ExitCode::from(70)
        }
    }
}
