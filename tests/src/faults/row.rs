//! What came of the runs of one fault, and how the table shows it.

use super::Fault;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Characters of a reason that a row shows.
const REASON_MAX: usize = 300;

/// What one run found out, filled as it goes: a run that fails leaves what it had.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Jobs that were acknowledged.
    pub acknowledged: usize,
    /// Jobs that were acknowledged and are not in the record.
    pub lost: usize,
    /// Keys with two jobs, and jobs with a second terminal state.
    pub duplicates: usize,
    /// The longest time between two acknowledgements that the clients saw.
    pub unavailable: Duration,
    /// Figures worth telling.
    pub notes: Vec<String>,
    /// Why it could not be tried, if so.
    pub skipped: Option<String>,
}

/// What came of all runs of a fault.
#[derive(Clone, Debug)]
pub struct Row {
    id: &'static str,
    title: &'static str,
    runs: BTreeMap<&'static str, usize>,
    acknowledged: usize,
    lost: usize,
    duplicates: usize,
    unavailable: Duration,
    notes: Vec<String>,
    skips: Vec<String>,
    failures: Vec<String>,
    again: usize,
}

impl Row {
    /// A row without runs.
    #[must_use]
    pub fn of(fault: &Fault) -> Self {
        Self {
            id: fault.id,
            title: fault.title,
            runs: BTreeMap::new(),
            acknowledged: 0,
            lost: 0,
            duplicates: 0,
            unavailable: Duration::ZERO,
            notes: Vec::new(),
            skips: Vec::new(),
            failures: Vec::new(),
            again: 0,
        }
    }

    /// The fault's number.
    #[must_use]
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// Adds a run of a variant: its tally, and what it failed with, if it did.
    pub fn add(&mut self, variant: &'static str, tally: Tally, failure: Option<String>) {
        let named = |text: String| if variant.is_empty() { text } else { format!("{variant}: {text}") };
        self.acknowledged += tally.acknowledged;
        self.lost += tally.lost;
        self.duplicates += tally.duplicates;
        self.unavailable = self.unavailable.max(tally.unavailable);
        match tally.skipped {
            Some(why) if failure.is_none() => self.skips.push(named(why)),
            _ => *self.runs.entry(variant).or_default() += 1,
        }
        self.notes.extend(tally.notes.into_iter().map(named));
        self.failures.extend(failure.map(named));
    }

    /// A run that is made again, since the machine stood still; what was acknowledged in it was kept.
    pub fn again(&mut self, tally: Tally) {
        self.acknowledged += tally.acknowledged;
        self.again += 1;
    }

    /// Whether every run that was made was as expected, and nothing was lost or doubled.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty() && self.lost == 0 && self.duplicates == 0
    }

    /// Why it is not good; empty when it is.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Why parts of it were not tried.
    #[must_use]
    pub fn skips(&self) -> &[String] {
        &self.skips
    }

    /// Every note of every run.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn count(&self) -> usize {
        self.runs.values().sum()
    }

    fn verdict(&self) -> &'static str {
        match (self.is_good(), self.count()) {
            (false, _) => "FAILED",
            (true, 0) => "SKIPPED",
            (true, _) => "ok",
        }
    }

    fn reason(&self) -> String {
        if let Some(first) = self.failures.first() {
            return format!("{} of {} runs: {first}", self.failures.len(), self.count());
        }
        let mut parts: Vec<String> = Vec::new();
        if self.runs.len() > 1 {
            parts.push(self.runs.iter().map(|(name, count)| format!("{name} ×{count}")).collect::<Vec<_>>().join(", "));
        }
        if self.again > 0 {
            parts.push(format!("{} made again on a machine that stood still", self.again));
        }
        parts.extend(self.skips.first().map(|why| format!("SKIPPED {why}")));
        parts.extend(self.notes.last().cloned());
        parts.join("; ")
    }
}

/// The table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let head = ["fault", "what breaks", "runs", "acked", "lost", "dup", "worst gap", "verdict"];
    let width = rows.iter().map(|row| row.title.chars().count()).max().unwrap_or(0).max(head[1].len());
    let line = |cells: [&str; 8], reason: &str| {
        let [id, title, runs, acked, lost, duplicates, gap, verdict] = cells;
        format!(
            "{id:<6}{title:<width$}  {runs:>4}  {acked:>7}  {lost:>4}  {duplicates:>3}  {gap:>10}  {verdict:<8}{reason}"
        )
    };
    // Writing to a `String` can't fail.
    let _ = writeln!(text, "{}", line(head, "why"));
    for row in rows {
        let cells = [
            row.id,
            row.title,
            &row.count().to_string(),
            &row.acknowledged.to_string(),
            &row.lost.to_string(),
            &row.duplicates.to_string(),
            &format!("{} ms", row.unavailable.as_millis()),
            row.verdict(),
        ];
        let reason: String = row.reason().replace('\n', " ").chars().take(REASON_MAX).collect();
        let _ = writeln!(text, "{}", line(cells, &reason));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: Fault = Fault { id: "F0", title: "nothing", variants: &[] };

    #[test]
    fn a_loss_or_a_failure_spoils_a_row_and_a_skip_does_not() {
        let mut row = Row::of(&FAULT);
        row.add("", Tally { skipped: Some("no root".to_owned()), ..Tally::default() }, None);
        assert_eq!((row.verdict(), row.reason().as_str()), ("SKIPPED", "SKIPPED no root"));
        row.add("a", Tally { acknowledged: 7, unavailable: Duration::from_millis(90), ..Tally::default() }, None);
        assert_eq!(row.verdict(), "ok");
        assert!(table(std::slice::from_ref(&row)).contains("90 ms"), "{}", table(&[row]));
        let mut lossy = row.clone();
        lossy.add("a", Tally { lost: 1, ..Tally::default() }, None);
        assert!(!lossy.is_good());
        row.add("a", Tally::default(), Some("no dispatcher".to_owned()));
        assert_eq!((row.verdict(), row.reason().as_str()), ("FAILED", "1 of 2 runs: a: no dispatcher"));
    }
}
