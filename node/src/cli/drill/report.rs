//! What the clients of a rehearsal saw, compared with what the cluster has on record.

use super::clients::Seen;
use super::strikes::Blow;
use crate::cli::client::{Call, Client};
use crate::cli::failure::{Failure, one_line};
use crate::cli::screen::{Format, Screen};
use crate::cli::table::Table;
use crate::cli::time_text::span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the last jobs may take to be in the record of whoever is asked.
const RECORD_LIMIT: Duration = Duration::from_secs(20);
/// Refusals that are quoted.
const QUOTED: usize = 3;

/// One blow in the report.
#[derive(Serialize)]
struct Row {
    node: String,
    from: String,
    to: String,
    epochs: u64,
    /// The longest time without an acknowledgement around the blow, in ms.
    gap_ms: u64,
    /// From the blow until the cluster was whole again, in ms.
    whole_ms: u64,
}

/// What a rehearsal came to.
#[derive(Serialize)]
pub(super) struct Report {
    blows: Vec<Row>,
    worst_gap_ms: u64,
    max_gap_ms: u64,
    submitted: u64,
    acknowledged: u64,
    failed_tries: u64,
    refused: Vec<String>,
    lost: u64,
    duplicates: u64,
    good: bool,
    label: String,
}

#[derive(Deserialize)]
struct Page {
    jobs: Vec<JobId>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct JobId {
    id: String,
}

impl Report {
    /// Compares what was acknowledged with what is there.
    pub(super) async fn new(client: &Client, blows: Vec<Blow>, seen: Seen, max_gap: Duration) -> Result<Self, Failure> {
        let acknowledged: BTreeSet<&str> = seen.acknowledged.values().map(|(id, _)| id.as_str()).collect();
        let found = recorded(client, &seen.label, &acknowledged).await?;
        let lost = acknowledged.iter().filter(|id| !found.contains(**id)).count() as u64;
        // A key that was sent but never answered may be there once.
        let duplicates = (found.len() as u64).saturating_sub(seen.sent) + seen.two_ids;
        let mut times: Vec<Instant> = seen.acknowledged.values().map(|(_, at)| *at).collect();
        times.sort_unstable();
        let blows: Vec<Row> = blows.into_iter().map(|blow| row(blow, &times)).collect();
        let worst_gap_ms = blows.iter().map(|blow| blow.gap_ms).max().unwrap_or(0);
        let max_gap_ms = ms(max_gap);
        let good =
            lost == 0 && duplicates == 0 && seen.refused.is_empty() && !times.is_empty() && worst_gap_ms <= max_gap_ms;
        Ok(Self {
            blows,
            worst_gap_ms,
            max_gap_ms,
            submitted: seen.sent,
            acknowledged: acknowledged.len() as u64,
            failed_tries: seen.failed_tries,
            refused: seen.refused.into_iter().take(QUOTED).collect(),
            lost,
            duplicates,
            good,
            label: seen.label,
        })
    }

    /// Whether nothing was lost or doubled, and no gap was too long.
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
        let mut table = Table::new(screen, &["STRUCK", "FROM", "TO", "EPOCHS", "GAP", "WHOLE AFTER"]);
        for blow in &self.blows {
            let (gap, whole) = (span(blow.gap_ms, true), span(blow.whole_ms, true));
            table.row([&blow.node, &blow.from, &blow.to, &format!("+{}", blow.epochs), &gap, &whole]);
        }
        table.print()?;
        let mut totals = Table::of_pairs(screen);
        totals.pair(
            "worst gap",
            &format!("{} (allowed: {})", span(self.worst_gap_ms, true), span(self.max_gap_ms, true)),
        );
        totals.pair("submitted", &self.submitted.to_string());
        totals.pair("acknowledged", &self.acknowledged.to_string());
        totals.pair("failed tries", &format!("{} (each was made again)", self.failed_tries));
        totals.pair("refused", &one_line(&self.refused.join("; ")));
        totals.pair("lost", &self.lost.to_string());
        totals.pair("duplicates", &self.duplicates.to_string());
        totals.pair("jobs", &format!("label drill={}", self.label));
        totals.pair("verdict", self.verdict());
        totals.print()
    }

    fn verdict(&self) -> &'static str {
        if self.good { "good" } else { "not good" }
    }
}

/// All jobs with the label, once every acknowledged one is among them or the time is over.
async fn recorded(client: &Client, label: &str, acknowledged: &BTreeSet<&str>) -> Result<BTreeSet<String>, Failure> {
    let until = Instant::now() + RECORD_LIMIT;
    loop {
        let found = all(client, label).await?;
        if acknowledged.iter().all(|id| found.contains(*id)) || Instant::now() >= until {
            return Ok(found);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn all(client: &Client, label: &str) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page: Page =
            client.call(&Call::read(format!("/v1/jobs?label=drill:{label}&limit=500{cursor}"))).await?.json()?;
        found.extend(page.jobs.into_iter().map(|job| job.id));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

fn row(blow: Blow, times: &[Instant]) -> Row {
    Row {
        gap_ms: ms(gap(times, blow.at, blow.whole_at)),
        whole_ms: ms(blow.whole_at.saturating_duration_since(blow.at)),
        epochs: blow.epochs.1.saturating_sub(blow.epochs.0),
        node: blow.node,
        from: blow.from,
        to: blow.to,
    }
}

/// The longest time between two acknowledgements that touches `from..=to`; one that never ended counts up
/// to `to`.
fn gap(times: &[Instant], from: Instant, to: Instant) -> Duration {
    let first = times.partition_point(|at| *at < from).saturating_sub(1);
    let last = times.partition_point(|at| *at <= to);
    let within = &times[first.min(times.len())..(last + 1).min(times.len())];
    let between = within.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max();
    let open = match within.last() {
        Some(at) => to.saturating_duration_since(*at),
        None => to.saturating_duration_since(from),
    };
    between.unwrap_or_default().max(open)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_counted_from_its_last_acknowledgement_before_to_its_first_after() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let times = [at(0), at(90), at(400), at(410), at(2_000)];
        assert_eq!(gap(&times, at(100), at(405)), Duration::from_millis(310));
        assert_eq!(gap(&times, at(395), at(412)), Duration::from_millis(1_590), "it goes on after the end");
        assert_eq!(gap(&times, at(2_100), at(5_000)), Duration::from_millis(3_000), "it never ended");
        assert_eq!(gap(&[], at(0), at(70)), Duration::from_millis(70));
    }
}
