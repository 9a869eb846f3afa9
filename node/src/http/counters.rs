//! Counts of answered requests, by route and class of status, with their durations; and the figures of the
//! ledger. Hand-kept: a handful of atomics, no registry.

use super::Api;
use super::answer::{Answer, Answered};
use super::request::Request;
use super::route::{ROUTES, Route};
use actix_web::http::StatusCode;
use relais_protocol::job::StateName;
use relais_protocol::queue::QueueConfig;
use relais_protocol::record::Standing;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in µs.
const BOUNDS_US: [u64; 10] = [500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];
/// Classes of status, 1xx to 5xx.
const CLASSES: usize = 5;

/// One row for each route, and one for requests that have none.
pub(super) struct Counters([Row; ROUTES + 1]);

#[derive(Default)]
struct Row {
    name: std::sync::OnceLock<&'static str>,
    by_class: [AtomicU64; CLASSES],
    by_bound: [AtomicU64; BOUNDS_US.len()],
    sum_us: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Row::default()))
    }
}

impl Counters {
    /// Counts one answer.
    pub(super) fn count(&self, route: Option<&Route>, status: u16, took: Duration) {
        let (place, name) = route.map_or((ROUTES, "none"), Route::named);
        let row = &self.0[place];
        row.name.get_or_init(|| name);
        let class = usize::from(status / 100).clamp(1, CLASSES) - 1;
        row.by_class[class].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bound) = BOUNDS_US.iter().position(|bound| us <= *bound) {
            row.by_bound[bound].fetch_add(1, Ordering::Relaxed);
        }
        row.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String) {
        let named = || self.0.iter().filter_map(|row| Some((row, *row.name.get()?)));
        head(text, "relais_http_requests_total", "counter", "HTTP requests answered.");
        for (row, name) in named() {
            for (class, count) in row.by_class.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let class = class + 1;
                    line(
                        text,
                        format_args!("relais_http_requests_total{{route=\"{name}\",code=\"{class}xx\"}} {count}"),
                    );
                }
            }
        }
        head(text, "relais_http_request_seconds", "histogram", "Time to answer HTTP requests.");
        for (row, name) in named() {
            let mut sum = 0;
            for (bound, count) in BOUNDS_US.iter().zip(&row.by_bound) {
                sum += count.load(Ordering::Relaxed);
                let bound = *bound as f64 / 1e6;
                line(text, format_args!("relais_http_request_seconds_bucket{{route=\"{name}\",le=\"{bound}\"}} {sum}"));
            }
            let all: u64 = row.by_class.iter().map(|count| count.load(Ordering::Relaxed)).sum();
            let seconds = row.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
            line(text, format_args!("relais_http_request_seconds_bucket{{route=\"{name}\",le=\"+Inf\"}} {all}"));
            line(text, format_args!("relais_http_request_seconds_sum{{route=\"{name}\"}} {seconds}"));
            line(text, format_args!("relais_http_request_seconds_count{{route=\"{name}\"}} {all}"));
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` can't fail.
    let _ = text.write_fmt(line);
    text.push('\n');
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) {
    head(text, name, "gauge", help);
    line(text, format_args!("{name} {value}"));
}

/// `GET /metrics`.
pub(super) fn metrics(api: &Api, request: &Request) -> Answered {
    request.query.only(&[])?;
    let mut text = String::with_capacity(8 << 10);
    ledger(api, &mut text);
    let stand = api.backend.standpoint();
    let dispatches = stand.dispatcher.as_ref() == Some(&stand.node);
    gauge(&mut text, "relais_epoch", "The highest epoch known here.", stand.reign.epoch.0);
    gauge(&mut text, "relais_generation", "The highest generation known here.", stand.reign.generation.0);
    gauge(&mut text, "relais_is_dispatcher", "Whether this node is the dispatcher.", dispatches.into());
    api.counters.write(&mut text);
    text.push_str(&api.backend.metrics());
    Ok(Answer::new(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", super::answer::Body::Whole(text.into())))
}

fn ledger(api: &Api, text: &mut String) {
    if !api.backend.has_ledger() {
        return;
    }
    let ledger = api.backend.ledger();
    let (counts, queues) = (ledger.counts(), ledger.queues().collect::<Vec<_>>());
    let online = ledger.nodes().filter(|row| row.standing == Standing::Online).count() as u64;
    let (applied, now) = (ledger.applied().0, api.backend.now());
    drop(ledger);
    head(text, "relais_jobs", "gauge", "Jobs in the record, by state.");
    for (state, count) in StateName::ALL.iter().zip(counts) {
        line(text, format_args!("relais_jobs{{state=\"{}\"}} {count}", state.as_str()));
    }
    head(text, "relais_queue_jobs", "gauge", "Jobs that wait or run, by queue and state.");
    for queue in &queues {
        for (state, count) in StateName::ALL.iter().zip(queue.counts).filter(|(state, _)| !state.is_terminal()) {
            line(
                text,
                format_args!("relais_queue_jobs{{queue=\"{}\",state=\"{}\"}} {count}", queue.name, state.as_str()),
            );
        }
    }
    head(text, "relais_queue_oldest_age_seconds", "gauge", "How long the oldest job in line has waited, by queue.");
    for (queue, oldest) in queues.iter().filter_map(|queue| Some((queue, queue.oldest?))) {
        let seconds = now.since(oldest) as f64 / 1_000.0;
        line(text, format_args!("relais_queue_oldest_age_seconds{{queue=\"{}\"}} {seconds}", queue.name));
    }
    head(text, "relais_queue_paused", "gauge", "Whether a queue is paused, of those that something was set of.");
    for queue in queues.iter().filter(|queue| queue.paused || queue.config != QueueConfig::default()) {
        line(text, format_args!("relais_queue_paused{{queue=\"{}\"}} {}", queue.name, u8::from(queue.paused)));
    }
    gauge(text, "relais_nodes_online", "Nodes that can be given work.", online);
    gauge(text, "relais_applied_index", "The last journal index applied here.", applied);
}
