//! Many rounds of chance damage to a stopped node's store, on one cluster that goes on meanwhile.
//!
//! ```text
//!   at rest ─► stop a follower ─► harm its store ─► start it ─► moved aside?  ─► new raft id, caught up: detected
//!                                    │                        └► opened: all acknowledged entries there?
//!                                    │                             yes: harmless     no: SILENT LOSS
//!                                    └ every fifth round the dispatcher is down, too: who lost its store must
//!                                      give no vote, so there must be no dispatcher until the old one is back
//! ```
//! A mended node's record is compared with the dispatcher's, job by job.

use super::harm::{Dice, Harm, jobs_here};
use super::{acknowledged, await_rest, await_votes, figure, journal_number};
use crate::cluster::wait::{look_for, stays};
use crate::cluster::{Cluster, Options};
use crate::load::Sent;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// Jobs in the record before the first round, and further ones in each.
const JOBS: usize = 250;
const JOBS_A_ROUND: usize = 3;
/// Every so many rounds the dispatcher is down while the damaged node starts.
const VOTE_EVERY: usize = 5;
/// Within this a started node has opened its store, or put it aside.
const OPENED: Duration = Duration::from_secs(60);
/// For so long nobody may become the dispatcher by the vote of a node that lost its store.
const NOBODY: Duration = Duration::from_millis(1_200);
/// Starts of one node after one harm; more is a crash loop.
const STARTS_MAX: usize = 3;

/// What came of the rounds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rounds made.
    pub rounds: usize,
    /// Of each kind of harm: detected, harmless.
    kinds: BTreeMap<Harm, (usize, usize)>,
    /// Rounds in which the dispatcher was down, too.
    pub votes_tried: usize,
    /// Acknowledged entries or jobs that were missing and not noticed.
    pub silent: Vec<String>,
    /// Nodes that did not come up again.
    pub loops: Vec<String>,
    /// Votes given before having caught up.
    pub votes: Vec<String>,
    /// Starts that ended by themselves, and the next did not.
    pub crashes: usize,
    took: Duration,
}

impl Report {
    /// Whether each harm was detected or harmless, and nothing else happened.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.silent.is_empty() && self.loops.is_empty() && self.votes.is_empty()
    }

    /// What was detected, and what was harmless.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (detected, harmless) = self.counts();
        writeln!(
            f,
            "{} rounds of damage in {:.0} s: {detected} detected, {harmless} harmless, {} silent losses, {} crash loops \
             ({} starts that ended by themselves), {} votes before catching up (asked for in {} rounds)",
            self.rounds,
            self.took.as_secs_f64(),
            self.silent.len(),
            self.loops.len(),
            self.crashes,
            self.votes.len(),
            self.votes_tried
        )?;
        for (harm, (detected, harmless)) in &self.kinds {
            writeln!(f, "  {harm:?}: {detected} detected, {harmless} harmless")?;
        }
        self.silent.iter().chain(&self.loops).chain(&self.votes).try_for_each(|wrong| writeln!(f, "  WRONG {wrong}"))
    }
}

struct Rounds {
    cluster: Cluster,
    sent: Vec<Sent>,
    dice: Dice,
    report: Report,
}

/// Makes `count` rounds, by chance of `seed`.
///
/// # Panics
/// When the cluster does not become whole after a round.
#[must_use]
pub fn rounds(count: usize, seed: u64) -> Report {
    let cluster = Cluster::start(3, Options::default());
    let sent = acknowledged(&cluster, JOBS);
    let mut rounds = Rounds { cluster, sent, dice: Dice::new(seed), report: Report::default() };
    let began = Instant::now();
    for round in 0..count {
        rounds.round(round);
        rounds.report.rounds += 1;
    }
    rounds.report.took = began.elapsed();
    rounds.report
}

impl Rounds {
    fn round(&mut self, round: usize) {
        let (dispatcher, _) = self.cluster.dispatcher();
        for _ in 0..JOBS_A_ROUND {
            let _ = self.cluster.nodes[dispatcher].submit(&json!({"kind": "noop", "payload": {}}));
        }
        self.cluster.await_all_ended(dispatcher, Duration::from_secs(60));
        let last = await_rest(&self.cluster);
        let hit = self.cluster.others(dispatcher)[round % 2];
        let number = journal_number(&self.cluster, hit);
        self.cluster.nodes[hit].kill();
        let harm = Harm::ALL[self.dice.below(Harm::ALL.len())];
        let dir = self.cluster.nodes[hit].journal().join("current");
        let what = format!("round {round}: {}", harm.does(&mut self.dice, &dir));
        let asks_for_votes = round % VOTE_EVERY == VOTE_EVERY - 1;
        if asks_for_votes {
            self.cluster.nodes[dispatcher].kill();
        }
        let said = self.cluster.nodes[hit].log().len();
        let Some(detected) = self.opened(hit, said, number, last, &what) else {
            // Nothing that follows would be worth anything.
            self.report.loops.push(what.clone());
            panic!("{what}: it never came up\n{}", self.report);
        };
        if asks_for_votes {
            self.report.votes_tried += 1;
            self.no_vote(hit, dispatcher, detected, &what);
            self.cluster.nodes[dispatcher].start();
        }
        await_votes(&self.cluster);
        let kind = self.report.kinds.entry(harm).or_default();
        *if detected { &mut kind.0 } else { &mut kind.1 } += 1;
        println!("{what}: {}", if detected { "detected" } else { "harmless" });
        if detected && !asks_for_votes {
            let votes = figure(&self.cluster, hit, "relais_journal_votes_granted_total").unwrap_or(0);
            if votes > 0 {
                self.report.votes.push(format!("{what}: {votes} votes"));
            }
        }
        self.compare(hit, &what);
        self.tidy_up(hit);
    }

    /// Starts the node until it stays up; whether it noticed the damage. `None`: it never came up.
    fn opened(&mut self, hit: usize, said: usize, number: u64, last: u64, what: &str) -> Option<bool> {
        for _ in 0..STARTS_MAX {
            self.cluster.nodes[hit].start();
            let seen = look_for(OPENED, || {
                if !self.cluster.nodes[hit].runs() {
                    return Some(None);
                }
                // The line is written once the store has been opened, or made anew.
                let log = self.cluster.nodes[hit].log();
                log[said..]
                    .lines()
                    .rev()
                    .find(|line| line.contains("the journal is open"))
                    .map(|line| Some(line.to_owned()))
            });
            match seen {
                Some(Some(line)) if journal_number(&self.cluster, hit) > number => {
                    drop(line);
                    return Some(true);
                }
                Some(Some(line)) => {
                    let found = line.split("last=").nth(1).and_then(|rest| {
                        rest.chars().filter(|c| c.is_ascii_digit()).collect::<String>().parse::<u64>().ok()
                    });
                    if found.is_none_or(|found| found < last) {
                        self.report.silent.push(format!("{what}: opened with {found:?}, {last} was acknowledged"));
                    }
                    return Some(false);
                }
                Some(None) => {
                    let ended = self.cluster.nodes[hit].reap(Duration::from_secs(1));
                    println!("{what}: ended by itself, {ended}");
                    self.report.crashes += 1;
                }
                None => return None,
            }
        }
        None
    }

    /// With the dispatcher down, a node that lost its store and the third one make no majority.
    fn no_vote(&mut self, hit: usize, dispatcher: usize, detected: bool, what: &str) {
        if !detected {
            return;
        }
        let alive = self.cluster.others(dispatcher);
        let mut wrong = None;
        stays("a look that never fails", NOBODY, || {
            let seen = alive.iter().filter_map(|node| self.cluster.sight(*node));
            let seen: Vec<_> = seen.filter(|sight| sight.dispatcher.is_some_and(|node| node != dispatcher)).collect();
            wrong = wrong.take().or_else(|| (!seen.is_empty()).then(|| format!("{what}: {seen:?}")));
            None
        });
        let votes = figure(&self.cluster, hit, "relais_journal_votes_granted_total");
        if votes.is_some_and(|votes| votes > 0) {
            wrong = wrong.or_else(|| Some(format!("{what}: {votes:?} votes")));
        }
        self.report.votes.extend(wrong);
    }

    /// What the mended node has is what the dispatcher has, and all that was acknowledged.
    fn compare(&mut self, hit: usize, what: &str) {
        await_rest(&self.cluster);
        let (dispatcher, _) = self.cluster.dispatcher();
        let (here, there) = (jobs_here(&self.cluster, hit), jobs_here(&self.cluster, dispatcher));
        if here != there {
            let differ = there.iter().filter(|(id, job)| here.get(*id) != Some(job)).count();
            self.report.silent.push(format!("{what}: {differ} jobs are missing or differ"));
        }
        let missing =
            self.sent.iter().filter_map(|sent| sent.acked.as_ref()).filter(|(_, id, _)| !here.contains_key(id));
        let missing = missing.count();
        if missing > 0 {
            self.report.silent.push(format!("{what}: {missing} acknowledged jobs are missing"));
        }
    }

    /// Stores that were put aside are not needed any more.
    fn tidy_up(&self, hit: usize) {
        for entry in std::fs::read_dir(self.cluster.nodes[hit].journal()).expect("a folder").flatten() {
            if entry.file_name().to_string_lossy().contains(".damaged-") {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}
