//! Open-loop arrivals: requests come at their times, whether the ones before them are answered or not, and each
//! is timed from when it was due. A server that stalls is charged for every request that came meanwhile.

use crate::Failed;
use crate::cluster::{Cluster, Node};
use crate::http::{Connection, request};
use crate::record::Record;
use crate::work::{created, job};
use hdrhistogram::Histogram;
use std::time::Duration;
use tokio::time::Instant;

/// Connections that share the arrivals.
const CONNECTIONS: usize = 32;
/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// The longest latency that is told from longer ones, in microseconds.
const LONGEST_US: u64 = 600_000_000;

/// When what is due.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals {
    /// How many a second, evenly.
    pub per_second: u32,
    /// For how long.
    pub time: Duration,
}

impl Arrivals {
    /// How many in all.
    #[must_use]
    pub fn count(self) -> u32 {
        (f64::from(self.per_second) * self.time.as_secs_f64()) as u32
    }

    /// When an arrival is due, from the beginning.
    #[must_use]
    pub fn due(self, number: u32) -> Duration {
        Duration::from_secs(1) * number / self.per_second
    }
}

/// Latencies from when each was due, in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, DIGITS);
        Self(histogram.unwrap_or_else(|_| unreachable!("these bounds and digits are possible")))
    }
}

impl Latencies {
    /// Notes one.
    pub fn note(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing is out of range.
        let _ = self.0.add(&other.0);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency below which a part `share` is, in milliseconds.
    #[must_use]
    pub fn at(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }
}

/// Waits until something is due.
pub fn wait_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// Submits single jobs to all nodes in turn, each when it is due.
///
/// # Errors
/// When one is not acknowledged.
pub fn submit(cluster: &Cluster, record: &Record, arrivals: Arrivals) -> Result<Latencies, Failed> {
    let whole = request("POST", "/v1/jobs", "Content-Type: application/json\r\n", job().as_bytes());
    let nodes = cluster.voters().iter().cycle().take(CONNECTIONS);
    let connections: Vec<Connection> = nodes.map(Node::connect).collect::<Result<_, _>>()?;
    let start = Instant::now() + Duration::from_millis(50);
    let whole = &whole;
    std::thread::scope(|scope| {
        let serve = |(first, mut connection): (usize, Connection)| {
            let (mut latencies, mut ids) = (Latencies::default(), Vec::new());
            for number in (0..arrivals.count()).skip(first).step_by(CONNECTIONS) {
                let due = start + arrivals.due(number);
                wait_until(due);
                let answer = connection.send(whole)?;
                latencies.note(due.elapsed());
                ids.push(created(&answer)?);
            }
            record.note(ids);
            Ok::<_, Failed>(latencies)
        };
        let threads: Vec<_> =
            connections.into_iter().enumerate().map(|mine| scope.spawn(move || serve(mine))).collect();
        let mut all = Latencies::default();
        for thread in threads {
            let latencies = thread.join().map_err(|_| Failed::Answer("a client panicked".to_owned()))??;
            all.add(&latencies);
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_even() {
        let arrivals = Arrivals { per_second: 400, time: Duration::from_millis(2_500) };
        assert_eq!(arrivals.count(), 1_000);
        assert_eq!((arrivals.due(0), arrivals.due(600)), (Duration::ZERO, Duration::from_millis(1_500)));
    }

    #[test]
    fn latencies_are_told_in_milliseconds() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        (1..=99).for_each(|_| one.note(Duration::from_millis(2)));
        other.note(Duration::from_millis(50));
        one.add(&other);
        assert_eq!(one.count(), 100);
        assert!((one.at(0.99) - 2.0).abs() < 0.01 && (one.at(1.0) - 50.0).abs() < 0.1);
    }
}
