//! What a bench came to: the figures, and whether the record has what was acknowledged.

use super::QUEUE;
use super::clients::Clients;
use crate::cli::client::{Call, Client};
use crate::cli::failure::Failure;
use crate::cli::screen::{Format, Screen};
use crate::cli::table::Table;
use crate::cli::view;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// What was measured.
pub(super) struct Ends {
    /// Jobs in batches.
    pub(super) jobs: u32,
    /// Until the last of them was acknowledged.
    pub(super) submitted: Duration,
    /// Until the last of them was done.
    pub(super) done: Duration,
    /// How long each of the jobs submitted one a request took.
    pub(super) singles: Vec<Duration>,
    /// How long all of them took.
    pub(super) singles_took: Duration,
    /// How long each of the jobs submitted one at a time took until it was done.
    pub(super) waits: Vec<Duration>,
}

#[derive(Serialize)]
struct Latency {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// The report.
#[derive(Serialize)]
pub(super) struct Report {
    mode: String,
    nodes: u64,
    epoch_before: u64,
    epoch_after: u64,
    batched_submits_per_second: f64,
    done_per_second: f64,
    single_submits_per_second: f64,
    single_submit: Latency,
    submit_to_done: Latency,
    acknowledged: u64,
    lost: u64,
    duplicates: u64,
    not_succeeded: u64,
    cancelled: u64,
    label: String,
    good: bool,
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<Row>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    state: String,
}

impl Latency {
    fn of(mut each: Vec<Duration>) -> Self {
        each.sort_unstable();
        let at = |share: f64| {
            let rank = (share * each.len() as f64).ceil().max(1.0) as usize;
            each.get(rank - 1).map_or(0.0, |took| (took.as_secs_f64() * 1e6).round() / 1e3)
        };
        Self { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }

    fn text(&self) -> String {
        format!("p50 {} ms, p99 {} ms, longest {} ms", self.p50_ms, self.p99_ms, self.max_ms)
    }
}

impl Report {
    /// Compares what was acknowledged with the record.
    pub(super) async fn new(
        client: &Client,
        clients: &Clients,
        ends: Ends,
        (before, after): (view::Cluster, view::Cluster),
    ) -> Result<Self, Failure> {
        let acknowledged = clients.acknowledged();
        let distinct: BTreeSet<&str> = acknowledged.iter().map(String::as_str).collect();
        let rows = recorded(client, clients.label()).await?;
        let found: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let lost = distinct.difference(&found).count() as u64;
        let named_twice = acknowledged.len() - distinct.len();
        let duplicates = (named_twice + found.difference(&distinct).count() + rows.len() - found.len()) as u64;
        let not_succeeded = rows.iter().filter(|row| row.state != "succeeded").count() as u64;
        let rate = |jobs: usize, took: Duration| (jobs as f64 / took.as_secs_f64().max(1e-9)).round();
        Ok(Self {
            nodes: after.nodes.online,
            mode: after.mode,
            epoch_before: before.epoch.unwrap_or(0),
            epoch_after: after.epoch.unwrap_or(0),
            batched_submits_per_second: rate(ends.jobs as usize, ends.submitted),
            done_per_second: rate(ends.jobs as usize, ends.done),
            single_submits_per_second: rate(ends.singles.len(), ends.singles_took),
            single_submit: Latency::of(ends.singles),
            submit_to_done: Latency::of(ends.waits),
            acknowledged: acknowledged.len() as u64,
            lost,
            duplicates,
            not_succeeded,
            cancelled: 0,
            label: clients.label().to_owned(),
            good: lost + duplicates + not_succeeded == 0,
        })
    }

    /// So many jobs were left, and are cancelled.
    pub(super) fn cancelled(&mut self, count: u64) {
        self.cancelled = count;
    }

    /// Whether each acknowledged job is in the record, once, and succeeded.
    pub(super) fn is_good(&self) -> bool {
        self.good
    }

    /// Prints it.
    pub(super) fn print(&self, screen: Screen) -> Result<(), Failure> {
        match screen.format {
            Format::Json | Format::Jsonl => {
                let text = serde_json::to_string(self).map_err(|error| Failure::Local(error.to_string()))?;
                return screen.raw(&text);
            }
            Format::Quiet => return screen.line(self.verdict()),
            Format::Table => {}
        }
        let mut table = Table::of_pairs(screen);
        let elections = match self.epoch_after - self.epoch_before.min(self.epoch_after) {
            0 => "no failover meanwhile".to_owned(),
            count => format!("{count} failovers meanwhile"),
        };
        table.pair("cluster", &format!("{}, {} nodes online, {elections}", self.mode, self.nodes));
        table.pair("submits in batches", &format!("{}/s", self.batched_submits_per_second));
        table.pair("submitted and done", &format!("{}/s", self.done_per_second));
        table.pair("submits, one a request", &format!("{}/s", self.single_submits_per_second));
        table.pair("until acknowledged", &self.single_submit.text());
        table.pair("submit to done, one at a time", &self.submit_to_done.text());
        table.pair("acknowledged", &self.acknowledged.to_string());
        table.pair("lost", &self.lost.to_string());
        table.pair("duplicates", &self.duplicates.to_string());
        table.pair("not succeeded", &self.not_succeeded.to_string());
        table.pair("jobs", &format!("queue {QUEUE}, label bench={}; gone in a minute", self.label));
        table.pair("verdict", self.verdict());
        table.print()
    }

    fn verdict(&self) -> &'static str {
        if self.good { "good" } else { "not good" }
    }
}

/// All jobs with the label.
async fn recorded(client: &Client, label: &str) -> Result<Vec<Row>, Failure> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/jobs?queue={QUEUE}&label=bench:{label}&limit=500{cursor}");
        let page: Page = client.call(&Call::read(path)).await?.json()?;
        found.extend(page.jobs);
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_of_the_nearest_rank() {
        let latency = Latency::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!((latency.p50_ms, latency.p99_ms, latency.max_ms), (100.0, 198.0, 200.0));
        assert_eq!(Latency::of(Vec::new()).max_ms, 0.0);
    }
}
