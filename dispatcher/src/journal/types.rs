//! The types that openraft is told to work with.

use super::runtime::PatientRuntime;
use super::snapshot::SnapshotData;
use bytes::Bytes;
use openraft::{EmptyNode, Entry};
use relais_protocol::ids::RaftId;
use relais_protocol::record::Outcomes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

openraft::declare_raft_types!(
    /// Relais's use of openraft.
    pub(super) Types:
        D = Payload,
        R = Outcomes,
        NodeId = u64,
        Node = EmptyNode,
        Entry = Entry<Types>,
        SnapshotData = SnapshotData,
        AsyncRuntime = PatientRuntime,
);

/// A log id: term, the term's leader, index.
pub(super) type LogId = openraft::LogId<u64>;
/// A vote: term, for whom, and whether a majority gave it.
pub(super) type Vote = openraft::Vote<u64>;
/// Members, with the log id of the entry that made them so.
pub(super) type Membership = openraft::StoredMembership<u64, EmptyNode>;
/// What openraft calls the meta of a snapshot.
pub(super) type SnapshotMeta = openraft::SnapshotMeta<u64, EmptyNode>;
/// An error of the store, as openraft wants it: it stops the node.
pub(super) type StorageError = openraft::StorageError<u64>;

/// Openraft's error for a failed write, or for a store that has stopped.
pub(super) fn write_error(what: impl fmt::Display) -> StorageError {
    openraft::StorageIOError::write(openraft::AnyError::error(what)).into()
}

/// Openraft's error for a failed read.
pub(super) fn read_error(what: impl fmt::Display) -> StorageError {
    openraft::StorageIOError::read(openraft::AnyError::error(what)).into()
}

/// Where in the journal: orders as openraft orders logs, so the greater one is the more complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPosition {
    /// The term of the entry.
    pub term: u64,
    /// Who led that term.
    pub leader: RaftId,
    /// The index of the entry.
    pub index: u64,
}

impl From<LogId> for LogPosition {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, leader: RaftId(id.leader_id.node_id), index: id.index }
    }
}

/// One entry's bytes, opaque here.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Payload {
    /// The bytes.
    pub(super) bytes: Bytes,
    /// Set when this node's log takes the entry: from then on its fate can be unknown.
    #[serde(skip)]
    taken: Option<Arc<AtomicBool>>,
}

impl Payload {
    /// A payload from a peer or the disk.
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, taken: None }
    }

    /// A payload to propose, and a flag that says whether it was written.
    pub(super) fn proposed(bytes: Bytes) -> (Self, Arc<AtomicBool>) {
        let taken = Arc::new(AtomicBool::new(false));
        (Self { bytes, taken: Some(taken.clone()) }, taken)
    }

    /// The log takes it.
    pub(super) fn mark_taken(&self) {
        if let Some(taken) = &self.taken {
            taken.store(true, Ordering::Release);
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.bytes.len())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
