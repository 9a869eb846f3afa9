//! Prints the table of faults: `faults [F1 F7 …] [--runs 5]`; without names, all of them. Or makes rounds of
//! chance damage to a stopped node's store: `faults --damage 200 [--seed 1]`.
//!
//! It needs the program `relais` beside it, and exits with 1 if a row is not good.

use relais_tests::faults::damage::rounds;
use relais_tests::faults::run::row;
use relais_tests::faults::{FAULTS, Fault, Row, find, table};
use std::process::ExitCode;

/// Runs of each fault, unless said otherwise.
const RUNS: usize = 5;
const USAGE: &str = "usage: faults [F1 F7 …] [--runs N] | --damage ROUNDS [--seed N]";

struct Wish {
    faults: Vec<&'static Fault>,
    runs: usize,
    damage: usize,
    seed: u64,
}

fn wish(args: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish { faults: Vec::new(), runs: RUNS, damage: 0, seed: 1 };
    let mut args = args;
    while let Some(arg) = args.next() {
        if arg == "--runs" {
            let number = args.next().and_then(|text| text.parse().ok()).filter(|runs| *runs > 0);
            wish.runs = number.ok_or("--runs needs a number from 1 on")?;
        } else if arg == "--damage" {
            let number = args.next().and_then(|text| text.parse().ok()).filter(|rounds| *rounds > 0);
            wish.damage = number.ok_or("--damage needs a number of rounds from 1 on")?;
        } else if arg == "--seed" {
            wish.seed = args.next().and_then(|text| text.parse().ok()).ok_or("--seed needs a number")?;
        } else {
            wish.faults.push(find(&arg).ok_or_else(|| format!("there is no fault {arg}"))?);
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
    if wish.damage > 0 {
        let report = rounds(wish.damage, wish.seed);
        println!("\n{report}");
        return if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let rows: Vec<Row> = wish.faults.iter().map(|fault| row(fault, wish.runs)).collect();
    println!("\n{}", table(&rows));
    for row in &rows {
        row.skips().iter().for_each(|why| println!("SKIPPED {}: {why}", row.id()));
        row.failures().iter().for_each(|why| println!("FAILED {}: {why}", row.id()));
    }
    if rows.iter().all(Row::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
