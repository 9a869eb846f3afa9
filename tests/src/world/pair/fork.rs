//! The journal of a pair's node is forked, or begun anew, inside its running process.

use super::super::event::Inside;
use super::super::log::{Entry, Load, Members, Stable};
use super::super::raft::Raft;
use super::super::room;
use super::branch::Branch;
use super::{ForkWish, Mark, PairStep, RENEWAL_MS, World};
use relais_dispatcher::core::{Input as CoreInput, Rejection};
use relais_dispatcher::election::Input;
use relais_dispatcher::ledger::Ledger;
use relais_dispatcher::planted::is_planted as planted;
use relais_protocol::history::{RECOVERY_LEAP, Side, Takeover, TakeoverCause};
use relais_protocol::ids::{Index, NodeId, RaftId};
use relais_worker::core::Input as WorkerInput;
use std::collections::BTreeSet;
use std::sync::Arc;

impl World {
    pub(super) fn begin_fork(&mut self, id: NodeId, wish: ForkWish) {
        self.trace.say(self.now, id.0.into(), || format!("goes on alone: {wish:?}"));
        if let Some(run) = self.run_of(id) {
            run.held = true;
        }
        self.compare_history(id);
        let delay = self.dice.range(RENEWAL_MS.0, RENEWAL_MS.1);
        self.inside(id, delay, Inside::Pair(PairStep::Fork(wish)));
    }

    /// Makes all that is in the journal a history of this node alone, in one write.
    pub(super) fn fork(&mut self, id: NodeId, wish: ForkWish) {
        self.drop_flight(id);
        let before = self.follows(id);
        let node = &mut self.nodes[id.0 as usize - 1];
        let (Some(life), Some(pair)) = (node.life.as_deref_mut(), self.pair.as_deref_mut()) else { return };
        let mut stable: Stable = life.raft.stable.clone();
        let Some(parent) = before.filter(|before| wish.generation > *before && stable.log.last_index() > 0) else {
            if let Some(run) = pair.runs.get_mut(&id) {
                run.held = false;
                run.rule.failed(life.mono(self.now), "the journal can't be forked".to_owned());
            }
            return;
        };
        if planted("tail-dropped") {
            stable.log.truncate(life.applied.max(stable.log.base().index));
        }
        node.disk.journal += 1;
        let new = RaftId::new(id, node.disk.journal);
        stable.term += 1;
        stable.voted = Some(new);
        let alone = Load::Members(Arc::new(Members::new(BTreeSet::from([new]))));
        stable.log.push(Entry { term: stable.term, load: alone });
        pair.histories.insert(new, wish.generation);
        pair.marks.insert(new, Mark { generation: wish.generation, common: Index(life.raft.commit) });
        pair.branches.insert(wish.generation, Branch::after(parent, life.applied));
        life.raft = Raft::new(new, stable, life.raft.commit);
        self.trace.say(self.now, id.0.into(), || format!("its journal is {new:?}, a history of its own"));
        self.tell_facts(id);
        self.elect(id, Input::Forked { cause: wish.cause, suspected_at: wish.suspected_at });
        self.let_go_on(id);
    }

    /// What was proposed before the journal was stopped: nobody knows what becomes of it.
    pub(super) fn drop_flight(&mut self, id: NodeId) {
        let flights = self.node(id).life.as_deref().map(|life| life.desk.open_flights());
        for number in flights.unwrap_or_default() {
            self.land(id, number, CoreInput::Failed(Rejection::Unknown));
        }
    }

    /// Puts the journal aside: an empty one begins under the next raft id.
    pub(super) fn begin_journal_anew(&mut self, id: NodeId) {
        self.drop_flight(id);
        let node = &mut self.nodes[id.0 as usize - 1];
        let Some(life) = node.life.as_deref_mut() else { return };
        node.disk.log = Stable::default();
        node.disk.rows = Arc::default();
        node.disk.checkpoint = 0;
        node.disk.journal += 1;
        life.raft = Raft::new(RaftId::new(id, node.disk.journal), Stable::default(), 0);
        life.ledger = Ledger::new(node.disk.rows.clone());
        life.applied = 0;
        self.trace.say(self.now, id.0.into(), || "comes back with an empty journal".to_owned());
        if let Some(pair) = self.pair.as_deref_mut() {
            pair.counts.heals += 1;
        }
        if let Some(run) = self.run_of(id) {
            run.heal = None;
        }
        self.tell_facts(id);
        self.let_go_on(id);
    }

    pub(super) fn let_go_on(&mut self, id: NodeId) {
        if let Some(run) = self.run_of(id) {
            run.held = false;
        }
        self.compare_history(id);
        self.after_log(id, Vec::new());
    }

    /// The worker reports the number of the journal that is here now.
    pub(super) fn tell_facts(&mut self, id: NodeId) {
        let facts = room::facts(self.node(id));
        self.work(id, WorkerInput::Facts(facts), None);
    }

    /// What the next reign here has to begin with: its journal was forked, and its ledger does not know yet.
    pub(in crate::world) fn history_to_begin(&mut self, id: NodeId) -> Option<Takeover> {
        let (now, raft) = (self.now, self.node(id).raft_id());
        let mark = *self.pair.as_deref()?.marks.get(&raft)?;
        let at = self.node(id).wall(now);
        let known = self.node(id).life.as_deref()?.ledger.reign().generation;
        let is_recovery = mark.generation.0 >= known.0 + RECOVERY_LEAP;
        let counts = self.pair.as_deref_mut().map(|pair| &mut pair.counts)?;
        if mark.generation <= known {
            return None;
        }
        let (cause, side) = if is_recovery {
            counts.recoveries += 1;
            (TakeoverCause::Recovery, Side::Both)
        } else {
            counts.takeovers += 1;
            (TakeoverCause::Takeover, if mark.generation.0 % 2 == 1 { Side::Odd } else { Side::Even })
        };
        Some(Takeover { node: id, generation: mark.generation, side, cause, common: mark.common, at })
    }
}
