//! How much is done of each work: the whole run, and one of about a minute.

use crate::open::Arrivals;
use std::time::Duration;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// How it is called.
    pub name: &'static str,
    /// Rounds of W1 to W3, and of W5; ours and the peer's in turn.
    pub rounds: usize,
    /// W1: batches of 1,000 over each of four connections, a round.
    pub batches: usize,
    /// W1s: how long a round is.
    pub singles: Duration,
    /// W1s and W7: arrivals whose latency is measured.
    pub arrivals: Arrivals,
    /// W2: jobs a round.
    pub done_jobs: usize,
    /// W3: jobs a round.
    pub waits: usize,
    /// W4 and W7: jobs that wait.
    pub queued: usize,
    /// W5: processes a round.
    pub processes: usize,
    /// W6: rounds of each kind.
    pub hits: usize,
    /// W6: rounds of each kind for the peer, which takes seconds for each.
    pub peer_hits: usize,
    /// W7: jobs submitted and ended at each depth.
    pub growth_jobs: usize,
    /// W8: nodes beside the three voters.
    pub workers: usize,
    /// W8: jobs.
    pub short_jobs: usize,
    /// W8: how long the idle cluster is watched.
    pub idle: Duration,
    /// How long each look at the disk is.
    pub disk: Duration,
}

/// The whole run.
pub const FULL: Scale = Scale {
    name: "full",
    rounds: 3,
    batches: 25,
    singles: Duration::from_secs(5),
    arrivals: Arrivals { per_second: 1_000, time: Duration::from_secs(5) },
    done_jobs: 100_000,
    waits: 1_000,
    queued: 1_000_000,
    processes: 10_000,
    hits: 30,
    peer_hits: 5,
    growth_jobs: 20_000,
    workers: 60,
    short_jobs: 20_000,
    idle: Duration::from_secs(20),
    disk: Duration::from_millis(400),
};

/// A quick look.
pub const QUICK: Scale = Scale {
    name: "quick",
    rounds: 3,
    batches: 4,
    singles: Duration::from_millis(500),
    arrivals: Arrivals { per_second: 500, time: Duration::from_secs(1) },
    done_jobs: 8_000,
    waits: 100,
    queued: 24_000,
    processes: 500,
    hits: 1,
    peer_hits: 1,
    growth_jobs: 4_000,
    workers: 6,
    short_jobs: 4_000,
    idle: Duration::from_secs(3),
    disk: Duration::from_millis(100),
};
