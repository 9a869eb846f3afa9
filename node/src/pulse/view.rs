//! What the pulse shows to the rest of the node.

use relais_dispatcher::election::Heir;
use relais_protocol::ids::{NodeId, Reign};
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;

/// What the election last said.
#[derive(Clone, Debug, Default)]
pub struct PulseView {
    /// Whether this node is the dispatcher.
    pub leads: bool,
    /// Since when, the last time that it was.
    pub led_since: Mono,
    /// The dispatcher, while it is heard.
    pub dispatcher: Option<NodeId>,
    /// The highest reign known.
    pub reign: Reign,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Whether this node does.
    pub is_voter: bool,
    /// Other voters heard within a lease.
    pub heard_voters: usize,
    /// When each node was last heard.
    pub heard_at: BTreeMap<NodeId, Mono>,
    /// Who would follow, best first, each with why or why not.
    pub succession: Vec<Heir>,
    /// When the ledger here was last known to be current.
    pub fresh_at: Mono,
    /// Elections that this node stood in.
    pub stands: u64,
    /// Times that this node resigned.
    pub resignations: u64,
}

impl PulseView {
    /// Whether others vote, and this node does not.
    #[must_use]
    pub fn looks_on(&self) -> bool {
        !self.voters.is_empty() && !self.is_voter
    }
}

/// Changes of dispatcher or reign.
pub struct Changes(watch::Receiver<(Option<NodeId>, Reign)>);

impl Changes {
    pub(super) fn new(receiver: watch::Receiver<(Option<NodeId>, Reign)>) -> Self {
        Self(receiver)
    }

    /// Waits until another is the dispatcher, or none is.
    pub async fn dispatcher_changes(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until `node` is the dispatcher.
    pub async fn until_dispatcher(&mut self, node: NodeId) {
        if self.0.wait_for(|(dispatcher, _)| *dispatcher == Some(node)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
