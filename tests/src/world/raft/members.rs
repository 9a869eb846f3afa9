//! Changes of members, on the leader's side: one at a time, each committed before the next begins, voters
//! through a joint set of old and new.

use super::super::log::{Load, Members};
use super::{Progress, Raft, RaftEffect, Role};
use relais_dispatcher::planted::is_planted as planted;
use relais_protocol::ids::RaftId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Entries that a learner may lack when it is made a voter.
const NEAR: u64 = 64;

impl Raft {
    /// Whether a change can begin now.
    pub(in super::super) fn may_change(&self) -> bool {
        let settled = self.commit >= self.log().changed_at() && self.commit >= self.began_at;
        self.leads() && settled && !self.log().members().is_joint()
    }

    /// Whether `id` has nearly all that this leader has.
    pub(in super::super) fn is_near(&self, id: RaftId) -> bool {
        let matched = self.progress.get(&id).map_or(0, |progress| progress.matched);
        matched > 0 && matched + NEAR >= self.log().last_index()
    }

    pub(in super::super) fn add_learner(&mut self, now: u64, id: RaftId, out: &mut Vec<RaftEffect>) {
        let mut members = Members::clone(self.log().members());
        members.learners.insert(id);
        self.change(now, members, out);
    }

    pub(in super::super) fn remove_learner(&mut self, now: u64, id: RaftId, out: &mut Vec<RaftEffect>) {
        let mut members = Members::clone(self.log().members());
        members.learners.remove(&id);
        self.change(now, members, out);
    }

    pub(in super::super) fn change_voters(&mut self, now: u64, to: BTreeSet<RaftId>, out: &mut Vec<RaftEffect>) {
        let mut members = Members::clone(self.log().members());
        members.learners.retain(|id| !to.contains(id));
        if planted("joint-set-skipped") {
            members.sets.clear();
        }
        members.sets.push(to);
        self.change(now, members, out);
    }

    fn change(&mut self, now: u64, members: Members, out: &mut Vec<RaftEffect>) {
        if self.may_change() {
            self.append_own(now, Load::Members(Arc::new(members)), out);
            self.take_in_members();
            self.send_all(now, false, out);
        }
    }

    /// A joint set that is committed gives way to the new one; who is no member any more leads no more.
    pub(super) fn finish_change(&mut self, now: u64, out: &mut Vec<RaftEffect>) {
        if self.commit < self.log().changed_at() {
            return;
        }
        let members = self.log().members().clone();
        if members.is_joint() {
            let sets = members.sets.last().cloned().into_iter().collect();
            let uniform = Members { sets, learners: members.learners.clone() };
            self.append_own(now, Load::Members(Arc::new(uniform)), out);
            self.take_in_members();
        } else if !members.is_voter(self.me) {
            self.role = Role::Follower;
            self.reads.give_up(out);
        }
    }

    /// Makes the leader's book of who has what that of the members as they are now.
    pub(super) fn take_in_members(&mut self) {
        let all = self.log().members().all();
        let next = self.log().last_index() + 1;
        self.progress.retain(|id, _| all.contains(id));
        for id in all.into_iter().filter(|id| *id != self.me) {
            self.progress.entry(id).or_insert(Progress { next, ..Progress::default() });
        }
    }
}
