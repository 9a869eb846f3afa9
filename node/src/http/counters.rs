//! Counts of answered requests, by route and class of status, with their durations.
//!
//! Histograms and counters of the `prometheus` crate. Their rows are looked up once for each route, when it is first
//! asked for; then to count is an atomic add, without a lock or a name. Routes are patterns and not paths, so that
//! there are never more rows than routes.

use super::route::{ROUTES, Route};
use crate::figures::Page;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};
use std::sync::OnceLock;
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in seconds.
const BOUNDS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Classes of status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// One row for each route, and one for requests that have none.
pub(super) struct Counters {
    requests: IntCounterVec,
    times: HistogramVec,
    rows: [OnceLock<Row>; ROUTES + 1],
}

struct Row {
    name: &'static str,
    by_class: [OnceLock<IntCounter>; CLASSES.len()],
    times: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        let requests = Opts::new("relais_http_requests_total", "HTTP requests answered.");
        let help = "Time to answer HTTP requests; one that asked to wait takes as long as it waited.";
        let times = HistogramOpts::new("relais_http_request_duration_seconds", help).buckets(BOUNDS.to_vec());
        Self {
            requests: IntCounterVec::new(requests, &["route", "code"]).expect("valid names"),
            times: HistogramVec::new(times, &["route"]).expect("valid names and rising bounds"),
            rows: std::array::from_fn(|_| OnceLock::new()),
        }
    }
}

impl Counters {
    /// Counts one answer.
    pub(super) fn count(&self, route: Option<&Route>, status: u16, took: Duration) {
        let (place, name) = route.map_or((ROUTES, "none"), Route::named);
        let times = || self.times.with_label_values(&[name]);
        let row = self.rows[place].get_or_init(|| Row { name, by_class: Default::default(), times: times() });
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let of_class = || self.requests.with_label_values(&[row.name, CLASSES[class]]);
        row.by_class[class].get_or_init(of_class).inc();
        row.times.observe(took.as_secs_f64());
    }

    /// Adds them.
    pub(super) fn put(&self, page: &mut Page) {
        page.collect(&self.requests);
        page.collect(&self.times);
    }
}
