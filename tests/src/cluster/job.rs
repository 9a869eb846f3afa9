//! Jobs as a client reads them: what a test asks about, out of the API's JSON.

use super::{Cluster, Node};
use relais_protocol::ids::Fence;
use relais_protocol::time::UnixMs;
use serde_json::Value;
use std::time::Duration;

/// Jobs in one page of the list.
const PAGE: usize = 500;

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// The key that it was submitted with.
    pub key: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Failed and timed-out attempts that its policy allows.
    pub failures_max: u16,
    /// Lost attempts that its policy allows.
    pub losses_max: u16,
    /// Its attempts, first one first.
    pub attempts: Vec<Attempt>,
}

/// One execution of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The node's name.
    pub node: String,
    /// The epoch in which it was started.
    pub epoch: u64,
    /// Its fence.
    pub fence: Fence,
    /// When.
    pub started_at: UnixMs,
    /// When it was over.
    pub finished_at: Option<UnixMs>,
    /// How it ended.
    pub outcome: Option<String>,
}

fn time(value: &Value) -> Option<UnixMs> {
    UnixMs::parse_rfc3339(value.as_str()?).ok()
}

impl Job {
    /// Reads one.
    ///
    /// # Panics
    /// When it is not what the API promises.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let attempts = value["attempts"].as_array().expect("a job has attempts").iter().map(|attempt| Attempt {
            node: attempt["node"].as_str().unwrap_or_default().to_owned(),
            epoch: attempt["epoch"].as_u64().expect("an attempt has an epoch"),
            fence: Fence(attempt["fence"].as_u64().expect("an attempt has a fence")),
            started_at: time(&attempt["started_at"]).expect("an attempt has a start"),
            finished_at: time(&attempt["finished_at"]),
            outcome: attempt["outcome"].as_str().map(str::to_owned),
        });
        let limit = |name: &str| value["retry"][name].as_u64().and_then(|limit| u16::try_from(limit).ok());
        Self {
            failures_max: limit("max_attempts").expect("a job has a limit of failures"),
            losses_max: if value["retry"]["on_lost"] == "fail" {
                0
            } else {
                limit("max_lost").expect("a job has a limit of losses")
            },
            id: text("id").expect("a job has an id"),
            state: text("state").expect("a job has a state"),
            key: text("idempotency_key"),
            name: text("name"),
            attempts: attempts.collect(),
        }
    }

    /// Whether it is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "failed" | "cancelled" | "expired")
    }
}

impl Node {
    /// Every job in the record, by pages.
    ///
    /// # Panics
    /// When a page can't be read.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.pages("")
    }

    /// Every job in this node's own copy of the record, by pages, in whatever state that copy is.
    ///
    /// # Panics
    /// When a page can't be read.
    #[must_use]
    pub fn own_jobs(&self) -> Vec<Job> {
        self.pages("&consistency=local")
    }

    fn pages(&self, how: &str) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.read(&format!("/v1/jobs?limit={PAGE}{how}{cursor}"));
            let page = page.unwrap_or_else(|| panic!("{} gives no list of jobs", self.name));
            jobs.extend(page["jobs"].as_array().expect("a list of jobs").iter().map(Job::of));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return jobs,
            }
        }
    }

    /// One job; `None` when it can't be read.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<Job> {
        self.read(&format!("/v1/jobs/{id}")).map(|job| Job::of(&job))
    }

    /// Submits a job; its id.
    ///
    /// # Panics
    /// When it is not acknowledged.
    #[must_use]
    pub fn submit(&self, spec: &Value) -> String {
        let answer = self.ask("POST", "/v1/jobs", &spec.to_string());
        let answer = answer.unwrap_or_else(|| panic!("{} does not answer a submit", self.name));
        assert_eq!(answer.status, 201, "{} answered a submit: {}", self.name, answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Jobs that are not over yet.
    #[must_use]
    pub fn jobs_open(&self) -> Option<u64> {
        let counts = self.read("/v1/jobs:count")?;
        let groups = counts["groups"].as_object()?;
        let open = |state: &str| !matches!(state, "succeeded" | "failed" | "cancelled" | "expired");
        Some(groups.iter().filter(|(state, _)| open(state)).filter_map(|(_, count)| count.as_u64()).sum())
    }
}

impl Cluster {
    /// Waits until every job in the record is over.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub fn await_all_ended(&self, reader: usize, limit: Duration) {
        let mut open = None;
        let ended = super::wait::look_for(limit, || {
            open = self.nodes[reader].jobs_open();
            (open == Some(0)).then_some(())
        });
        assert!(ended.is_some(), "after {limit:?} {open:?} jobs are not over: {}", self.some_open(reader));
    }

    fn some_open(&self, reader: usize) -> String {
        let open = self.nodes[reader].jobs().into_iter().filter(|job| !job.has_ended()).take(3);
        format!("{:?}", open.collect::<Vec<_>>())
    }
}
