//! What a stream between two nodes is for, and how long its frames may be.

/// The purpose of a stream: its first byte on the wire, hence append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// Appends to the replicated log.
    Journal = 1,
    /// Orders to workers and their reports.
    Orders = 2,
    /// Job output.
    Output = 3,
    /// Forwarded API requests.
    Api = 4,
    /// Small questions about the cluster: CA key, settings, peers.
    Control = 5,
    /// Gossip too big for a datagram.
    Gossip = 6,
    /// Votes and the confirm round.
    Election = 7,
    /// Snapshots of the ledger and job payloads.
    Snapshot = 8,
    /// Records for the dispatcher to propose.
    Records = 9,
    /// A question for a node that the asker holds no link to.
    Relay = 10,
}

/// How a stream is used: its second byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The first stream of a connection: who is there.
    Hello = 0,
    /// One request, one answer.
    Call = 1,
    /// Many requests, answered in any order.
    Calls = 2,
    /// Frames, as the two ends please.
    Frames = 3,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 10] = [
        Self::Journal,
        Self::Orders,
        Self::Output,
        Self::Api,
        Self::Control,
        Self::Gossip,
        Self::Election,
        Self::Snapshot,
        Self::Records,
        Self::Relay,
    ];

    /// The longest frame, in bytes: checked before anything is allocated, on both sides.
    #[must_use]
    pub fn frame_bytes_max(self) -> usize {
        match self {
            Self::Journal | Self::Snapshot => 4 * MIB + 64 * KIB,
            Self::Orders => 4 * MIB,
            Self::Output => MIB,
            Self::Api | Self::Records => 20 * MIB,
            // A question of the API, and its head.
            Self::Relay => 20 * MIB + KIB,
            Self::Control | Self::Gossip | Self::Election => 64 * KIB,
        }
    }

    /// Whether calls share one long-lived stream per peer. Where they don't, each has a stream of its own.
    #[must_use]
    pub fn is_long_lived(self) -> bool {
        matches!(self, Self::Journal | Self::Orders | Self::Election | Self::Records)
    }

    /// Whether a call is handed on to some other thread and waited for, and no more.
    pub(super) fn is_handed_on(self) -> bool {
        matches!(self, Self::Journal | Self::Orders | Self::Records)
    }

    /// Order among streams that wait to be sent; higher goes first.
    pub(super) fn priority(self) -> i32 {
        match self {
            Self::Election | Self::Control | Self::Gossip => 3,
            Self::Journal => 2,
            Self::Orders => 1,
            Self::Api | Self::Records | Self::Relay => 0,
            Self::Output | Self::Snapshot => -1,
        }
    }

    /// The purpose of this number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| *purpose as u8 == byte)
    }
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Hello, Self::Call, Self::Calls, Self::Frames].into_iter().find(|kind| *kind as u8 == byte)
    }
}
