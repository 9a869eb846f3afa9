//! The count of a sweep that is done in several runs: how far it is, and what all seeds so far came to.

use super::Profile;
use super::sweep::{Report, Swept, one_seed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// All seeds so far. They are done in order, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Seeds done.
    pub seeds: u64,
    /// Events in them.
    pub events: u64,
    /// Jobs.
    pub jobs: u64,
    /// Acknowledged submits.
    pub acknowledged: u64,
    /// Reigns.
    pub reigns: u64,
    /// Fresh reads answered.
    pub reads: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Changes of voters.
    pub voter_changes: u64,
    /// Damaged journals put aside.
    pub journals_put_aside: u64,
    /// Kinds of fault.
    pub faults: BTreeMap<String, KindTally>,
    /// Seeds that break a promise, and how.
    pub violations: BTreeMap<u64, String>,
    /// Seeds that broke one, and do not any more.
    pub mended: Vec<u64>,
    /// Which state of the simulator and the cores did which seeds.
    pub runs: Vec<RunTally>,
}

/// One kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindTally {
    /// How often it came.
    pub times: u64,
    /// In how many seeds.
    pub seeds: u64,
}

/// Seeds done by one state of the simulator and the cores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTally {
    /// A number that is the same as long as both do the same.
    pub fingerprint: String,
    /// The first seed.
    pub from: u64,
    /// The last seed.
    pub to: u64,
}

impl Tally {
    /// Reads a count; an empty one where there is no file.
    ///
    /// # Errors
    /// When there is a file and it can't be read.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(std::io::Error::other),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes it; whoever is interrupted leaves the old one.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let draft = path.with_extension("json.new");
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        std::fs::write(&draft, text + "\n")?;
        std::fs::rename(&draft, path)
    }

    /// Takes in the seeds that follow on those so far.
    pub fn add(&mut self, swept: &Swept, fingerprint: &str) {
        let from = self.seeds + 1;
        for report in &swept.reports {
            self.add_one(report);
        }
        match self.runs.last_mut().filter(|run| run.fingerprint == fingerprint) {
            Some(run) => run.to = self.seeds,
            None => {
                self.runs.push(RunTally { fingerprint: fingerprint.to_owned(), from, to: self.seeds });
            }
        }
    }

    fn add_one(&mut self, report: &Report) {
        self.seeds += 1;
        self.events += report.events;
        self.jobs += report.jobs as u64;
        self.acknowledged += report.acked as u64;
        self.reigns += report.reigns as u64;
        self.reads += report.reads as u64;
        self.snapshots += report.snapshots;
        self.voter_changes += report.voter_changes;
        self.journals_put_aside += report.put_aside;
        for (kind, times) in &report.faults {
            let tally = self.faults.entry(kind.clone()).or_default();
            tally.times += u64::from(*times);
            tally.seeds += 1;
        }
        if let Some(first) = report.violations.first() {
            self.violations.insert(report.seed, first.to_string());
        }
    }

    /// Runs the seeds again that broke something: those that do not any more are mended.
    pub fn check_again(&mut self, profile: Profile) {
        for seed in self.violations.keys().copied().collect::<Vec<_>>() {
            match one_seed(profile, seed, false).0.violations.first() {
                Some(first) => {
                    self.violations.insert(seed, first.to_string());
                }
                None => {
                    self.violations.remove(&seed);
                    self.mended.push(seed);
                }
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seeds, {} events, {} with a violation", self.seeds, self.events, self.violations.len())?;
        writeln!(
            f,
            "{} jobs, {} submits acknowledged, {} reigns, {} fresh reads",
            self.jobs, self.acknowledged, self.reigns, self.reads
        )?;
        writeln!(
            f,
            "{} snapshots installed, {} changes of voters, {} damaged journals put aside",
            self.snapshots, self.voter_changes, self.journals_put_aside
        )?;
        writeln!(f, "{} kinds of fault (times, and in how many seeds of 100):", self.faults.len())?;
        for (kind, tally) in &self.faults {
            writeln!(f, "  {kind:<24} {:>8}  {:>3}", tally.times, tally.seeds * 100 / self.seeds.max(1))?;
        }
        for run in &self.runs {
            writeln!(f, "seeds {} to {}: simulator and cores {}", run.from, run.to, run.fingerprint)?;
        }
        Ok(())
    }
}
