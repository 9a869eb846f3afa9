//! `relais wait`, and waiting as `submit` does it: until a job has ended, then its own exit code.

use super::client::{Answer, Call, Client, POLL_WAIT};
use super::failure::{EXIT_CANCELLED, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TIMED_OUT, Failure, one_line};
use super::group;
use super::job::{error_text, show};
use super::job_ref::JobRef;
use super::progress::Progress;
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::time_text::between;
use super::view;
use serde_json::Value;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A waiting command outlives a failover and a restart of all nodes.
const PATIENCE_LEAST: Duration = Duration::from_secs(60);
/// The pause after a poll that came back at once although the job has not ended.
const POLL_PAUSE: Duration = Duration::from_millis(200);
const POLL_SHORT: Duration = Duration::from_millis(500);

/// Wait until jobs have ended; exits with the job's own exit code
#[derive(clap::Args)]
#[command(after_help = "\
Of several jobs, the exit code is that of the first one named that did not succeed.

Examples:
  relais wait last
  relais wait 01963a0c 01963a0d && echo both succeeded")]
pub(crate) struct Wait {
    /// The jobs: ids, beginnings of ids, or `last`; or whole ids of groups
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobRef>,
    #[command(flatten)]
    remote: Remote,
}

impl Wait {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        let mut code = 0;
        for id in &self.ids {
            let id = id.resolve(&client).await?;
            if group::is_group(&id) {
                let own = group::wait(&client, screen, &id, false).await?;
                if own == EXIT_INTERRUPTED {
                    return Ok(own);
                }
                code = if code == 0 { own } else { code };
                continue;
            }
            let Some(end) = unless_interrupted(until_end(&client, &id)).await else {
                return Ok(leave(&id));
            };
            let (answer, job) = end?;
            tell(screen, &answer, &job)?;
            code = if code == 0 { exit_code(&job) } else { code };
        }
        Ok(code)
    }
}

/// How long waiting goes on while no node answers.
pub(crate) fn patience(client: &Client) -> Duration {
    client.patience().max(PATIENCE_LEAST)
}

/// Polls `id` until the job has ended, on whichever node answers.
///
/// # Errors
/// A node's refusal, or that no node answered for a minute.
pub(crate) async fn until_end(client: &Client, id: &str) -> Result<(Answer, view::Job), Failure> {
    let mut id = id.to_owned();
    loop {
        let asked = Instant::now();
        let path = format!("/v1/jobs/{id}?wait={}s", POLL_WAIT.as_secs());
        let answer = client.call(&Call::read(path).polling(patience(client))).await?;
        let job: view::Job = answer.json()?;
        if job.is_terminal() {
            return Ok((answer, job));
        }
        // From here on by its whole id: what is a unique beginning now need not stay one.
        id.clone_from(&job.id);
        if asked.elapsed() < POLL_SHORT {
            sleep(POLL_PAUSE).await;
        }
    }
}

/// The same with a line that shows how it goes, once a second.
pub(crate) async fn with_progress(client: &Client, screen: Screen, id: &str) -> Result<(Answer, view::Job), Failure> {
    let call = Call::read(format!("/v1/jobs/{id}")).polling(patience(client));
    let progress = Progress::spinner(screen);
    loop {
        let answer = client.call(&call).await?;
        let job: view::Job = answer.json()?;
        if job.is_terminal() {
            return Ok((answer, job));
        }
        progress.say(&progress_text(&job, &answer));
        sleep(Duration::from_secs(1)).await;
    }
}

fn progress_text(job: &view::Job, answer: &Answer) -> String {
    let mut text = format!("{} {}", job.id, job.state);
    if let Some(node) = &job.node {
        text += &format!(" on {node} for {}", between(job.started_at.as_deref(), None, answer.date));
    }
    if let Some(attempt) = job.attempt.filter(|n| *n > 1) {
        text += &format!(", attempt {attempt}");
    }
    match &job.progress {
        Value::Null => text,
        Value::String(progress) => format!("{text}: {progress}"),
        progress => format!("{text}: {progress}"),
    }
}

/// Shows an ended job: for people one line, and why it did not succeed on standard error.
pub(crate) fn tell(screen: Screen, answer: &Answer, job: &view::Job) -> Result<(), Failure> {
    if screen.format != Format::Table {
        return show(screen, answer);
    }
    let ran = between(job.started_at.as_deref(), job.finished_at.as_deref(), answer.date);
    let node = job.node.as_deref().unwrap_or("no node");
    screen.line(&one_line(&format!("{} {} after {ran} on {node}", job.id, job.state)))?;
    tell_error(job);
    Ok(())
}

/// Says on standard error why a job did not succeed.
pub(crate) fn tell_error(job: &view::Job) {
    if job.state == "succeeded" {
        return;
    }
    let why = job.error.as_ref().map_or_else(String::new, |error| format!(" ({})", error_text(error)));
    let text = format!("job {} {}{why}; `relais logs {}` shows its output", job.id, job.state, job.id);
    eprintln!("relais: {}", one_line(&text));
}

/// The exit code that tells how a job ended, as in `api.md`.
pub(crate) fn exit_code(job: &view::Job) -> u8 {
    let error = job.error.as_ref().map_or("", |error| error.kind.as_str());
    match (job.state.as_str(), error) {
        ("succeeded", _) => 0,
        ("cancelled", _) => EXIT_CANCELLED,
        ("expired", _) | (_, "timeout" | "expired") => EXIT_TIMED_OUT,
        _ => own_code(job).unwrap_or(EXIT_FAILED),
    }
}

fn own_code(job: &view::Job) -> Option<u8> {
    let last = job.attempts.last();
    let signal = last.and_then(|attempt| signal_number(&attempt.signal));
    if let Some(signal) = signal {
        return Some(128u8.saturating_add(signal));
    }
    let code = job.exit_code.or_else(|| last.and_then(|attempt| attempt.exit_code))?;
    u8::try_from(code).ok().filter(|code| *code != 0)
}

fn signal_number(signal: &Value) -> Option<u8> {
    match signal {
        Value::Number(number) => number.as_u64().and_then(|n| u8::try_from(n).ok()).filter(|n| *n > 0),
        Value::String(name) => {
            let signal = nix::sys::signal::Signal::from_str(name).ok()?;
            u8::try_from(signal as i32).ok()
        }
        _ => None,
    }
}

/// Runs `work` unless the user presses Ctrl-C first.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        pressed = tokio::signal::ctrl_c() => {
            drop(pressed);
            None
        }
    }
}

/// Says that the job goes on without us, and with which id.
pub(crate) fn leave(id: &str) -> u8 {
    eprintln!("\nrelais: job {id} goes on; `relais wait {id}` waits for it, `relais cancel {id}` stops it");
    EXIT_INTERRUPTED
}
