//! A bystander: reads, through the whole run, what each node says of its newest jobs, and remembers which
//! terminal states it saw, in order.

use crate::cluster::Cluster;
use crate::cluster::http::Http;
use relais_protocol::ids::JobId;
use relais_protocol::job::StateName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long it waits for an answer, and between two questions.
const LIMIT: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(500);
/// What it reads: local rows, so that it needs no dispatcher.
const QUESTION: &str = "/v1/jobs?limit=300&consistency=local";

#[derive(Debug, Default)]
struct Shared {
    end: AtomicBool,
    /// Different terminal states of a job, in the order in which they were seen.
    seen: Mutex<BTreeMap<JobId, Vec<StateName>>>,
}

/// Bystanders at work, one a node.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = cluster.nodes.iter().map(|node| {
            let (shared, addr) = (shared.clone(), node.http);
            std::thread::spawn(move || shared.look(addr))
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Ends it; the terminal states of each job that was seen over.
    pub(super) fn end(mut self) -> BTreeMap<JobId, Vec<StateName>> {
        self.shared.end.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().expect("a bystander ends well");
        }
        std::mem::take(&mut self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
    }
}

impl Shared {
    fn look(&self, addr: SocketAddr) {
        let mut link = Http::new(addr, LIMIT);
        while !self.end.load(Ordering::Acquire) {
            // Nodes are down or cut off at times.
            if let Some(page) = link.send("GET", QUESTION, &[], &[]).ok().filter(|answer| answer.status == 200) {
                self.note(&page.json());
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn note(&self, page: &serde_json::Value) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for row in page["jobs"].as_array().into_iter().flatten() {
            let id = row["id"].as_str().and_then(|text| text.parse().ok());
            let state = row["state"].as_str().and_then(StateName::parse).filter(|state| state.is_terminal());
            let (Some(id), Some(state)) = (id, state) else { continue };
            let states: &mut Vec<StateName> = seen.entry(id).or_default();
            if states.last() != Some(&state) {
                states.push(state);
            }
        }
    }
}
