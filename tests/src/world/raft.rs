//! A model of the replicated log: just enough of Raft to yield every outcome that the real one may, and no
//! other. It stores nothing and sends nothing itself.
//!
//! What it has in common with the real one, on purpose: it stands only when told to; a voter refuses for
//! 80 ms after it heard its leader; who is told of a higher term steps down; a leader begins with an empty
//! entry; a restarted node is a follower whatever it was. What it leaves out: snapshots, purging, changes
//! of voters.

use relais_protocol::ids::NodeId;
use relais_protocol::message::LogPosition;
use relais_protocol::record::Batch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long a voter refuses others after it heard its leader, in ms.
const VOTE_LEASE_MS: u64 = 80;
/// After this long an append that was not answered is sent again.
const AGAIN_MS: u64 = 60;
/// Entries in one append.
const APPEND_MAX: usize = 64;

/// An entry; empty where a leader began.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) term: u64,
    pub(super) batch: Option<Arc<Batch>>,
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Stable {
    pub(super) term: u64,
    pub(super) voted: Option<NodeId>,
    pub(super) log: Vec<Entry>,
}

/// What one node's log says to another's.
#[derive(Clone, Debug)]
pub(super) enum RaftMessage {
    Vote { term: u64, last: LogPosition },
    Voted { term: u64, yes: bool },
    Append { term: u64, before: LogPosition, entries: Vec<Entry>, commit: u64 },
    Appended { term: u64, matched: Option<u64>, hint: u64 },
}

/// What the log wishes.
#[derive(Debug)]
pub(super) enum RaftEffect {
    Send(NodeId, RaftMessage),
    /// Sync the log up to here, then say so.
    Sync(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Follower,
    Candidate(BTreeSet<NodeId>),
    Leader,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    next: u64,
    matched: u64,
    sent_at: Option<u64>,
}

/// The log of one node.
pub(super) struct Raft {
    me: NodeId,
    voters: Vec<NodeId>,
    pub(super) stable: Stable,
    role: Role,
    synced: u64,
    pub(super) commit: u64,
    heard_leader_at: Option<u64>,
    progress: BTreeMap<NodeId, Progress>,
    /// Appends to acknowledge once they are synced: up to where, to whom, in which term.
    owed: Vec<(u64, NodeId, u64)>,
}

impl Raft {
    pub(super) fn new(me: NodeId, voters: Vec<NodeId>, stable: Stable) -> Self {
        let synced = stable.log.len() as u64;
        let progress = BTreeMap::new();
        Self {
            me,
            voters,
            stable,
            role: Role::Follower,
            synced,
            commit: 0,
            heard_leader_at: None,
            progress,
            owed: Vec::new(),
        }
    }

    pub(super) fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// The entry at `index`, from 1.
    pub(super) fn entry(&self, index: u64) -> Option<&Entry> {
        self.stable.log.get(index.checked_sub(1)? as usize)
    }

    pub(super) fn last(&self) -> LogPosition {
        let index = self.stable.log.len() as u64;
        LogPosition { term: self.entry(index).map_or(0, |entry| entry.term), index }
    }

    /// What a crash leaves: all that is synced, and `more` of what is not.
    pub(super) fn after_crash(&self, more: u64) -> Stable {
        let mut stable = self.stable.clone();
        stable.log.truncate((self.synced + more) as usize);
        stable
    }

    pub(super) fn unsynced(&self) -> u64 {
        (self.stable.log.len() as u64).saturating_sub(self.synced)
    }

    pub(super) fn stand(&mut self, out: &mut Vec<RaftEffect>) {
        if self.leads() {
            return;
        }
        self.stable.term += 1;
        self.stable.voted = Some(self.me);
        self.role = Role::Candidate(BTreeSet::from([self.me]));
        let (term, last) = (self.stable.term, self.last());
        out.extend(self.others().map(|to| RaftEffect::Send(to, RaftMessage::Vote { term, last })));
        self.count_votes();
    }

    /// Appends `batch` if this node leads: its index.
    pub(super) fn propose(&mut self, now: u64, batch: Arc<Batch>, out: &mut Vec<RaftEffect>) -> Option<u64> {
        self.leads().then(|| self.append_own(now, Some(batch), out))
    }

    /// Tells the others that this leader lives.
    pub(super) fn heartbeat(&mut self, now: u64, out: &mut Vec<RaftEffect>) {
        if self.leads() {
            for to in self.others().collect::<Vec<_>>() {
                self.send_append(now, to, true, out);
            }
        }
    }

    /// Sends again what was not answered in time.
    pub(super) fn send_again(&mut self, now: u64, out: &mut Vec<RaftEffect>) {
        if self.leads() {
            for to in self.others().collect::<Vec<_>>() {
                self.send_append(now, to, false, out);
            }
        }
    }

    pub(super) fn synced(&mut self, upto: u64, now: u64, out: &mut Vec<RaftEffect>) {
        self.synced = self.synced.max(upto.min(self.stable.log.len() as u64));
        let (synced, term) = (self.synced, self.stable.term);
        self.owed.retain(|(end, to, asked)| {
            let due = *asked == term && *end <= synced;
            if due {
                out.push(RaftEffect::Send(*to, RaftMessage::Appended { term, matched: Some(*end), hint: 0 }));
            }
            !due && *asked == term
        });
        self.advance(now, out);
    }

    pub(super) fn handle(&mut self, now: u64, from: NodeId, message: RaftMessage, out: &mut Vec<RaftEffect>) {
        match message {
            RaftMessage::Vote { term, last } => {
                let yes = self.may_vote(now, from, term, last);
                let term = self.stable.term;
                out.push(RaftEffect::Send(from, RaftMessage::Voted { term, yes }));
            }
            RaftMessage::Voted { term, yes } => {
                self.step_down_below(term);
                if let Role::Candidate(votes) = &mut self.role
                    && yes
                    && term == self.stable.term
                {
                    votes.insert(from);
                    self.count_votes();
                    if self.leads() {
                        self.append_own(now, None, out);
                    }
                }
            }
            RaftMessage::Append { term, before, entries, commit } => {
                self.on_append(now, from, term, before, entries, commit, out);
            }
            RaftMessage::Appended { term, matched, hint } => self.on_appended(now, from, term, matched, hint, out),
        }
    }

    fn others(&self) -> impl Iterator<Item = NodeId> {
        self.voters.clone().into_iter().filter({
            let me = self.me;
            move |node| *node != me
        })
    }

    fn step_down_below(&mut self, term: u64) {
        if term > self.stable.term {
            self.stable.term = term;
            self.stable.voted = None;
            self.role = Role::Follower;
            self.heard_leader_at = None;
        }
    }

    fn may_vote(&mut self, now: u64, from: NodeId, term: u64, last: LogPosition) -> bool {
        let leased = self.heard_leader_at.is_some_and(|at| now <= at + VOTE_LEASE_MS);
        if leased || last < self.last() {
            return false;
        }
        self.step_down_below(term);
        let yes = term == self.stable.term && self.stable.voted.is_none_or(|voted| voted == from);
        if yes {
            self.stable.voted = Some(from);
        }
        yes
    }

    fn count_votes(&mut self) {
        if let Role::Candidate(votes) = &self.role
            && votes.len() * 2 > self.voters.len()
        {
            self.role = Role::Leader;
            let next = self.stable.log.len() as u64 + 1;
            self.progress = self.others().map(|to| (to, Progress { next, ..Progress::default() })).collect();
        }
    }

    fn append_own(&mut self, now: u64, batch: Option<Arc<Batch>>, out: &mut Vec<RaftEffect>) -> u64 {
        self.stable.log.push(Entry { term: self.stable.term, batch });
        let index = self.stable.log.len() as u64;
        out.push(RaftEffect::Sync(index));
        for to in self.others().collect::<Vec<_>>() {
            self.send_append(now, to, false, out);
        }
        index
    }

    fn send_append(&mut self, now: u64, to: NodeId, beat: bool, out: &mut Vec<RaftEffect>) {
        let (term, commit, last) = (self.stable.term, self.commit, self.stable.log.len() as u64);
        let Some(progress) = self.progress.get_mut(&to) else { return };
        let in_flight = progress.sent_at.is_some_and(|at| now < at + AGAIN_MS);
        let pending = progress.next <= last && !in_flight;
        if !pending && !beat {
            return;
        }
        let (next, count) = (progress.next, if pending { APPEND_MAX } else { 0 });
        if pending {
            progress.sent_at = Some(now);
        }
        let entries = self.stable.log.iter().skip(next as usize - 1).take(count).cloned().collect();
        let before = LogPosition { term: self.entry(next - 1).map_or(0, |entry| entry.term), index: next - 1 };
        out.push(RaftEffect::Send(to, RaftMessage::Append { term, before, entries, commit }));
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn on_append(
        &mut self,
        now: u64,
        from: NodeId,
        term: u64,
        before: LogPosition,
        entries: Vec<Entry>,
        commit: u64,
        out: &mut Vec<RaftEffect>,
    ) {
        if term < self.stable.term {
            let term = self.stable.term;
            out.push(RaftEffect::Send(from, RaftMessage::Appended { term, matched: None, hint: 0 }));
            return;
        }
        self.step_down_below(term);
        self.role = Role::Follower;
        self.heard_leader_at = Some(now);
        if self.entry(before.index).map_or(0, |entry| entry.term) != before.term {
            let hint = before.index.min(self.stable.log.len() as u64 + 1).max(1);
            out.push(RaftEffect::Send(from, RaftMessage::Appended { term, matched: None, hint }));
            return;
        }
        let end = before.index + entries.len() as u64;
        let grown = self.store(before.index, entries);
        self.commit = self.commit.max(commit.min(end));
        if end <= self.synced {
            out.push(RaftEffect::Send(from, RaftMessage::Appended { term, matched: Some(end), hint: 0 }));
        } else {
            self.owed.push((end, from, term));
            if grown {
                out.push(RaftEffect::Sync(end));
            }
        }
    }

    /// Puts `entries` after `at`, in the place of others of a lower term; whether anything is new.
    fn store(&mut self, at: u64, entries: Vec<Entry>) -> bool {
        let mut grown = false;
        for (n, entry) in entries.into_iter().enumerate() {
            let index = at + 1 + n as u64;
            if self.entry(index).is_some_and(|own| own.term != entry.term) {
                assert!(index > self.commit, "the model of the log would drop a committed entry");
                self.stable.log.truncate(index as usize - 1);
                self.synced = self.synced.min(index - 1);
            }
            if self.entry(index).is_none() {
                self.stable.log.push(entry);
                grown = true;
            }
        }
        grown
    }

    fn on_appended(
        &mut self,
        now: u64,
        from: NodeId,
        term: u64,
        matched: Option<u64>,
        hint: u64,
        out: &mut Vec<RaftEffect>,
    ) {
        self.step_down_below(term);
        if !self.leads() || term != self.stable.term {
            return;
        }
        let Some(progress) = self.progress.get_mut(&from) else { return };
        match matched {
            Some(end) => {
                if end + 1 >= progress.next {
                    progress.sent_at = None;
                }
                progress.matched = progress.matched.max(end);
                progress.next = progress.next.max(end + 1);
            }
            None => {
                progress.next = hint.clamp(progress.matched + 1, progress.next.max(progress.matched + 1));
                progress.sent_at = None;
            }
        }
        self.send_append(now, from, false, out);
        self.advance(now, out);
    }

    /// Commits what a majority has synced, if it is of this term.
    fn advance(&mut self, now: u64, out: &mut Vec<RaftEffect>) {
        if !self.leads() {
            return;
        }
        let mut matched: Vec<u64> = self.progress.values().map(|progress| progress.matched).collect();
        matched.push(self.synced);
        matched.sort_unstable_by(|a, b| b.cmp(a));
        let majority = matched[self.voters.len() / 2];
        if majority > self.commit && self.entry(majority).is_some_and(|entry| entry.term == self.stable.term) {
            self.commit = majority;
            // The others learn at once, so that reads and audits there are not a beat behind.
            self.heartbeat(now, out);
        }
    }
}
