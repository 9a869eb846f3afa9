//! What travels as a datagram: sent once, perhaps lost, never answered.

use super::LogPosition;
use crate::ids::{Incarnation, NodeId, Reign};
use serde::{Deserialize, Serialize};

/// Cap of a datagram, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1_200;

/// What travels as a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datagram {
    /// A heartbeat.
    Beat(Beat),
    /// Gossip, opaque here.
    Gossip(Vec<u8>),
    /// Gossip between two nodes that hold no link: the first sends it to a voter, the voter to the second.
    Passed {
        /// Whose gossip it is.
        from: NodeId,
        /// For whom.
        to: NodeId,
        /// The gossip.
        bytes: Vec<u8>,
    },
}

/// A heartbeat. The dispatcher sends it to every node, a voter to every voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Who sends it.
    pub from: NodeId,
    /// In which run of its process.
    pub incarnation: Incarnation,
    /// The highest reign that it knows.
    pub reign: Reign,
    /// Whether it is the dispatcher of that reign.
    pub dispatcher: bool,
    /// Whether it is about to leave.
    pub goodbye: bool,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it is fit to be the dispatcher.
    pub ready: bool,
    /// The end of its log.
    pub last_log: LogPosition,
    /// The dispatcher that it has heard within a lease.
    pub hears: Option<NodeId>,
}
