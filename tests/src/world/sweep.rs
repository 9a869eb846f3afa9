//! Many seeds: run, judged, counted. A seed that broke something is run again to write its trace.

use super::mix::FEATURES;
use super::pair::PairCounts;
use super::{Profile, World};
use crate::checkers::{self, Violation};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What one seed came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Of which kind of world.
    pub profile: Profile,
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
    /// Features that were made use of, and how often.
    pub features: BTreeMap<&'static str, u32>,
    /// Faults by kind.
    pub faults: BTreeMap<String, u32>,
    /// Orders and reports of another reign that were refused.
    pub refused: (u64, u64),
    /// Reads that promised to be fresh and were answered.
    pub reads: usize,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Changes of voters.
    pub voter_changes: u64,
    /// Damaged journals that were put aside.
    pub put_aside: u64,
    /// What a pair came to.
    pub pair: PairCounts,
    /// What did not hold.
    pub violations: Vec<Violation>,
}

/// Runs one seed. With `told` its trace comes as text as well. A core that panics breaks a promise, too.
#[must_use]
pub fn one_seed(profile: Profile, seed: u64, told: bool) -> (Report, Option<String>) {
    if profile == Profile::Journals {
        return super::schedule::run(seed, told);
    }
    let run = || {
        let mut world = World::new(profile, seed, told);
        world.run();
        world.report(profile, seed)
    };
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let seen = words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation { property: "no-panic", seen: seen.unwrap_or_default() };
        (Report { seed, profile, violations: vec![violation], ..Report::default() }, None)
    })
}

impl World {
    fn report(mut self, profile: Profile, seed: u64) -> (Report, Option<String>) {
        let mut violations = std::mem::take(&mut self.broken);
        let is_pair = self.pair.is_some();
        violations.extend(if is_pair { self.judge_pair() } else { checkers::check_all(&self.history) });
        let report = Report {
            seed,
            profile,
            trace_hash: self.trace.hash(),
            events: self.trace.events(),
            jobs: self.history.finals.len(),
            reigns: self.history.reigns.len(),
            acked: self.history.submits.iter().filter(|submit| !submit.acked.is_empty()).count(),
            features: self.mix.clone(),
            faults: self.faults.iter().map(|(kind, times)| (kind.name(), *times)).collect(),
            refused: (self.refused.orders, self.refused.reports),
            reads: self.history.reads.len(),
            snapshots: self.snapshots,
            voter_changes: self.voter_changes,
            put_aside: self.nodes.iter().map(|node| u64::from(node.disk.journal.saturating_sub(1))).sum(),
            pair: self.pair.as_deref().map(|pair| pair.counts).unwrap_or_default(),
            violations,
        };
        (report, self.trace.into_text())
    }
}

impl Report {
    /// Faults, all kinds together.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.faults.values().map(|times| u64::from(*times)).sum()
    }

    /// How to see this run again.
    #[must_use]
    pub fn reproduce(&self) -> String {
        let world =
            if self.profile == Profile::Any { String::new() } else { format!("RELAIS_WORLD={} ", self.profile.name()) };
        format!(
            "{world}RELAIS_SEED={} cargo test --release -p relais-tests --test world -- one_seed --nocapture",
            self.seed
        )
    }

    /// What this run broke and how to see it again; its trace is written to a file in the folder for
    /// temporary files.
    #[must_use]
    pub fn complaint(&self) -> String {
        let path = std::env::temp_dir().join(format!("relais-world-{}-{}.trace", self.profile.name(), self.seed));
        let written = match write_trace(self.profile, self.seed, &path) {
            Ok(()) => format!("trace: {}", path.display()),
            Err(error) => format!("no trace ({error})"),
        };
        let first: Vec<String> = self.violations.iter().take(5).map(ToString::to_string).collect();
        format!("seed {}: {}\n  reproduce: {}\n  {written}", self.seed, first.join("\n  "), self.reproduce())
    }
}

/// Runs a seed and writes all that happened to a file, which [`replay`] reads.
///
/// # Errors
/// When the file can't be written.
pub fn write_trace(profile: Profile, seed: u64, path: &Path) -> std::io::Result<()> {
    let (report, text) = one_seed(profile, seed, true);
    let head = format!("seed {seed} {}\nhash {:016x}\n", profile.name(), report.trace_hash);
    std::fs::write(path, head + &text.unwrap_or_default())
}

/// Runs the seed of a trace file again: its report, and the first line at which the runs differ.
///
/// # Errors
/// When the file can't be read or is no trace.
pub fn replay(path: &Path) -> std::io::Result<(Report, Option<String>)> {
    let then = std::fs::read_to_string(path)?;
    let head = then.lines().next().and_then(|line| line.strip_prefix("seed ")?.split_once(' '));
    let run = head.and_then(|(seed, world)| Some((seed.parse().ok()?, Profile::named(world)?)));
    let (seed, profile) = run.ok_or_else(|| std::io::Error::other("the file does not begin with a seed"))?;
    let (report, text) = one_seed(profile, seed, true);
    let now = format!("seed {seed} {}\nhash {:016x}\n{}", profile.name(), report.trace_hash, text.unwrap_or_default());
    let events = || then.lines().skip(2).zip(now.lines().skip(2)).enumerate();
    let differs = events().find(|(_, (then, now))| then != now);
    let differs = differs.map(|(n, (then, now))| format!("line {}: then `{then}`, now `{now}`", n + 3));
    let length = (then != now).then(|| "one run is longer than the other".to_owned());
    Ok((report, differs.or(length)))
}

/// What a sweep came to.
#[derive(Debug, Default)]
pub struct Swept {
    /// One report for each seed, in their order.
    pub reports: Vec<Report>,
    /// How long it took, if somebody measured it.
    pub took: Duration,
}

/// Runs `count` seeds from `first` on, on `threads` threads.
#[must_use]
pub fn sweep(profile: Profile, first: u64, count: u64, threads: usize) -> Swept {
    search(profile, first, count, threads, usize::MAX)
}

/// The same, until so many seeds broke something.
#[must_use]
pub fn search(profile: Profile, first: u64, count: u64, threads: usize, finds: usize) -> Swept {
    let (next, found, reports) = (AtomicU64::new(first), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let run = || {
        while found.load(Ordering::Relaxed) < finds {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return;
            }
            let (report, _) = one_seed(profile, seed, false);
            found.fetch_add(usize::from(!report.violations.is_empty()), Ordering::Relaxed);
            reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(run);
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    reports.sort_by_key(|report| report.seed);
    Swept { reports, took: Duration::ZERO }
}

/// A number that stays the same as long as the simulator and the cores in it do the same.
#[must_use]
pub fn fingerprint(profile: Profile) -> u64 {
    (1..=8).fold(0, |sum: u64, seed| sum.rotate_left(7) ^ one_seed(profile, seed, false).0.trace_hash)
}

impl Swept {
    /// Seeds that broke something.
    pub fn violated(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().filter(|report| !report.violations.is_empty())
    }

    /// Kinds of fault: in how many seeds, and how often in all.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<&str, (u64, u64)> {
        let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (kind, times) in self.reports.iter().flat_map(|report| &report.faults) {
            let row = kinds.entry(kind).or_default();
            *row = (row.0 + 1, row.1 + u64::from(*times));
        }
        kinds
    }

    /// Every feature: in how many seeds, and how often in all.
    #[must_use]
    pub fn features(&self) -> BTreeMap<&'static str, (u64, u64)> {
        let mut features: BTreeMap<&'static str, (u64, u64)> = FEATURES.iter().map(|name| (*name, (0, 0))).collect();
        for (feature, times) in self.reports.iter().flat_map(|report| &report.features) {
            let row = features.entry(feature).or_default();
            *row = (row.0 + u64::from(*times > 0), row.1 + u64::from(*times));
        }
        features
    }

    /// The median over all seeds.
    #[must_use]
    pub fn median(&self, of: impl Fn(&Report) -> u64) -> u64 {
        let mut all: Vec<u64> = self.reports.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(0)
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds = self.reports.len();
        let seconds = self.took.as_secs_f64();
        writeln!(f, "{seeds} seeds in {seconds:.1} s, {} with a violation", self.violated().count())?;
        writeln!(
            f,
            "median of a seed: {} events, {} jobs, {} acknowledged, {} reigns, {} faults",
            self.median(|report| report.events),
            self.median(|report| report.jobs as u64),
            self.median(|report| report.acked as u64),
            self.median(|report| report.reigns as u64),
            self.median(Report::fault_count),
        )?;
        let sum = |of: fn(&Report) -> u64| self.reports.iter().map(of).sum::<u64>();
        writeln!(f, "refused for their reign: {} orders, {} reports", sum(|r| r.refused.0), sum(|r| r.refused.1))?;
        writeln!(
            f,
            "{} fresh reads, {} snapshots installed, {} changes of voters, {} damaged journals put aside",
            sum(|r| r.reads as u64),
            sum(|r| r.snapshots),
            sum(|r| r.voter_changes),
            sum(|r| r.put_aside),
        )?;
        let pairs = sum(|r| r.pair.takeovers + r.pair.splits);
        if pairs > 0 {
            writeln!(
                f,
                "pairs: {} takeovers, {} splits, {} sides healed, {} recovered by hand, {} voters left by plan",
                sum(|r| r.pair.takeovers),
                sum(|r| r.pair.splits),
                sum(|r| r.pair.heals),
                sum(|r| r.pair.recoveries),
                sum(|r| r.pair.unseated),
            )?;
            writeln!(
                f,
                "merged: {} duplicate executions, {} aliases; {} jobs were deleted",
                sum(|r| r.pair.duplicates),
                sum(|r| r.pair.aliases),
                sum(|r| r.pair.deletes),
            )?;
        }
        writeln!(f, "features of the job model (times, and in how many seeds of 100):")?;
        for (feature, (in_seeds, times)) in self.features() {
            writeln!(f, "  {feature:<30} {times:>7}  {:>3}", in_seeds * 100 / seeds.max(1) as u64)?;
        }
        let kinds = self.kinds();
        writeln!(f, "{} kinds of fault (times, and in how many seeds of 100):", kinds.len())?;
        for (kind, (in_seeds, times)) in kinds {
            writeln!(f, "  {kind:<24} {times:>6}  {:>3}", in_seeds * 100 / seeds.max(1) as u64)?;
        }
        Ok(())
    }
}
