//! A client that submits jobs one after the other, however ill the node is treated by others meanwhile.

use super::Memory;
use crate::cluster::Node;
use crate::cluster::http::Http;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// The pause between two submits: long enough that what its own jobs take in memory is little beside the attack.
const PAUSE: Duration = Duration::from_millis(20);
/// Submits after which a connection of its own is made anew: a stranger has to get in, too.
const STRANGER_EVERY: usize = 10;
/// How long a submit may take before it counts as not served.
const PATIENCE: Duration = Duration::from_secs(20);

/// What it saw.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// How long each submit took.
    pub took: Vec<Duration>,
    /// What was wrong with those that were not taken.
    pub refused: Vec<String>,
    /// The most memory that the node held at any time.
    pub peak: Option<Memory>,
}

impl Served {
    /// The median time of a submit.
    #[must_use]
    pub fn median(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get(took.len() / 2).copied().unwrap_or_default()
    }
}

/// The client, at work.
pub struct Bystander {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Served>,
}

impl Bystander {
    /// Begins to submit at a node.
    #[must_use]
    pub fn at(node: &Node) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (addr, pid, flag) = (node.http, node.pid(), over.clone());
        let thread = std::thread::spawn(move || submit_until(&flag, addr, pid, usize::MAX));
        Self { over, thread }
    }

    /// Begins to submit at a node, and ends when so many submits are answered.
    ///
    /// # Panics
    /// When the node's process is gone.
    #[must_use]
    pub fn few(node: &Node, count: usize) -> Served {
        let over = AtomicBool::new(false);
        submit_until(&over, node.http, node.pid(), count)
    }

    /// Ends it.
    ///
    /// # Panics
    /// When the node's process is gone.
    #[must_use]
    pub fn end(self) -> Served {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the node goes on")
    }
}

fn submit_until(over: &AtomicBool, addr: SocketAddr, pid: u32, count: usize) -> Served {
    let mut served = Served::default();
    let mut client = Http::new(addr, PATIENCE);
    while !over.load(Ordering::Relaxed) && served.took.len() + served.refused.len() < count {
        if served.took.len().is_multiple_of(STRANGER_EVERY) {
            client = Http::new(addr, PATIENCE);
        }
        let began = Instant::now();
        let json = [("Content-Type", "application/json")];
        match client.send("POST", "/v1/jobs", &json, br#"{"kind": "noop", "payload": {}}"#) {
            Ok(answer) if answer.status == 201 => served.took.push(began.elapsed()),
            Ok(answer) => served.refused.push(format!("{} {}", answer.status, answer.text())),
            Err(error) => served.refused.push(error.to_string()),
        }
        served.peak = served.peak.max(Memory::of_pid(pid));
        std::thread::sleep(PAUSE);
    }
    served
}
