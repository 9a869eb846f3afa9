//! `relais job`: shows one job, with its attempts.

use super::client::{Answer, Call};
use super::failure::Failure;
use super::job_ref::JobRef;
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::table::Table;
use super::time_text::{ago, between};
use super::view::{self, JobError};
use serde_json::Value;

/// Show one job and its attempts
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais job last
  relais job 01963a0c
  relais job 01963a0c -o json")]
pub(crate) struct Job {
    /// The job: its id, the beginning of it, or `last`
    id: JobRef,
    #[command(flatten)]
    remote: Remote,
}

impl Job {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        let id = self.id.resolve(&client).await?;
        let answer = client.call(&Call::read(format!("/v1/jobs/{id}"))).await?;
        show(screen, &answer)?;
        Ok(0)
    }
}

/// Shows the job that `answer` holds, in the format asked for.
pub(crate) fn show(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    match screen.format {
        Format::Json => screen.json(answer),
        Format::Jsonl => screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet => screen.line(&answer.json::<view::Job>()?.id),
        Format::Table => print(screen, answer),
    }
}

fn print(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    let job: view::Job = answer.json()?;
    let now = answer.date;
    let mut table = Table::of_pairs(screen);
    table.pair("id", &job.id);
    table.pair("job", &job.title());
    table.pair("kind", &job.kind);
    table.pair("state", &job.state);
    table.pair("queue", &job.queue);
    table.pair("priority", &job.priority.map(|n| n.to_string()).unwrap_or_default());
    let labels: Vec<String> = job.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    table.pair("labels", &labels.join(", "));
    table.pair("group", job.group.as_deref().unwrap_or_default());
    table.pair("submitted by", &plain(&job.submitted_by));
    table.pair("created", &ago(job.created_at.as_deref(), now));
    if job.run_at.is_some() && !job.is_terminal() {
        table.pair("due", &ago(job.run_at.as_deref(), now));
    }
    if job.started_at.is_some() {
        table.pair("started", &ago(job.started_at.as_deref(), now));
        table.pair("ran", &between(job.started_at.as_deref(), job.finished_at.as_deref(), now));
    }
    table.pair("node", job.node.as_deref().unwrap_or_default());
    table.pair("exit code", &job.exit_code.map(|n| n.to_string()).unwrap_or_default());
    table.pair("error", &job.error.as_ref().map(error_text).unwrap_or_default());
    if job.cancel_requested.is_some() && !job.is_terminal() {
        table.pair("cancel", "requested; it still runs");
    }
    table.pair("progress", &plain(&job.progress));
    table.pair("result", &plain(&job.result));
    table.print()?;
    if !job.attempts.is_empty() {
        screen.line("")?;
        attempts(screen, &job, answer)?;
    }
    Ok(())
}

fn attempts(screen: Screen, job: &view::Job, answer: &Answer) -> Result<(), Failure> {
    let mut table = Table::new(screen, &["ATTEMPT", "NODE", "EPOCH", "OUTCOME", "EXIT", "STARTED", "RAN", "ERROR"]);
    for attempt in &job.attempts {
        table.row([
            attempt.number.to_string(),
            attempt.node.clone().unwrap_or_else(|| "-".to_owned()),
            attempt.epoch.map_or_else(|| "-".to_owned(), |n| n.to_string()),
            attempt.outcome.clone().unwrap_or_else(|| "running".to_owned()),
            exit_text(attempt),
            ago(attempt.started_at.as_deref(), answer.date),
            between(attempt.started_at.as_deref(), attempt.finished_at.as_deref(), answer.date),
            attempt.error.as_ref().map(error_text).unwrap_or_default(),
        ]);
    }
    table.print()
}

fn exit_text(attempt: &view::Attempt) -> String {
    match (attempt.exit_code, &attempt.signal) {
        (Some(code), _) => code.to_string(),
        (None, Value::Null) => "-".to_owned(),
        (None, signal) => format!("signal {}", plain(signal)),
    }
}

/// `type: message` of an error.
pub(crate) fn error_text(error: &JobError) -> String {
    match error.message.as_str() {
        "" => error.kind.clone(),
        message => format!("{}: {message}", error.kind),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
