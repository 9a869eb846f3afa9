//! Queues: what is set of one, and what is kept of how it flows. Shapes and small arithmetic; which queue is
//! served next is the ledger's to decide.
//!
//! A rate is held over *every* window of its period, not only over windows that begin at a full second. What is
//! kept for that is when the last jobs started, not one by one but in grains of a 64th of the period, each at its
//! end: so a row stays small, the rate is never exceeded, and at most one grain is lost of each period.

use crate::history::Stamp;
use crate::job::Place;
use crate::spec::QueueName;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// What a weight may be; 1 if none is set.
pub const WEIGHT_MAX: u32 = 1_000;
/// What a limit of jobs that run at once may be.
pub const CONCURRENCY_MAX: u32 = 1_000_000;
/// How many jobs a rate may let start in a period.
pub const RATE_COUNT_MAX: u32 = 1_000_000;
/// How long the period of a rate may be, in ms.
pub const RATE_PER_MS_MAX: u64 = 31 * 86_400_000;
/// Jobs that one purge cancels at most, so that applying it does not hold up the next entry for long.
pub const PURGE_JOBS_MAX: usize = 1_000;
/// How far one job that takes one slot moves its queue of weight 1 back in the order of being served.
pub const PASS_OF_A_SLOT: u64 = 1 << 20;
/// Grains that a period is kept in.
const GRAINS: u64 = 64;

/// How many jobs may start in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// So many, at least 1,
    pub count: u32,
    /// in any so many ms, at least 1.
    pub per_ms: u64,
}

/// How long jobs of a queue are kept once they have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// Not longer than this, in ms.
    pub age_ms: Option<u64>,
    /// Not more than so many.
    pub count: Option<u64>,
}

/// What is set of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueConfig {
    /// Its share of the slots, against the weights of the other queues that have something to run: 1 to
    /// [`WEIGHT_MAX`].
    pub weight: u32,
    /// How many of its jobs may run at once in the whole cluster.
    pub concurrency: Option<u32>,
    /// How many of its jobs may start in a period.
    pub rate: Option<Rate>,
    /// How long its jobs are kept once they have ended.
    pub retention: Retention,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { weight: 1, concurrency: None, rate: None, retention: Retention::default() }
    }
}

/// A queue that somebody has set something of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRow {
    /// Its name.
    pub name: QueueName,
    /// What is set.
    pub config: QueueConfig,
    /// Whether none of its jobs are to start.
    pub paused: bool,
    /// What last changed it.
    pub changed: Stamp,
}

/// Something is done to a queue, which need not have been there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueChange {
    /// Which.
    pub queue: QueueName,
    /// What.
    pub act: QueueAct,
}

/// What is done to a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueAct {
    /// This is all that is set of it.
    Set(QueueConfig),
    /// None of its jobs is to start, or they are to start again.
    Pause(bool),
    /// All that waits in it is cancelled, [`PURGE_JOBS_MAX`] jobs at a time.
    Purge {
        /// Only what was submitted up to here; the first of a row of these names no place.
        upto: Option<Place>,
    },
}

/// What a purge came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// So many jobs were cancelled.
    pub jobs: u32,
    /// Of those submitted up to here.
    pub upto: Place,
    /// Whether there are more, for another record.
    pub more: bool,
}

/// How a queue flows: what placement has to remember of it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueFlow {
    /// How far it was served, by its weight: of the queues that have something to run the one with the lowest is
    /// next.
    pub pass: u64,
    /// When jobs started, grain by grain, oldest first: the end of the grain and how many. Kept only while the
    /// queue has a rate, and for its period.
    pub starts: Vec<(UnixMs, u32)>,
}

impl QueueFlow {
    /// Notes a start at `now` under `rate`.
    pub fn note_start(&mut self, now: UnixMs, rate: Rate) {
        self.starts.retain(|(at, _)| at.plus(rate.per_ms) > now);
        let grain = (rate.per_ms / GRAINS).max(1);
        let end = UnixMs((now.0 / grain).saturating_mul(grain).saturating_add(grain - 1));
        match self.starts.last_mut() {
            Some((at, count)) if *at >= end => *count = count.saturating_add(1),
            _ => self.starts.push((end, 1)),
        }
    }

    /// When the next job may start under `rate`: `None` if it may at `now`.
    #[must_use]
    pub fn closed_until(&self, now: UnixMs, rate: Rate) -> Option<UnixMs> {
        let live = || self.starts.iter().filter(|(at, _)| at.plus(rate.per_ms) > now);
        let mut count: u64 = live().map(|(_, count)| u64::from(*count)).sum();
        let mut opens = None;
        for (at, starts) in live() {
            if count < u64::from(rate.count) {
                break;
            }
            count -= u64::from(*starts);
            opens = Some(at.plus(rate.per_ms));
        }
        opens
    }

    /// Jobs that started within the last period.
    #[must_use]
    pub fn started_within(&self, now: UnixMs, per_ms: u64) -> u64 {
        self.starts.iter().filter(|(at, _)| at.plus(per_ms) > now).map(|(_, count)| u64::from(*count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_window_of_a_period_has_more_starts_than_the_rate(
            count in 1u32..12, per_ms in 1u64..3_000, waits in proptest::collection::vec(0u64..400, 1..200),
        ) {
            let rate = Rate { count, per_ms };
            let (mut flow, mut starts, mut now) = (QueueFlow::default(), Vec::new(), UnixMs(1_000_000));
            for wait in waits {
                now = now.plus(wait);
                match flow.closed_until(now, rate) {
                    None => {
                        flow.note_start(now, rate);
                        starts.push(now.0);
                    }
                    Some(until) => {
                        prop_assert!(until > now && until.since(now) <= per_ms + per_ms / GRAINS + 1);
                        prop_assert_eq!(flow.closed_until(until, rate), None, "it opens when it said");
                    }
                }
                prop_assert!(flow.starts.len() as u64 <= GRAINS + 2);
            }
            for (n, first) in starts.iter().enumerate() {
                let within = starts[n..].iter().filter(|at| **at < first + per_ms).count();
                prop_assert!(within <= count as usize, "{within} starts within {per_ms} ms of {first}");
            }
        }
    }

    #[test]
    fn a_rate_lets_a_burst_through_and_opens_again_a_period_later() {
        let rate = Rate { count: 3, per_ms: 6_400 };
        let mut flow = QueueFlow::default();
        for _ in 0..3 {
            assert_eq!(flow.closed_until(UnixMs(10_000), rate), None);
            flow.note_start(UnixMs(10_000), rate);
        }
        assert_eq!(flow.closed_until(UnixMs(10_000), rate), Some(UnixMs(10_099 + 6_400)));
        assert_eq!(flow.started_within(UnixMs(10_000), 6_400), 3);
        assert_eq!(flow.started_within(UnixMs(16_499), 6_400), 0);
    }
}
