//! The follower's side: votes, appends and snapshots that come from others.

use super::super::log::{Entry, Snapshot};
use super::{Append, Appended, Raft, RaftEffect, RaftMessage, VOTE_LEASE_MS};
use relais_dispatcher::planted::is_planted as planted;
use relais_protocol::ids::RaftId;
use relais_protocol::message::LogPosition;
use std::sync::Arc;

impl Raft {
    pub(super) fn may_vote(
        &mut self,
        now: u64,
        from: RaftId,
        term: u64,
        last: LogPosition,
        out: &mut Vec<RaftEffect>,
    ) -> bool {
        let leased = self.heard_leader_at.is_some_and(|at| now <= at + VOTE_LEASE_MS);
        let mine = self.last();
        let shorter = if planted("rank-without-term") { last.index < mine.index } else { last < mine };
        if leased || shorter {
            return false;
        }
        self.step_down_below(term, out);
        let yes = term == self.stable.term && self.stable.voted.is_none_or(|voted| voted == from);
        if yes {
            self.stable.voted = Some(from);
        }
        yes
    }

    pub(super) fn on_append(&mut self, now: u64, from: RaftId, append: Append, out: &mut Vec<RaftEffect>) {
        let Append { term, before, entries, commit, round } = append;
        if !self.obeys(now, from, term, round, out) {
            return;
        }
        let answer =
            |matched, hint| RaftEffect::Send(from, RaftMessage::Appended(Appended { term, matched, hint, round }));
        let base = self.stable.log.base();
        // What is purged here was committed, so it is the same there.
        let known = before.index < base.index || self.stable.log.term_at(before.index) == Some(before.term);
        if !known {
            let hint = before.index.min(self.stable.log.last_index() + 1).max(1);
            out.push(answer(None, hint));
            return;
        }
        let end = before.index + entries.len() as u64;
        let grown = self.store(before.index, entries);
        self.commit = self.commit.max(commit.min(end));
        if end <= self.synced {
            out.push(answer(Some(end), 0));
        } else {
            // Readers wait for the heartbeat in it: that is answered at once, the entries when they are synced.
            if round > self.answered_round {
                out.push(answer(Some(before.index.min(self.synced)), 0));
            }
            self.owed.push((end, from, term));
            if grown {
                out.push(RaftEffect::Sync(end));
            }
        }
        self.answered_round = self.answered_round.max(round);
    }

    /// Whether a message of a leader of `term` is to be obeyed; if not, it is told why.
    fn obeys(&mut self, now: u64, from: RaftId, term: u64, round: u64, out: &mut Vec<RaftEffect>) -> bool {
        if term < self.stable.term {
            let answer = Appended { term: self.stable.term, matched: None, hint: 0, round };
            out.push(RaftEffect::Send(from, RaftMessage::Appended(answer)));
            return false;
        }
        self.step_down_below(term, out);
        self.follow(out);
        self.heard_leader_at = Some(now);
        true
    }

    /// Puts `entries` after `at`, in the place of others of a lower term; whether anything is new.
    fn store(&mut self, at: u64, entries: Vec<Entry>) -> bool {
        let mut grown = false;
        let base = self.stable.log.base().index;
        for (n, entry) in entries.into_iter().enumerate() {
            let index = at + 1 + n as u64;
            if index <= base {
                continue;
            }
            if self.stable.log.term_at(index).is_some_and(|own| own != entry.term) {
                if index <= self.commit {
                    self.conflict.get_or_insert(index);
                    return grown;
                }
                self.stable.log.truncate(index - 1);
                self.synced = self.synced.min(index - 1);
                self.durable = self.durable.min(index - 1);
            }
            if self.stable.log.entry(index).is_none() {
                self.stable.log.push(entry);
                grown = true;
            }
        }
        grown
    }

    pub(super) fn on_snapshot(
        &mut self,
        now: u64,
        from: RaftId,
        term: u64,
        snapshot: &Arc<Snapshot>,
        out: &mut Vec<RaftEffect>,
    ) {
        if !self.obeys(now, from, term, 0, out) {
            return;
        }
        let at = snapshot.at;
        if at.index > self.commit {
            self.stable.log.install(at, snapshot.members.clone());
            let last = self.stable.log.last_index();
            self.commit = at.index;
            self.synced = self.synced.clamp(at.index, last);
            self.durable = self.durable.clamp(at.index, last);
            self.owed.retain(|(end, ..)| *end <= last);
            out.push(RaftEffect::Install(snapshot.clone()));
        }
        let matched = Some(at.index.min(self.synced));
        out.push(RaftEffect::Send(from, RaftMessage::Appended(Appended { term, matched, hint: 0, round: 0 })));
    }
}
