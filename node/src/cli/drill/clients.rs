//! The clients of a rehearsal: each submits one small job after another, the same one again until some node
//! acknowledges it, and remembers what it saw.

use crate::cli::address::Address;
use crate::cli::client::{Call, Client};
use crate::cli::failure::Failure;
use crate::cli::remote::Remote;
use crate::cli::view;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep, timeout};

/// The pause between two jobs of a client.
const PACE: Duration = Duration::from_millis(5);
/// The pause after a node said no.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one try may take: a node holds a submit for 3 s while there is no dispatcher.
const TRY_LIMIT: Duration = Duration::from_secs(4);
/// How long the last job of each client may still take.
const LAST_LIMIT: Duration = Duration::from_secs(30);

/// What all clients saw.
#[derive(Default)]
pub(super) struct Seen {
    /// The value of the label that their jobs have.
    pub(super) label: String,
    /// Keys that were sent at all.
    pub(super) sent: u64,
    /// The id that was acknowledged for each key, and when.
    pub(super) acknowledged: BTreeMap<String, (String, Instant)>,
    /// Tries that failed, and were made again.
    pub(super) failed_tries: u64,
    /// Answers that said no for good: a fault of the rehearsal, not of the cluster.
    pub(super) refused: Vec<String>,
    /// Keys that were answered with two ids.
    pub(super) two_ids: u64,
}

/// Clients at work.
pub(super) struct Clients {
    local: LocalSet,
    tasks: Vec<JoinHandle<()>>,
    stop: Rc<Cell<bool>>,
    seen: Rc<RefCell<Seen>>,
}

impl Clients {
    /// Starts `count` of them at `nodes`.
    pub(super) fn start(remote: &Remote, nodes: &[Address], count: u16) -> Result<Self, Failure> {
        let label = format!("{:x}", crate::seed::random_u64());
        let (local, stop) = (LocalSet::new(), Rc::new(Cell::new(false)));
        let seen = Rc::new(RefCell::new(Seen { label: label.clone(), ..Seen::default() }));
        let mut tasks = Vec::new();
        for number in 0..count {
            let doors: Result<Vec<Client>, Failure> = nodes.iter().map(|node| remote.client_of(node.clone())).collect();
            let one = One { doors: doors?, label: label.clone(), number, stop: stop.clone(), seen: seen.clone() };
            tasks.push(local.spawn_local(one.submits()));
        }
        Ok(Self { local, tasks, stop, seen })
    }

    /// Runs `work` while the clients submit.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        self.local.run_until(work).await
    }

    /// Lets each bring its last job home, and returns what they saw.
    pub(super) async fn finish(self) -> Seen {
        self.stop.set(true);
        let all = self.local.run_until(async {
            for task in self.tasks {
                // One that never came home shows as a key without an acknowledgement.
                let _ = task.await;
            }
        });
        let _ = timeout(LAST_LIMIT, all).await;
        self.seen.take()
    }
}

struct One {
    doors: Vec<Client>,
    label: String,
    number: u16,
    stop: Rc<Cell<bool>>,
    seen: Rc<RefCell<Seen>>,
}

impl One {
    async fn submits(self) {
        let mut door = usize::from(self.number);
        for count in 0u64.. {
            if self.stop.get() {
                return;
            }
            let key = format!("drill-{}-{}-{count}", self.label, self.number);
            self.seen.borrow_mut().sent += 1;
            door = self.until_acknowledged(&key, door + 1).await;
            sleep(PACE).await;
        }
    }

    /// The same job, at one node after another, until one says that it is in the record. Which one did.
    async fn until_acknowledged(&self, key: &str, first: usize) -> usize {
        let body = json!({ "kind": "noop", "payload": {}, "labels": { "drill": self.label } }).to_string();
        let call = Call::post("/v1/jobs", body).keyed(key);
        for door in first.. {
            match timeout(TRY_LIMIT, self.doors[door % self.doors.len()].call(&call)).await {
                Ok(Ok(answer)) => {
                    match answer.json::<view::Job>() {
                        Ok(job) => self.note(key, job.id),
                        Err(failure) => self.seen.borrow_mut().refused.push(failure.to_string()),
                    }
                    return door;
                }
                Ok(Err(Failure::Refused(refusal))) if refusal.status < 500 && refusal.status != 429 => {
                    self.seen.borrow_mut().refused.push(refusal.cause());
                    return door;
                }
                _ => {
                    self.seen.borrow_mut().failed_tries += 1;
                    sleep(PAUSE).await;
                }
            }
        }
        first
    }

    fn note(&self, key: &str, id: String) {
        let mut seen = self.seen.borrow_mut();
        let now = Instant::now();
        let before = seen.acknowledged.insert(key.to_owned(), (id.clone(), now));
        if before.is_some_and(|(other, _)| other != id) {
            seen.two_ids += 1;
        }
    }
}
