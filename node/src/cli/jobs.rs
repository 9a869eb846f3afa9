//! `relais jobs`: lists jobs, newest first.

use super::client::{Answer, Call};
use super::failure::Failure;
use super::filter::Filter;
use super::query::Query;
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::table::Table;
use super::time_text::{ago, between};
use super::view;
use relais_protocol::time::UnixMs;
use serde_json::Value;

const TITLE_LENGTH: usize = 40;
/// From here on there is room for whole ids.
const WIDE: u16 = 120;

/// List jobs, newest first
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais jobs
  relais jobs --state failed --queue reports
  relais jobs --label team=data --limit 500 -o jsonl")]
pub(crate) struct Jobs {
    #[command(flatten)]
    filter: Filter,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Go on where an earlier answer ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Jobs {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let answer = self.remote.client()?.call(&Call::read(self.path())).await?;
        match screen.format {
            Format::Json => screen.json(&answer)?,
            Format::Jsonl => screen.rows(&answer, "jobs")?,
            Format::Quiet => {
                for job in view::rows::<view::Job>(&answer, "jobs")? {
                    screen.line(&job.id)?;
                }
            }
            Format::Table => print(screen, &answer)?,
        }
        Ok(0)
    }

    fn path(&self) -> String {
        let mut query = Query::new();
        query.append_pair("limit", &self.limit.to_string());
        self.filter.append(&mut query);
        if let Some(cursor) = &self.cursor {
            query.append_pair("cursor", cursor);
        }
        query.path("/v1/jobs")
    }
}

fn print(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    let jobs: Vec<view::Job> = view::rows(answer, "jobs")?;
    if jobs.is_empty() {
        screen.note("no jobs; submit one: relais submit -- echo hello");
        return Ok(());
    }
    table(screen, &jobs, answer.date).print()?;
    let more = answer.json::<Value>()?.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
    if let Some(cursor) = more {
        screen.note(&format!("more: relais jobs --cursor {cursor}"));
    }
    Ok(())
}

/// Jobs as a table, their ages counted back from `now`.
pub(crate) fn table(screen: Screen, jobs: &[view::Job], now: Option<UnixMs>) -> Table {
    let mut table = Table::new(screen, &["ID", "JOB", "QUEUE", "STATE", "NODE", "ATTEMPT", "CREATED", "RAN"]);
    // The beginning holds the time and twelve random bits: enough to name a job by, most of the time.
    let id_length = if Table::has_room_for(screen, WIDE) { 36 } else { 18 };
    for job in jobs {
        table.row([
            job.id.get(..id_length).unwrap_or(&job.id),
            &shortened(&job.title()),
            &job.queue,
            &job.state,
            job.node.as_deref().unwrap_or("-"),
            &job.attempt.map_or_else(|| "-".to_owned(), |n| n.to_string()),
            &ago(job.created_at.as_deref(), now),
            &between(job.started_at.as_deref(), job.finished_at.as_deref(), now),
        ]);
    }
    table
}

fn shortened(title: &str) -> String {
    if title.chars().count() <= TITLE_LENGTH {
        return title.to_owned();
    }
    let kept: String = title.chars().take(TITLE_LENGTH - 1).collect();
    format!("{kept}…")
}
