//! Kinds of one's own: an async function of the program that the node is a part of.
//!
//! A handler runs on threads that are kept for handlers, so that one that computes keeps neither the journal nor
//! other executors waiting. It is told to stop, has a grace to do so, and is then dropped: what it left undone at an
//! `await` is gone, and a thread that it blocks can't be taken from it.

use super::{
    Clock, Ended, ErrorType, Executor, Outcome, ProgressSink, Stop, StopSignal, Task, Verdict, stop_after, timeout,
};
use futures::future::{BoxFuture, FutureExt};
use relais_protocol::ids::{Fence, JobId};
use relais_protocol::lease::{PROGRESS_BYTES_MAX, RESULT_BYTES_MAX};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

/// How long a handler has to end once it is told to.
const GRACE: Duration = Duration::from_secs(5);

/// One attempt, as its handler sees it.
pub struct Call {
    /// The job.
    pub job: JobId,
    /// The number of this attempt, from 1, all attempts of the job counted.
    pub attempt: u16,
    /// The fence of this attempt: it grows with each attempt of the job. Whoever keeps the highest that it has seen
    /// can refuse the work of an attempt that is over.
    pub fence: Fence,
    /// The job's kind.
    pub kind: String,
    /// The job's payload.
    pub payload: Value,
    /// The name of this node.
    pub node: String,
    told: watch::Receiver<bool>,
    progress: Option<ProgressSink>,
}

impl Call {
    /// Returns when the attempt is to stop: its job is cancelled, its time is over, or its node stops. What it
    /// returns after that does not count.
    pub async fn cancelled(&self) {
        let mut told = self.told.clone();
        if told.wait_for(|told| *told).await.is_err() {
            // Nobody can tell it any more: it is about to be dropped.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the attempt is to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.told.borrow()
    }

    /// Says how far it is. Only the first 1 KiB of the text is kept.
    pub fn progress(&self, text: &str) {
        let mut end = text.len().min(PROGRESS_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        if let Some(sink) = &self.progress {
            sink(text[..end].to_owned());
        }
    }
}

/// Why a handler failed. Any error becomes one that may be tried again, by `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerError {
    message: String,
    is_final: bool,
}

impl HandlerError {
    /// It may be tried again, as far as the job's retry policy goes.
    #[must_use]
    pub fn retryable(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_final: false }
    }

    /// It is in vain to try again: the job has failed.
    #[must_use]
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_final: true }
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::retryable(error.to_string())
    }
}

/// What a handler comes to: the job's result, `null` for none, or why there is none.
pub type Handled = Result<Value, HandlerError>;

type Function = Arc<dyn Fn(Call) -> BoxFuture<'static, Handled> + Send + Sync>;

/// Handlers by kind. Cheap to clone.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<String, Function>);

impl Handlers {
    /// Adds a handler, or replaces it.
    #[must_use]
    pub fn with<F, Fut>(mut self, kind: &str, handler: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Handled> + Send + 'static,
    {
        self.0.insert(kind.to_owned(), Arc::new(move |call| handler(call).boxed()));
        self
    }

    /// Their kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An executor for each, that runs them on `runtime`.
    pub fn executors(&self, clock: &Clock, runtime: &Handle) -> impl Iterator<Item = (&str, Arc<dyn Executor>)> {
        let make = |function: &Function| Handler {
            function: Arc::clone(function),
            runtime: runtime.clone(),
            clock: Arc::clone(clock),
            grace: GRACE,
        };
        self.0.iter().map(move |(kind, function)| (kind.as_str(), Arc::new(make(function)) as Arc<dyn Executor>))
    }
}

/// The executor of a kind of one's own.
struct Handler {
    function: Function,
    runtime: Handle,
    clock: Clock,
    grace: Duration,
}

/// A handler's task, that ends with whoever waits for it.
struct Work(JoinHandle<Handled>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Handler {
    async fn attempt(&self, task: &mut Task, mut stop: StopSignal) -> Verdict {
        let (tell, told) = watch::channel(false);
        let call = Call {
            job: task.job,
            attempt: task.attempt,
            fence: task.fence,
            kind: task.kind.clone(),
            payload: std::mem::take(&mut task.payload),
            node: task.node_name.clone(),
            told,
            progress: task.progress.clone(),
        };
        let mut work = Work(self.runtime.spawn((self.function)(call)));
        let (stopped, verdict) = tokio::select! {
            // An end that is there already comes before any reason to bring it about.
            biased;
            handled = &mut work.0 => return verdict(handled),
            reason = stop_after(&mut stop, None) => (Some(reason), Verdict::stopped(reason)),
            ms = timeout(task.timeout_ms) => (None, Verdict::timed_out(ms)),
        };
        tell.send_replace(true);
        if stopped == Some(Stop::Fenced) {
            return verdict;
        }
        tokio::select! {
            _ = &mut work.0 => verdict,
            () = tokio::time::sleep(self.grace) => verdict,
            () = fenced(&mut stop) => Verdict::stopped(Stop::Fenced),
        }
    }
}

async fn fenced(stop: &mut StopSignal) {
    if stop.wait_for(|reason| *reason == Some(Stop::Fenced)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn verdict(handled: Result<Handled, JoinError>) -> Verdict {
    match handled {
        Ok(Ok(Value::Null)) => Verdict::succeeded(),
        Ok(Ok(value)) => {
            let text = value.to_string();
            if text.len() > RESULT_BYTES_MAX {
                let message = "its result is longer than 64 KiB; put the data elsewhere, and name that place";
                return Verdict::failed(ErrorType::WorkerFinal, message);
            }
            Verdict { result: Some(text), ..Verdict::new(Outcome::Succeeded, None) }
        }
        Ok(Err(HandlerError { message, is_final: true })) => Verdict::failed(ErrorType::WorkerFinal, message),
        Ok(Err(HandlerError { message, .. })) => Verdict::failed(ErrorType::Worker, message),
        Err(error) => Verdict::failed(ErrorType::Worker, format!("its handler panicked: {}", panic_text(error))),
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "its threads are gone".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl Executor for Handler {
    fn run(self: Arc<Self>, mut task: Task, stop: StopSignal) -> BoxFuture<'static, Ended> {
        async move {
            let started_at = (self.clock)();
            let verdict = self.attempt(&mut task, stop).await;
            verdict.with(task.output, started_at, (self.clock)())
        }
        .boxed()
    }
}
