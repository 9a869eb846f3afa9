//! The seed sweep of the simulator, and the planted bugs that prove it can find something. Run it with
//! `--release`.
//!
//! `RELAIS_SEEDS` and `RELAIS_FIRST_SEED` sweep others; `RELAIS_SEED` runs one again, `RELAIS_TRACE=file`
//! writes down all that happens in it, `RELAIS_REPLAY=file` runs a trace again and shows where it differs.

use relais_tests::world::{one_seed, replay, search, sweep, write_trace};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Seeds of a sweep, where `RELAIS_SEEDS` does not say otherwise.
const SEEDS: u64 = 2_000;
/// Seeds in which each planted bug is looked for, at most.
const PLANTED_SEEDS: u64 = 1_000;
/// A planted bug that was found in so many seeds is looked for no more.
const FINDS: usize = 2;
/// Fewer seeds say nothing about how often a kind of fault comes.
const SEEDS_TELLING: u64 = 500;

/// What takes both cores, one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// Every planted bug, and where it sits: in the product's own pure cores, or in the simulator's model of
/// what is not pure (journal, disk, shells).
const PLANTED: [(&str, &str); 29] = [
    // The journal and its disk.
    ("sync-skipped", "model of the store"),
    ("damage-ignored", "model of the store: votes after damage"),
    ("raft-id-reused", "model of the store"),
    ("snapshot-without-keys", "model of the store"),
    ("keys-not-kept", "ledger"),
    ("one-copy", "model of the journal: acknowledged after one copy"),
    ("stale-read", "model of the journal"),
    // The election.
    ("confirm-round-skipped", "election"),
    ("resignation-skipped", "election"),
    // Nothing comes of it as long as one batch is in flight at most: that is disarmed with it.
    ("rank-without-term", "election, and model of the journal's vote"),
    // The dispatcher.
    ("early-acknowledgement", "dispatcher's core"),
    ("epoch-ignored", "ledger and dispatcher's core"),
    ("epoch-not-raised", "ledger"),
    ("lease-not-regranted", "dispatcher's core"),
    ("lost-on-suspicion", "dispatcher's core"),
    ("report-answered-early", "dispatcher's core"),
    ("stamp-of-the-wall-clock", "dispatcher's core"),
    // The ledger.
    ("dedupe-skipped", "ledger"),
    ("limit-in-memory", "ledger"),
    ("cancel-not-kept", "ledger"),
    ("late-report-accepted", "ledger"),
    ("terminal-overwritten", "ledger"),
    ("failure-counted-twice", "ledger"),
    ("losses-not-counted", "ledger"),
    ("restart-not-noticed", "ledger"),
    // The worker.
    ("worker-ignores-epoch", "worker's core"),
    ("order-without-incarnation", "worker's core"),
    ("settled-forgotten", "worker's core"),
    ("fenced-not-reported", "worker's core"),
];

/// Bugs that show only when several rare things come together: looked for and told of, not demanded.
const RARE: [(&str, &str); 6] = [
    ("failed-sync-ignored", "model of the store"),
    ("old-term-committed", "model of the journal"),
    ("vote-forgotten", "model of the journal"),
    ("joint-set-skipped", "model of the journal"),
    ("lease-from-answer", "worker's core"),
    ("reign-not-remembered", "model of the worker's disk"),
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[test]
fn every_seed_keeps_every_promise() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (first, seeds) = (number("RELAIS_FIRST_SEED").unwrap_or(1), number("RELAIS_SEEDS").unwrap_or(SEEDS));
    let began = Instant::now();
    let mut swept = sweep(first, seeds, threads());
    swept.took = began.elapsed();
    println!("{swept}");
    let complaints: Vec<String> = swept.violated().take(10).map(|report| report.complaint()).collect();
    assert!(complaints.is_empty(), "{} seeds broke a promise\n{}", swept.violated().count(), complaints.join("\n"));
    if seeds >= SEEDS_TELLING {
        let (events, jobs) = (swept.median(|report| report.events), swept.median(|report| report.jobs as u64));
        assert!(events >= 2_000 && jobs >= 20, "a seed has too little in it: {events} events, {jobs} jobs");
        assert!(swept.median(|report| report.fault_count()) >= 3, "a seed has too few faults");
        let common = swept.kinds().values().filter(|(in_seeds, _)| in_seeds * 20 >= seeds).count();
        assert!(common >= 20, "only {common} kinds of fault come in one seed of twenty");
    }
}

#[test]
fn one_seed_is_one_run() {
    for seed in [number("RELAIS_SEED").unwrap_or(7), 8, 9] {
        let (first, _) = one_seed(seed, false);
        let (second, _) = one_seed(seed, true);
        assert_eq!((first.trace_hash, first.events), (second.trace_hash, second.events), "seed {seed}");
    }
}

#[test]
fn a_trace_is_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    write_trace(11, &path).expect("a trace");
    let (report, differs) = replay(&path).expect("a replay");
    assert_eq!((report.seed, differs), (11, None));
    let spoiled = std::fs::read_to_string(&path).expect("text").replacen("boots", "sleeps", 1);
    std::fs::write(&path, spoiled).expect("a trace");
    assert!(replay(&path).expect("a replay").1.is_some_and(|differs| differs.contains("sleeps")));
}

#[test]
fn one_seed_again() {
    if let Ok(path) = std::env::var("RELAIS_REPLAY") {
        let (report, differs) = replay(Path::new(&path)).expect("a trace to replay");
        println!("{report:#?}");
        assert_eq!(differs, None, "the run is another one now");
    }
    let Some(seed) = number("RELAIS_SEED") else { return };
    if let Ok(path) = std::env::var("RELAIS_TRACE") {
        write_trace(seed, Path::new(&path)).expect("the trace can be written");
    }
    let (report, _) = one_seed(seed, false);
    println!("{report:#?}");
    assert!(report.violations.is_empty(), "{}", report.complaint());
}

/// Run by [`planted_bugs_are_found`] in a process of its own: the switch is read once for each process.
#[test]
fn planted_child() {
    if std::env::var("RELAIS_PLANTED").is_ok_and(|name| !name.is_empty()) {
        let swept = search(1, number("RELAIS_PLANTED_SEEDS").unwrap_or(PLANTED_SEEDS), threads(), FINDS);
        println!("FOUND IN {} of {}", swept.violated().count(), swept.reports.len());
        if let Some(report) = swept.violated().next() {
            println!("{}: {}", report.seed, report.violations[0]);
        }
    }
}

/// Looks for a bug: in how many seeds it was found, and a line that tells.
fn look_for(name: &str, place: &str, seeds: u64) -> bool {
    let this = std::env::current_exe().expect("a test knows its own file");
    let child = Command::new(&this)
        .args(["--exact", "planted_child", "--nocapture"])
        .env("RELAIS_PLANTED", name)
        .env("RELAIS_PLANTED_SEEDS", seeds.to_string())
        .output()
        .expect("a test can run itself");
    let told = String::from_utf8_lossy(&child.stdout).into_owned();
    let mut lines = told.split("FOUND IN ").nth(1).unwrap_or("").lines();
    let (found, example) = (lines.next().unwrap_or("0"), lines.next().unwrap_or(""));
    let example: String = example.chars().take(140).collect();
    println!("{name:<26} ({place}): in {found} seeds; {example}");
    !found.starts_with('0')
}

#[test]
fn planted_bugs_are_found() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let only = std::env::var("RELAIS_PLANTED_ONLY").unwrap_or_default();
    let asked_for = |(name, _): &(&str, &str)| name.contains(&only);
    let missed: Vec<&str> = PLANTED
        .into_iter()
        .filter(asked_for)
        .filter(|(name, place)| !look_for(name, place, PLANTED_SEEDS))
        .map(|(name, _)| name)
        .collect();
    println!("{} of {} planted bugs found", PLANTED.len() - missed.len(), PLANTED.len());
    match number("RELAIS_RARE_SEEDS") {
        Some(seeds) => {
            let rare = RARE.into_iter().filter(asked_for).filter(|(name, place)| look_for(name, place, seeds)).count();
            println!("{rare} of {} rare ones found", RARE.len());
        }
        None => println!("SKIPPED: {} rare ones, which take RELAIS_RARE_SEEDS=2000 or more each", RARE.len()),
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
