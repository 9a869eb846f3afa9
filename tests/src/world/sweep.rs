//! Many seeds: run, judged, counted. A seed that broke something is run again to write its trace.

use super::World;
use crate::checkers::{self, Violation};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Equal for equal runs.
    pub trace_hash: u64,
    /// Events.
    pub events: u64,
    /// Jobs in the record at the end.
    pub jobs: usize,
    /// Reigns that began.
    pub reigns: usize,
    /// Acknowledged submits.
    pub acked: usize,
    /// Faults by kind.
    pub faults: BTreeMap<String, u32>,
    /// Orders and reports of another reign that were refused.
    pub refused: (u64, u64),
    /// What did not hold.
    pub violations: Vec<Violation>,
}

/// Runs one seed. With `told` its trace comes as text as well.
#[must_use]
pub fn one_seed(seed: u64, told: bool) -> (Report, Option<String>) {
    let mut world = World::new(seed, told);
    world.run();
    let mut violations = std::mem::take(&mut world.broken);
    violations.extend(checkers::check_all(&world.history));
    let report = Report {
        seed,
        trace_hash: world.trace.hash(),
        events: world.trace.events(),
        jobs: world.history.finals.len(),
        reigns: world.history.reigns.len(),
        acked: world.history.submits.iter().filter(|submit| !submit.acked.is_empty()).count(),
        faults: world.faults.iter().map(|(kind, times)| (kind.name(), *times)).collect(),
        refused: (world.refused.orders, world.refused.reports),
        violations,
    };
    (report, world.trace.into_text())
}

impl Report {
    /// How to see this run again, and what it broke; its trace is written to a file in the folder for
    /// temporary files.
    #[must_use]
    pub fn complaint(&self) -> String {
        let seed = self.seed;
        let (_, text) = one_seed(seed, true);
        let path = std::env::temp_dir().join(format!("relais-world-{seed}.trace"));
        let written = match std::fs::write(&path, text.unwrap_or_default()) {
            Ok(()) => format!("trace in {}", display(&path)),
            Err(error) => format!("no trace ({error})"),
        };
        let first: Vec<String> = self.violations.iter().take(5).map(ToString::to_string).collect();
        format!(
            "seed {seed}: {}\n  reproduce: RELAIS_SEED={seed} cargo test -p relais-tests --test world -- one_seed --nocapture\n  {written}",
            first.join("\n  ")
        )
    }
}

fn display(path: &std::path::Path) -> String {
    PathBuf::from(path).display().to_string()
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

    fn median(&self, of: impl Fn(&Report) -> u64) -> u64 {
        let mut all: Vec<u64> = self.reports.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(0)
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = self.reports.len();
        writeln!(f, "{seeds} seeds, {} with a violation", self.violated().count())?;
        writeln!(
            f,
            "median of a seed: {} events, {} jobs, {} acknowledged, {} reigns, {} faults",
            self.median(|report| report.events),
            self.median(|report| report.jobs as u64),
            self.median(|report| report.acked as u64),
            self.median(|report| report.reigns as u64),
            self.median(|report| report.faults.values().map(|times| u64::from(*times)).sum()),
        )?;
        let refused = self.reports.iter().fold((0, 0), |sum, r| (sum.0 + r.refused.0, sum.1 + r.refused.1));
        writeln!(f, "refused for their reign: {} orders, {} reports", refused.0, refused.1)?;
        let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (kind, times) in self.reports.iter().flat_map(|report| &report.faults) {
            let row = kinds.entry(kind).or_default();
            *row = (row.0 + 1, row.1 + u64::from(*times));
        }
        writeln!(f, "{} kinds of fault (times, and in how many seeds of 100):", kinds.len())?;
        for (kind, (in_seeds, times)) in kinds {
            writeln!(f, "  {kind:<24} {times:>6}  {:>3}", in_seeds * 100 / seeds.max(1) as u64)?;
        }
        Ok(())
    }
}
