//! Many seeds: run, judged, counted.

use super::Trial;
use super::watch::Counts;
use crate::checkers::{self, Violation};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What happened in it.
    pub counts: Counts,
    /// From the heal to the first dispatcher, and to equal ledgers everywhere, in ms.
    pub recovered_ms: Option<(u64, u64)>,
    /// What did not hold.
    pub violations: Vec<Violation>,
}

/// Runs one seed on a runtime of its own. With `told` what happened comes as text as well.
///
/// # Panics
/// When the system gives no folder or no runtime.
#[must_use]
pub fn one_seed(seed: u64, told: bool) -> (Report, Option<String>) {
    let memory = std::path::Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("relais-replicas-");
    let home = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
    let home = home.expect("a folder for the hosts' files");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let (watch, seen) = runtime.block_on(Trial::run(seed, home.path(), told));
    drop(runtime);
    let (history, counts, mut violations) = seen;
    violations.extend(checkers::check_all(&history));
    let recovered_ms = history.recovery.as_ref().and_then(|recovery| {
        let since = |at: Option<crate::history::At>| at.map(|at| at.0 - recovery.healed.0);
        Some((since(recovery.dispatcher)?, since(recovery.all_ended)?))
    });
    (Report { seed, counts, recovered_ms, violations }, watch.trace())
}

impl Report {
    /// What it broke, and how to see such a run again; the trace of another run of this seed is written to a
    /// file in the folder for temporary files.
    #[must_use]
    pub fn complaint(&self) -> String {
        let seed = self.seed;
        let path = std::env::temp_dir().join(format!("relais-replicas-{seed}.trace"));
        let (again, text) = one_seed(seed, true);
        let written = match std::fs::write(&path, text.unwrap_or_default()) {
            Ok(()) => format!("run again: {} violations, trace in {}", again.violations.len(), path.display()),
            Err(error) => format!("no trace ({error})"),
        };
        let first: Vec<String> = self.violations.iter().take(5).map(ToString::to_string).collect();
        format!(
            "seed {seed}: {}\n  again: RELAIS_REPLICA_SEED={seed} cargo test -p relais-tests --test replicas -- one_seed --nocapture\n  {written}",
            first.join("\n  ")
        )
    }
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Swept {
    /// One report for each seed, in their order.
    pub reports: Vec<Report>,
}

/// Runs `count` seeds from `first` on, on `threads` threads.
#[must_use]
pub fn sweep(first: u64, count: u64, threads: usize) -> Swept {
    let (next, reports) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let (report, _) = one_seed(seed, false);
                    reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    reports.sort_by_key(|report| report.seed);
    Swept { reports }
}

impl Swept {
    /// Seeds that broke something.
    pub fn violated(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().filter(|report| !report.violations.is_empty())
    }

    /// The sum of one number over all seeds.
    pub fn sum(&self, of: impl Fn(&Counts) -> u64) -> u64 {
        self.reports.iter().map(|report| of(&report.counts)).sum()
    }

    /// How often each kind of fault struck.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        let mut kinds = BTreeMap::new();
        for (kind, times) in self.reports.iter().flat_map(|report| &report.counts.faults) {
            *kinds.entry(*kind).or_default() += u64::from(*times);
        }
        kinds
    }

    fn worst(&self, of: impl Fn((u64, u64)) -> u64) -> u64 {
        self.reports.iter().filter_map(|report| report.recovered_ms.map(&of)).max().unwrap_or(0)
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seeds, {} with a violation", self.reports.len(), self.violated().count())?;
        let rows: [(&str, u64); 11] = [
            ("proposals", self.sum(|c| c.proposals)),
            ("acknowledged", self.sum(|c| c.acknowledged)),
            ("unknown", self.sum(|c| c.unknown)),
            ("reads checked", self.sum(|c| c.reads)),
            ("entries applied", self.sum(|c| c.applied)),
            ("leaders", self.sum(|c| c.leaders)),
            ("restarts", self.sum(|c| c.restarts)),
            ("snapshots installed", self.sum(|c| c.snapshots)),
            ("journals put aside", self.sum(|c| c.put_aside)),
            ("voters changed", self.sum(|c| c.voters_changed)),
            ("entries purged", self.sum(|c| c.purged)),
        ];
        for (what, number) in rows {
            writeln!(f, "  {what:<24} {number:>9}")?;
        }
        let (first, all) = (self.worst(|ms| ms.0), self.worst(|ms| ms.1));
        writeln!(f, "  worst after the heal: a dispatcher after {first} ms, equal ledgers after {all} ms")?;
        let kinds = self.faults();
        writeln!(f, "{} kinds of fault:", kinds.len())?;
        for (kind, times) in kinds {
            writeln!(f, "  {kind:<24} {times:>9}")?;
        }
        Ok(())
    }
}
