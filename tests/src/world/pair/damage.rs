//! Which journal of a pair may be lost without loss of what was acknowledged.

use super::super::World;
use relais_protocol::ids::NodeId;
use std::collections::BTreeSet;

impl World {
    /// Whether all that the journal of `id` has acknowledged is in the other one too, and that is sound.
    ///
    /// It is when both follow one history and both say that both vote; when the other is the only voter of
    /// the history that both follow; and when there is nothing in this one.
    pub(in super::super) fn may_damage_pair(&self, id: NodeId) -> bool {
        let Some(other) = self.nodes.iter().find(|node| node.id != id) else { return false };
        let own = &self.nodes[id.0 as usize - 1];
        if other.disk.flipped || other.disk.log.is_damaged() || own.disk.journal == 0 {
            return false;
        }
        let (Some(here), Some(there)) = (self.follows(id), self.follows(other.id)) else {
            return self.follows(id).is_none();
        };
        let whole = BTreeSet::from([own.raft_id(), other.raft_id()]);
        let alone = BTreeSet::from([other.raft_id()]);
        let sets = |node: &super::super::node::Node| node.members().sets.clone();
        let both = sets(own) == [whole.clone()] && sets(other) == [whole];
        here == there && (both || sets(other) == [alone])
    }
}
