//! Clients that submit at a steady pace, each job under a key of its own, and remember what they were told.
//!
//! A client does what a good one does: on 503, on a broken connection and on silence it sends the same job
//! with the same key to the next node, until somebody acknowledges it. It never goes to the node that the
//! test is about to hit. What it remembers is judged in [`verdict`].

mod client;
pub mod flood;
mod verdict;

pub use verdict::{Gap, Hit, Verdict};

use crate::cluster::Cluster;
use client::Client;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::time::Instant;

/// What is submitted, by whom and how often.
#[derive(Clone)]
pub struct Plan {
    /// Clients.
    pub clients: usize,
    /// Submits of each client in a second.
    pub per_second: f64,
    /// The first part of each key, so that plans do not meet.
    pub prefix: &'static str,
    /// The job, without a key.
    pub spec: Value,
}

/// One job that a client wanted to have done.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its key.
    pub key: String,
    /// When it was sent first.
    pub at: Instant,
    /// When, with what id and by which node (by number) it was acknowledged, if it was.
    pub acked: Option<(Instant, String, usize)>,
    /// How often it was sent.
    pub tries: u32,
    /// What went wrong before it was acknowledged.
    pub troubles: Vec<String>,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    nodes: Vec<SocketAddr>,
    stop: AtomicBool,
    /// Nobody will ask what became of it.
    abandoned: AtomicBool,
    /// One bit a node.
    avoided: AtomicU64,
    sent: Mutex<Vec<Sent>>,
}

impl Load {
    /// Starts the clients of all `plans` against all nodes of a cluster.
    #[must_use]
    pub fn start(cluster: &Cluster, plans: &[Plan]) -> Self {
        let nodes = cluster.nodes.iter().map(|node| node.http).collect();
        let shared = Arc::new(Shared {
            nodes,
            stop: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            avoided: AtomicU64::new(0),
            sent: Mutex::default(),
        });
        let mut threads = Vec::new();
        for plan in plans {
            for number in 0..plan.clients {
                let client = Client::new(shared.clone(), plan.clone(), number);
                threads.push(std::thread::spawn(move || client.run()));
            }
        }
        Self { shared, threads }
    }

    /// From now on nothing is sent to this node.
    pub fn avoid(&self, number: usize) {
        self.avoid_all(&[number]);
    }

    /// From now on nothing is sent to these nodes, and to all others again. Some node must be left.
    pub fn avoid_all(&self, numbers: &[usize]) {
        let bits = numbers.iter().fold(0, |bits, number| bits | 1 << number);
        self.shared.avoided.store(bits, Ordering::Release);
    }

    /// All nodes are good again.
    pub fn avoid_nobody(&self) {
        self.avoid_all(&[]);
    }

    /// How many jobs have been acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let sent = self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().filter(|sent| sent.acked.is_some()).count()
    }

    /// The first acknowledgement of a job that was first sent after `at`, if there is one already.
    #[must_use]
    pub fn first_acknowledged_of_those_sent_after(&self, at: Instant) -> Option<Instant> {
        let sent = self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
        // Newest last: what is of interest is at the end.
        let late = sent.iter().rev().take(20_000).filter(|sent| sent.at > at);
        late.filter_map(|sent| sent.acked.as_ref().map(|(when, ..)| *when)).min()
    }

    /// Stops the clients; each ends when its last job is acknowledged or given up. What they remember.
    ///
    /// # Panics
    /// When a client panicked.
    #[must_use]
    pub fn finish(mut self) -> Vec<Sent> {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client of the load ends well");
        }
        std::mem::take(&mut self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Release);
        self.shared.stop.store(true, Ordering::Release);
    }
}
