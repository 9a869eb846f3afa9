//! Eight clients at a steady pace that behave as good clients do while a node is hit: the same job under the
//! same key to the next node, until somebody acknowledges it. Never to the node that is hit.

use crate::Failed;
use crate::cluster::{Cluster, until};
use crate::http::{Connection, request};
use crate::record::Record;
use crate::work::job;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// Clients.
pub const CLIENTS: usize = 8;
/// Between two submits of a client, when all is well.
const PACE: Duration = Duration::from_millis(20);
/// Before the next node is tried.
const PAUSE: Duration = Duration::from_millis(5);
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const NOBODY: usize = usize::MAX;

/// An acknowledged submit.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    client: usize,
    /// When it was sent first.
    pub at: Instant,
    /// When it was acknowledged.
    pub acked: Instant,
    id: u128,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<SocketAddr>,
    avoided: AtomicUsize,
    stop: AtomicBool,
    sent: Mutex<Vec<Sent>>,
}

/// Clients at work, until dropped or finished.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Client {
    number: usize,
    node: usize,
    connection: Option<Connection>,
    shared: Arc<Shared>,
}

impl Load {
    /// Starts the clients.
    #[must_use]
    pub fn start(cluster: &Cluster) -> Self {
        let shared = Arc::new(Shared {
            nodes: cluster.addresses(),
            avoided: AtomicUsize::new(NOBODY),
            stop: AtomicBool::new(false),
            sent: Mutex::default(),
        });
        let client = |number| Client { number, node: number, connection: None, shared: shared.clone() };
        let threads = (0..CLIENTS).map(client).map(|client| std::thread::spawn(move || client.run())).collect();
        Self { shared, threads }
    }

    /// Keeps all clients away from a node, and waits until each has been served elsewhere.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn avoid(&self, node: usize) -> Result<(), Failed> {
        self.shared.avoided.store(node, Ordering::Release);
        let since = Instant::now();
        until("clients to be served by the other nodes", SETTLE_LIMIT, || {
            let sent = self.sent_after(since);
            (0..CLIENTS).all(|client| sent.iter().any(|sent| sent.client == client)).then_some(())
        })
    }

    /// All nodes are good again.
    pub fn avoid_nobody(&self) {
        self.shared.avoided.store(NOBODY, Ordering::Release);
    }

    /// What was sent after `at` and is acknowledged by now.
    #[must_use]
    pub fn sent_after(&self, at: Instant) -> Vec<Sent> {
        let sent = self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().copied().filter(|sent| sent.at > at).collect()
    }

    /// When something was acknowledged from `at` on, in order.
    #[must_use]
    pub fn acknowledgements_from(&self, at: Instant) -> Vec<Instant> {
        let sent = self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut acked: Vec<Instant> = sent.iter().map(|sent| sent.acked).filter(|acked| *acked >= at).collect();
        acked.sort_unstable();
        acked
    }

    /// Stops the clients when each one's last job is acknowledged, and notes all jobs.
    ///
    /// # Errors
    /// When a client did not end well.
    pub fn finish(mut self, record: &Record) -> Result<(), Failed> {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| Failed::Answer("a client panicked".to_owned()))?;
        }
        let sent = self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
        record.note(sent.iter().map(|sent| sent.id));
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl Client {
    fn run(mut self) {
        for count in 0u64.. {
            if self.shared.stop.load(Ordering::Acquire) {
                return;
            }
            let headers = format!("Content-Type: application/json\r\nIdempotency-Key: {}-{count}\r\n", self.number);
            let whole = request("POST", "/v1/jobs", &headers, job().as_bytes());
            let at = Instant::now();
            let id = self.until_acknowledged(&whole);
            let acked = Instant::now();
            let sent = Sent { client: self.number, at, acked, id };
            self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
            std::thread::sleep(PACE.saturating_sub(acked - at));
        }
    }

    /// A submit that may have reached the cluster is never given up: it would be a job that nobody knows.
    fn until_acknowledged(&mut self, whole: &[u8]) -> u128 {
        loop {
            if let Some(id) = self.attempt(whole) {
                return id;
            }
            self.connection = None;
            self.node += 1;
            std::thread::sleep(PAUSE);
        }
    }

    fn attempt(&mut self, whole: &[u8]) -> Option<u128> {
        let nodes = &self.shared.nodes;
        if self.node % nodes.len() == self.shared.avoided.load(Ordering::Acquire) {
            self.node += 1;
            self.connection = None;
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(nodes[self.node % nodes.len()], REQUEST_LIMIT).ok()?,
        };
        let answer = connection.send(whole).ok().filter(|answer| matches!(answer.status, 200 | 201))?;
        self.connection = Some(connection);
        answer.ids().next()
    }
}
