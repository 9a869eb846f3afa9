//! A node as the journal knows it.

use crate::history::Stamp;
use crate::ids::{Incarnation, NodeId};
use crate::record::{NodeFacts, Standing};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// A node, as the journal knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// Its name, unique among nodes that have not left for good.
    pub name: String,
    /// What it said of itself at its last start.
    pub facts: NodeFacts,
    /// The last run of its process.
    pub incarnation: Incarnation,
    /// Whether it can be given work.
    pub standing: Standing,
    /// Whether it was asked to take no more.
    pub draining: bool,
    /// SHA-256 of the public key that it joined with.
    pub key_hash: [u8; 32],
    /// When its standing last changed.
    pub since: UnixMs,
    /// The history and position that last changed this row.
    pub changed: Stamp,
}
