//! Journals alone: three to five of them, nothing else, and a schedule that is all chance. Messages come
//! late, twice, in any order or never; whoever likes stands, proposes and changes the voters; processes end
//! and begin; syncs fail. No core keeps them from anything, so what only a rare order of events shows in a
//! whole cluster comes often here.
//!
//! What must hold are the journal's own promises: one leader for each term, one committed entry for each
//! index, and whoever leads has all that is committed.

use super::dice::Dice;
use super::log::{Entry, Load, Log, Members, Stable};
use super::raft::{Raft, RaftEffect, RaftMessage};
use super::trace::Trace;
use super::{Profile, Report};
use crate::checkers::Violation;
use relais_dispatcher::planted::is_planted as planted;
use relais_protocol::ids::{Epoch, Generation, NodeId, RaftId};
use relais_protocol::record::{Batch, RULES};
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Steps of a schedule.
const STEPS: u64 = 1_500;
/// Messages under way; older ones are lost.
const UNDER_WAY_MAX: usize = 48;

/// A journal and its disk.
struct Seat {
    id: RaftId,
    /// What the disk has while the process is down.
    disk: Stable,
    raft: Option<Raft>,
    /// Syncs under way: up to which entry.
    syncs: Vec<u64>,
    /// Up to where its commits were compared, in this run.
    compared: u64,
    led: bool,
}

/// How likely what is, in this run, in a hundred steps.
struct Odds {
    crash: u64,
    crash_after_vote: u64,
    sync_fails: u64,
    lost: u64,
    twice: u64,
    stand: u64,
    change: u64,
}

struct Schedule {
    now: u64,
    dice: Dice,
    odds: Odds,
    append_max: usize,
    seats: Vec<Seat>,
    under_way: Vec<(RaftId, RaftId, RaftMessage)>,
    leaders: BTreeMap<u64, RaftId>,
    committed: Vec<String>,
    batches: u64,
    faults: BTreeMap<String, u32>,
    voter_changes: u64,
    violations: Vec<Violation>,
    trace: Trace,
}

/// Runs a seed.
pub(super) fn run(seed: u64, told: bool) -> (Report, Option<String>) {
    let mut dice = Profile::Journals.dice(seed);
    let mut schedule = Schedule::new(&mut dice, told);
    for _ in 0..STEPS {
        schedule.step();
        if !schedule.violations.is_empty() {
            break;
        }
    }
    let report = Report {
        seed,
        profile: Profile::Journals,
        trace_hash: schedule.trace.hash(),
        events: schedule.trace.events(),
        reigns: schedule.leaders.len(),
        jobs: schedule.committed.len(),
        faults: schedule.faults,
        voter_changes: schedule.voter_changes,
        violations: schedule.violations,
        ..Report::default()
    };
    (report, schedule.trace.into_text())
}

impl Schedule {
    fn new(dice: &mut Dice, told: bool) -> Self {
        let count = dice.range(3, 5) as u32;
        let voters: BTreeSet<RaftId> = (1..=3).map(|id| RaftId::new(NodeId(id), 1)).collect();
        let founded = Entry { term: 1, load: Load::Members(Arc::new(Members::new(voters))) };
        let seats = (1..=count).map(|id| {
            let log = if id <= 3 { Log::beginning(vec![founded.clone()]) } else { Log::default() };
            let disk = Stable { term: u64::from(id <= 3), log, ..Stable::default() };
            Seat { id: RaftId::new(NodeId(id), 1), disk, raft: None, syncs: Vec::new(), compared: 0, led: false }
        });
        let seats = seats.collect();
        let odds = Odds {
            crash: dice.range(0, 3),
            crash_after_vote: dice.range(0, 40),
            sync_fails: dice.range(0, 6),
            lost: dice.range(0, 25),
            twice: dice.range(0, 10),
            stand: dice.range(2, 9),
            change: dice.range(0, 6),
        };
        let append_max = dice.pick(&[1, 2, 64]).unwrap_or(64);
        let mut schedule = Self {
            now: 1_000,
            dice: dice.part(),
            odds,
            append_max,
            seats,
            under_way: Vec::new(),
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            batches: 0,
            faults: BTreeMap::new(),
            voter_changes: 0,
            violations: Vec::new(),
            trace: Trace::new(told),
        };
        for at in 0..schedule.seats.len() {
            schedule.boot(at);
        }
        schedule
    }

    fn step(&mut self) {
        self.now += self.dice.range(0, 6);
        let at = self.dice.range(0, self.seats.len() as u64 - 1) as usize;
        let odds = &self.odds;
        let (stand, change, crash) = (odds.stand, odds.stand + odds.change, odds.stand + odds.change + odds.crash);
        let what = self.dice.range(0, 99);
        self.trace.event(self.now, what, at as u64);
        if self.seats[at].raft.is_none() && what >= 70 {
            self.boot(at);
        } else if what < stand {
            // By then nobody's vote is held by a leader that it heard.
            self.now += self.dice.range(0, 1) * 100;
            self.say(at, "stands");
            self.act(at, |raft, now, out| raft.stand(now, out));
        } else if what < change {
            self.change_members(at);
        } else if what < crash {
            self.crash(at);
        } else if what < crash + 8 {
            self.propose(at);
        } else if what < crash + 14 {
            self.act(at, |raft, now, out| {
                raft.heartbeat(now, out);
                raft.send_again(now + 100, out);
            });
        } else if what < crash + 34 {
            self.sync(at);
        } else {
            self.deliver();
        }
    }

    fn say(&mut self, at: usize, what: &str) {
        let node = u64::from(self.seats[at].id.node().0);
        self.trace.say(self.now, node, || what.to_owned());
    }

    fn struck(&mut self, kind: &str) {
        *self.faults.entry(kind.to_owned()).or_default() += 1;
    }

    fn boot(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        let mut raft = Raft::new(seat.id, seat.disk.clone(), 0);
        raft.append_max = self.append_max;
        seat.raft = Some(raft);
        seat.compared = 0;
        seat.led = false;
        self.say(at, "boots");
    }

    fn crash(&mut self, at: usize) {
        let Some(raft) = self.seats[at].raft.take() else { return };
        let unsynced = raft.unsynced();
        let kept = if unsynced > 0 { self.dice.range(0, unsynced) } else { 0 };
        self.seats[at].disk = raft.after_crash(kept);
        self.seats[at].syncs.clear();
        self.struck("crash");
        self.say(at, "crashes");
    }

    /// Has a journal do something, and takes what it wishes.
    fn act(&mut self, at: usize, what: impl FnOnce(&mut Raft, u64, &mut Vec<RaftEffect>)) {
        let mut out = Vec::new();
        let now = self.now;
        let Some(raft) = self.seats[at].raft.as_mut() else { return };
        what(raft, now, &mut out);
        let from = self.seats[at].id;
        let mut voted = false;
        for effect in out {
            match effect {
                RaftEffect::Send(to, message) => {
                    voted |= matches!(message, RaftMessage::Voted { yes: true, .. });
                    self.trace.say(now, u64::from(from.node().0), || format!("to {to:?}: {message:?}"));
                    self.under_way.push((from, to, message));
                }
                RaftEffect::Sync(upto) => self.seats[at].syncs.push(upto),
                RaftEffect::SendSnapshot(_) | RaftEffect::Install(_) | RaftEffect::Readable(..) => {}
            }
        }
        let late = self.under_way.len().saturating_sub(UNDER_WAY_MAX);
        self.under_way.drain(..late);
        self.compare(at);
        if voted && self.dice.chance(self.odds.crash_after_vote) {
            self.struck("crash-after-vote");
            self.crash(at);
            self.boot(at);
        }
    }

    fn deliver(&mut self) {
        let count = self.under_way.len() as u64;
        if count == 0 {
            return;
        }
        // Mostly in order.
        let which = if self.dice.chance(70) { 0 } else { self.dice.range(0, count - 1) } as usize;
        let (from, to, message) = self.under_way.remove(which);
        if self.dice.chance(self.odds.lost) {
            return self.struck("lost");
        }
        if self.dice.chance(self.odds.twice) {
            self.struck("twice");
            self.under_way.push((from, to, message.clone()));
        }
        let at = to.node().0 as usize - 1;
        self.act(at, |raft, now, out| raft.handle(now, from, message, out));
    }

    fn sync(&mut self, at: usize) {
        if self.seats[at].raft.is_none() || self.seats[at].syncs.is_empty() {
            return;
        }
        let upto = self.seats[at].syncs.remove(0);
        let fails = self.dice.chance(self.odds.sync_fails);
        if fails {
            self.struck("failed-sync");
            if !planted("failed-sync-ignored") {
                return self.crash(at);
            }
        }
        let lies = fails || planted("sync-skipped");
        self.act(at, |raft, now, out| raft.synced(upto, lies, now, out));
    }

    fn propose(&mut self, at: usize) {
        self.batches += 1;
        let stamp = UnixMs(self.batches);
        let batch = Batch { rules: RULES, generation: Generation(0), epoch: Epoch(0), stamp, records: Vec::new() };
        self.act(at, |raft, now, out| {
            raft.propose(now, Arc::new(batch), out);
        });
    }

    fn change_members(&mut self, at: usize) {
        let all: Vec<RaftId> = self.seats.iter().map(|seat| seat.id).collect();
        let Some(raft) = self.seats[at].raft.as_ref().filter(|raft| raft.may_change()) else { return };
        let known = raft.log().members().all();
        let me = raft.me;
        let near: Vec<RaftId> = all.iter().copied().filter(|id| *id == me || raft.is_near(*id)).collect();
        if let Some(learner) = all.into_iter().find(|id| !known.contains(id)) {
            return self.act(at, |raft, now, out| raft.add_learner(now, learner, out));
        }
        let voters: BTreeSet<RaftId> = near.into_iter().filter(|_| self.dice.chance(60)).collect();
        if !voters.is_empty() {
            self.voter_changes += 1;
            self.act(at, |raft, now, out| raft.change_voters(now, voters, out));
        }
    }

    /// Compares what a journal holds for committed, and what it leads with, to all that was seen before.
    fn compare(&mut self, at: usize) {
        let Some(raft) = self.seats[at].raft.as_mut() else { return };
        let mut seen = Vec::new();
        if let Some(index) = raft.conflict.take() {
            seen.push(("committed-entries-stay", format!("{:?} was told to drop the entry {index}", raft.me)));
        }
        let (me, term, leads, commit) = (raft.me, raft.stable.term, raft.leads(), raft.commit);
        let begins = leads && !std::mem::replace(&mut self.seats[at].led, leads);
        self.seats[at].led = leads;
        if begins && self.leaders.insert(term, me).is_some_and(|other| other != me) {
            seen.push(("one-leader-per-term", format!("{me:?} is the second leader of term {term}")));
        }
        let Some(raft) = self.seats[at].raft.as_ref() else { return };
        let from = if begins { 1 } else { self.seats[at].compared + 1 };
        let to = if begins { commit.max(self.committed.len() as u64) } else { commit };
        for index in from..=to {
            let own = raft.log().entry(index).map(name);
            match (self.committed.get(index as usize - 1), own) {
                (Some(known), own) if own.as_ref() != Some(known) => {
                    let own = own.unwrap_or_else(|| "nothing".to_owned());
                    seen.push(("committed-entries-stay", format!("{me:?} has {own} at {index}, not {known}")));
                }
                (None, Some(own)) if index <= commit => self.committed.push(own),
                _ => {}
            }
        }
        self.seats[at].compared = commit;
        self.violations.extend(seen.into_iter().map(|(property, seen)| Violation { property, seen }));
    }
}

/// What tells an entry from all others at its place; two leaders of one term are told apart elsewhere.
fn name(entry: &Entry) -> String {
    match &entry.load {
        Load::Blank => format!("{}:blank", entry.term),
        Load::Batch(batch) => format!("{}:batch {}", entry.term, batch.stamp.0),
        Load::Members(members) => format!("{}:{members:?}", entry.term),
    }
}
