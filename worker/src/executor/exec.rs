//! `exec`: one process, by argument array, in a group of its own under the spawner.
//!
//! ```text
//!   prepare (blocking) ─► spawner ─► end or stop ─► the rest of the output ─► tidy (blocking)
//!                            └────► output, read all the while
//! ```
//!
//! It refuses a shell (who wants one names it) and the node's environment, but for PATH, HOME, LANG, TZ.

mod files;
mod prepare;

pub use files::clear_work_folder;

use super::payload::ExecPayload;
use super::{
    Clock, Ended, ErrorType, Executor, Outcome, ProgressSink, Stop, StopSignal, Task, Verdict, remark, stop_after,
    timeout,
};
use crate::spawner::{Exit, Process, SpawnError, Spawner};
use files::Files;
use futures::future::{BoxFuture, FutureExt};
use nix::sys::signal::Signal;
use prepare::{NodeEnv, Prepared, prepare};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How long output is waited for after the process's end: only one that escaped could still write.
const DRAIN: Duration = Duration::from_secs(1);
/// How often a progress file is looked at.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// How long a process has between TERM and KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace(pub Duration);

impl Default for Grace {
    /// Five seconds.
    fn default() -> Self {
        Self(Duration::from_secs(5))
    }
}

/// The executor of kind `exec`.
pub struct Exec {
    spawner: Spawner,
    clock: Clock,
    env: Arc<NodeEnv>,
    grace: Grace,
}

/// Why a process was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Timeout(u64),
    Stop(Stop),
}

impl Exec {
    /// One with the usual grace; takes PATH, HOME, LANG and TZ from this process now.
    #[must_use]
    pub fn new(spawner: Spawner, clock: Clock) -> Self {
        Self { spawner, clock, env: Arc::new(NodeEnv::of_this_process()), grace: Grace::default() }
    }

    /// The same with another grace.
    #[must_use]
    pub fn with_grace(self, grace: Grace) -> Self {
        Self { grace, ..self }
    }

    async fn attempt(&self, task: &Task, stop: StopSignal) -> Verdict {
        let payload = match ExecPayload::parse(&task.payload) {
            Ok(payload) => payload,
            Err(error) => return Verdict::failed(ErrorType::Spawn, error.to_string()),
        };
        let env = Arc::clone(&self.env);
        let place = prepare::Place::of(task);
        let prepared = tokio::task::spawn_blocking(move || prepare(payload, &env, &place)).await;
        let prepared = match prepared {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(error)) if error.is_the_nodes() => return Verdict::given_back(error.to_string()),
            Ok(Err(error)) => return Verdict::failed(ErrorType::Spawn, error.to_string()),
            Err(_) => return Verdict::stopped(Stop::Shutdown),
        };
        let Prepared { start, stdout, stderr, files } = prepared;
        let files = Arc::new(files);
        let command = start.program.display().to_string();
        let mut process = self.spawner.run(start);
        let (exit, cause) = {
            let mut pump = pin!(task.output.pump(stdout, stderr));
            let mut end = pin!(self.watch(&mut process, task, stop, &files));
            tokio::select! {
                end = &mut end => {
                    tokio::time::timeout(DRAIN, pump).await.ok();
                    end
                }
                pumped = &mut pump => {
                    if let Err(error) = pumped {
                        remark(&task.output, &format!("the output could not be read on: {error}")).await;
                    }
                    end.await
                }
            }
        };
        let mut verdict = verdict(exit, cause, &command, &task.node_name);
        tidy(files, task, &mut verdict).await;
        verdict
    }

    /// Waits for the process's end, and brings it about when it is time.
    async fn watch(
        &self,
        process: &mut Process,
        task: &Task,
        mut stop: StopSignal,
        files: &Arc<Files>,
    ) -> (Result<Exit, SpawnError>, Option<Cause>) {
        let mut cause: Option<Cause> = None;
        let mut stopping: Option<Stop> = None;
        let mut terminated = false;
        let mut timeout = pin!(timeout(task.timeout_ms));
        let mut grace = pin!(tokio::time::sleep(Duration::MAX));
        let mut progress = pin!(watch_progress(Arc::clone(files), task.progress.clone()));
        loop {
            let newly = tokio::select! {
                // An end that is there already comes before any reason to bring it about.
                biased;
                exit = process.exit() => return (exit, cause),
                reason = stop_after(&mut stop, stopping) => {
                    stopping = Some(reason);
                    Cause::Stop(reason)
                }
                ms = &mut timeout, if cause.is_none() => Cause::Timeout(ms),
                () = &mut grace, if terminated => {
                    process.signal(Signal::SIGKILL);
                    terminated = false;
                    continue;
                }
                never = &mut progress => match never {},
            };
            // What began the end names it, but for a lease that is over: its result must not count.
            if cause.is_none() || newly == Cause::Stop(Stop::Fenced) {
                cause = Some(newly);
            }
            if newly == Cause::Stop(Stop::Fenced) {
                process.signal(Signal::SIGKILL);
            } else if !terminated {
                process.signal(Signal::SIGTERM);
                // A stopped process would not see the TERM before its KILL.
                process.signal(Signal::SIGCONT);
                grace.set(tokio::time::sleep(self.grace.0));
                terminated = true;
            }
        }
    }
}

impl Executor for Exec {
    fn run(self: Arc<Self>, task: Task, stop: StopSignal) -> BoxFuture<'static, Ended> {
        async move {
            let started_at = (self.clock)();
            let verdict = self.attempt(&task, stop).await;
            verdict.with(task.output, started_at, (self.clock)())
        }
        .boxed()
    }
}

/// Tells of each new content of the progress file, for ever.
async fn watch_progress(files: Arc<Files>, sink: Option<ProgressSink>) -> std::convert::Infallible {
    let Some(sink) = sink else { return std::future::pending().await };
    let mut told = None;
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        let files = Arc::clone(&files);
        let now = tokio::task::spawn_blocking(move || files.progress()).await.ok().flatten();
        if let Some(text) = now.clone().filter(|_| now != told) {
            sink(text);
            told = now;
        }
    }
}

fn verdict(exit: Result<Exit, SpawnError>, cause: Option<Cause>, command: &str, node: &str) -> Verdict {
    let exit = match exit {
        Ok(exit) => exit,
        Err(SpawnError::Refused { errno, message }) => {
            let message = prepare::refusal(command, node, errno, &message);
            let is_the_nodes = errno.is_some_and(prepare::is_a_lack);
            return if is_the_nodes {
                Verdict::given_back(message)
            } else {
                Verdict::failed(ErrorType::Spawn, message)
            };
        }
        Err(error @ SpawnError::SpawnerDied) => match cause {
            Some(Cause::Stop(reason)) => return Verdict::stopped(reason),
            _ => return Verdict::failed(ErrorType::Spawn, error.to_string()),
        },
    };
    // Who ended by itself before the signal reached it ended as it did; but a lease that is over is over.
    let cause = cause.filter(|cause| exit.told || *cause == Cause::Stop(Stop::Fenced));
    let verdict = match (cause, exit) {
        (Some(Cause::Stop(reason)), _) => Verdict::stopped(reason),
        (Some(Cause::Timeout(ms)), _) => Verdict::timed_out(ms),
        (None, Exit { code: Some(0), .. }) => Verdict::succeeded(),
        (None, Exit { signal: Some(number), .. }) => {
            let name = Signal::try_from(number).map_or("a real-time signal", Signal::as_str);
            Verdict::failed(ErrorType::Signal, format!("ended by signal {number} ({name})"))
        }
        (None, Exit { code, .. }) => {
            Verdict::failed(ErrorType::Exit, format!("exit code {}", code.unwrap_or_default()))
        }
    };
    Verdict { exit_code: exit.code, signal: exit.signal, ..verdict }
}

/// Reads what the attempt left for us, and removes all it left.
async fn tidy(files: Arc<Files>, task: &Task, verdict: &mut Verdict) {
    let left = tokio::task::spawn_blocking(move || (files.progress(), files.result(), files.remove())).await;
    let Ok((progress, result, removed)) = left else { return };
    verdict.progress = progress;
    match result {
        Ok(result) => {
            verdict.result =
                result.filter(|_| verdict.outcome == Outcome::Succeeded || verdict.outcome == Outcome::Failed)
        }
        Err(error) => remark(&task.output, &format!("the result file was ignored: {error}")).await,
    }
    if let Err(error) = removed {
        tracing::warn!(job = %task.job, %error, "failed to remove an attempt's private folder");
    }
}
