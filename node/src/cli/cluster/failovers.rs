//! `relais cluster failovers`: how long each phase took, and what became of the jobs that ran.

use super::number;
use crate::cli::client::{Answer, Call, Client};
use crate::cli::failure::Failure;
use crate::cli::screen::{Format, Screen};
use crate::cli::table::Table;
use crate::cli::time_text::{ago, span};
use crate::cli::view;

const COLUMNS: [&str; 13] = [
    "EPOCH",
    "FROM",
    "TO",
    "CAUSE",
    "WHEN",
    "UNAVAILABLE",
    "CONFIRMED",
    "DISPATCHED",
    "RECONCILED",
    "KEPT",
    "ADOPTED",
    "RETRIED",
    "DUPLICATE",
];

/// Lists them; `-o json` has each job, too.
pub(super) async fn run(screen: Screen, client: &Client) -> Result<(), Failure> {
    let answer = client.call(&Call::read("/v1/cluster/failovers")).await?;
    match screen.format {
        Format::Json => return screen.json(&answer),
        Format::Jsonl => return screen.rows(&answer, "failovers"),
        Format::Quiet | Format::Table => {}
    }
    let failovers: Vec<view::Failover> = view::rows(&answer, "failovers")?;
    if screen.format == Format::Quiet {
        for failover in failovers {
            screen.line(&number(failover.epoch))?;
        }
        return Ok(());
    }
    print(screen, &answer, &failovers)
}

fn print(screen: Screen, answer: &Answer, failovers: &[view::Failover]) -> Result<(), Failure> {
    if failovers.is_empty() {
        screen.note("no failover yet");
        return Ok(());
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let ms = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| span(ms, true));
    let mut table = Table::new(screen, &COLUMNS);
    for failover in failovers {
        let (phases, jobs) = (failover.phases_ms, failover.jobs);
        table.row([
            number(failover.epoch),
            text(&failover.from),
            text(&failover.to),
            text(&failover.cause),
            ago(failover.elected_at.as_deref(), answer.date),
            ms(failover.unavailable_ms),
            ms(phases.confirmed),
            ms(phases.first_dispatch),
            ms(phases.reconciled),
            jobs.kept.to_string(),
            jobs.adopted.to_string(),
            jobs.retried.to_string(),
            jobs.duplicate.to_string(),
        ]);
    }
    table.print()
}
