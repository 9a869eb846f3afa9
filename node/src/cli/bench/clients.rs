//! The clients of a bench: each at a node of its own, all with one label, whose submits carry keys, so that each
//! job is made once however often it is sent.

use super::QUEUE;
use crate::cli::address::Address;
use crate::cli::client::{Call, Client};
use crate::cli::failure::Failure;
use crate::cli::remote::Remote;
use crate::cli::view;
use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::time::Instant;

/// Clients, and what was acknowledged to them.
pub(super) struct Clients {
    doors: Vec<Client>,
    label: String,
    keys: Cell<u64>,
    acknowledged: RefCell<Vec<String>>,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Taken>,
}

#[derive(Deserialize)]
struct Taken {
    id: Option<String>,
    problem: Option<Value>,
}

impl Clients {
    /// `count` of them, at `nodes` in turn; without any at whatever the options name.
    pub(super) fn new(remote: &Remote, nodes: &[Address], count: u16) -> Result<Self, Failure> {
        let door = |place: usize| match nodes.get(place % nodes.len().max(1)) {
            Some(node) => {
                let others = nodes.iter().filter(|other| *other != node);
                let addr = std::iter::once(node).chain(others).cloned().collect();
                Remote { addr, ..remote.clone() }.client()
            }
            None => remote.client(),
        };
        let doors = (0..usize::from(count)).map(door).collect::<Result<Vec<_>, _>>()?;
        let label = format!("{:x}", crate::seed::random_u64());
        Ok(Self { doors, label, keys: Cell::new(0), acknowledged: RefCell::default() })
    }

    /// The value of the label `bench` that their jobs have.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The ids of all jobs that were acknowledged.
    pub(super) fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.borrow().clone()
    }

    /// Submits `jobs` in batches.
    pub(super) async fn batches(&self, jobs: u32, batch: u32) -> Result<(), Failure> {
        let left = Cell::new(jobs);
        let clients = self.doors.iter().map(|door| async {
            while left.get() > 0 {
                let count = left.get().min(batch);
                left.set(left.get() - count);
                self.batch(door, count).await?;
            }
            Ok::<(), Failure>(())
        });
        try_join_all(clients).await.map(drop)
    }

    async fn batch(&self, door: &Client, count: u32) -> Result<(), Failure> {
        let jobs = vec![self.spec(); count as usize];
        let call = Call::post("/v1/jobs:batch", Value::from(jobs).to_string()).keyed(self.key());
        let results: Results = door.call(&call).await?.json()?;
        for taken in results.results {
            match (taken.id, taken.problem) {
                (Some(id), None) => self.acknowledged.borrow_mut().push(id),
                (_, problem) => {
                    let why = problem.unwrap_or_default();
                    return Err(Failure::Local(format!("a job of a batch was refused: {why}")));
                }
            }
        }
        Ok(())
    }

    /// Submits `jobs`, one a request; how long each took.
    pub(super) async fn singles(&self, jobs: u32) -> Result<Vec<Duration>, Failure> {
        let left = Cell::new(jobs);
        let clients = self.doors.iter().map(|door| async {
            let mut each = Vec::new();
            while left.get() > 0 {
                left.set(left.get() - 1);
                each.push(self.single(door, "/v1/jobs").await?.1);
            }
            Ok::<Vec<Duration>, Failure>(each)
        });
        Ok(try_join_all(clients).await?.concat())
    }

    /// Submits `jobs` by one client, each when the one before it has succeeded; how long each took.
    pub(super) async fn one_at_a_time(&self, jobs: u32) -> Result<Vec<Duration>, Failure> {
        let mut each = Vec::new();
        for _ in 0..jobs {
            let (job, took) = self.single(&self.doors[0], "/v1/jobs?wait=10s").await?;
            if job.state != "succeeded" {
                let (id, state) = (job.id, job.state);
                return Err(Failure::Local(format!("job {id} is {state} after 10 s; `relais explain {id}` says why")));
            }
            each.push(took);
        }
        Ok(each)
    }

    async fn single(&self, door: &Client, path: &str) -> Result<(view::Job, Duration), Failure> {
        let call = Call::post(path, self.spec().to_string()).keyed(self.key());
        let start = Instant::now();
        let answer = door.call(&call).await?;
        let took = start.elapsed();
        let job: view::Job = answer.json()?;
        self.acknowledged.borrow_mut().push(job.id.clone());
        Ok((job, took))
    }

    fn spec(&self) -> Value {
        json!({"kind": "noop", "payload": {}, "queue": QUEUE, "labels": {"bench": self.label}})
    }

    fn key(&self) -> String {
        self.keys.set(self.keys.get() + 1);
        format!("bench-{}-{}", self.label, self.keys.get())
    }
}
