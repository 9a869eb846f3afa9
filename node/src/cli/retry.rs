//! `relais retry`: has ended jobs run again.

use super::bulk::Bulk;
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
  relais retry --state failed --queue reports --dry-run")]
pub(crate) struct Retry {
    /// The jobs: ids, beginnings of ids, or `last`
    #[arg(value_name = "ID")]
    ids: Vec<JobRef>,
    #[command(flatten)]
    bulk: Bulk,
    #[command(flatten)]
    remote: Remote,
}

impl Retry {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        if !self.bulk.is_for_ids(&self.ids)? {
            return self.bulk.run(&self.remote, "retry", "{}".to_owned()).await;
        }
        for_each(&self.remote, &self.ids, "retry", &json!({}), |_, job| format!("{} is {}", job.id, job.state)).await
    }
}
