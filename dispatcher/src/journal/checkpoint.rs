//! What a checkpoint of the ledger is.

use super::long::Space;
use super::types::{LogId, Membership, SnapshotMeta};
use relais_protocol::ids::Index;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// A ledger as it lies on disk. Equal index means equal rows and hash, on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last entry applied in it.
    pub index: Index,
    /// How many rows it has.
    pub rows: u64,
    /// The wrapping sum of the hashes of all rows, so that their order does not matter.
    pub hash: u128,
}

/// The stored description of the stored rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct LedgerMeta {
    /// The last entry applied.
    pub(super) applied: Option<LogId>,
    /// The members as of then.
    pub(super) membership: Membership,
    /// How many rows.
    pub(super) rows: u64,
    /// See [`Checkpoint::hash`].
    pub(super) hash: u128,
    /// Which of the two spaces the rows are in; the other one takes a snapshot that comes in.
    pub(super) slot: u8,
}

impl LedgerMeta {
    /// Cap for decoding.
    pub(super) const BYTES_MAX: usize = 64 << 10;

    /// Where the rows are.
    pub(super) fn space(&self) -> Space {
        space(self.slot)
    }

    /// The index applied last, plus one.
    pub(super) fn next_index(&self) -> u64 {
        self.applied.map_or(0, |id| id.index + 1)
    }

    /// What is told of it, once there is something to tell.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.applied.map(|id| Checkpoint { index: Index(id.index), rows: self.rows, hash: self.hash })
    }

    /// As openraft describes it.
    pub(super) fn snapshot_meta(&self) -> SnapshotMeta {
        let snapshot_id = self.applied.map_or_else(String::new, |id| id.to_string());
        SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone(), snapshot_id }
    }

    /// Counts a row in that was not there.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.hash = self.hash.wrapping_add(row_hash(key, value));
    }

    /// Counts a row out that was there.
    pub(super) fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.hash = self.hash.wrapping_sub(row_hash(key, value));
    }
}

/// The space of rows of `slot`.
pub(super) fn space(slot: u8) -> Space {
    if slot == 0 { Space { main: b'a', over: b'A' } } else { Space { main: b'c', over: b'C' } }
}

fn row_hash(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.digest128()
}
