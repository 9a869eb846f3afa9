//! The API's objects as far as the command line shows them. Fields that are missing are empty: a node of
//! another version must not make a table fail.

use super::client::Answer;
use super::failure::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// A job, of `GET /v1/jobs/{id}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Job {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) id: String,
    pub(crate) group: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) queue: String,
    pub(crate) priority: Option<i64>,
    pub(crate) payload: Value,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) state: String,
    pub(crate) attempt: Option<u64>,
    pub(crate) node: Option<String>,
    pub(crate) created_at: Option<String>,
    pub(crate) run_at: Option<String>,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) progress: Value,
    pub(crate) result: Value,
    pub(crate) error: Option<JobError>,
    pub(crate) cancel_requested: Option<Value>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) submitted_by: Value,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) attempts: Vec<Attempt>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) deduplicated: bool,
}

/// Why a job or an attempt did not succeed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JobError {
    #[serde(rename = "type", deserialize_with = "null_is_empty")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) message: String,
}

/// One execution of a job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Attempt {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) number: u64,
    pub(crate) node: Option<String>,
    pub(crate) epoch: Option<u64>,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) signal: Value,
    pub(crate) error: Option<JobError>,
}

/// A row of `GET /v1/nodes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) name: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) role: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) pid: Option<u64>,
    pub(crate) http: Option<String>,
    pub(crate) slots: Option<u64>,
    pub(crate) running: Option<u64>,
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) memory_available_bytes: Option<u64>,
    pub(crate) net_in_bytes_per_second: Option<f64>,
    pub(crate) net_out_bytes_per_second: Option<f64>,
    pub(crate) journal_index: Option<u64>,
    pub(crate) last_heard_ms: Option<u64>,
}

/// The answer of `GET /readyz?verbose`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Readiness {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) ready: bool,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) parts: Vec<Part>,
}

/// One part of a node, and how it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) healthy: bool,
    pub(crate) detail: String,
}

/// A row of `GET /v1/queues`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Queue {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) name: String,
    pub(crate) weight: Option<u64>,
    pub(crate) concurrency: Option<u64>,
    pub(crate) rate: Option<QueueRate>,
    pub(crate) retention: Value,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) paused: bool,
    pub(crate) held_by: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) scheduled: u64,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) queued: u64,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) running: u64,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) retrying: u64,
    pub(crate) oldest_age_ms: Option<u64>,
}

/// How many jobs may start in a period.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct QueueRate {
    pub(crate) count: u64,
    pub(crate) per: String,
}

/// The answer of `GET /v1/cluster`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Cluster {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) mode: String,
    pub(crate) epoch: Option<u64>,
    pub(crate) generation: Option<u64>,
    pub(crate) dispatcher: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) nodes: NodeCount,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) high_availability: bool,
    pub(crate) survives: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) succession: Vec<Value>,
}

/// How many nodes there are.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeCount {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) online: u64,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) registered: u64,
}

/// A change of the dispatcher, of `GET /v1/cluster/failovers`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Failover {
    pub(crate) epoch: Option<u64>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) cause: Option<String>,
    pub(crate) elected_at: Option<String>,
    pub(crate) unavailable_ms: Option<u64>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) phases_ms: FailoverPhases,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) jobs: FailoverJobs,
}

/// When the phases of a failover ended, in ms after the suspicion.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FailoverPhases {
    pub(crate) confirmed: Option<u64>,
    pub(crate) reconciled: Option<u64>,
    pub(crate) first_dispatch: Option<u64>,
}

/// What a failover did to the jobs.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FailoverJobs {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) kept: u64,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) adopted: u64,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) retried: u64,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) duplicate: u64,
}

/// A token, of `POST` and `GET /v1/tokens`; the secret only when it was just made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Token {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) id: String,
    pub(crate) kind: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) join: Option<String>,
    pub(crate) created_at: Option<String>,
    pub(crate) expires_at: Option<String>,
    pub(crate) revoked_at: Option<String>,
}

impl Job {
    /// Whether it has reached its terminal state.
    pub(crate) fn is_terminal(&self) -> bool {
        ["succeeded", "failed", "cancelled", "expired"].contains(&self.state.as_str())
    }

    /// What a person calls it: its name, else its command, else its kind.
    pub(crate) fn title(&self) -> String {
        if let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) {
            return name.to_owned();
        }
        let command = self.payload.get("command").and_then(Value::as_array);
        let words: Vec<&str> = command.into_iter().flatten().filter_map(Value::as_str).collect();
        if words.is_empty() { self.kind.clone() } else { words.join(" ") }
    }
}

/// Reads `null` as nothing, like a field that is missing.
pub(crate) fn null_is_empty<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// The rows under `key`, or those of a bare array.
pub(crate) fn rows<T: DeserializeOwned>(answer: &Answer, key: &str) -> Result<Vec<T>, Failure> {
    let found = match answer.json::<Value>()? {
        Value::Object(mut object) => object.remove(key).unwrap_or_else(|| Value::Array(Vec::new())),
        other => other,
    };
    serde_json::from_value(found).map_err(|error| Failure::not_understood(&error))
}
