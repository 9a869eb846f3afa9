//! The table for people, the file for programs, and the medians of several such files.

use crate::Failed;
use crate::figure::{Aim, Beside, Figure, quantile};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

const HEAD: [&str; 8] = ["", "", "median", "min–max", "beside", "ratio", "aim", "verdict"];

#[derive(Deserialize)]
struct File {
    figures: Vec<Figure>,
    run: Value,
}

/// The table for people.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(figures.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(place, (cell, width))| match place {
            2 | 5 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(figure: &Figure) -> [String; HEAD.len()] {
    [
        figure.work.clone(),
        figure.what.clone(),
        number(figure.median()),
        range(&figure.rounds),
        figure.beside.as_ref().map_or_else(String::new, beside),
        figure.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        figure.aim.map_or_else(String::new, aim),
        figure.verdict().map_or_else(String::new, |verdict| verdict.to_string()),
    ]
}

fn range(values: &[f64]) -> String {
    let (min, max) = (quantile(values, 0.0), quantile(values, 1.0));
    if values.len() < 2 { String::new() } else { format!("{}–{}", number(min), number(max)) }
}

fn beside(beside: &Beside) -> String {
    let median = number(quantile(&beside.rounds, 0.5));
    match range(&beside.rounds).as_str() {
        "" => format!("{median} {}", beside.what),
        range => format!("{median} ({range}) {}", beside.what),
    }
}

fn aim(aim: Aim) -> String {
    match aim {
        Aim::AtLeast(value) => format!("≥ {}", number(value)),
        Aim::AtMost(value) => format!("≤ {}", number(value)),
        Aim::TimesAtLeast(value) => format!("≥ {value} ×"),
        Aim::TimesAtMost(value) => format!("≤ {value} ×"),
    }
}

/// The file for programs.
#[must_use]
pub fn json(figures: &[Figure], run: &Value) -> Value {
    json!({"figures": figures.iter().map(Figure::json).collect::<Vec<_>>(), "run": run})
}

/// The figures of several result files, each with the medians of the runs as its rounds; and what the runs were.
///
/// # Errors
/// When a file can't be read.
pub fn medians(files: &[impl AsRef<Path>]) -> Result<(Vec<Figure>, Vec<Value>), Failed> {
    let (mut merged, mut runs): (Vec<Figure>, Vec<Value>) = (Vec::new(), Vec::new());
    for path in files {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)?;
        let file: File = serde_json::from_str(&text)
            .map_err(|error| Failed::Answer(format!("{} is no result file: {error}", path.display())))?;
        file.figures.into_iter().for_each(|figure| merge(&mut merged, figure));
        runs.push(file.run);
    }
    Ok((merged, runs))
}

fn merge(merged: &mut Vec<Figure>, mut figure: Figure) {
    figure.rounds = vec![figure.median()];
    if let Some(beside) = &mut figure.beside {
        beside.rounds = vec![quantile(&beside.rounds, 0.5)];
    }
    match merged.iter_mut().find(|known| known.work == figure.work && known.what == figure.what) {
        None => merged.push(figure),
        Some(known) => {
            known.rounds.extend(figure.rounds);
            match (&mut known.beside, figure.beside) {
                (Some(known), Some(beside)) => known.rounds.extend(beside.rounds),
                (known, beside) => *known = known.take().or(beside),
            }
        }
    }
}

/// Three digits that mean something, thousands apart.
#[must_use]
pub fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        let places = if value.abs() < 1.0 { 4 } else { 2 };
        let text = format!("{value:.places$}");
        return text.strip_suffix(".00").map(str::to_owned).unwrap_or(text);
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
    fn numbers_are_readable() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(12.345), "12.35");
        assert_eq!(number(25.0), "25");
        assert_eq!(number(0.00123), "0.0012");
    }

    #[test]
    fn the_table_says_by_how_much_it_is_short() {
        let figure = Figure::new("W1", "jobs/s", vec![1e5, 3e5, 2e5]).beside("JetStream", vec![1e5, 2e5]);
        let text = table(&[figure.aim(Aim::TimesAtLeast(2.5))]);
        let line = text.lines().nth(1).unwrap();
        let cells: Vec<&str> = line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect();
        let beside = "100,000 (100,000–200,000) JetStream";
        let expected = ["W1", "jobs/s", "200,000", "100,000–300,000", beside, "2.00", "≥ 2.5 ×", "short by 20 %"];
        assert_eq!(cells, expected);
    }

    #[test]
    fn files_are_merged_into_the_medians_of_their_runs() {
        let folder = tempfile::tempdir().unwrap();
        let figure = |values: [f64; 3]| Figure::new("W2", "jobs/s", values.to_vec()).beside("peer", vec![values[0]]);
        let write = |name: &str, values| {
            let path = folder.path().join(name);
            std::fs::write(&path, json(&[figure(values)], &json!({"name": name})).to_string()).unwrap();
            path
        };
        let files = [write("a", [1.0, 2.0, 9.0]), write("b", [5.0, 4.0, 3.0]), write("c", [7.0, 7.0, 7.0])];
        let (merged, runs) = medians(&files).unwrap();
        assert_eq!(merged, [figure([2.0, 4.0, 7.0]).beside("peer", vec![1.0, 5.0, 7.0])]);
        assert_eq!(runs.len(), 3);
        assert_eq!(merged[0].median(), 4.0);
        std::fs::write(&files[0], "nonsense").unwrap();
        assert!(medians(&files).unwrap_err().to_string().contains("is no result file"));
    }
}
