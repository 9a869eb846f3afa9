//! `relais cancel`: asks for jobs to be stopped.

use super::bulk::Bulk;
use super::client::{Answer, Call, Client};
use super::failure::Failure;
use super::group;
use super::job_ref::JobRef;
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::view;
use serde_json::json;

/// Cancel jobs: at once when they wait, after TERM and grace when they run
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais cancel last
  relais cancel 01963a0c 01963a0d --reason 'wrong input'
  relais cancel --queue reports --state queued --dry-run")]
pub(crate) struct Cancel {
    /// The jobs: ids, beginnings of ids, or `last`; or whole ids of groups
    #[arg(value_name = "ID")]
    ids: Vec<JobRef>,
    #[command(flatten)]
    bulk: Bulk,
    /// Why; kept with the job
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Cancel {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let body = match &self.reason {
            Some(reason) => json!({ "reason": reason }),
            None => json!({}),
        };
        if !self.bulk.is_for_ids(&self.ids)? {
            return self.bulk.run(&self.remote, "cancel", body.to_string()).await;
        }
        for_each(&self.remote, &self.ids, "cancel", &body, |answer, job| {
            if answer.status == 202 && !job.is_terminal() {
                format!("{} is told to stop; `relais wait {}` waits for its end", job.id, job.id)
            } else {
                format!("{} is {}", job.id, job.state)
            }
        })
        .await
    }
}

/// Posts `:verb` for each job, and says what came of it. One job's refusal does not keep it from the next;
/// the exit code is that of the first refusal.
pub(crate) async fn for_each(
    remote: &Remote,
    ids: &[JobRef],
    verb: &str,
    body: &serde_json::Value,
    said: impl Fn(&Answer, &view::Job) -> String,
) -> Result<u8, Failure> {
    let screen = remote.screen();
    let client = remote.client()?;
    let mut code = 0;
    for id in ids {
        if let Err(failure) = one(screen, &client, id, verb, body, &said).await {
            if ids.len() == 1 || matches!(failure, Failure::Unreachable(_) | Failure::OutputClosed) {
                return Err(failure);
            }
            failure.tell();
            code = if code == 0 { failure.exit_code() } else { code };
        }
    }
    Ok(code)
}

async fn one(
    screen: Screen,
    client: &Client,
    id: &JobRef,
    verb: &str,
    body: &serde_json::Value,
    said: &impl Fn(&Answer, &view::Job) -> String,
) -> Result<(), Failure> {
    let id = id.resolve(client).await?;
    if verb == "cancel" && group::is_group(&id) {
        return group::cancel(client, screen, &id, body).await;
    }
    let answer = client.call(&Call::post(format!("/v1/jobs/{id}:{verb}"), body.to_string())).await?;
    match screen.format {
        Format::Json => screen.json(&answer),
        Format::Jsonl => screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet => screen.line(&answer.json::<view::Job>()?.id),
        Format::Table => screen.line(&said(&answer, &answer.json()?)),
    }
}
