//! `relais submit`: hands jobs in, and waits for them when told to.
//!
//! Every submit carries an idempotency key, given or made here, so that it can be sent again to another
//! node until one acknowledges it, and is still one job.

mod batch;
pub(crate) mod input;
pub(crate) mod spec;

use super::client::{Answer, Call, Client};
use super::failure::Failure;
use super::logs::{Selection, follow::Follow};
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::{group, job, view, wait};
use input::Input;
use rand::TryRngCore;
use serde_json::Value;
use std::path::PathBuf;

/// Submit a job: a command, or jobs from a file
#[derive(clap::Args)]
#[command(after_help = "\
Without a terminal it prints the id alone (of several jobs, one id a line).

Examples:
  relais submit -- sha256sum /etc/hosts
  relais submit --wait --timeout 1h --retries 3 --queue reports -- python3 report.py
  relais submit --follow --env TZ=UTC -- date
  relais submit --array 1-100 --progress -- sh -c 'convert page-$RELAIS_ARRAY_INDEX.tif'
  relais submit -f job.json
  find . -type f | jq -Rc '{kind: \"exec\", payload: {command: [\"sha256sum\", .]}}' | relais submit -f -")]
pub(crate) struct Submit {
    #[command(flatten)]
    spec: spec::Flags,
    /// A job spec, an array of them, or NDJSON; `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["spec_flags", "command"])]
    file: Option<PathBuf>,
    /// Idempotency key: the same key is the same job
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<String>,
    /// Wait for the end and exit with the job's own exit code
    #[arg(long, group = "until_end")]
    wait: bool,
    /// The same, showing the job's output as it comes
    #[arg(long, group = "until_end", conflicts_with_all = ["file", "array"])]
    follow: bool,
    /// The same, with a line that shows how it goes
    #[arg(long, group = "until_end")]
    progress: bool,
    /// The command and its arguments, run as they are, without a shell
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "file")]
    command: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Submit {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let key = match &self.key {
            Some(key) => key.clone(),
            None => random_key()?,
        };
        let one = match &self.file {
            None => self.spec.json(&self.command)?.to_string(),
            Some(path) => match Input::read(path)? {
                Input::One(text) => text,
                Input::Many(jobs) => {
                    let batch = batch::Batch { jobs, key, wait: self.waits(), progress: self.progress };
                    return batch.run(&self.remote.client()?, screen).await;
                }
            },
        };
        let client = self.remote.client()?;
        let answer = client.call(&Call::post("/v1/jobs", one).keyed(key)).await?;
        if let Some(accepted) = group::Accepted::of(&answer) {
            if !self.waits() || screen.format == Format::Table {
                accepted.tell(screen, &answer)?;
            }
            return if self.waits() {
                group::wait(&client, screen, &accepted.group, self.progress).await
            } else {
                Ok(0)
            };
        }
        let id = accepted_id(&answer)?;
        if !self.waits() {
            return tell(screen, &answer, &id).map(|()| 0);
        }
        self.until_end(&client, screen, &id).await
    }

    fn waits(&self) -> bool {
        self.wait || self.follow || self.progress
    }

    async fn until_end(&self, client: &Client, screen: Screen, id: &str) -> Result<u8, Failure> {
        if self.follow {
            screen.note(&format!("job {id}"));
        } else if screen.format == Format::Quiet || (screen.format == Format::Table && !screen.terminal) {
            screen.line(id)?;
        }
        let end = wait::unless_interrupted(async {
            if self.follow {
                Follow::new(id, &Selection::default()).run(client, screen).await?;
            }
            if self.progress && screen.error_terminal {
                return wait::with_progress(client, screen, id).await;
            }
            wait::until_end(client, id).await
        });
        let Some(end) = end.await else {
            return Ok(wait::leave(id));
        };
        let (answer, job) = end.map_err(|failure| with_id(failure, id))?;
        match screen.format {
            Format::Json | Format::Jsonl if !self.follow => job::show(screen, &answer)?,
            Format::Table if screen.terminal && !self.follow => wait::tell(screen, &answer, &job)?,
            _ => wait::tell_error(&job),
        }
        Ok(wait::exit_code(&job))
    }
}

/// Says which job it was that could not be waited for: its id is all the user has.
fn with_id(failure: Failure, id: &str) -> Failure {
    if !matches!(failure, Failure::OutputClosed) {
        eprintln!("relais: job {id} was accepted; `relais wait {id}` waits for it");
    }
    failure
}

fn accepted_id(answer: &Answer) -> Result<String, Failure> {
    let body: Value = answer.json()?;
    let id = body.get("id").and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| {
        Failure::Local("the node's answer names no job; is it a Relais node of this version?".to_owned())
    })
}

fn tell(screen: Screen, answer: &Answer, id: &str) -> Result<(), Failure> {
    match screen.format {
        Format::Json => return screen.json(answer),
        Format::Jsonl => return screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Table if screen.terminal => {}
        Format::Quiet | Format::Table => return screen.line(id),
    }
    let job: view::Job = answer.json()?;
    let said = if job.deduplicated { "was submitted before" } else { "submitted" };
    let state = if job.state.is_empty() { String::new() } else { format!(", {}", job.state) };
    screen.line(&super::failure::one_line(&format!("{id} {said}{state}")))?;
    screen.note(&format!("relais logs -f {id}"));
    Ok(())
}

fn random_key() -> Result<String, Failure> {
    let mut bytes = [0u8; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Failure::Local(format!("no random bytes to be had: {error}; give --key KEY")))?;
    Ok(format!("cli-{:032x}", u128::from_be_bytes(bytes)))
}

fn key(text: &str) -> Result<String, String> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > 200 || !printable {
        return Err("no key; use 1 to 200 printable ASCII characters without spaces".to_owned());
    }
    Ok(text.to_owned())
}
