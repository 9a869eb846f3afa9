//! What a fork and a reset of the journal are asked and answered.

use super::types::{LogId, Types};
use openraft::{CommittedLeaderId, Entry, EntryPayload, Membership};
use relais_protocol::ids::{Generation, Index, RaftId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What to fork the journal into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The history that begins: above the ledger's, and above the last fork's.
    pub generation: Generation,
    /// This node's new journal number: above its present one, never used before.
    pub journal: u32,
}

/// Where a history of its own began on this node. All entries below `index`, committed or not, are part of
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkMark {
    /// The history.
    pub generation: Generation,
    /// Its first entry: the membership of this node alone.
    pub index: Index,
    /// The hash of the entry before, to which that one is chained.
    pub hash: u64,
    /// The term of that first entry.
    pub term: u64,
    /// The last entry known to be committed then, 0 if none was: up to there the other voters' journals
    /// have the same entries.
    pub common: Index,
    /// The journal before.
    pub old: RaftId,
    /// The journal since.
    pub new: RaftId,
}

impl ForkMark {
    /// The log id of its first entry.
    pub(super) fn log_id(&self) -> LogId {
        LogId::new(CommittedLeaderId::new(self.term, self.new.0), self.index.0)
    }

    /// Its first entry: from here on this node is the only voter.
    pub(super) fn entry(&self) -> Entry<Types> {
        let alone = BTreeSet::from([self.new.0]);
        let payload = EntryPayload::Membership(Membership::new(vec![alone], None));
        Entry { log_id: self.log_id(), payload }
    }
}

/// Why the journal was not forked. Nothing was changed, unless the store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// The numbers are not above those before.
    #[error("refused: {0}")]
    Refused(String),
    /// There is no entry, hence no history to go on with.
    #[error("the journal is empty")]
    Empty,
    /// The journal is shut down, or stopped by a failed write.
    #[error("the journal has stopped")]
    Stopped,
}

/// Why the journal was not begun anew. Unless it has stopped, nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// The journal number is not above the present one.
    #[error("refused: {0}")]
    Refused(String),
    /// The new journal cannot be made.
    #[error("a new journal cannot be begun: {0}")]
    Failed(String),
    /// The journal is shut down, or stopped by a failed write.
    #[error("the journal has stopped")]
    Stopped,
}
