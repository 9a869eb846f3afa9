//! `noop`: does nothing, for as long as it is told, and fails as often as it is told. For trials and
//! benchmarks: it shows what the rest of the system costs.

use super::payload::NoopPayload;
use super::{Clock, Ended, ErrorType, Executor, StopSignal, Task, Verdict, bounded};
use crate::output::Captured;
use futures::future::{BoxFuture, FutureExt};
use std::sync::Arc;
use std::time::Duration;

/// The executor of kind `noop`.
pub struct Noop {
    clock: Clock,
}

impl Noop {
    /// One that tells the time by `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl Executor for Noop {
    fn run(self: Arc<Self>, task: Task, stop: StopSignal) -> BoxFuture<'static, Ended> {
        async move {
            let started_at = (self.clock)();
            let verdict = match NoopPayload::parse(&task.payload) {
                Ok(payload) => bounded(pass(payload, task.attempt), task.timeout_ms, stop).await,
                Err(error) => Verdict::failed(ErrorType::Spawn, error.to_string()),
            };
            verdict.with(task.output, started_at, (self.clock)())
        }
        .boxed()
    }

    fn at_once(&self, payload: &str, attempt: u16) -> Option<Ended> {
        let payload = if payload == "{}" { Ok(NoopPayload::default()) } else { parse(payload) };
        let payload = payload.ok().filter(|payload| payload.sleep_ms == 0)?;
        let now = (self.clock)();
        Some(end(payload, attempt).after(Captured::default(), now, now))
    }
}

fn parse(payload: &str) -> Result<NoopPayload, ()> {
    let payload = serde_json::from_str(payload).map_err(drop)?;
    NoopPayload::parse(&payload).map_err(drop)
}

async fn pass(payload: NoopPayload, attempt: u16) -> Verdict {
    if payload.sleep_ms > 0 {
        tokio::time::sleep(Duration::from_millis(payload.sleep_ms)).await;
    }
    end(payload, attempt)
}

fn end(payload: NoopPayload, attempt: u16) -> Verdict {
    if attempt <= payload.fail_times {
        let message = format!("attempt {attempt} of the {} that were to fail", payload.fail_times);
        return Verdict { exit_code: Some(1), ..Verdict::failed(ErrorType::Exit, message) };
    }
    Verdict { exit_code: Some(0), ..Verdict::succeeded() }
}
