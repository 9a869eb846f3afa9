//! What goes into the worker's core, what comes out of it, and its times.

use relais_protocol::ids::{Fence, JobId, NodeId, Reign};
use relais_protocol::message::{Orders, OrdersAnswer, Report, ReportAnswer, StartOrder};
use relais_protocol::record::{Finish, NodeFacts};

/// Times of the worker, in ms.
#[derive(Clone, Copy, Debug)]
pub struct WorkerConfig {
    /// How often it reports when nothing ends, before it knows its lease; then six times in one.
    pub beat_ms: u64,
    /// How long before the end of its lease it kills.
    pub margin_ms: u64,
    /// Ends in one report.
    pub finished_max: usize,
    /// Settled attempts that it remembers.
    pub settled_max: usize,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { beat_ms: 500, margin_ms: 300, finished_max: 1_000, settled_max: 100_000 }
    }
}

/// What happens to the worker.
#[derive(Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Orders arrived.
    Orders(Orders),
    /// An attempt ended by itself or because it was stopped.
    Ended(Box<Finish>),
    /// Several did: one report carries them all.
    AllEnded(Vec<Finish>),
    /// The report of this number was answered.
    Answered(u64, ReportAnswer),
    /// The report of this number did not arrive, or its answer did not.
    Unanswered(u64),
    /// A dispatcher was heard.
    Heard(Reign, NodeId),
    /// This node's facts changed.
    Facts(NodeFacts),
    /// This node is about to leave: finish what runs, take nothing new.
    Finish,
    /// This node leaves: kill what still runs, say goodbye.
    Leave,
}

/// What the worker wishes.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Run this.
    Start(Box<StartOrder>),
    /// End this. With `kill` at once; else it is asked first, and its end is reported.
    Stop {
        /// The job.
        job: JobId,
        /// The attempt.
        fence: Fence,
        /// Whether its lease is over.
        kill: bool,
    },
    /// Send this to the dispatcher. The number tells its answer from that to an earlier one, which may
    /// come later: a lease counts from the very report that renewed it.
    Report(NodeId, u64, Box<Report>),
    /// Answer who ordered.
    Answer(OrdersAnswer),
    /// Remember this reign on disk before anything else is done.
    Remember(Reign),
    /// Goodbye has been said, or can't be.
    Left,
}

/// Counts for people who watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Orders of a lower reign, refused.
    pub stale_orders: u64,
    /// Attempts killed because their lease ended.
    pub fenced: u64,
    /// Attempts started.
    pub started: u64,
}
