//! What a job is to be: the checked form of a job spec. The edge that reads JSON makes it; whoever has
//! one need not check it again.

use crate::group::Origin;
use crate::ids::{JobId, NodeId};
use crate::job::StateName;
use crate::notice::Webhook;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Bytes a payload may have, as JSON text.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Characters a job's name may have.
pub const NAME_CHARS_MAX: usize = 200;
/// Labels a job or a node may have.
pub const LABELS_MAX: usize = 16;
/// Jobs that one job may depend on.
pub const DEPENDENCIES_MAX: usize = 1_000;
/// Attempts a policy may allow.
pub const ATTEMPTS_MAX: u16 = 10_000;

/// The kinds that every node runs.
pub const EVERYWHERE: [&str; 3] = ["exec", "http", "noop"];

/// A set of labels, in order.
pub type Labels = BTreeMap<String, String>;

/// A name of a queue: `^[a-z0-9][a-z0-9._-]{0,63}$`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueName(String);

impl QueueName {
    /// Checks `text`.
    ///
    /// # Errors
    /// With the pattern, when it does not fit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let first_fits = text.chars().next().is_some_and(plain);
        let rest_fits = text.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'));
        if first_fits && rest_fits && text.len() <= 64 {
            Ok(Self(text.to_owned()))
        } else {
            Err("a queue name is 1 to 64 of a-z 0-9 . _ - and starts with a letter or digit".to_owned())
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One unit of work, as its submitter described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Which executor runs it.
    pub kind: String,
    /// The line it waits in.
    pub queue: QueueName,
    /// 0 to 100, higher first.
    pub priority: u8,
    /// A name for people, may be empty. Not among the options, since many jobs have nothing else of their own.
    pub name: String,
    /// What the executor is given: JSON text, checked for its kind.
    pub payload: String,
    /// All that most jobs leave at its default. A byte when they do.
    pub options: Option<Box<JobOptions>>,
}

/// The parts of a spec that most jobs leave alone.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobOptions {
    /// When it may start.
    pub start: StartTime,
    /// After this it is never started.
    pub expires_at: Option<UnixMs>,
    /// How long one attempt may run, in ms.
    pub timeout_ms: Option<u64>,
    /// What follows an attempt that did not succeed.
    pub retry: RetryPolicy,
    /// What its worker does when the dispatcher is out of reach for a lease.
    pub on_disconnect: OnDisconnect,
    /// The key under which it was submitted.
    pub idempotency_key: Option<String>,
    /// What a node must have to run it.
    pub requires: Requires,
    /// Labels for people and filters.
    pub labels: Labels,
    /// Free JSON text kept with the job, may be empty.
    pub metadata: String,
    /// Jobs that must have ended before it may start.
    pub depends_on: Vec<Dependency>,
    /// How many jobs of its kind may run at once.
    pub concurrency: Option<Concurrency>,
    /// What it is to be the only one of.
    pub unique: Option<Unique>,
    /// Which of the nodes that fit it goes to.
    pub placement: Placement,
    /// Whom to tell of its end.
    pub notify: Option<Webhook>,
    /// What is submitted when it has ended.
    pub on_complete: Option<Box<JobSpec>>,
    /// What it was made from, where nobody submitted it by itself.
    pub origin: Option<Origin>,
}

/// Which of the nodes that fit a job goes to. One that did not fail it last goes before any that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Placement {
    /// The least loaded.
    #[default]
    Spread,
    /// The most loaded, so that others stay free for what needs a whole one.
    Pack,
}

/// That a job waits for another one to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dependency {
    /// For which.
    pub job: JobId,
    /// And how it must end.
    pub on: Condition,
}

/// How a job must end for another one to follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Condition {
    /// Well.
    #[default]
    Succeeded,
    /// In whatever way.
    Finished,
    /// Badly: it failed or expired. That somebody cancelled it is no failure.
    Failed,
}

impl Condition {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }

    /// Whether a job that ended in `state` fulfils it.
    #[must_use]
    pub fn is_met_by(self, state: StateName) -> bool {
        match self {
            Self::Succeeded => state == StateName::Succeeded,
            Self::Finished => state.is_terminal(),
            Self::Failed => matches!(state, StateName::Failed | StateName::Expired),
        }
    }
}

/// At most `limit` jobs with this key run at once, in the whole cluster, whatever their queues. Each job is held
/// to its own limit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Concurrency {
    /// What they share.
    pub key: String,
    /// So many, at least 1.
    pub limit: u32,
}

/// Of the jobs with this key there is one at a time, in the whole cluster, whatever their queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    /// What they share.
    pub key: String,
    /// How long the key is the job's, in ms from its submit, unless it is cancelled or expires before; without
    /// it, until the job has ended.
    pub for_ms: Option<u64>,
    /// What becomes of a submit under a key that another job has.
    pub on_conflict: OnConflict,
}

/// What becomes of a submit under a unique key that another job has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnConflict {
    /// It is answered with that job.
    #[default]
    Return,
    /// It is refused.
    Reject,
    /// It is taken in, and the other job is cancelled.
    Replace,
}

/// When a job may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StartTime {
    /// As soon as a slot is free.
    #[default]
    Now,
    /// Not before this time.
    At(UnixMs),
    /// Not before this many ms after its submit was committed.
    After(u64),
}

/// What follows an attempt that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Failed and timed-out attempts allowed in all.
    pub max_attempts: u16,
    /// Wait before the second attempt, in ms.
    pub initial_interval_ms: u64,
    /// Each wait is this many thousandths of the one before.
    pub backoff_permille: u32,
    /// No wait is longer, in ms.
    pub maximum_interval_ms: u64,
    /// How a wait is spread.
    pub jitter: Jitter,
    /// `exit:N` or an error type: such a failure ends the job.
    pub non_retryable: Vec<String>,
    /// What follows a lost attempt.
    pub on_lost: OnLost,
    /// Lost attempts allowed before the job fails as `lost_too_often`.
    pub max_lost: u16,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 1,
            initial_interval_ms: 1_000,
            backoff_permille: 2_000,
            maximum_interval_ms: 600_000,
            jitter: Jitter::Full,
            non_retryable: Vec::new(),
            on_lost: OnLost::Retry,
            max_lost: 3,
        }
    }
}

/// How the wait before a retry is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Jitter {
    /// Evenly from nothing to the whole wait.
    #[default]
    Full,
    /// Not at all.
    None,
}

/// What follows a lost attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnLost {
    /// Another attempt, at once, beside the policy's count.
    #[default]
    Retry,
    /// The job fails.
    Fail,
}

/// What a worker does with an attempt whose lease it can't renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnDisconnect {
    /// Kills it before the lease ends.
    #[default]
    Stop,
    /// Lets it run; silence never makes it lost.
    Continue,
}

/// What a node must have to run a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requires {
    /// Slots that it takes.
    pub slots: u32,
    /// Thousandths of a core that it asks for.
    pub cpu_millis: u32,
    /// Bytes of memory that it asks for.
    pub memory_bytes: u64,
    /// Labels that the node must bear.
    pub labels: Labels,
    /// The kind that it must offer; `None` for those that every node has. [`JobSpec::with_options`] sets it.
    pub kind: Option<String>,
    /// The one node that it is for.
    pub node: Option<NodeId>,
}

impl Default for Requires {
    fn default() -> Self {
        Self { slots: 1, cpu_millis: 0, memory_bytes: 0, labels: Labels::new(), kind: None, node: None }
    }
}

static DEFAULT_OPTIONS: std::sync::LazyLock<JobOptions> = std::sync::LazyLock::new(JobOptions::default);

impl JobSpec {
    /// The options, defaults where none were given.
    #[must_use]
    pub fn options(&self) -> &JobOptions {
        self.options.as_deref().unwrap_or(&DEFAULT_OPTIONS)
    }

    /// Keeps `options` unless they are all defaults.
    #[must_use]
    pub fn with_options(mut self, mut options: JobOptions) -> Self {
        options.requires.kind = (!EVERYWHERE.contains(&self.kind.as_str())).then(|| self.kind.clone());
        self.options = (options != *DEFAULT_OPTIONS).then(|| Box::new(options));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_names_keep_to_their_pattern() {
        for good in ["default", "a", "0.x_y-z", &"q".repeat(64)] {
            assert_eq!(QueueName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "A", ".x", "a b", "ü", &"q".repeat(65)] {
            assert!(QueueName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn default_options_cost_nothing() {
        let spec = JobSpec {
            kind: "noop".into(),
            queue: QueueName::default(),
            priority: 50,
            name: String::new(),
            payload: "{}".into(),
            options: None,
        };
        assert_eq!(spec.clone().with_options(JobOptions::default()), spec);
        assert_eq!(spec.options().retry.max_attempts, 1);
    }
}
