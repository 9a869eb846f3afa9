//! The seed sweep of the simulator, and the planted bugs that prove it can find something. Run it with
//! `--release`.
//!
//! `RELAIS_SEEDS` and `RELAIS_FIRST_SEED` sweep others; `RELAIS_SEED` runs one again, `RELAIS_TRACE=file`
//! writes down all that happens in it, `RELAIS_REPLAY=file` runs a trace again and shows where it differs.

use relais_tests::world::{Profile, one_seed, replay, search, sweep, write_trace};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Seeds of a sweep, where `RELAIS_SEEDS` does not say otherwise.
const SEEDS: u64 = 2_000;
/// Seeds of the sweeps over other kinds of worlds, where `RELAIS_SPECIAL_SEEDS` does not say otherwise.
const PAIR_SEEDS: u64 = 200;
const LEASE_SEEDS: u64 = 60;
const OUTSIDE_SEEDS: u64 = 60;
const JOURNAL_SEEDS: u64 = 2_000;
/// Seeds in which each planted bug is looked for, at most.
const PLANTED_SEEDS: u64 = 1_000;
/// A planted bug that was found in so many seeds is looked for no more.
const FINDS: usize = 2;
/// Fewer seeds say nothing about how often a kind of fault comes.
const SEEDS_TELLING: u64 = 500;

/// What takes both cores, one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// Every planted bug, where it sits (in the product's own pure cores, or in the simulator's model of what is
/// not pure: journal, disk, shells), and the kind of world that goes to the place where it shows.
const PLANTED: [(&str, &str, Profile); 53] = [
    // The journal and its disk.
    ("sync-skipped", "model of the store", Profile::Any),
    ("failed-sync-ignored", "model of the store", Profile::Journals),
    ("damage-ignored", "model of the store: votes after damage", Profile::Any),
    ("raft-id-reused", "model of the store", Profile::Any),
    ("snapshot-without-keys", "model of the store", Profile::Any),
    ("keys-not-kept", "ledger", Profile::Any),
    ("one-copy", "model of the journal: acknowledged after one copy", Profile::Any),
    ("old-term-committed", "model of the journal", Profile::Journals),
    ("vote-forgotten", "model of the journal", Profile::Journals),
    ("joint-set-skipped", "model of the journal", Profile::Journals),
    ("stale-read", "model of the journal", Profile::Any),
    // The election.
    ("confirm-round-skipped", "election", Profile::Any),
    ("resignation-skipped", "election", Profile::Leases),
    // Nothing comes of it as long as one batch is in flight at most: that is disarmed with it.
    ("rank-without-term", "election, and model of the journal's vote", Profile::Any),
    // The dispatcher.
    ("early-acknowledgement", "dispatcher's core", Profile::Any),
    ("epoch-ignored", "ledger and dispatcher's core", Profile::Any),
    ("epoch-not-raised", "ledger", Profile::Any),
    ("lease-not-regranted", "dispatcher's core", Profile::Any),
    ("lost-on-suspicion", "dispatcher's core", Profile::Any),
    ("report-answered-early", "dispatcher's core", Profile::Any),
    ("stamp-of-the-wall-clock", "dispatcher's core", Profile::Any),
    // The ledger.
    ("dedupe-skipped", "ledger", Profile::Any),
    ("limit-in-memory", "ledger", Profile::Any),
    ("memory-ignored", "ledger", Profile::Any),
    ("cancel-not-kept", "ledger", Profile::Any),
    ("late-report-accepted", "ledger", Profile::Any),
    ("terminal-overwritten", "ledger", Profile::Any),
    ("failure-counted-twice", "ledger", Profile::Any),
    ("losses-not-counted", "ledger", Profile::Any),
    ("restart-not-noticed", "ledger", Profile::Any),
    ("cron-slot-in-memory", "ledger", Profile::Any),
    ("notices-in-memory", "ledger", Profile::Any),
    ("final-end-retried", "ledger", Profile::Any),
    ("labels-ignored", "ledger", Profile::Any),
    ("rate-in-memory", "ledger", Profile::Any),
    ("unique-not-kept", "ledger", Profile::Any),
    ("group-skips-a-member", "ledger's groups", Profile::Any),
    ("every-node-unbound", "ledger's groups", Profile::Any),
    ("every-node-unlabelled", "ledger's groups", Profile::Any),
    ("forgets-what-runs", "ledger's retention", Profile::Any),
    ("forgets-keyed", "ledger's retention", Profile::Any),
    ("forgets-members", "ledger's retention", Profile::Any),
    ("forgets-too-soon", "dispatcher's core", Profile::Any),
    ("surplus-miscounted", "ledger's retention", Profile::Any),
    // The worker.
    ("worker-ignores-epoch", "worker's core", Profile::Any),
    ("order-without-incarnation", "worker's core", Profile::Any),
    ("settled-forgotten", "worker's core", Profile::Any),
    ("fenced-not-reported", "worker's core", Profile::Any),
    ("lease-from-answer", "worker's core", Profile::Leases),
    // The pair.
    ("tail-dropped", "model of the journal's fork", Profile::Pair),
    ("merge-drops-tombstones", "ledger's merge", Profile::Pair),
    ("merge-drops-rows", "ledger's merge", Profile::Pair),
    ("merge-drops-aliases", "ledger's merge", Profile::Pair),
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The kind of world that is asked for.
fn profile() -> Profile {
    let name = std::env::var("RELAIS_WORLD").unwrap_or_default();
    if name.is_empty() { Profile::Any } else { Profile::named(&name).expect("RELAIS_WORLD names a kind of world") }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[test]
fn every_seed_keeps_every_promise() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (first, seeds) = (number("RELAIS_FIRST_SEED").unwrap_or(1), number("RELAIS_SEEDS").unwrap_or(SEEDS));
    let began = Instant::now();
    let mut swept = sweep(Profile::Any, first, seeds, threads());
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
    if seeds >= SEEDS {
        let unused: Vec<&str> =
            swept.features().into_iter().filter(|(_, (_, times))| *times == 0).map(|(feature, _)| feature).collect();
        assert!(unused.is_empty(), "no seed makes use of {unused:?}");
    }
}

/// Sweeps a kind of world that goes to a certain place: nothing is broken there.
fn keeps_every_promise(profile: Profile, seeds: u64) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let first = number("RELAIS_FIRST_SEED").unwrap_or(1);
    let began = Instant::now();
    let mut swept = sweep(profile, first, number("RELAIS_SPECIAL_SEEDS").unwrap_or(seeds), threads());
    swept.took = began.elapsed();
    println!("{}: {swept}", profile.name());
    let complaints: Vec<String> = swept.violated().take(10).map(|report| report.complaint()).collect();
    assert!(complaints.is_empty(), "{} seeds broke a promise\n{}", swept.violated().count(), complaints.join("\n"));
}

#[test]
fn every_pair_keeps_every_promise() {
    keeps_every_promise(Profile::Pair, PAIR_SEEDS);
}

#[test]
fn every_lease_is_kept() {
    keeps_every_promise(Profile::Leases, LEASE_SEEDS);
}

#[test]
fn every_lease_of_an_external_worker_is_kept() {
    keeps_every_promise(Profile::Outside, OUTSIDE_SEEDS);
}

#[test]
fn every_schedule_of_journals_keeps_every_promise() {
    keeps_every_promise(Profile::Journals, JOURNAL_SEEDS);
}

#[test]
fn one_seed_is_one_run() {
    for seed in [number("RELAIS_SEED").unwrap_or(7), 8, 9] {
        for profile in Profile::ALL {
            let (first, _) = one_seed(profile, seed, false);
            let (second, _) = one_seed(profile, seed, true);
            let name = profile.name();
            assert_eq!((first.trace_hash, first.events), (second.trace_hash, second.events), "{name} seed {seed}");
        }
    }
}

#[test]
fn a_trace_is_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    write_trace(Profile::Pair, 11, &path).expect("a trace");
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
        write_trace(profile(), seed, Path::new(&path)).expect("the trace can be written");
    }
    let (report, _) = one_seed(profile(), seed, false);
    println!("{report:#?}");
    assert!(report.violations.is_empty(), "{}", report.complaint());
}

/// Run by [`planted_bugs_are_found`] in a process of its own: the switch is read once for each process.
#[test]
fn planted_child() {
    if std::env::var("RELAIS_PLANTED").is_ok_and(|name| !name.is_empty()) {
        let swept = search(profile(), 1, number("RELAIS_PLANTED_SEEDS").unwrap_or(PLANTED_SEEDS), threads(), FINDS);
        println!("FOUND IN {} of {}", swept.violated().count(), swept.reports.len());
        if let Some(report) = swept.violated().next() {
            println!("{}: {}", report.seed, report.violations[0]);
        }
    }
}

/// Looks for a bug: in how many seeds it was found, and a line that tells.
fn look_for(name: &str, place: &str, profile: Profile) -> bool {
    let this = std::env::current_exe().expect("a test knows its own file");
    let child = Command::new(&this)
        .args(["--exact", "planted_child", "--nocapture"])
        .env("RELAIS_PLANTED", name)
        .env("RELAIS_WORLD", profile.name())
        .output()
        .expect("a test can run itself");
    let told = String::from_utf8_lossy(&child.stdout).into_owned();
    let mut lines = told.split("FOUND IN ").nth(1).unwrap_or("").lines();
    let (found, example) = (lines.next().unwrap_or("0"), lines.next().unwrap_or(""));
    let example: String = example.chars().take(140).collect();
    println!("{name:<26} ({place}): in {found} seeds of `{}`; {example}", profile.name());
    !found.starts_with('0')
}

#[test]
fn planted_bugs_are_found() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let only = std::env::var("RELAIS_PLANTED_ONLY").unwrap_or_default();
    let asked_for: Vec<_> = PLANTED.into_iter().filter(|(name, ..)| name.contains(&only)).collect();
    let missed: Vec<&str> = asked_for
        .iter()
        .filter(|(name, place, profile)| !look_for(name, place, *profile))
        .map(|(name, ..)| *name)
        .collect();
    println!("{} of {} planted bugs found", asked_for.len() - missed.len(), asked_for.len());
    assert!(missed.is_empty(), "not found: {missed:?}");
}
