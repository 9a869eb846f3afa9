//! What the transport counts, for metrics.

use super::refusal::Refusal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// A reading of the transport's counters. All but `connected` only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetCounters {
    /// UDP bytes received on peers' connections.
    pub bytes_in: u64,
    /// UDP bytes sent on peers' connections.
    pub bytes_out: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams handed over for sending.
    pub datagrams_out: u64,
    /// Datagrams not sent: no connection, or too long.
    pub datagrams_unsent: u64,
    /// Calls made.
    pub calls_out: u64,
    /// Calls received.
    pub calls_in: u64,
    /// Connections that came to stand.
    pub connects: u64,
    /// Connections that were lost.
    pub losses: u64,
    /// Join requests that were handed to the node.
    pub joins: u64,
    /// Peers connected now.
    pub connected: usize,
    /// Handshakes that failed, by reason.
    pub refused: BTreeMap<Refusal, u64>,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// Bytes of connections that are over; those that stand count for themselves.
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) datagrams_in: AtomicU64,
    pub(super) datagrams_out: AtomicU64,
    pub(super) datagrams_unsent: AtomicU64,
    pub(super) calls_out: AtomicU64,
    pub(super) calls_in: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) losses: AtomicU64,
    pub(super) joins: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Counting {
    pub(super) fn read(&self, refused: BTreeMap<Refusal, u64>) -> NetCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NetCounters {
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            datagrams_in: read(&self.datagrams_in),
            datagrams_out: read(&self.datagrams_out),
            datagrams_unsent: read(&self.datagrams_unsent),
            calls_out: read(&self.calls_out),
            calls_in: read(&self.calls_in),
            connects: read(&self.connects),
            losses: read(&self.losses),
            joins: read(&self.joins),
            connected: 0,
            refused,
        }
    }
}
