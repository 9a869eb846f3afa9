//! The dispatcher keeps house, as in a node: it takes new nodes into the journal, makes voters of them up
//! to the number wanted, and replaces a raft id whose journal was put aside.

use super::World;
use super::event::Inside;
use super::fault::FaultKind;
use relais_protocol::ids::{NodeId, RaftId};
use relais_protocol::record::Standing;
use std::collections::BTreeSet;

impl World {
    pub(super) fn on_keeper_tick(&mut self, id: NodeId) {
        if self.pair.is_some() {
            return self.keep_pair(id);
        }
        let now = self.now;
        let leads = self.node(id).life.as_deref().is_some_and(|l| l.election.leads() && l.raft.may_change());
        if !leads {
            return;
        }
        let Some((current, up)) = self.journals(id) else { return };
        let wanted = self.plan.voters;
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let members = life.raft.log().members().clone();
        let known = members.all();
        let is_old = |raft: &RaftId| current.iter().any(|c| c.node() == raft.node() && c != raft);
        let before = members.voters();
        let mut voters: BTreeSet<RaftId> = before.iter().copied().filter(|raft| !is_old(raft)).collect();
        for raft in &up {
            if voters.len() < wanted && members.learners.contains(raft) && life.raft.is_near(*raft) {
                voters.insert(*raft);
            }
        }
        let mut out = Vec::new();
        if let Some(learner) = up.iter().copied().find(|raft| !known.contains(raft)) {
            life.raft.add_learner(now, learner, &mut out);
        } else if voters != before && !voters.is_empty() {
            life.raft.change_voters(now, voters.clone(), &mut out);
            self.trace.say(now, id.0.into(), || format!("changes the voters from {before:?} to {voters:?}"));
            self.voter_changes += 1;
            if self.plan.crash_in_change && self.voter_changes == 1 {
                *self.faults.entry(FaultKind::CrashInChange).or_default() += 1;
                let delay = self.dice.range(0, 6);
                self.inside(id, delay, Inside::Exit);
            }
        } else if let Some(gone) = members.learners.iter().copied().find(is_old) {
            life.raft.remove_learner(now, gone, &mut out);
        }
        self.after_log(id, out);
    }

    /// The journals that the ledger knows of, and those of them that are up and in reach.
    fn journals(&self, id: NodeId) -> Option<(BTreeSet<RaftId>, Vec<RaftId>)> {
        let life = self.nodes[id.0 as usize - 1].life.as_deref()?;
        let (mut current, mut up) = (BTreeSet::new(), Vec::new());
        for row in life.ledger.nodes().filter(|row| row.facts.journal > 0) {
            let raft = RaftId::new(row.id, row.facts.journal);
            current.insert(raft);
            let turns = self.nodes[row.id.0 as usize - 1].life.is_some();
            if row.standing == Standing::Online && turns && self.net.is_open(id, row.id) {
                up.push(raft);
            }
        }
        Some((current, up))
    }
}
