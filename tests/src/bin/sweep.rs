//! The long sweep of the simulator: goes on from the count in `tests/sweep.json` up to `--seeds`, writes it
//! down as it goes, and may be interrupted at any time. Each kind of world has a count of its own: `--world pair`
//! goes on from `tests/sweep-pair.json`.
//!
//! It refuses to go on from a file that it can't read, and ends with 1 if any seed breaks a promise.

use relais_tests::world::{Profile, Tally, fingerprint, sweep};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Seeds between two writings of the count.
const STEP: u64 = 2_000;

const USAGE: &str = "usage: sweep [--world any|pair|leases|journals|outside] [--seeds N] [--threads N] [--file PATH]";

struct Wish {
    profile: Profile,
    seeds: u64,
    threads: usize,
    file: PathBuf,
}

fn main() -> ExitCode {
    let outcome = wish().and_then(|wish| go_on(&wish).map_err(|error| format!("{}: {error}", wish.file.display())));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    }
}

fn wish() -> Result<Wish, String> {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| "tests".to_owned());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut wish = Wish { profile: Profile::Any, seeds: 200_000, threads, file: PathBuf::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        let number = || value.parse::<u64>().map_err(|_| format!("`{value}` is no number; {USAGE}"));
        match word.as_str() {
            "--world" => wish.profile = Profile::named(&value).ok_or(USAGE)?,
            "--seeds" => wish.seeds = number()?,
            "--threads" => wish.threads = number()? as usize,
            "--file" => wish.file = PathBuf::from(&value),
            _ => return Err(USAGE.to_owned()),
        }
    }
    if wish.file.as_os_str().is_empty() {
        let name = if wish.profile == Profile::Any {
            "sweep.json".to_owned()
        } else {
            format!("sweep-{}.json", wish.profile.name())
        };
        wish.file = PathBuf::from(folder).join(name);
    }
    Ok(wish)
}

/// Sweeps on; whether every promise was kept.
fn go_on(wish: &Wish) -> std::io::Result<bool> {
    let mut tally = Tally::open(&wish.file)?;
    tally.check_again(wish.profile);
    let fingerprint = format!("{:016x}", fingerprint(wish.profile));
    while tally.seeds < wish.seeds {
        let count = STEP.min(wish.seeds - tally.seeds);
        let began = Instant::now();
        let swept = sweep(wish.profile, tally.seeds + 1, count, wish.threads);
        tally.add(&swept, &fingerprint);
        tally.save(&wish.file)?;
        let pace = count as f64 / began.elapsed().as_secs_f64();
        println!("{} seeds of {}, {pace:.0} a second", tally.seeds, wish.seeds);
        for report in swept.violated() {
            println!("{}", report.complaint());
        }
    }
    tally.save(&wish.file)?;
    println!("{tally}");
    for (seed, seen) in &tally.violations {
        println!("seed {seed}: {seen}");
        println!(
            "  RELAIS_WORLD={} RELAIS_SEED={seed} cargo test --release -p relais-tests --test world -- one_seed --nocapture",
            wish.profile.name()
        );
    }
    Ok(tally.violations.is_empty())
}
