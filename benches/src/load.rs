//! Clients at a steady pace that behave as good clients do while a node is hit: the same job under the same key
//! to the next node, until somebody acknowledges it, or until it is done. Never to the node that is hit.

use crate::Failed;
use crate::cluster::{Cluster, until};
use crate::http::{Connection, request};
use crate::record::Record;
use crate::work::job;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// Clients of each kind: those that wait for the acknowledgement, and those that wait for the job's end.
pub const CLIENTS: usize = 8;
/// Between two submits of a client, when all is well.
const PACE: Duration = Duration::from_millis(20);
/// Before the next node is tried.
const PAUSE: Duration = Duration::from_millis(5);
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const NOBODY: usize = usize::MAX;

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That its job is acknowledged.
    Acknowledged,
    /// That its job has succeeded.
    Done,
}

/// A submit that came to what its client waits for.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    client: usize,
    wish: Wish,
    /// When it was sent first.
    pub at: Instant,
    /// When it was acknowledged, or done.
    pub answered: Instant,
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
    wish: Wish,
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
        let wish = |number| if number < CLIENTS { Wish::Acknowledged } else { Wish::Done };
        let client =
            |number| Client { number, wish: wish(number), node: number, connection: None, shared: shared.clone() };
        let threads = (0..2 * CLIENTS).map(client).map(|client| std::thread::spawn(move || client.run())).collect();
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
            let sent = self.shared.sent();
            let served = |client| sent.iter().any(|sent| sent.client == client && sent.at > since);
            (0..2 * CLIENTS).all(served).then_some(())
        })
    }

    /// All nodes are good again.
    pub fn avoid_nobody(&self) {
        self.shared.avoided.store(NOBODY, Ordering::Release);
    }

    /// What was sent after `at` with a wish, and has it by now.
    #[must_use]
    pub fn sent_after(&self, at: Instant, wish: Wish) -> Vec<Sent> {
        self.shared.sent().iter().copied().filter(|sent| sent.at > at && sent.wish == wish).collect()
    }

    /// When a wish came true from `at` on, in order.
    #[must_use]
    pub fn answers_from(&self, at: Instant, wish: Wish) -> Vec<Instant> {
        let sent = self.shared.sent();
        let wished = sent.iter().filter(|sent| sent.wish == wish);
        let mut answered: Vec<Instant> = wished.map(|sent| sent.answered).filter(|answered| *answered >= at).collect();
        answered.sort_unstable();
        answered
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
        record.note(self.shared.sent().iter().map(|sent| sent.id));
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl Shared {
    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn run(mut self) {
        for count in 0u64.. {
            if self.shared.stop.load(Ordering::Acquire) {
                return;
            }
            let headers = format!("Content-Type: application/json\r\nIdempotency-Key: {}-{count}\r\n", self.number);
            let target = if self.wish == Wish::Done { "/v1/jobs?wait=4s" } else { "/v1/jobs" };
            let whole = request("POST", target, &headers, job().as_bytes());
            let at = Instant::now();
            let id = self.until_answered(&whole);
            let answered = Instant::now();
            self.shared.sent().push(Sent { client: self.number, wish: self.wish, at, answered, id });
            std::thread::sleep(PACE.saturating_sub(answered - at));
        }
    }

    /// A submit that may have reached the cluster is never given up: it would be a job that nobody knows.
    fn until_answered(&mut self, whole: &[u8]) -> u128 {
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
        let come_true = self.wish == Wish::Acknowledged || answer.json()["state"] == "succeeded";
        answer.ids().next().filter(|_| come_true)
    }
}
