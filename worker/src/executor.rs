//! Executors: how one attempt of a job of each kind is run, from its task to its end.
//!
//! An executor is told when to stop and says how it ended; it refuses to decide whether there is another
//! attempt, whether the lease still holds, or what is said to the dispatcher. It never fails as a function:
//! whatever goes wrong is an [`Ended`] with an error in it.

mod exec;
pub mod handler;
mod http;
mod noop;
pub mod origin;
pub mod payload;

pub use exec::{Exec, Grace, clear_work_folder};
pub use http::Http;
pub use noop::Noop;

use crate::output::{Capture, Captured, Stream};
use futures::future::BoxFuture;
use relais_protocol::ids::{Fence, JobId};
use relais_protocol::time::{UnixMs, duration_text};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Where the wall-clock time comes from.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// Who is told what a running attempt last wrote to its progress file (trimmed, up to 1 KiB).
pub type ProgressSink = Arc<dyn Fn(String) + Send + Sync>;

/// How an executor is told to stop: `None` until then. A later value may be sharper than an earlier one.
pub type StopSignal = watch::Receiver<Option<Stop>>;

/// One attempt to run.
pub struct Task {
    /// The job.
    pub job: JobId,
    /// The fence of this attempt.
    pub fence: Fence,
    /// Its number, from 1.
    pub attempt: u16,
    /// Which executor runs it.
    pub kind: String,
    /// What to do, in the shape of the kind.
    pub payload: serde_json::Value,
    /// How long it may take.
    pub timeout_ms: Option<u64>,
    /// The name of this node, for the attempt's environment.
    pub node_name: String,
    /// More for its environment, stronger than what the payload names.
    pub extra_env: Vec<(String, String)>,
    /// Where private folders, progress and result files are made.
    pub work_dir: PathBuf,
    /// Whether its process is to end with the node's lease by the spawner's own count.
    pub leased: bool,
    /// Where its output goes.
    pub output: Capture,
    /// Who hears of its progress, if anybody.
    pub progress: Option<ProgressSink>,
}

/// Why an attempt is to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The job is cancelled: TERM, grace, KILL.
    Cancel,
    /// The node is being stopped: TERM, grace, KILL.
    Shutdown,
    /// The lease is over and another node may begin: KILL at once.
    Fenced,
}

/// What became of an attempt, as far as its node can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// It took too long and was stopped.
    TimedOut,
    /// It was stopped from outside: see [`Ended::stopped`].
    Cancelled,
    /// It never began, for want of something that is the node's to have: disk space, memory, descriptors.
    /// That says nothing of the job, so another node is to try it.
    GivenBack,
}

/// The `error.type` of an attempt, as in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// A code other than 0.
    Exit,
    /// Ended by a signal that was not ours.
    Signal,
    /// Stopped by its time-out.
    Timeout,
    /// It could not be started, or its end was not seen.
    Spawn,
    /// The request failed or was answered with a failure.
    Http,
    /// Stopped from outside.
    Cancelled,
    /// Its handler says that it failed.
    Worker,
    /// The same, and that it is in vain to try again.
    WorkerFinal,
}

impl ErrorType {
    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::Spawn => "spawn",
            Self::Http => "http",
            Self::Cancelled => "cancelled",
            Self::Worker => "worker",
            Self::WorkerFinal => "worker_final",
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// In one word.
    pub outcome: Outcome,
    /// The code it gave, if it is a process that gave one.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Type and message, unless it succeeded.
    pub error: Option<(ErrorType, String)>,
    /// What it was stopped for, if it was.
    pub stopped: Option<Stop>,
    /// The JSON text of its result, up to 64 KiB.
    pub result: Option<String>,
    /// Its last progress.
    pub progress: Option<String>,
    /// Its output: the last 4 KiB, the lengths, whether something was dropped.
    pub output: Captured,
    /// When it began.
    pub started_at: UnixMs,
    /// When it ended.
    pub finished_at: UnixMs,
}

/// An end before the output and the times are added.
pub(crate) struct Verdict {
    outcome: Outcome,
    exit_code: Option<i32>,
    signal: Option<i32>,
    error: Option<(ErrorType, String)>,
    stopped: Option<Stop>,
    result: Option<String>,
    progress: Option<String>,
}

impl Verdict {
    fn new(outcome: Outcome, error: Option<(ErrorType, String)>) -> Self {
        Self { outcome, exit_code: None, signal: None, error, stopped: None, result: None, progress: None }
    }

    fn succeeded() -> Self {
        Self::new(Outcome::Succeeded, None)
    }

    fn failed(error_type: ErrorType, message: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, Some((error_type, message.into())))
    }

    fn given_back(message: impl Into<String>) -> Self {
        Self::new(Outcome::GivenBack, Some((ErrorType::Spawn, message.into())))
    }

    fn timed_out(timeout_ms: u64) -> Self {
        let message = format!("stopped after its timeout of {}", duration_text(timeout_ms));
        Self::new(Outcome::TimedOut, Some((ErrorType::Timeout, message)))
    }

    fn stopped(stop: Stop) -> Self {
        let message = match stop {
            Stop::Cancel => "stopped because the job was cancelled",
            Stop::Shutdown => "stopped because its node was being stopped",
            Stop::Fenced => "killed because the lease of its node ran out",
        };
        let error = Some((ErrorType::Cancelled, message.to_owned()));
        Self { stopped: Some(stop), ..Self::new(Outcome::Cancelled, error) }
    }

    fn with(self, output: Capture, started_at: UnixMs, finished_at: UnixMs) -> Ended {
        self.after(output.finish(), started_at, finished_at)
    }

    fn after(self, output: Captured, started_at: UnixMs, finished_at: UnixMs) -> Ended {
        Ended {
            outcome: self.outcome,
            exit_code: self.exit_code,
            signal: self.signal,
            error: self.error,
            stopped: self.stopped,
            result: self.result,
            progress: self.progress,
            output,
            started_at,
            finished_at,
        }
    }
}

/// Runs attempts of one kind.
pub trait Executor: Send + Sync {
    /// Runs one attempt to its end; nothing of it is left when the future is ready.
    fn run(self: Arc<Self>, task: Task, stop: StopSignal) -> BoxFuture<'static, Ended>;

    /// The end of attempt `attempt` of a job with this payload, if there is nothing in between: then it needs no
    /// task, no output and nobody who could stop it.
    fn at_once(&self, _payload: &str, _attempt: u16) -> Option<Ended> {
        None
    }
}

/// The executors of a node, by kind. Cheap to clone.
#[derive(Clone)]
pub struct Executors {
    kinds: BTreeMap<String, Arc<dyn Executor>>,
    clock: Clock,
}

impl Executors {
    /// None yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { kinds: BTreeMap::new(), clock }
    }

    /// The kinds every node has: `exec`, `http`, `noop`.
    #[must_use]
    pub fn standard(clock: Clock, spawner: crate::spawner::Spawner) -> Self {
        Self::new(Arc::clone(&clock))
            .with("exec", Arc::new(Exec::new(spawner, Arc::clone(&clock))))
            .with("http", Arc::new(Http::new(Arc::clone(&clock))))
            .with("noop", Arc::new(Noop::new(clock)))
    }

    /// Adds a kind, or replaces it.
    #[must_use]
    pub fn with(mut self, kind: &str, executor: Arc<dyn Executor>) -> Self {
        self.kinds.insert(kind.to_owned(), executor);
        self
    }

    /// The kinds this node can run, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// The end of an attempt that has nothing in between, see [`Executor::at_once`].
    #[must_use]
    pub fn at_once(&self, kind: &str, payload: &str, attempt: u16) -> Option<Ended> {
        self.kinds.get(kind)?.at_once(payload, attempt)
    }

    /// Runs one attempt to its end. A kind that is not known here fails with a `spawn` error. A dropped
    /// future kills the attempt's processes.
    pub async fn run(&self, task: Task, stop: StopSignal) -> Ended {
        if let Some(executor) = self.kinds.get(&task.kind) {
            return Arc::clone(executor).run(task, stop).await;
        }
        let known: Vec<&str> = self.kinds().collect();
        let message = format!(
            "node `{}` has no executor of kind `{}` (it has {}); start the job where the kind is offered",
            task.node_name,
            task.kind,
            known.join(", ")
        );
        let now = (self.clock)();
        Verdict::failed(ErrorType::Spawn, message).with(task.output, now, now)
    }
}

/// Runs `work`, which leaves nothing behind when it is dropped, until it ends, is stopped or takes too long.
async fn bounded(work: impl Future<Output = Verdict>, timeout_ms: Option<u64>, mut stop: StopSignal) -> Verdict {
    tokio::select! {
        verdict = work => verdict,
        reason = stop_after(&mut stop, None) => Verdict::stopped(reason),
        ms = timeout(timeout_ms) => Verdict::timed_out(ms),
    }
}

/// Waits until there is a reason to stop sharper than `known`; for ever if nobody can give one any more.
async fn stop_after(stop: &mut StopSignal, known: Option<Stop>) -> Stop {
    let reason = match stop.wait_for(|reason| *reason > known).await {
        Ok(reason) => *reason,
        Err(_) => None,
    };
    match reason {
        Some(reason) => reason,
        None => std::future::pending().await,
    }
}

/// Waits for the time-out, for ever if there is none; gives back its milliseconds.
async fn timeout(timeout_ms: Option<u64>) -> u64 {
    match timeout_ms {
        Some(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            ms
        }
        None => std::future::pending().await,
    }
}

/// Writes a line of Relais' own into the attempt's stderr.
async fn remark(output: &Capture, text: &str) {
    output.write(Stream::Stderr, format!("relais: {text}\n").into_bytes()).await;
}
