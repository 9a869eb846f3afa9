//! Schedules as tables. Fields that are missing are empty: a node of another version must not make one fail.

use crate::cli::client::Answer;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::table::Table;
use crate::cli::time_text::ago;
use crate::cli::view::rows;
use serde::Deserialize;

/// A row of `GET /v1/schedules`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Schedule {
    pub(super) name: String,
    cron: String,
    time_zone: String,
    missed: String,
    overlap: String,
    paused: bool,
    pub(super) next: Vec<String>,
    last: Option<Firing>,
    counts: Counts,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    fired: u64,
    triggered: u64,
    skipped: u64,
    missed: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Firing {
    slot: String,
    outcome: String,
    job: Option<String>,
    running: Option<String>,
    missed: Option<u64>,
    triggered: bool,
    triggered_by: Option<String>,
}

impl Firing {
    fn words(&self) -> String {
        match (self.outcome.as_str(), &self.job, &self.running, self.missed) {
            ("fired", Some(job), _, _) => job.clone(),
            ("skipped", _, Some(running), _) => format!("skipped: job {running} had not ended"),
            ("missed", _, _, Some(count)) => format!("{count} missed: nobody could fire"),
            (other, ..) => other.to_owned(),
        }
    }
}

/// The rows of a list.
pub(super) fn schedules(answer: &Answer) -> Result<Vec<Schedule>, Failure> {
    rows(answer, "schedules")
}

/// All of them, a line each.
pub(super) fn print_all(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    let all = schedules(answer)?;
    if all.is_empty() {
        screen.note("no schedules; make one: relais schedules set NAME --cron '0 30 2 * * *' -- COMMAND");
        return Ok(());
    }
    let mut table = Table::new(screen, &["NAME", "CRON", "ZONE", "NEXT", "LAST", "FIRED", "MISSED"]);
    for one in &all {
        let next = if one.paused { "paused" } else { one.next.first().map_or("never", String::as_str) };
        let last = one.last.as_ref().map(|last| last.slot.as_str());
        table.row([
            one.name.as_str(),
            &one.cron,
            &one.time_zone,
            next,
            &ago(last, answer.date),
            &one.counts.fired.to_string(),
            &one.counts.missed.to_string(),
        ]);
    }
    table.print()
}

/// One in full, with its newest firings.
pub(super) fn print_one(screen: Screen, answer: &Answer, firings: &Answer) -> Result<(), Failure> {
    let one: Schedule = answer.json()?;
    let mut pairs = Table::of_pairs(screen);
    pairs.pair("name", &one.name);
    pairs.pair("cron", &format!("{} ({})", one.cron, one.time_zone));
    pairs.pair("missed", &one.missed);
    pairs.pair("overlap", &one.overlap);
    pairs.pair("next", &if one.paused { "paused".to_owned() } else { one.next.join(", ") });
    let counts = &one.counts;
    let told = [(counts.fired, "fired"), (counts.triggered, "by hand"), (counts.skipped, "skipped")];
    let told: Vec<String> = told.iter().map(|(count, word)| format!("{count} {word}")).collect();
    pairs.pair("so far", &format!("{}, {} missed", told.join(", "), counts.missed));
    pairs.print()?;
    let firings: Vec<Firing> = rows(firings, "firings")?;
    if firings.is_empty() {
        return Ok(());
    }
    screen.line("")?;
    let mut table = Table::new(screen, &["SLOT", "JOB", "BY HAND"]);
    for one in &firings {
        let by = one.triggered_by.as_deref().unwrap_or(if one.triggered { "yes" } else { "-" });
        table.row([one.slot.as_str(), &one.words(), by]);
    }
    table.print()
}
