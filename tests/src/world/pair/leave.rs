//! A planned stop of one of two: it hands the role over and goes out of the voters, so that the other goes
//! on in the same history; and the keeper's rules for a pair.

use super::super::World;
use super::super::event::{Inside, Message};
use super::{PairMessage, PairStep};
use relais_protocol::ids::{Incarnation, NodeId, RaftId};
use relais_protocol::record::Standing;
use std::collections::BTreeSet;

/// How long it may take to go out of the voters, in ms.
const UNSEAT_MS: u64 = 6_000;
/// Between two tries, in ms.
const AGAIN_MS: u64 = 50;
/// How long one try may take, in ms.
const TRY_MS: u64 = 2_000;
/// Until the next handover is tried, in ms.
const HANDOVER_AGAIN_MS: u64 = 1_600;

/// A node that stops by plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    until: u64,
    /// How long what runs may go on then, in ms.
    finish_ms: u64,
    handover_at: u64,
}

impl World {
    /// Begins to go out of the voters; what runs then has `finish_ms` to end.
    pub(in super::super) fn leave_pair(&mut self, id: NodeId, finish_ms: u64) {
        let now = self.now;
        if let Some(run) = self.run_of(id) {
            run.leaving.get_or_insert(Leaving {
                until: now + UNSEAT_MS,
                finish_ms,
                handover_at: now + HANDOVER_AGAIN_MS,
            });
        }
        self.ask_to_be_unseated(id);
    }

    pub(super) fn ask_to_be_unseated(&mut self, id: NodeId) {
        let now = self.now;
        let Some(leaving) = self.run_of(id).and_then(|run| run.leaving) else { return };
        let Some(life) = self.node(id).life.as_deref() else { return };
        let (incarnation, leads) = (life.run, life.election.leads());
        let seats = life.raft.log().members().voters().len();
        let dispatcher = life.election.heard_dispatcher(life.mono(now)).filter(|node| *node != id);
        if now >= leaving.until || seats != 2 {
            return self.on_unseated(id);
        }
        if let Some(dispatcher) = dispatcher {
            self.send(id, dispatcher, Message::Pair(PairMessage::Unseat(incarnation)));
        } else if leads && now >= leaving.handover_at {
            self.hand_over(id);
            if let Some(leaving) = self.run_of(id).and_then(|run| run.leaving.as_mut()) {
                leaving.handover_at = now + HANDOVER_AGAIN_MS;
            }
        }
        self.inside(id, AGAIN_MS, Inside::Pair(PairStep::Unseat));
    }

    /// Out of the voters, or in vain: the node ends.
    pub(super) fn on_unseated(&mut self, id: NodeId) {
        if let Some(leaving) = self.run_of(id).and_then(|run| run.leaving.take()) {
            self.inside(id, leaving.finish_ms, Inside::Leave);
        }
    }

    /// The dispatcher takes the other voter out, since it stops.
    pub(super) fn unseat(&mut self, id: NodeId, node: NodeId, incarnation: Incarnation) {
        let now = self.now;
        let Some(life) = self.node(id).life.as_deref_mut().filter(|life| life.election.leads()) else { return };
        let members = life.raft.log().members().clone();
        let (voters, settled) = (members.voters(), life.raft.commit >= life.raft.log().changed_at());
        let is_out = !voters.iter().any(|raft| raft.node() == node) && settled;
        let mut out = Vec::new();
        let rest: BTreeSet<RaftId> = voters.into_iter().filter(|raft| raft.node() != node).collect();
        let begins = !is_out && life.raft.may_change() && rest.contains(&life.raft.me);
        if begins {
            life.raft.change_voters(now, rest, &mut out);
        }
        if let Some(pair) = self.pair.as_deref_mut()
            && let Some(run) = pair.runs.get_mut(&id)
        {
            run.unseated.insert(incarnation);
            run.unseating_until = if is_out { 0 } else { now + TRY_MS };
            pair.counts.unseated += u64::from(begins);
        }
        if is_out {
            self.send(id, node, Message::Pair(PairMessage::Unseated));
        }
        self.after_log(id, out);
    }

    /// Keeps house for a pair: a node that comes back is taken in, and votes once it has nearly all.
    pub(in super::super) fn keep_pair(&mut self, id: NodeId) {
        let now = self.now;
        let Some(pair) = self.pair.as_deref() else { return };
        let Some(run) = pair.runs.get(&id) else { return };
        let Some(life) = self.nodes[id.0 as usize - 1].life.as_deref() else { return };
        if !life.election.leads() || !life.raft.may_change() {
            return;
        }
        let rows = life.ledger.nodes().filter(|row| row.id != id && row.facts.journal > 0);
        let peer = rows.map(|row| (row, RaftId::new(row.id, row.facts.journal))).next();
        let members = life.raft.log().members().clone();
        let up = peer.filter(|(row, _)| {
            let turns = self.nodes[row.id.0 as usize - 1].life.is_some() && self.net.is_open(id, row.id);
            row.standing == Standing::Online && turns && !run.unseated.contains(&row.incarnation)
        });
        let up = up.map(|(_, raft)| raft);
        let peer = peer.map(|(_, raft)| raft);
        let is_old = |raft: &RaftId| raft.node() != id && peer.is_some_and(|peer| *raft != peer);
        // Who votes keeps its seat while it is away; a journal that was put aside has none.
        let mut voters: BTreeSet<RaftId> = members.voters().into_iter().filter(|raft| !is_old(raft)).collect();
        voters.extend(up.filter(|raft| members.learners.contains(raft) && life.raft.is_near(*raft)));
        let learner = up.filter(|raft| !members.all().contains(raft));
        let gone = members.learners.iter().copied().find(is_old);
        let mut out = Vec::new();
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        if let Some(learner) = learner {
            life.raft.add_learner(now, learner, &mut out);
        } else if voters != members.voters() {
            life.raft.change_voters(now, voters.clone(), &mut out);
            self.trace.say(now, id.0.into(), || format!("changes the voters to {voters:?}"));
            self.voter_changes += 1;
        } else if let Some(gone) = gone {
            life.raft.remove_learner(now, gone, &mut out);
        }
        self.after_log(id, out);
    }
}
