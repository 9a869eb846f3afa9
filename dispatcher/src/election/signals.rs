//! What goes into an election, what comes out of it, and its times.

use relais_protocol::ids::{Generation, NodeId, RaftId, Reign};
use relais_protocol::message::{Beat, Confirm, ConfirmAnswer, LogPosition};
use relais_protocol::time::Mono;
use std::collections::BTreeSet;

/// Times of the election, in ms.
#[derive(Clone, Copy, Debug)]
pub struct ElectionConfig {
    /// Silence after which a dispatcher is believed dead.
    pub lease_ms: u64,
    /// The same for a node that does not vote.
    pub onlooker_lease_ms: u64,
    /// After this much silence its port is probed: one missed heartbeat, and a little.
    pub probe_after_ms: u64,
    /// How long followers refuse votes after they heard the journal's leader.
    pub vote_lease_ms: u64,
    /// How much later each next best stands.
    pub rank_step_ms: u64,
    /// For how long who confirmed one candidate confirms no other.
    pub confirm_hold_ms: u64,
    /// How long a confirm round or a stand may take.
    pub round_ms: u64,
    /// The first back-off; it doubles up to `backoff_max_ms`, and is spread by the seed.
    pub backoff_ms: u64,
    /// The longest back-off.
    pub backoff_max_ms: u64,
    /// This node only votes and stores the journal: it never reigns.
    pub witness: bool,
}

impl Default for ElectionConfig {
    fn default() -> Self {
        Self {
            lease_ms: 400,
            onlooker_lease_ms: 1_500,
            probe_after_ms: 45,
            vote_lease_ms: 82,
            rank_step_ms: 100,
            confirm_hold_ms: 200,
            round_ms: 150,
            backoff_ms: 15,
            backoff_max_ms: 2_000,
            witness: false,
        }
    }
}

/// What the journal says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalView {
    /// Whether it leads, by its own account.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// The end of its log.
    pub last_log: LogPosition,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// While voters change: the old ones and the new ones, of whom a majority each must agree. Empty
    /// otherwise.
    pub sets: Vec<BTreeSet<NodeId>>,
    /// Which of this node's journals it is.
    pub id: RaftId,
    /// The journals that vote, those of this node that were put aside included.
    pub journals: BTreeSet<RaftId>,
    /// The history that it follows; 0 as long as it is empty.
    pub history: Generation,
}

impl JournalView {
    /// Whether those for whom `says` is true are a majority, as the journal counts.
    #[must_use]
    pub fn agree(&self, says: impl Fn(&NodeId) -> bool) -> bool {
        let most = |set: &BTreeSet<NodeId>| set.iter().filter(|node| says(node)).count() * 2 > set.len();
        if self.sets.is_empty() { most(&self.voters) } else { self.sets.iter().all(most) }
    }
}

/// What happens to the election.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A heartbeat arrived.
    Beat(Beat),
    /// There is proof that this node's process is gone.
    Gone(NodeId),
    /// The journal changed.
    Journal(JournalView),
    /// Whether this node is fit to be the dispatcher changed.
    Ready(bool),
    /// A `Promote` was applied.
    Promoted {
        /// The reign that it begins.
        reign: Reign,
        /// Whose.
        node: NodeId,
        /// Whether it is of this run of this node's process. One of an earlier run, met again when the
        /// journal is applied after a start, gives nobody the role.
        ours: bool,
    },
    /// A `Promote` of ours came to nothing.
    PromoteFailed,
    /// The dispatcher's actor died: its reign is over, and a new one may begin here.
    DispatcherDied,
    /// Another asks whether it may stand.
    Asked(Confirm),
    /// An answer to our question.
    Answered(ConfirmAnswer),
    /// The dispatcher hands over to us.
    StandNow,
    /// We have handed the role over: be quiet until another leads, or for a round.
    HandedOver,
    /// Whether a higher history is known that the journal here does not follow: its reigns are over, and
    /// none is to begin.
    Overtaken(bool),
    /// The journal here was forked: this node is its only voter, and is to begin the first reign of it.
    Forked {
        /// Why: a takeover or a recovery.
        cause: Cause,
        /// When the end of the last reign was suspected.
        suspected_at: Mono,
    },
}

/// What the election wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask these voters.
    Ask(Vec<NodeId>, Confirm),
    /// Answer who asked.
    Answer(NodeId, ConfirmAnswer),
    /// See whether this node's port is closed.
    Probe(NodeId),
    /// Let the journal stand for election, once.
    Stand,
    /// Propose a `Promote`, and nothing else before it is committed.
    Promote,
    /// Stop being the dispatcher: neither order nor acknowledge from here on.
    Resign(&'static str),
    /// The journal leads here, but this node is not to reign: let this one have all that is here, then let it
    /// stand. Wished for again and again until the journal follows another.
    HandOn(NodeId),
}

/// A voter in the order in which they would follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heir {
    /// Who.
    pub node: NodeId,
    /// Why, or why not.
    pub claim: Claim,
    /// Entries that its log was behind the longest one known, when it was last heard.
    pub behind: u64,
}

/// Why a voter would follow, or why not; the better ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It has the role.
    Dispatches,
    /// It is up and fit.
    Ready,
    /// It is up, but not fit: it stands only to catch another up.
    NotReady,
    /// It is not heard.
    Unheard,
}

/// How a reign ended, for the record of the failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The cluster starts.
    Start,
    /// There was proof that its process was gone.
    Killed,
    /// It fell silent.
    Silent,
    /// It handed over.
    Handover,
    /// It had lost its majority and found it again.
    Resumed,
    /// The survivor of a pair went on alone.
    Takeover,
    /// The majority was lost for good, and somebody had a survivor go on.
    Recovered,
}

impl Cause {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Killed => "killed",
            Self::Silent => "silent",
            Self::Handover => "handover",
            Self::Resumed => "resumed",
            Self::Takeover => "takeover",
            Self::Recovered => "recovered",
        }
    }
}
