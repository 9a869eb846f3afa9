//! A model of the replicated log: just enough of Raft to yield every outcome that the real one may, and no
//! other. It stores nothing and sends nothing itself.
//!
//! What it has in common with the real one, on purpose: it stands only when told to; a voter refuses for
//! 80 ms after it heard its leader; who is told of a higher term steps down; a leader begins with an empty
//! entry; a restarted node is a follower whatever it was; the log is purged, and who is too far behind gets
//! a snapshot; voters change through a joint set.

mod follower;
mod members;
mod read;

use super::log::{Entry, Load, Log, Snapshot, Stable};
use read::Reads;
use relais_dispatcher::planted::is_planted as planted;
use relais_protocol::ids::RaftId;
use relais_protocol::message::LogPosition;
use relais_protocol::record::Batch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long a voter refuses others after it heard its leader, in ms.
const VOTE_LEASE_MS: u64 = 80;
/// After this long an append that was not answered is sent again.
const AGAIN_MS: u64 = 60;
/// The same of a snapshot.
const SNAPSHOT_AGAIN_MS: u64 = 400;
/// Entries in one append, where nobody says otherwise.
const APPEND_MAX: usize = 64;

/// What one node's log says to another's.
#[derive(Clone, Debug)]
pub(super) enum RaftMessage {
    Vote { term: u64, last: LogPosition },
    Voted { term: u64, yes: bool },
    Append(Append),
    Appended(Appended),
    Snapshot { term: u64, snapshot: Arc<Snapshot> },
}

/// Entries, or a heartbeat. `round` comes back with the answer.
#[derive(Clone, Debug)]
pub(super) struct Append {
    term: u64,
    before: LogPosition,
    entries: Vec<Entry>,
    commit: u64,
    round: u64,
}

/// The answer: up to where both logs are equal and synced, or from where to try again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appended {
    term: u64,
    matched: Option<u64>,
    hint: u64,
    round: u64,
}

/// What the log wishes.
#[derive(Debug)]
pub(super) enum RaftEffect {
    Send(RaftId, RaftMessage),
    /// Sync the log up to here, then say so.
    Sync(u64),
    /// Send the last checkpoint.
    SendSnapshot(RaftId),
    /// Put these rows in the place of the ledger's.
    Install(Arc<Snapshot>),
    /// Whoever waits behind this number may read what was applied up to this index; or can't.
    Readable(u64, Option<u64>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Follower,
    Candidate(BTreeSet<RaftId>),
    Leader,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    next: u64,
    matched: u64,
    sent_at: Option<u64>,
    snapshot_at: Option<u64>,
}

/// The log of one node.
pub(super) struct Raft {
    pub(super) me: RaftId,
    pub(super) stable: Stable,
    role: Role,
    synced: u64,
    /// What a crash leaves for certain.
    durable: u64,
    pub(super) commit: u64,
    heard_leader_at: Option<u64>,
    progress: BTreeMap<RaftId, Progress>,
    /// Appends to acknowledge once they are synced: up to where, to whom, in which term.
    owed: Vec<(u64, RaftId, u64)>,
    /// The entry that this leader began with.
    began_at: u64,
    reads: Reads,
    /// The last round of reads that a leader was answered for, of this term.
    answered_round: u64,
    disk_lies: bool,
    /// Entries in one append.
    pub(super) append_max: usize,
    /// A committed entry that this log was told to drop.
    pub(super) conflict: Option<u64>,
}

impl Raft {
    pub(super) fn new(me: RaftId, mut stable: Stable, commit: u64) -> Self {
        let synced = stable.log.last_index();
        if planted("vote-forgotten") {
            stable.voted = None;
        }
        Self {
            me,
            stable,
            role: Role::Follower,
            synced,
            durable: synced,
            commit,
            heard_leader_at: None,
            progress: BTreeMap::new(),
            owed: Vec::new(),
            began_at: 0,
            reads: Reads::default(),
            answered_round: 0,
            disk_lies: false,
            append_max: APPEND_MAX,
            conflict: None,
        }
    }

    pub(super) fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    pub(super) fn is_voter(&self) -> bool {
        self.log().members().is_voter(self.me)
    }

    pub(super) fn log(&self) -> &Log {
        &self.stable.log
    }

    pub(super) fn last(&self) -> LogPosition {
        self.stable.log.last()
    }

    /// What a crash leaves: all that is synced, and `more` of what is not.
    pub(super) fn after_crash(&self, more: u64) -> Stable {
        let mut stable = self.stable.clone();
        stable.log.truncate((self.durable + more).max(stable.log.base().index));
        stable.high_water = self.durable;
        stable
    }

    pub(super) fn unsynced(&self) -> u64 {
        self.stable.log.last_index().saturating_sub(self.durable)
    }

    pub(super) fn purge(&mut self, upto: u64) {
        self.stable.log.purge(upto.min(self.commit));
    }

    pub(super) fn stand(&mut self, now: u64, out: &mut Vec<RaftEffect>) {
        if self.leads() || !self.is_voter() {
            return;
        }
        self.stable.term += 1;
        self.stable.voted = Some(self.me);
        self.role = Role::Candidate(BTreeSet::from([self.me]));
        let (term, last) = (self.stable.term, self.last());
        let voters = self.log().members().voters();
        let others = voters.into_iter().filter(|id| *id != self.me);
        out.extend(others.map(|to| RaftEffect::Send(to, RaftMessage::Vote { term, last })));
        self.count_votes(now, out);
    }

    /// Appends `batch` if this node leads: its index.
    pub(super) fn propose(&mut self, now: u64, batch: Arc<Batch>, out: &mut Vec<RaftEffect>) -> Option<u64> {
        self.leads().then(|| self.append_own(now, Load::Batch(batch), out))
    }

    /// Tells the others that this leader lives.
    pub(super) fn heartbeat(&mut self, now: u64, out: &mut Vec<RaftEffect>) {
        self.send_all(now, true, out);
    }

    /// Sends again what was not answered in time.
    pub(super) fn send_again(&mut self, now: u64, out: &mut Vec<RaftEffect>) {
        // With one batch in flight, no tail that was never committed is longer than what a new leader begins
        // with: that bug shows only where this is disarmed, too.
        if planted("rank-without-term") && self.leads() && self.log().last_index() > self.commit {
            self.append_own(now, Load::Blank, out);
        }
        self.send_all(now, false, out);
    }

    /// The disk has the log up to `upto`, if it does not lie.
    pub(super) fn synced(&mut self, upto: u64, lies: bool, now: u64, out: &mut Vec<RaftEffect>) {
        self.synced = self.synced.max(upto.min(self.stable.log.last_index()));
        // After a sync that failed the kernel takes what was lost for written: no later sync brings it back.
        self.disk_lies |= lies;
        if !self.disk_lies {
            self.durable = self.durable.max(self.synced);
        }
        let (synced, term) = (self.synced, self.stable.term);
        self.owed.retain(|(end, to, asked)| {
            let due = *asked == term && *end <= synced;
            if due {
                let answer = Appended { term, matched: Some(*end), hint: 0, round: 0 };
                out.push(RaftEffect::Send(*to, RaftMessage::Appended(answer)));
            }
            !due && *asked == term
        });
        self.advance(now, out);
    }

    pub(super) fn handle(&mut self, now: u64, from: RaftId, message: RaftMessage, out: &mut Vec<RaftEffect>) {
        match message {
            RaftMessage::Vote { term, last } => {
                let yes = self.may_vote(now, from, term, last, out);
                let term = self.stable.term;
                out.push(RaftEffect::Send(from, RaftMessage::Voted { term, yes }));
            }
            RaftMessage::Voted { term, yes } => {
                self.step_down_below(term, out);
                if let Role::Candidate(votes) = &mut self.role
                    && yes
                    && term == self.stable.term
                {
                    votes.insert(from);
                    self.count_votes(now, out);
                }
            }
            RaftMessage::Append(append) => self.on_append(now, from, append, out),
            RaftMessage::Appended(answer) => self.on_appended(now, from, answer, out),
            RaftMessage::Snapshot { term, snapshot } => self.on_snapshot(now, from, term, &snapshot, out),
        }
    }

    fn send_all(&mut self, now: u64, beat: bool, out: &mut Vec<RaftEffect>) {
        if self.leads() {
            for to in self.progress.keys().copied().collect::<Vec<_>>() {
                self.send_append(now, to, beat, out);
            }
        }
    }

    fn step_down_below(&mut self, term: u64, out: &mut Vec<RaftEffect>) {
        if term > self.stable.term {
            self.stable.term = term;
            self.stable.voted = None;
            self.heard_leader_at = None;
            self.answered_round = 0;
            self.follow(out);
        }
    }

    fn follow(&mut self, out: &mut Vec<RaftEffect>) {
        self.role = Role::Follower;
        self.reads.give_up(out);
    }

    fn count_votes(&mut self, now: u64, out: &mut Vec<RaftEffect>) {
        let Role::Candidate(votes) = &self.role else { return };
        if self.log().members().agree(|id| votes.contains(&id)) {
            self.role = Role::Leader;
            self.progress.clear();
            self.take_in_members();
            self.began_at = self.append_own(now, Load::Blank, out);
        }
    }

    fn append_own(&mut self, now: u64, load: Load, out: &mut Vec<RaftEffect>) -> u64 {
        self.stable.log.push(Entry { term: self.stable.term, load });
        let index = self.stable.log.last_index();
        out.push(RaftEffect::Sync(index));
        self.send_all(now, false, out);
        index
    }

    fn send_append(&mut self, now: u64, to: RaftId, beat: bool, out: &mut Vec<RaftEffect>) {
        let (term, commit, round) = (self.stable.term, self.commit, self.reads.round());
        let (last, base) = (self.stable.log.last_index(), self.stable.log.base());
        let Some(progress) = self.progress.get_mut(&to) else { return };
        if progress.next <= base.index {
            if progress.snapshot_at.is_none_or(|at| now >= at + SNAPSHOT_AGAIN_MS) {
                progress.snapshot_at = Some(now);
                out.push(RaftEffect::SendSnapshot(to));
            }
            if !beat {
                return;
            }
        }
        let in_flight = progress.sent_at.is_some_and(|at| now < at + AGAIN_MS);
        let pending = progress.next <= last && !in_flight && progress.next > base.index;
        if !pending && !beat {
            return;
        }
        let (next, count) = (progress.next.max(base.index + 1), if pending { self.append_max } else { 0 });
        if pending {
            progress.sent_at = Some(now);
        }
        let entries = self.stable.log.from(next, count);
        let before = LogPosition { term: self.stable.log.term_at(next - 1).unwrap_or(0), index: next - 1 };
        out.push(RaftEffect::Send(to, RaftMessage::Append(Append { term, before, entries, commit, round })));
    }

    fn on_appended(&mut self, now: u64, from: RaftId, answer: Appended, out: &mut Vec<RaftEffect>) {
        self.step_down_below(answer.term, out);
        if !self.leads() || answer.term != self.stable.term {
            return;
        }
        let Some(progress) = self.progress.get_mut(&from) else { return };
        match answer.matched {
            Some(end) => {
                if end + 1 > progress.next {
                    progress.sent_at = None;
                }
                progress.matched = progress.matched.max(end);
                progress.next = progress.next.max(end + 1);
            }
            None => {
                progress.next = answer.hint.clamp(progress.matched + 1, progress.next.max(progress.matched + 1));
                progress.sent_at = None;
            }
        }
        self.reads.answered(from, answer.round, self.me, self.stable.log.members(), out);
        self.send_append(now, from, false, out);
        self.advance(now, out);
    }

    /// Commits what a majority has synced, if it is of this term.
    fn advance(&mut self, now: u64, out: &mut Vec<RaftEffect>) {
        if !self.leads() {
            return;
        }
        let has = |id: RaftId| {
            if id == self.me { self.synced } else { self.progress.get(&id).map_or(0, |progress| progress.matched) }
        };
        let mut reached = self.log().members().reached(has);
        if planted("one-copy") {
            reached = reached.max(self.synced);
        }
        let of_this_term = planted("old-term-committed") || self.log().term_at(reached) == Some(self.stable.term);
        if reached > self.commit && of_this_term {
            self.commit = reached;
            // The others learn at once, so that reads and audits there are not a beat behind.
            self.heartbeat(now, out);
            self.finish_change(now, out);
        }
    }
}
