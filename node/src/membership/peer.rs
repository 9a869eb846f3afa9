//! Who a member is to the gossip: a node, in one run of its process, in one life of its gossip.
//!
//! A run can have several lives: a node that was declared down by mistake cannot refute it in SWIM, it
//! has to come back as someone newer. The run's incarnation must not change for that, since a newer
//! incarnation tells the dispatcher that every attempt of that node is lost; so the life is counted
//! beside it, and nobody outside sees it.

use relais_protocol::ids::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

/// The gossip's identity of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Peer {
    /// The node: its address, as the transport finds it by that.
    pub(super) node: NodeId,
    /// The run of its process.
    pub(super) incarnation: Incarnation,
    /// The life within the run, raised by each return from a wrong verdict.
    pub(super) life: u16,
}

impl Peer {
    /// A node of which nothing but its id is known. Only a greeting may be addressed to it.
    pub(super) fn stranger(node: NodeId) -> Self {
        Self { node, incarnation: Incarnation(0), life: 0 }
    }
}

impl foca::Identity for Peer {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        let life = self.life.checked_add(1)?;
        Some(Self { life, ..*self })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.incarnation, self.life) > (adversary.incarnation, adversary.life)
    }
}
