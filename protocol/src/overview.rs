//! What a node that keeps no ledger knows of the cluster: who belongs to it, who votes, the settings and the tokens.
//! It asks the dispatcher for it every few seconds, and is told only what is new.

use crate::codec;
use crate::ids::{ClusterId, Incarnation, NodeId, RaftId, Reign};
use crate::merge::{SettingRow, TokenRow};
use crate::node::NodeRow;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use xxhash_rust::xxh3::xxh3_64;

/// The small tables of a ledger, and whose journals follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The cluster, once it is founded.
    pub cluster: Option<ClusterId>,
    /// The reign in force.
    pub reign: Reign,
    /// Who was last promoted.
    pub dispatcher: Option<(NodeId, Incarnation)>,
    /// All nodes.
    pub nodes: Vec<NodeRow>,
    /// All tokens, as hashes.
    pub tokens: Vec<TokenRow>,
    /// What was set.
    pub settings: Vec<SettingRow>,
    /// Journals that vote.
    pub voters: BTreeSet<RaftId>,
    /// Journals that follow without a vote.
    pub learners: BTreeSet<RaftId>,
}

impl Overview {
    /// Tells one from another; never 0.
    #[must_use]
    pub fn hash(&self) -> u64 {
        xxh3_64(&codec::encode(codec::FORMAT, self)).max(1)
    }
}
