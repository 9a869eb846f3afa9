//! The replicated journal: what is in it was stored, with a real `fdatasync`, by a majority of voters.
//!
//! ```text
//!   propose ─► openraft ─► log (a tail file, then sled; one writer thread) ─► acknowledged
//!                 │  └────► Link ─► the other voters' logs
//!              committed ─► Machine::apply (memory) ─► checkpoint (sled, a thread of its own)
//! ```
//!
//! This module and its folder are the only ones that know openraft, and one file in it (`journal/book.rs`) sled;
//! everyone else sees [`Journal`], [`Machine`], [`Rows`] and [`Link`]. What a payload means is the
//! ledger's matter, how bytes reach a peer the transport's, when to stand for leader the election's: no
//! timer in here starts an election or sends a heartbeat.
//!
//! Four choices differ from the obvious:
//! - A value over 4 KiB is cut into pieces, each under a key of its own, in place of a file per large
//!   value: one mechanism, written in the same batch, with no garbage to collect. It is 4 KiB because
//!   sled keeps a tree node of more than 128 KiB in a file that it never syncs, and a node holds up to
//!   17 values.
//! - The stored ledger *is* the snapshot. It is streamed row by row; rows that a checkpoint overwrites
//!   meanwhile are kept for the stream in memory, so neither waits for the other.
//! - Sled gets the log's frames many at a time. Each append is written and synced into a small file in front of
//!   it: a flush of sled for each would cost more than all else that is done for a small entry.
//! - Log and ledger are two sled databases with a thread each, and a checkpoint goes through a redo file
//!   rather than one large sled batch: sled's batch lock is one for the whole process, and a checkpoint of
//!   20,000 rows held it for up to 300 ms, in which no append could be acknowledged.

mod ballast;
mod blocks;
mod book;
mod calls;
mod checkpoint;
mod flushed;
mod fork;
mod format;
mod frame;
mod guard;
mod instance;
mod ledger;
mod ledger_writer;
mod log;
mod log_job;
mod log_memory;
mod log_thread;
mod log_writer;
mod long;
mod machine;
mod merge;
mod network;
mod pace;
mod packed;
mod place;
mod raft;
mod redo;
mod renew;
mod rpc;
mod runtime;
mod slots;
mod snapshot;
mod status;
mod store;
mod tail;
mod threads;
mod transfer;
mod types;
mod verify;

pub mod inspect;
pub mod memory;

pub use ballast::{keep as keep_ballast, release as release_ballast};
pub use checkpoint::Checkpoint;
pub use fork::{Fork, ForkError, ForkMark, ResetError};
pub use format::FORMAT;
#[doc(hidden)]
pub use format::put as put_format;
pub use raft::{RaftJournal, StartError};
pub use status::{JournalStatus, Role};
pub use store::{
    Counters, Disk, OnFatal, OpenError, Opened, PlantedBug, Store, StoreOptions, SyncMode, Synced, check_format, open,
    put_aside,
};
pub use types::LogPosition;

pub use crate::rows::{Changes, Rows};

use bytes::Bytes;
use futures::future::BoxFuture;
use relais_protocol::ids::{Index, RaftId};
use relais_protocol::record::Outcomes;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// What the journal applies to: the ledger. Called by one task at a time, in the order of the journal.
pub trait Machine: Send + Sync + 'static {
    /// Applies one committed entry: the same payloads give the same outcomes on every node.
    fn apply(&self, index: Index, payload: &[u8]) -> Applied;

    /// The rows changed since the last call, `None` for a deleted one; from now on they are the store's
    /// to keep, and [`Rows`] answers with them at once. Called with the machine exactly at the index that
    /// was applied last. Keys have at most 400 bytes.
    fn drain_changes(&self) -> Arc<Changes>;

    /// From here on the store answers with what was drained: who kept it for reads meanwhile can let go of it.
    fn drained(&self) {}

    /// Roughly the bytes that [`Machine::drain_changes`] would give: decides when to make a checkpoint.
    fn pending_bytes(&self) -> usize;

    /// Forgets everything and loads from `rows`: at open, and after a snapshot came in. `rows` stays
    /// usable for cold reads, from any thread: it answers with the rows of the last checkpoint, those
    /// still being written included. A row is whole; two rows may be of two neighbouring checkpoints. An
    /// empty `to` of a scan means to the end. After [`Journal::shutdown`] every row is absent.
    ///
    /// # Errors
    /// The rows are not what this build writes: the journal stops.
    fn load(&self, rows: Arc<dyn Rows>) -> Result<(), LoadError>;
}

/// What came of applying one entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// What became of each record in it.
    pub outcomes: Outcomes,
    /// Make a checkpoint exactly here, so that ledgers can be compared at equal index.
    pub checkpoint: bool,
}

/// Rows that the machine cannot be loaded from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored ledger cannot be read: {0}")]
pub struct LoadError(pub String);

/// Why a proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead; nothing was written.
    #[error("this node does not lead the journal")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<RaftId>,
    },
    /// It was written here, but leadership was lost before it was committed: it may come yet, or never.
    #[error("the entry was written but its fate is unknown")]
    Unknown,
    /// The journal is shut down, or stopped by a failed write.
    #[error("the journal has stopped")]
    Stopped,
}

/// Why a read has no index to wait for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This node does not lead.
    #[error("this node does not lead the journal")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<RaftId>,
    },
    /// No majority confirmed that this node still leads.
    #[error("no majority of voters answered")]
    NoMajority,
    /// The journal is shut down, or stopped by a failed write.
    #[error("the journal has stopped")]
    Stopped,
}

/// Why the members of the journal are not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This node does not lead, or ceased to while it waited.
    #[error("this node does not lead the journal")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<RaftId>,
    },
    /// Another change is not yet committed.
    #[error("another change of members is under way")]
    InProgress,
    /// It makes no sense: an empty set, or a learner that is not there.
    #[error("refused: {0}")]
    Refused(String),
    /// It was written, but its fate is unknown.
    #[error("the change was written but its fate is unknown")]
    Unknown,
    /// The journal is shut down, or stopped by a failed write.
    #[error("the journal has stopped")]
    Stopped,
}

/// The journal is shut down, or stopped by a failed write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal has stopped")]
pub struct Stopped;

/// The narrow trait that stands between Relais and its consensus library.
///
/// Every future may be dropped at any time; what it began goes on.
pub trait Journal: Send + Sync + 'static {
    /// Appends one entry and waits until it is committed and applied here. Each call is an append and a
    /// sync of its own, so the caller gathers records into batches. Calls become entries in their own order, also
    /// before any future is polled: the caller may tell by it which answer is whose.
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<(Index, Outcomes), ProposeError>>;

    /// An index such that a read after [`Journal::wait_applied`] of it is linearizable. One round to a
    /// majority; only the leader can answer.
    fn read_index(&self) -> BoxFuture<'static, Result<Index, ReadError>>;

    /// Waits until `index` is applied here.
    fn wait_applied(&self, index: Index) -> BoxFuture<'static, Result<(), Stopped>>;

    /// Makes this pristine node the only voter of a new journal, and its leader.
    fn found(&self) -> BoxFuture<'static, Result<(), ChangeError>>;

    /// Stands for leader, once, in a new term. Nothing happens if this node leads or is no voter. The
    /// outcome shows in [`Journal::status`].
    fn stand(&self) -> BoxFuture<'static, Result<(), Stopped>>;

    /// Tells every peer that this leader lives, and what is committed. Does nothing on a follower.
    fn heartbeat(&self) -> BoxFuture<'static, Result<(), Stopped>>;

    /// Lets `node` receive the journal without a vote. Returns when that is committed, not when the
    /// learner has caught up. Nothing happens if it is a member already.
    fn add_learner(&self, node: RaftId) -> BoxFuture<'static, Result<(), ChangeError>>;

    /// Takes a learner out. A voter is refused.
    fn remove_learner(&self, node: RaftId) -> BoxFuture<'static, Result<(), ChangeError>>;

    /// Makes `voters` the voters: each new one is added as a learner if need be and waited for until it
    /// has caught up (for as long as that takes: drop the future to give up), then one joint change is
    /// made. Who is no voter any more is no member any more. Hand over before taking out the leader.
    fn change_voters(&self, voters: BTreeSet<RaftId>) -> BoxFuture<'static, Result<(), ChangeError>>;

    /// What the journal is at, told anew at each change.
    fn status(&self) -> watch::Receiver<JournalStatus>;

    /// The last checkpoint.
    fn checkpoint(&self) -> watch::Receiver<Option<Checkpoint>>;

    /// The last checkpoint that [`Applied::checkpoint`] asked for: those of two nodes at equal index must
    /// be equal.
    fn audit(&self) -> watch::Receiver<Option<Checkpoint>>;

    /// Answers a request of `from`'s [`Link::call`]. That `from`'s node asks was proven by the transport
    /// (its journal number is in the request); a request for another journal of this node is refused.
    fn handle_rpc(&self, from: RaftId, request: Bytes) -> BoxFuture<'static, Bytes>;

    /// How many entries were purged from the log here: below this index peers get a snapshot.
    fn purged(&self) -> u64;

    /// What the store counted.
    fn counters(&self) -> Arc<Counters>;

    /// Makes of this journal, as it is here, a history of this node alone: every entry in it, committed or
    /// not, becomes part of that history, this node its only voter, under a new raft id. It is on disk, and
    /// the journal takes part under that id, when this returns; after a crash it is whole or was never
    /// begun. It does not lead yet: [`Journal::stand`] elects it at once, and its first entry commits all
    /// that was there. The ledger knows of it by `Record::Takeover`, which is for the caller to propose
    /// together with `Promote`.
    ///
    /// Meanwhile proposals end as unknown or not leading, and the status says so; [`Journal::status`],
    /// [`Journal::checkpoint`] and the others go on. Write the journal number that [`JournalStatus::id`]
    /// then names to wherever the node keeps it; if the process ends before, [`open`] gives the same id.
    fn fork(&self, fork: Fork) -> BoxFuture<'static, Result<ForkMark, ForkError>>;

    /// Puts the journal aside, in a folder beside its own (`….healed-N`) that nothing deletes, and begins
    /// an empty one with the number `journal` in its place; the machine is loaded with no rows. For the side
    /// of a split that lost, once the other has merged its rows, and for a node that comes back with a
    /// history that was left: it is then taken in as a learner under the new raft id.
    ///
    /// After a crash either journal is there, whole, and [`open`] says by its id which.
    fn reset(&self, journal: u32) -> BoxFuture<'static, Result<RaftId, ResetError>>;

    /// Stops, makes no checkpoint, closes the store. The folder can be opened again when it returns.
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

/// Why a peer did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer: {0}")]
pub struct LinkError(pub String);

/// How the journal reaches its peers.
pub trait Link: Send + Sync + 'static {
    /// Sends `request` to `to`'s [`Journal::handle_rpc`] and waits for its answer. May be dropped at any
    /// time; several calls to one peer may be under way at once. Requests have about 1 MiB at most,
    /// except one that carries a single larger entry or row.
    fn call(&self, to: RaftId, request: Bytes) -> BoxFuture<'static, Result<Bytes, LinkError>>;

    /// The same for a request whose answer is of no interest. It may be lost.
    fn tell(&self, to: RaftId, request: Bytes) {
        drop(tokio::spawn(self.call(to, request)));
    }
}

#[cfg(test)]
mod tests;
