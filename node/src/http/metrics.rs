//! `GET /metrics`: the figures of the ledger, of requests, and of the node.
//!
//! No label is without bound: a hundred queues have rows of their own, those with the most jobs; the others are one
//! row together, under a name that no queue can have.

use super::Api;
use super::answer::{Answer, Answered, Body};
use super::problem::{Kind, Problem};
use super::request::Request;
use crate::figures::{CONTENT_TYPE, Page};
use actix_web::http::StatusCode;
use relais_dispatcher::ledger::{ENDS, OUTCOMES, QueueView, Tally};
use relais_protocol::job::StateName;
use relais_protocol::queue::QueueConfig;
use relais_protocol::record::Standing;
use relais_protocol::time::UnixMs;
use std::cmp::Reverse;

/// Queues that have rows of their own.
const QUEUES_MAX: usize = 100;
/// The label of the others. A queue's name begins with a letter or a digit.
const OTHER_QUEUES: &str = "_other";

/// `GET /metrics`.
pub(super) fn metrics(api: &Api, request: &Request) -> Answered {
    request.query.only(&[])?;
    let mut page = Page::default();
    if api.backend.has_ledger() {
        put_ledger(api, &mut page);
    }
    let stand = api.backend.standpoint();
    let dispatches = stand.dispatcher.as_ref() == Some(&stand.node);
    page.gauge("relais_epoch", "The highest epoch known here.", stand.reign.epoch.0 as f64);
    page.gauge("relais_generation", "The highest generation known here.", stand.reign.generation.0 as f64);
    page.gauge("relais_is_dispatcher", "Whether this node is the dispatcher.", dispatches.into());
    page.gauges("relais_build_info", "1, labelled with the version.", |row| {
        row(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    });
    api.counters.put(&mut page);
    api.backend.metrics(&mut page);
    let text =
        page.text().map_err(|why| Problem::new(Kind::Internal, format!("the figures can't be written: {why}")))?;
    Ok(Answer::new(StatusCode::OK, CONTENT_TYPE, Body::Whole(text.into())))
}

fn put_ledger(api: &Api, page: &mut Page) {
    let ledger = api.backend.ledger();
    let (counts, queues, tally) = (ledger.counts(), ledger.queues().collect::<Vec<_>>(), *ledger.tally());
    let standings: Vec<Standing> = ledger.nodes().map(|row| row.standing).collect();
    let applied = ledger.applied().0;
    drop(ledger);
    page.gauges("relais_jobs", "Jobs in the record, by state.", |row| {
        for (state, count) in StateName::ALL.iter().zip(counts) {
            row(&[("state", state.as_str())], count as f64);
        }
    });
    put_queues(page, queues, api.backend.now());
    put_tally(page, &tally);
    let in_standing = |standing| standings.iter().filter(|known| **known == standing).count() as f64;
    page.gauge("relais_nodes_online", "Nodes that can be given work.", in_standing(Standing::Online));
    page.gauges("relais_nodes", "Nodes by their standing in the record.", |row| {
        for (standing, name) in STANDINGS {
            row(&[("standing", name)], in_standing(standing));
        }
    });
    page.gauge("relais_applied_index", "The last journal index applied here.", applied as f64);
}

const STANDINGS: [(Standing, &str); 6] = [
    (Standing::Joining, "joining"),
    (Standing::Online, "online"),
    (Standing::Suspect, "suspect"),
    (Standing::Leaving, "leaving"),
    (Standing::Offline, "offline"),
    (Standing::Left, "left"),
];

/// One queue's rows, or those of all others together.
struct Row {
    name: String,
    counts: [u64; StateName::ALL.len()],
    oldest: Option<UnixMs>,
    /// Whether it is paused, of one that something was set of.
    paused: Option<bool>,
}

impl Row {
    fn of(queue: QueueView) -> Self {
        let paused = (queue.paused || queue.config != QueueConfig::default()).then_some(queue.paused);
        Self { name: queue.name, counts: queue.counts, oldest: queue.oldest, paused }
    }

    /// Jobs that wait or run.
    fn depth(&self) -> u64 {
        let open = StateName::ALL.iter().zip(self.counts).filter(|(state, _)| !state.is_terminal());
        open.map(|(_, count)| count).sum()
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(own, count)| *own += count);
        self.oldest = [self.oldest, other.oldest].into_iter().flatten().min();
    }
}

/// The queues with the most jobs, by name, and at last the others together if there are more.
fn rows(queues: Vec<QueueView>) -> Vec<Row> {
    let mut rows: Vec<Row> = queues.into_iter().map(Row::of).collect();
    if rows.len() > QUEUES_MAX {
        rows.sort_by_cached_key(|row| (Reverse(row.depth()), row.name.clone()));
    }
    let others = rows.split_off(rows.len().min(QUEUES_MAX));
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let nothing = || Row { name: OTHER_QUEUES.to_owned(), counts: Default::default(), oldest: None, paused: None };
    if !others.is_empty() {
        let mut all = nothing();
        others.iter().for_each(|row| all.add(row));
        rows.push(all);
    }
    rows
}

fn put_queues(page: &mut Page, queues: Vec<QueueView>, now: UnixMs) {
    let rows = rows(queues);
    let help = "Jobs that wait or run, by queue and state; of all but the hundred largest together as `_other`.";
    page.gauges("relais_queue_jobs", help, |row| {
        for queue in &rows {
            for (state, count) in StateName::ALL.iter().zip(queue.counts).filter(|(state, _)| !state.is_terminal()) {
                row(&[("queue", &queue.name), ("state", state.as_str())], count as f64);
            }
        }
    });
    let help = "How long the oldest job in line has waited, by queue; 0 when none is.";
    page.gauges("relais_queue_oldest_age_seconds", help, |row| {
        for queue in &rows {
            let ms = queue.oldest.map_or(0, |oldest| now.since(oldest));
            row(&[("queue", &queue.name)], ms as f64 / 1_000.0);
        }
    });
    let help = "Whether a queue is paused, of those that something was set of.";
    page.gauges("relais_queue_paused", help, |row| {
        for (queue, paused) in rows.iter().filter_map(|queue| Some((queue, queue.paused?))) {
            row(&[("queue", &queue.name)], paused.into());
        }
    });
}

/// Counted by each node that keeps the journal, for the whole cluster: see `relais_dispatcher::ledger::Tally`.
fn put_tally(page: &mut Page, tally: &Tally) {
    let help = "Jobs that ended in the whole cluster, by how. Every node with a journal counts them all: take the max.";
    page.counters("relais_jobs_finished_total", help, |row| {
        for (end, count) in ENDS.iter().zip(tally.jobs) {
            row(&[("outcome", end.as_str())], count as f64);
        }
    });
    let help = "Attempts that ended in the whole cluster, by how it was told first. Take the max over nodes.";
    page.counters("relais_attempts_finished_total", help, |row| {
        for (outcome, count) in OUTCOMES.iter().zip(tally.attempts) {
            row(&[("outcome", outcome.as_str())], count as f64);
        }
    });
    let help = "Time from a job's being ready to run to the start of an attempt. Take the max over nodes.";
    page.spread("relais_job_wait_seconds", help, &tally.waited);
    let help = "Time from the start of an attempt to its end. Take the max over nodes.";
    page.spread("relais_job_run_seconds", help, &tally.ran);
    let help = "Leases that ended because nobody renewed them, by whose they were. Take the max over nodes.";
    page.counters("relais_leases_ended_total", help, |row| {
        row(&[("holder", "node")], tally.leases_ended as f64);
        row(&[("holder", "external")], tally.outside_leases_ended as f64);
    });
    let help = "Ends of attempts that were refused, replaced or over as they were. Take the max over nodes.";
    page.counter("relais_stale_ends_total", help, tally.refused_ends);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(number: u64) -> QueueView {
        let mut counts = [0; StateName::ALL.len()];
        counts[2] = number;
        QueueView {
            name: format!("q{number:03}"),
            counts,
            oldest: Some(UnixMs(number)),
            config: QueueConfig::default(),
            paused: false,
            held: None,
            started_within_rate: None,
        }
    }

    #[test]
    fn queues_beyond_a_hundred_are_one_row() {
        let few = rows((1..=100).map(queue).collect());
        assert_eq!((few.len(), few[0].name.as_str(), few[99].name.as_str()), (100, "q001", "q100"));
        let many = rows((1..=103).map(queue).collect());
        assert_eq!((many.len(), many[0].name.as_str(), many[99].name.as_str()), (101, "q004", "q103"));
        let others = &many[100];
        assert_eq!((others.name.as_str(), others.depth(), others.oldest), ("_other", 1 + 2 + 3, Some(UnixMs(1))));
    }
}
