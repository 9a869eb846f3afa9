//! Figures: rounds and what is said of them, the table for people and the file for programs.

use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The work, `W1`.
    pub work: &'static str,
    /// What was measured, with its unit.
    pub what: String,
    /// One value for each round.
    pub rounds: Vec<f64>,
    /// Beside what it is set: the limit's value in the same unit, and what the limit is.
    pub limit: Option<(f64, &'static str)>,
}

impl Figure {
    /// A figure without a limit.
    #[must_use]
    pub fn new(work: &'static str, what: impl Into<String>, rounds: Vec<f64>) -> Self {
        Self { work, what: what.into(), rounds, limit: None }
    }

    /// The same figure beside a limit.
    #[must_use]
    pub fn beside(mut self, limit: f64, what: &'static str) -> Self {
        self.limit = Some((limit, what));
        self
    }

    /// The median of the rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        quantile(&self.rounds, 0.5)
    }

    fn json(&self) -> Value {
        let limit = self.limit.map(|(value, what)| json!({"value": value, "is": what, "ratio": self.median() / value}));
        json!({
            "work": self.work, "what": self.what, "rounds": self.rounds, "median": self.median(),
            "min": quantile(&self.rounds, 0.0), "max": quantile(&self.rounds, 1.0), "limit": limit,
        })
    }
}

/// The value below which a part `share` of the values is (nearest rank); NaN of nothing.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// A duration in milliseconds.
#[must_use]
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The table for people.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<5}{:<50}{:>10}  {:<21}{}\n", "", "", "median", "min–max", "beside the limit");
    for figure in figures {
        let (min, max) = (number(quantile(&figure.rounds, 0.0)), number(quantile(&figure.rounds, 1.0)));
        let limit = figure.limit.map_or_else(String::new, |(value, what)| {
            format!("{:.3} × {} ({what})", figure.median() / value, number(value))
        });
        let range = format!("{min}–{max}");
        // Writing to a `String` can't fail.
        let _ =
            writeln!(text, "{:<5}{:<50}{:>10}  {range:<21}{limit}", figure.work, figure.what, number(figure.median()));
    }
    text
}

/// The file for programs.
#[must_use]
pub fn json(figures: &[Figure], facts: &Value) -> Value {
    json!({"figures": figures.iter().map(Figure::json).collect::<Vec<_>>(), "run": facts})
}

/// Three digits that mean something, thousands apart.
fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        let places = if value.abs() < 1.0 { 4 } else { 2 };
        return format!("{value:.places$}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99), quantile(&values, 1.0)), (50.0, 99.0, 100.0));
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[3.0, 1.0], 0.0), 1.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(12.345), "12.35");
        assert_eq!(number(0.00123), "0.0012");
    }
}
