//! What openraft takes for the data of a snapshot: a handle.

use super::transfer::Transfer;
use std::fmt;
use std::sync::Arc;

/// A handle to rows that are elsewhere.
#[derive(Clone, Default)]
pub(super) enum SnapshotData {
    /// Nothing: the place to receive into, or the description of a checkpoint that nobody asked to see.
    #[default]
    None,
    /// This node's checkpoint, to be streamed.
    Outgoing(Arc<Transfer>),
    /// Rows that came from a peer and lie in the free space of the ledger, whole and verified.
    Staged(u64),
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Outgoing(_) => f.write_str("Outgoing"),
            Self::Staged(stage) => write!(f, "Staged({stage})"),
        }
    }
}
