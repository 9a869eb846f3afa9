//! Clients that submit as fast as they can: batches, each under a key of its own, sent again to the next node until
//! all of its jobs are acknowledged. What they were told is compared with the record, job by job.

use crate::cluster::http::Http;
use crate::cluster::wait::until;
use crate::cluster::{Cluster, Node};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients.
const CLIENTS: usize = 4;
/// Jobs in a batch.
const BATCH: usize = 200;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
/// Jobs in a page of the list.
const PAGE: usize = 500;

/// Clients at work.
pub struct Flood {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    nodes: Vec<SocketAddr>,
    spec: Value,
    stop: AtomicBool,
    /// One bit a node.
    avoided: AtomicU64,
    acknowledged: Mutex<Vec<String>>,
    /// Batches that had to be sent again.
    again: AtomicUsize,
}

/// What was acknowledged.
pub struct Flooded {
    /// The ids, as they were acknowledged.
    pub ids: Vec<String>,
    /// Batches that had to be sent again.
    pub again: usize,
}

impl Flood {
    /// Starts the clients; each submits jobs of one spec.
    #[must_use]
    pub fn start(cluster: &Cluster, spec: Value) -> Self {
        let nodes = cluster.nodes.iter().map(|node| node.http).collect();
        let (stop, avoided, again) = (AtomicBool::new(false), AtomicU64::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { nodes, spec, stop, avoided, acknowledged: Mutex::default(), again });
        let client = |number| {
            let shared = shared.clone();
            std::thread::spawn(move || submit(&shared, number))
        };
        Self { threads: (0..CLIENTS).map(client).collect(), shared }
    }

    /// Nobody goes to this node from now on.
    pub fn avoid(&self, node: usize) {
        self.shared.avoided.store(1 << node, Ordering::Release);
    }

    /// All nodes are good again.
    pub fn avoid_nobody(&self) {
        self.shared.avoided.store(0, Ordering::Release);
    }

    /// How many jobs are acknowledged by now.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Stops the clients, each once its last batch is acknowledged.
    ///
    /// # Panics
    /// When a client did.
    #[must_use]
    pub fn finish(mut self) -> Flooded {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client that ends well");
        }
        let ids = std::mem::take(&mut *self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
        Flooded { ids, again: self.shared.again.load(Ordering::Relaxed) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

fn submit(shared: &Shared, number: usize) {
    let body = Value::from(vec![shared.spec.clone(); BATCH]).to_string();
    let mut links: Vec<Http> = shared.nodes.iter().map(|addr| Http::new(*addr, ANSWER_LIMIT)).collect();
    let mut node = number;
    for count in 0u64.. {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let key = format!("flood-{number}-{count}");
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key.as_str())];
        loop {
            node = (node + 1) % links.len();
            if shared.avoided.load(Ordering::Acquire) & 1 << node != 0 {
                continue;
            }
            let answer = links[node].send("POST", "/v1/jobs:batch", &headers, body.as_bytes());
            if let Some(ids) =
                answer.ok().filter(|answer| answer.status == 200).and_then(|answer| taken(&answer.json()))
            {
                shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
                break;
            }
            shared.again.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
    }
}

/// The ids of a batch, when all of it was taken.
fn taken(answer: &Value) -> Option<Vec<String>> {
    let results = answer["results"].as_array().filter(|results| results.len() == BATCH)?;
    let id = |result: &Value| {
        let made = matches!(result["status"].as_u64(), Some(200 | 201));
        result["id"].as_str().filter(|_| made).map(str::to_owned)
    };
    results.iter().map(id).collect()
}

impl Flooded {
    /// Waits until all jobs of the cluster have ended, and checks that each acknowledged one is in the record, once, and
    /// succeeded, and that there is none besides.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_kept(&self, cluster: &Cluster, limit: Duration) {
        until("all jobs to end", limit, || {
            let counts = cluster.nodes[0].read("/v1/jobs:count?group_by=state")?;
            let ended = counts["groups"]["succeeded"].as_u64()? + counts["groups"]["failed"].as_u64()?;
            (counts["total"].as_u64()? == ended).then_some(())
        });
        let acknowledged: BTreeSet<&str> = self.ids.iter().map(String::as_str).collect();
        assert_eq!(acknowledged.len(), self.ids.len(), "no two acknowledgements name one job");
        let states = states(&cluster.nodes[0]);
        let lost = acknowledged.iter().filter(|id| !states.contains_key(**id)).count();
        let besides = states.keys().filter(|id| !acknowledged.contains(id.as_str())).count();
        assert_eq!((lost, besides), (0, 0), "lost and besides, of {} acknowledged", acknowledged.len());
        let other: Vec<_> = states.iter().filter(|(_, state)| *state != "succeeded").take(3).collect();
        assert_eq!(other, [], "all succeeded");
    }
}

/// The state of each job in the record.
///
/// # Panics
/// When a job is listed twice, or the list can't be read.
#[must_use]
pub fn states(node: &Node) -> BTreeMap<String, String> {
    let (mut states, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = node.read(&format!("/v1/jobs?limit={PAGE}{cursor}")).unwrap_or_else(|| json!({"jobs": "none"}));
        for job in page["jobs"].as_array().expect("a page of jobs") {
            let text = |name: &str| job[name].as_str().expect("a text").to_owned();
            assert_eq!(states.insert(text("id"), text("state")), None, "{job} is listed once");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return states,
        }
    }
}
