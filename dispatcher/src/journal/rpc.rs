//! What journals say to each other.

use super::types::{SnapshotMeta, Types, Vote};
use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use relais_protocol::codec;
use relais_protocol::ids::Generation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Cap for decoding: 1 MiB of entries or rows, and one large one beyond it.
const BYTES_MAX: usize = 16 << 20;

/// A question, and between which journals. A node that lost its journal has a new raft id: what is meant
/// for the old one must not be answered by the new one, which is empty.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// Who asks.
    pub(super) from: u64,
    /// Who is asked.
    pub(super) to: u64,
    /// The history that the one who asks is of; `None` if it has no entry.
    pub(super) history: Option<Generation>,
    /// The question.
    pub(super) request: Request,
}

/// A question.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Entries, or a heartbeat.
    Append(AppendEntriesRequest<Types>),
    /// A request for a vote.
    Vote(VoteRequest<u64>),
    /// A leader begins to send its checkpoint.
    Begin {
        /// The leader's vote.
        vote: Vote,
    },
    /// Some of its rows.
    Rows {
        /// Which one.
        stage: u64,
        /// Packed.
        rows: Bytes,
    },
    /// There are no more.
    End {
        /// Which one.
        stage: u64,
        /// The leader's vote.
        vote: Vote,
        /// What it is of.
        meta: SnapshotMeta,
        /// How many rows it has.
        rows: u64,
        /// The sum of their hashes.
        hash: u128,
    },
}

impl Request {
    /// Whether only a leader asks so.
    pub(super) fn is_leaders(&self) -> bool {
        !matches!(self, Self::Vote(_))
    }

    /// Whose vote it bears: who asks asks for itself.
    pub(super) fn speaker(&self) -> Option<u64> {
        let vote = match self {
            Self::Append(append) => append.vote,
            Self::Vote(request) => request.vote,
            Self::Begin { vote } | Self::End { vote, .. } => *vote,
            Self::Rows { .. } => return None,
        };
        Some(vote.leader_id.node_id)
    }
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Response {
    /// To [`Request::Append`].
    Append(AppendEntriesResponse<u64>),
    /// To [`Request::Vote`].
    Vote(VoteResponse<u64>),
    /// To [`Request::Begin`]: the number to send rows under.
    Begun {
        /// The number.
        stage: u64,
    },
    /// To [`Request::Rows`].
    Taken,
    /// To [`Request::End`], or to [`Request::Begin`] with an old vote: the vote here.
    Voted {
        /// The vote.
        vote: Vote,
    },
    /// It could not be done; the reason is for the log.
    Failed(String),
}

/// To bytes.
pub(super) fn encode<T: Serialize>(message: &T) -> Bytes {
    codec::encode(codec::FORMAT, message).into()
}

/// From bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, codec::CodecError> {
    codec::decode(codec::FORMAT, bytes, BYTES_MAX)
}
