//! The page of `/metrics`: families of figures, written in the Prometheus text format by the `prometheus` crate.
//!
//! Most figures are counted where they arise, as plain numbers, and read once for a page; what is counted by the
//! crate itself (histograms of what happens here) is put on the page as it is. So nobody who does the work looks up a
//! label or waits for a lock of the crate's.
//!
//! Names end in the base unit (`_seconds`, `_bytes`) and counters in `_total`. A family without rows is left out.

use prometheus::core::Collector;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{TEXT_FORMAT, TextEncoder};
use relais_dispatcher::ledger::{BOUNDS_MS, Spread};

/// Content type of the page.
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// Labels of one row: names and values.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// A page that is being put together.
#[derive(Debug, Default)]
pub struct Page(Vec<MetricFamily>);

impl Page {
    /// Adds a figure that only grows, until the process ends.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, |row| row(&[], value as f64));
    }

    /// Adds a figure that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, |row| row(&[], value));
    }

    /// Adds counters of one name: `rows` is called once, and calls what it is given for each.
    pub fn counters(&mut self, name: &str, help: &str, rows: impl FnOnce(&mut dyn FnMut(Labels<'_>, f64))) {
        let mut metrics = Vec::new();
        rows(&mut |labels, value| {
            let (mut metric, mut counter) = (Metric::from_label(pairs(labels)), Counter::default());
            counter.set_value(value);
            metric.set_counter(counter);
            metrics.push(metric);
        });
        self.family(name, help, MetricType::COUNTER, metrics);
    }

    /// The same for gauges.
    pub fn gauges(&mut self, name: &str, help: &str, rows: impl FnOnce(&mut dyn FnMut(Labels<'_>, f64))) {
        let mut metrics = Vec::new();
        rows(&mut |labels, value| {
            let (mut metric, mut gauge) = (Metric::from_label(pairs(labels)), Gauge::default());
            gauge.set_value(value);
            metric.set_gauge(gauge);
            metrics.push(metric);
        });
        self.family(name, help, MetricType::GAUGE, metrics);
    }

    /// Adds how long something took, in seconds.
    pub fn spread(&mut self, name: &str, help: &str, spread: &Spread) {
        let mut below = 0;
        let buckets = BOUNDS_MS.iter().zip(spread.within).map(|(bound, within)| {
            below += within;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1_000.0);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(spread.count);
        histogram.set_sample_sum(spread.sum_ms as f64 / 1_000.0);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.family(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    /// Adds what the crate itself counted.
    pub fn collect(&mut self, from: &dyn Collector) {
        self.0.extend(from.collect().into_iter().filter(|family| !family.get_metric().is_empty()));
    }

    /// The page as text.
    ///
    /// # Errors
    /// When a family is none, in the crate's words.
    pub fn text(&self) -> Result<String, String> {
        TextEncoder::new().encode_to_string(&self.0).map_err(|error| error.to_string())
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&'static str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_the_text_format() {
        let mut page = Page::default();
        page.counter("x_total", "How often.", 3);
        page.gauges("x_jobs", "Jobs.", |row| row(&[("queue", "a\"b")], 1.5));
        page.gauges("x_none", "Nothing.", |_| {});
        let mut spread = Spread { count: 3, sum_ms: 1_250, ..Spread::default() };
        (spread.within[0], spread.within[1]) = (1, 1);
        page.spread("x_seconds", "How long.", &spread);
        let text = page.text().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["# HELP x_total How often.", "# TYPE x_total counter", "x_total 3"]);
        assert_eq!(lines[5], "x_jobs{queue=\"a\\\"b\"} 1.5");
        assert!(!text.contains("x_none"));
        for line in
            ["x_seconds_bucket{le=\"0.001\"} 1", "x_seconds_bucket{le=\"86400\"} 2", "x_seconds_bucket{le=\"+Inf\"} 3"]
        {
            assert!(lines.contains(&line), "{line} is not in\n{text}");
        }
        assert!(text.contains("x_seconds_sum 1.25\nx_seconds_count 3\n"));
    }
}
