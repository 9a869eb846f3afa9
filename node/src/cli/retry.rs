//! `relais retry`: has ended jobs run again.

use super::cancel::for_each;
use super::failure::Failure;
use super::job_ref::JobRef;
use super::remote::Remote;
use serde_json::json;

/// Run jobs again that have ended without success
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais retry last
  relais jobs --state failed -o quiet | xargs relais retry")]
pub(crate) struct Retry {
    /// The jobs: ids, beginnings of ids, or `last`
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobRef>,
    #[command(flatten)]
    remote: Remote,
}

impl Retry {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        for_each(&self.remote, &self.ids, "retry", &json!({}), |_, job| format!("{} is {}", job.id, job.state)).await
    }
}
