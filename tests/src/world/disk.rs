//! What happens to disks: slow, full, failing, and damaged so that what was synced is gone.

use super::World;
use super::fault::{FaultKind, Struck};
use super::plan::FaultPlan;
use relais_dispatcher::election::Input as ElectionInput;
use relais_protocol::ids::{NodeId, RaftId};

impl World {
    pub(super) fn slow_down(&mut self, node: NodeId, strength: u64) -> Struck {
        self.node(node).sync_ms = (strength, strength * 15);
        Struck::slow(node)
    }

    /// The disk is as fast as it was: what still waits is written at once.
    pub(super) fn speed_up(&mut self, node: NodeId) {
        self.node(node).sync_ms = (1, 4);
        if let Some(last) = self.node(node).life.as_deref().map(|life| life.raft.log().last_index()) {
            self.sync(node, last);
        }
    }

    /// The next sync fails: the process ends rather than acknowledge.
    pub(super) fn fail_sync(&mut self, node: NodeId) -> Struck {
        self.node(node).sync_fails = true;
        Struck::down(&[node])
    }

    /// There is no room for more: the node is not fit to be the dispatcher.
    pub(super) fn fill_disk(&mut self, node: NodeId) -> Struck {
        self.node(node).limited = true;
        self.elect(node, ElectionInput::Ready(false));
        Struck::full(node)
    }

    pub(super) fn make_room(&mut self, node: NodeId) {
        if std::mem::take(&mut self.node(node).limited) {
            self.elect(node, ElectionInput::Ready(true));
        }
    }

    /// Whether the journal of `node` may be lost without loss of what was acknowledged: no set of voters
    /// that anybody goes by loses more than a minority.
    pub(super) fn may_damage(&self, node: NodeId) -> bool {
        if self.pair.is_some() {
            return self.may_damage_pair(node);
        }
        let is_lost = |raft: &RaftId| {
            let owner = &self.nodes[raft.node().0 as usize - 1];
            owner.id == node || owner.raft_id() != *raft || owner.disk.flipped || owner.disk.log.is_damaged()
        };
        let bears = |set: &std::collections::BTreeSet<RaftId>| {
            set.is_empty() || set.iter().filter(|raft| is_lost(raft)).count() * 2 < set.len()
        };
        self.nodes[node.0 as usize - 1].disk.journal > 0
            && self.nodes.iter().all(|node| node.members().sets.iter().all(bears))
    }

    /// Takes a node down, and something of what it had synced.
    pub(super) fn damage(&mut self, plan: FaultPlan) -> Struck {
        let struck = self.strike_down(&[plan.node]);
        let cut = self.dice.range(1, 1 + plan.strength / 3);
        let disk = &mut self.node(plan.node).disk;
        // What the rows are of is part of the same store: the tail is cut above it.
        let floor = disk.checkpoint.max(disk.log.log.base().index);
        let end = disk.log.log.last_index().saturating_sub(cut).max(floor);
        if plan.kind == FaultKind::LostTail && end < disk.log.high_water {
            disk.log.log.truncate(end);
        } else {
            disk.flipped = true;
        }
        struck
    }

    /// Who leads the journal in the highest term.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let leading = self.nodes.iter().filter_map(|node| {
            let life = node.life.as_deref().filter(|life| life.raft.leads())?;
            Some((life.raft.stable.term, node.id))
        });
        leading.max().map(|(_, id)| id)
    }
}
