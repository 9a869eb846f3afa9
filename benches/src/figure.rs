//! Figures: rounds and what is said of them, beside what they are set, and whether the aim is met.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The work, `W1`.
    pub work: String,
    /// What was measured, with its unit.
    pub what: String,
    /// One value for each round.
    pub rounds: Vec<f64>,
    /// Beside what it is set, in the same unit.
    pub beside: Option<Beside>,
    /// What it should be.
    pub aim: Option<Aim>,
}

/// The same figure of something else, measured in the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// Of what.
    pub what: String,
    /// One value for each round.
    pub rounds: Vec<f64>,
}

/// What a figure's median should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// So many times that of what it is set beside, or more.
    TimesAtLeast(f64),
    /// So many times that of what it is set beside, or less.
    TimesAtMost(f64),
}

/// Whether the aim is met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not; by which share of the aim.
    Short(f64),
    /// There is nothing beside it to judge by.
    Open,
}

impl Figure {
    /// A figure beside nothing, without an aim.
    #[must_use]
    pub fn new(work: &str, what: impl Into<String>, rounds: Vec<f64>) -> Self {
        Self { work: work.to_owned(), what: what.into(), rounds, beside: None, aim: None }
    }

    /// The same figure beside another; beside nothing when there are no rounds of it.
    #[must_use]
    pub fn beside(mut self, what: &str, rounds: Vec<f64>) -> Self {
        self.beside = (!rounds.is_empty()).then(|| Beside { what: what.to_owned(), rounds });
        self
    }

    /// The same figure with an aim.
    #[must_use]
    pub fn aim(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    /// The median of the rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        quantile(&self.rounds, 0.5)
    }

    /// The median over that of what it is set beside.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        self.beside.as_ref().map(|beside| self.median() / quantile(&beside.rounds, 0.5))
    }

    /// Whether the aim is met, if there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let (value, aim, least) = match self.aim? {
            Aim::AtLeast(aim) => (Some(self.median()), aim, true),
            Aim::AtMost(aim) => (Some(self.median()), aim, false),
            Aim::TimesAtLeast(aim) => (self.ratio(), aim, true),
            Aim::TimesAtMost(aim) => (self.ratio(), aim, false),
        };
        let Some(value) = value.filter(|value| value.is_finite()) else { return Some(Verdict::Open) };
        let short = if least { 1.0 - value / aim } else { value / aim - 1.0 };
        Some(if short > 0.0 { Verdict::Short(short) } else { Verdict::Met })
    }

    /// All of it, with what is said of the rounds.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value["median"] = json!(self.median());
        value["min"] = json!(quantile(&self.rounds, 0.0));
        value["max"] = json!(quantile(&self.rounds, 1.0));
        value["ratio"] = json!(self.ratio());
        value["verdict"] = json!(self.verdict().map(|verdict| verdict.to_string()));
        value
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Met => write!(out, "met"),
            Self::Short(share) if *share < 1.0 => write!(out, "short by {:.0} %", (share * 100.0).max(1.0)),
            Self::Short(share) => write!(out, "short by {:.1} ×", share + 1.0),
            Self::Open => write!(out, "not judged"),
        }
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
    fn an_aim_is_met_or_short_by_a_share_of_it() {
        let figure = |aim| Figure::new("W1", "jobs/s", vec![90.0, 120.0, 80.0]).beside("a peer", vec![100.0]).aim(aim);
        let verdict = |aim| figure(aim).verdict().unwrap().to_string();
        assert_eq!(verdict(Aim::AtLeast(90.0)), "met");
        assert_eq!(verdict(Aim::AtLeast(120.0)), "short by 25 %");
        assert_eq!(verdict(Aim::AtMost(90.0)), "met");
        assert_eq!(verdict(Aim::AtMost(60.0)), "short by 50 %");
        assert_eq!(verdict(Aim::AtMost(9.0)), "short by 10.0 ×");
        assert_eq!(verdict(Aim::TimesAtLeast(0.9)), "met");
        assert_eq!(verdict(Aim::TimesAtLeast(1.5)), "short by 40 %");
        assert_eq!(verdict(Aim::TimesAtMost(0.5)), "short by 80 %");
        let alone = Figure::new("W1", "jobs/s", vec![1.0]).beside("a peer", Vec::new()).aim(Aim::TimesAtLeast(1.0));
        assert_eq!((alone.verdict(), alone.ratio()), (Some(Verdict::Open), None));
        assert_eq!(Figure::new("W1", "jobs/s", vec![1.0]).verdict(), None);
    }
}
