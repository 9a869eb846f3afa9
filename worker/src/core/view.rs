//! What the worker's core says of itself.

use super::{Worker, WorkerCounts};
use relais_protocol::ids::{JobId, Reign};
use relais_protocol::record::Finish;
use relais_protocol::time::Mono;

impl Worker {
    /// Attempts that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether this very attempt runs here.
    #[must_use]
    pub fn runs(&self, job: JobId, number: u16) -> bool {
        self.running.get(&job).is_some_and(|running| running.fence.number() == number)
    }

    /// The highest reign seen.
    #[must_use]
    pub fn reign(&self) -> Reign {
        self.reign
    }

    /// Ends that nobody has written down yet, to be kept in a file.
    pub fn unsettled(&self) -> impl ExactSizeIterator<Item = &Finish> {
        self.unsettled.values()
    }

    /// Counts for people who watch.
    #[must_use]
    pub fn counts(&self) -> WorkerCounts {
        self.counts
    }

    /// Whether its lease lasts.
    #[must_use]
    pub fn is_leased(&self, now: Mono) -> bool {
        self.lease_until.is_some_and(|until| now.plus(self.config.margin_ms) < until)
    }

    /// How long its lease lasts from now on, in ms: what a second guardian of the same lease is to be told.
    /// Counted, as everything here, from when the report that renewed it was sent.
    #[must_use]
    pub fn lease_left_ms(&self, now: Mono) -> u64 {
        self.lease_until.map_or(0, |until| until.since(now))
    }
}
