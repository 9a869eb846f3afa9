//! The seed sweep over the real journal under a simulated clock, and the planted bugs that prove it can find
//! something.

use relais_tests::replicas::{one_seed, sweep};
use std::process::Command;

/// Seeds of a sweep, where `RELAIS_REPLICA_SEEDS` does not say otherwise.
const SEEDS: u64 = 200;
/// Seeds in which each planted bug is looked for; and again as many, up to so many times, until it is found.
const PLANTED_SEEDS: u64 = 40;
const PLANTED_TRIES: u64 = 5;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[test]
fn every_seed_keeps_every_promise() {
    let first = number("RELAIS_REPLICA_FIRST_SEED").unwrap_or(1);
    let swept = sweep(first, number("RELAIS_REPLICA_SEEDS").unwrap_or(SEEDS), threads());
    println!("{swept}");
    let complaints: Vec<String> = swept.violated().take(10).map(|report| report.complaint()).collect();
    assert!(complaints.is_empty(), "{} seeds broke a promise\n{}", swept.violated().count(), complaints.join("\n"));
    if swept.reports.len() >= 100 {
        assert!(swept.sum(|c| c.snapshots) > 0, "no snapshot was installed");
        assert!(swept.sum(|c| c.put_aside) > 0, "no journal was put aside");
        assert!(swept.faults().len() >= 15, "only {} kinds of fault struck", swept.faults().len());
    }
}

#[test]
fn one_seed_again() {
    let Some(seed) = number("RELAIS_REPLICA_SEED") else { return };
    let (report, _) = one_seed(seed, false);
    println!("{report:#?}");
    assert!(report.violations.is_empty(), "{}", report.complaint());
}

/// Run by [`planted_bugs_are_found`] in a process of its own: the switch is read once for each process.
#[test]
fn planted_child() {
    if std::env::var("RELAIS_PLANTED").is_ok_and(|name| !name.is_empty()) {
        let tries = (0..PLANTED_TRIES).map(|n| (n + 1, sweep(1 + n * PLANTED_SEEDS, PLANTED_SEEDS, threads())));
        let found = tries.into_iter().find(|(n, swept)| swept.violated().count() > 0 || *n == PLANTED_TRIES);
        let (tries, swept) = found.expect("at least one try");
        println!("FOUND IN {} of {}", swept.violated().count(), tries * PLANTED_SEEDS);
        if let Some(report) = swept.violated().next() {
            println!("{}: {}", report.seed, report.violations[0]);
        }
    }
}

#[test]
fn planted_bugs_are_found() {
    let this = std::env::current_exe().expect("a test knows its own file");
    for name in ["sync-skipped", "early-acknowledgement", "old-raft-id-reused", "read-round-skipped"] {
        let child = Command::new(&this)
            .args(["--exact", "planted_child", "--nocapture"])
            .env("RELAIS_PLANTED", name)
            .output()
            .expect("a test can run itself");
        let told = String::from_utf8_lossy(&child.stdout).into_owned();
        let mut lines = told.split("FOUND IN ").nth(1).unwrap_or("").lines();
        let (found, example) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        println!("{name}: found in {found} seeds; seed {example}");
        let count: Option<u64> = found.split(' ').next().and_then(|count| count.parse().ok());
        assert!(count.is_some_and(|count| count > 0), "{name} was not found: {told}");
    }
}
