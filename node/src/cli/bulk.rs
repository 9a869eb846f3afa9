//! `relais cancel` and `relais retry` by filter: many jobs by one request.

use super::client::Call;
use super::failure::Failure;
use super::filter::Filter;
use super::job_ref::JobRef;
use super::query::Query;
use super::remote::Remote;
use super::screen::Format;
use serde::Deserialize;

/// Many jobs by what they have in common.
#[derive(clap::Args)]
pub(crate) struct Bulk {
    #[command(flatten)]
    filter: Filter,
    /// All jobs there are
    #[arg(long)]
    all: bool,
    /// Only say how many jobs it would be
    #[arg(long)]
    dry_run: bool,
}

#[derive(Deserialize)]
struct Tally {
    matched: usize,
    changed: usize,
    refused: usize,
}

impl Bulk {
    /// Whether ids are meant, and not a filter.
    pub(crate) fn is_for_ids(&self, ids: &[JobRef]) -> Result<bool, Failure> {
        let filters = self.all || self.dry_run || !self.filter.is_empty();
        match (ids.is_empty(), filters) {
            (false, false) => Ok(true),
            (true, true) => Ok(false),
            (true, false) => Err(Failure::Usage(
                "name the jobs by their ids, or by a filter like --state failed --queue reports".to_owned(),
            )),
            (false, true) => {
                Err(Failure::Usage("give either ids or a filter; a filter names its jobs by itself".to_owned()))
            }
        }
    }

    /// Posts `/v1/jobs:verb` for all that pass.
    pub(crate) async fn run(&self, remote: &Remote, verb: &str, body: String) -> Result<u8, Failure> {
        let mut query = Query::new();
        self.filter.append(&mut query);
        for (name, on) in [("all", self.all), ("dry_run", self.dry_run)] {
            if on {
                query.append_pair(name, "true");
            }
        }
        let screen = remote.screen();
        let answer = remote.client()?.call(&Call::post(query.path(&format!("/v1/jobs:{verb}")), body)).await?;
        match screen.format {
            Format::Json => screen.json(&answer)?,
            Format::Jsonl => screen.raw(&String::from_utf8_lossy(&answer.body))?,
            Format::Quiet => screen.line(&answer.json::<Tally>()?.changed.to_string())?,
            Format::Table => screen.line(&said(verb, self.dry_run, &answer.json()?))?,
        }
        Ok(0)
    }
}

fn said(verb: &str, dry_run: bool, tally: &Tally) -> String {
    let past = if verb == "cancel" { "cancelled, or told to stop" } else { "put in line again" };
    if dry_run {
        return format!("{} jobs would be {past}; nothing was changed", tally.matched);
    }
    match tally.refused {
        0 => format!("{} jobs {past}", tally.changed),
        refused => {
            format!("{} jobs {past}; {refused} could not be: they had moved on, or depend on others", tally.changed)
        }
    }
}
