//! One client of a load.

use super::{Plan, Sent, Shared};
use crate::cluster::http::Http;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How long it waits for one answer. A node holds a submit for up to 3 s while there is no dispatcher.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// How long it goes on trying to have one job acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);
/// Its pause before it tries again.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Client {
    shared: Arc<Shared>,
    plan: Plan,
    number: usize,
    /// A connection to each node.
    links: Vec<Http>,
    next_node: usize,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, plan: Plan, number: usize) -> Self {
        let links = shared.nodes.iter().map(|addr| Http::new(*addr, ANSWER_LIMIT)).collect();
        Self { shared, plan, number, links, next_node: number }
    }

    /// Submits at its pace until it is told to stop.
    pub(super) fn run(mut self) {
        let period = Duration::from_secs_f64(1.0 / self.plan.per_second);
        // Clients of one plan take turns within the period.
        let mut due = Instant::now() + period.mul_f64(self.number as f64 / self.plan.clients as f64);
        let body = self.plan.spec.to_string();
        for count in 0.. {
            let now = Instant::now();
            if self.shared.stop.load(Ordering::Acquire) {
                return;
            }
            if due > now {
                std::thread::sleep(due - now);
            }
            // What an outage held up is not made up for in a burst.
            due = (due + period).max(now);
            let key = format!("{}-{}-{count}", self.plan.prefix, self.number);
            let sent = self.submit(key, body.as_bytes());
            self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
        }
    }

    /// Has one job acknowledged.
    fn submit(&mut self, key: String, body: &[u8]) -> Sent {
        let mut sent = Sent { key, at: Instant::now(), acked: None, tries: 0, troubles: Vec::new() };
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", sent.key.as_str()),
            ("Prefer", "return=minimal"),
        ];
        while sent.at.elapsed() < PATIENCE && !self.shared.abandoned.load(Ordering::Acquire) {
            sent.tries += 1;
            let node = self.pick();
            match self.links[node].send("POST", "/v1/jobs", &headers, body) {
                Ok(answer) if matches!(answer.status, 200 | 201) => {
                    let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
                    sent.acked = Some((Instant::now(), id, node));
                    return sent;
                }
                Ok(answer) => sent.troubles.push(format!("node {node}: {} {}", answer.status, answer.text())),
                Err(error) => sent.troubles.push(format!("node {node}: {error}")),
            }
            std::thread::sleep(PAUSE);
        }
        sent
    }

    /// The next node that is not avoided.
    fn pick(&mut self) -> usize {
        let avoided = self.shared.avoided.load(Ordering::Acquire);
        loop {
            self.next_node = (self.next_node + 1) % self.links.len();
            if avoided & 1 << self.next_node == 0 {
                return self.next_node;
            }
        }
    }
}
