//! Prints the table of faults: `faults [F1 F7 …] [--runs 5]`; without names, all of them. `faults --rounds 300`
//! runs so many rounds of kill -9 instead.
//!
//! It needs the program `relais` beside it, and exits with 1 if a row is not good.

use relais_tests::faults::run::{rounds, row};
use relais_tests::faults::{FAULTS, Fault, Row, find, table};
use std::process::ExitCode;

/// Runs of each fault, unless said otherwise.
const RUNS: usize = 5;
const USAGE: &str = "usage: faults [F1 F7 …] [--runs N] | faults --rounds N";

struct Wish {
    faults: Vec<&'static Fault>,
    runs: usize,
    rounds: Option<usize>,
}

fn number(flag: &str, given: Option<String>) -> Result<usize, String> {
    let number = given.and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("{flag} needs a number from 1 on"))
}

fn wish(mut args: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish { faults: Vec::new(), runs: RUNS, rounds: None };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--runs" => wish.runs = number(&arg, args.next())?,
            "--rounds" => wish.rounds = Some(number(&arg, args.next())?),
            _ => wish.faults.push(find(&arg).ok_or_else(|| format!("there is no fault {arg}"))?),
        }
    }
    if wish.faults.is_empty() {
        wish.faults = FAULTS.iter().collect();
    }
    Ok(wish)
}

fn main() -> ExitCode {
    let wish = match wish(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let rows: Vec<Row> = match wish.rounds {
        Some(count) => vec![rounds(count)],
        None => wish.faults.iter().map(|fault| row(fault, wish.runs)).collect(),
    };
    println!("\n{}", table(&rows));
    for row in &rows {
        row.skips().iter().for_each(|why| println!("SKIPPED {}: {why}", row.id()));
        row.failures().iter().for_each(|why| println!("FAILED {}: {why}", row.id()));
    }
    if rows.iter().all(Row::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
