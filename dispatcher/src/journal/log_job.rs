//! What the log's writer is given to do, and the small values that it keeps beside the log. Writes nothing.

use super::fork::ForkMark;
use super::log_memory::{Base, Memory};
use super::types::{LogId, Types, Vote};
use openraft::storage::LogFlushed;
use relais_protocol::ids::Generation;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Frames to write.
#[derive(Debug)]
pub(super) struct Append {
    /// Index and frame, in order.
    pub(super) frames: Vec<(u64, Vec<u8>)>,
    /// Index and hash of the last one.
    pub(super) mark: Option<(u64, u64)>,
    /// What was known to be committed.
    pub(super) committed: Option<LogId>,
}

impl Append {
    /// The index of the first one, 0 if there is none.
    pub(super) fn first(&self) -> u64 {
        self.frames.first().map_or(0, |(index, _)| *index)
    }

    /// The index after the last one, 0 if there is none.
    pub(super) fn next(&self) -> u64 {
        self.frames.last().map_or(0, |(index, _)| index + 1)
    }

    /// `frames` that are the last ones in `memory`.
    pub(super) fn new(frames: Vec<(u64, Vec<u8>)>, memory: &Memory) -> Self {
        let mark = memory.known.back().filter(|_| !frames.is_empty()).map(|entry| (entry.id.index, entry.hash));
        Self { frames, mark, committed: memory.committed }
    }
}

/// What to do. A channel is dropped without an answer when the store has failed.
pub(super) enum LogJob {
    /// Write, sync, acknowledge, if that was not done already.
    Append(Append, Option<LogFlushed<Types>>),
    /// Remove the entries from `since` up to but not `end`; the last one left is `mark`.
    Truncate {
        /// The first to go.
        since: u64,
        /// After the last to go.
        end: u64,
        /// Index and hash of the last one left.
        mark: Option<(u64, u64)>,
        /// Told when done.
        done: oneshot::Sender<()>,
    },
    /// Remove what is before the new base.
    Purge(Base),
    /// Keep a vote.
    Vote(Vote, oneshot::Sender<()>),
    /// Keep which history the log is of.
    Adopt(Generation, oneshot::Sender<()>),
    /// Keep whose log it is from now on, then write the entry with which that begins.
    Fork(Append, Ballot, oneshot::Sender<()>),
    /// A checkpoint was made.
    Nudge,
    /// End.
    Close,
}

/// The high-water mark: the last acknowledged entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Index and hash; `None` while nothing was acknowledged, or all of it was cut off again.
    pub(super) last: Option<(u64, u64)>,
}

/// The vote, whose journal it is, and of which history. Kept in one small file, so that a fork is one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ballot {
    /// The raft id of this journal.
    pub(super) raft_id: u64,
    /// The vote, once there was one.
    pub(super) vote: Option<Vote>,
    /// The history of its entries, once it has any.
    pub(super) history: Option<Generation>,
    /// The last fork. Its first entry may not be written yet: then it is at the next open.
    pub(super) fork: Option<ForkMark>,
}

impl Ballot {
    /// Of a new journal.
    pub(super) fn new(raft_id: u64) -> Self {
        Self { raft_id, vote: None, history: None, fork: None }
    }
}
