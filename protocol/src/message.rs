//! Messages between nodes: heartbeats, the confirm round, orders and reports, and calls passed on. Enums here only ever
//! grow at their end; every message bears the reign that it speaks of.

use crate::group::Origin;
use crate::history::Lineage;
use crate::ids::{Fence, Generation, Incarnation, Index, JobId, NodeId, RaftId, Reign};
use crate::lease::{AskId, BeatAnswer, Granted, LeaseBeat, LeaseWish};
use crate::overview::Overview;
use crate::record::{Finish, NodeFacts, Outcomes, Record};
use crate::spec::OnDisconnect;
use crate::time::{Mono, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

mod datagram;

pub use datagram::{Beat, DATAGRAM_BYTES_MAX, Datagram};

/// Cap of a control message, in bytes.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;
/// Cap of orders, reports and passed-on calls, in bytes.
pub const CALL_BYTES_MAX: usize = 20 << 20;

/// A position in the replicated log: term, then index. Orders as that pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LogPosition {
    /// The term of the entry.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// A voter asks the others whether it may stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// Who asks.
    pub candidate: NodeId,
    /// Which of its rounds this is.
    pub round: u64,
    /// The end of its log.
    pub last_log: LogPosition,
    /// The highest reign that it knows: the one it believes to be over.
    pub reign: Reign,
    /// The journals whose votes it counts, as its log says. Who is asked may not have heard yet that it votes.
    pub journals: BTreeSet<RaftId>,
}

/// The answer to [`Confirm`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmAnswer {
    /// The round that it answers.
    pub round: u64,
    /// Who answers.
    pub from: NodeId,
    /// What it says.
    pub verdict: Verdict,
    /// For how many ms its journal will still refuse votes, because it heard the leader.
    pub refuses_votes_ms: u64,
}

/// What a voter says of another's wish to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It believes the dispatcher dead, and its log is not longer.
    Yes,
    /// It hears the dispatcher.
    DispatcherHeard,
    /// Its own log is longer.
    LogLonger,
    /// It confirmed somebody else a moment ago.
    ConfirmedAnother,
    /// It knows a higher reign.
    ReignHigher,
    /// Who asks does not count it: its journal is another than the one that votes, whatever its node had before.
    NoVoter,
}

/// What is asked over the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// May I stand?
    Confirm(Confirm),
    /// Take over: the dispatcher has drained and you have all that it has.
    StandNow {
        /// The reign that ends.
        reign: Reign,
    },
    /// The key of the cluster CA, for a node that is a voter.
    CaKey,
    /// Sign a joining node's public key; the dispatcher admits it first.
    Admit(Vec<u8>),
    /// The addresses of all nodes.
    Peers,
    /// The last count and hash of your rows.
    Audit,
    /// What does your wall clock say?
    Time,
}

/// What is answered to [`Control`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlAnswer {
    /// To `Confirm`.
    Confirm(ConfirmAnswer),
    /// To `StandNow`: whether it stands.
    Standing(bool),
    /// To `CaKey`: the key, PEM.
    CaKey(String),
    /// To `Admit`.
    Admitted(Vec<u8>),
    /// To `Peers`: node, name, QUIC address.
    Peers(Vec<(NodeId, String, String)>),
    /// It can't be done, and why.
    Refused(String),
    /// To `Audit`: index, rows and their order-free hash.
    Audit(Option<(Index, u64, u128)>),
    /// To `Time`.
    Time(UnixMs),
}

/// Orders of a dispatcher to one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Who commands.
    pub reign: Reign,
    /// The run of the worker's process that they are for.
    pub incarnation: Incarnation,
    /// What to do.
    pub orders: Vec<Order>,
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Run this attempt.
    Start(Box<StartOrder>),
    /// End this attempt.
    Stop {
        /// The job.
        job: JobId,
        /// The attempt.
        fence: Fence,
        /// Whether to report its end; if not, the dispatcher has no more use for it.
        report: bool,
    },
}

/// All that a worker needs to run one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOrder {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub fence: Fence,
    /// Which executor runs it.
    pub kind: String,
    /// What the executor is given, JSON text.
    pub payload: String,
    /// How long it may run, in ms.
    pub timeout_ms: Option<u64>,
    /// What to do when the dispatcher is out of reach.
    pub on_disconnect: OnDisconnect,
    /// Slots that it takes.
    pub slots: u32,
    /// What the job was made from, where nobody submitted it by itself.
    pub origin: Option<Origin>,
    /// Its metadata, JSON text, where that may say a trace.
    pub traced: Option<String>,
}

/// A worker's answer to [`Orders`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrdersAnswer {
    /// They are being carried out.
    Accepted,
    /// It has seen a higher reign.
    StaleReign(Reign),
    /// They are for another run of its process.
    StaleIncarnation(Incarnation),
    /// It has no lease just now; its next report asks for one.
    NoLease,
}

/// A worker's heartbeat to the dispatcher, with what ended since the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The reign that it obeys.
    pub reign: Reign,
    /// Who reports.
    pub node: NodeId,
    /// In which run of its process.
    pub incarnation: Incarnation,
    /// When it was sent, by the worker's own monotonic clock: its lease counts from here.
    pub sent_at: Mono,
    /// All attempts that it runs, each with its fence. `None` when only `finished` is meant.
    pub running: Option<Vec<(JobId, Fence)>>,
    /// Attempts that ended and are not yet settled.
    pub finished: Vec<Finish>,
    /// What it is; the dispatcher makes it known when that is news.
    pub facts: Option<Box<NodeFacts>>,
    /// It is about to leave, and only finishes what it runs.
    pub leaving: bool,
    /// It leaves now, and has killed what it still ran.
    pub goodbye: bool,
}

/// The dispatcher's answer to [`Report`], after what it settles is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportAnswer {
    /// Taken.
    Taken {
        /// By this reign.
        reign: Reign,
        /// Every attempt of the report may run this many ms from its `sent_at`.
        lease_ms: u64,
        /// Attempts whose end is in the record, or is of no more use: forget them.
        settled: Vec<(JobId, Fence)>,
        /// Attempts that it should not be running.
        stop: Vec<(JobId, Fence)>,
    },
    /// The reign of the report is not the dispatcher's.
    StaleReign(Reign),
    /// This node is not the dispatcher; it believes that this one is.
    NotDispatcher(Option<NodeId>),
    /// Its journal does not answer just now; ask again.
    Busy,
}

/// [`Call::Propose`] as it is sent, of records that stay with who sends them.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum ProposeCall<'a> {
    /// Propose these.
    Propose(&'a [Record]),
}

/// A call passed on to another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Propose these records, some of them ids already given.
    Propose(Vec<Record>),
    /// Up to where must be applied, to read what is true now?
    ReadIndex,
    /// An HTTP request to be answered as if it had come to you.
    Http {
        /// The method.
        method: String,
        /// Path and query.
        target: String,
        /// The body.
        body: Vec<u8>,
    },
    /// Hand the role over, to this node or to the best.
    Handover(Option<NodeId>),
    /// How are your actors?
    Vitals,
    /// Do this to yourself, for a rehearsal.
    Drill {
        /// What.
        fault: DrillFault,
        /// For how long, in ms.
        for_ms: u64,
    },
    /// The histories that led to your ledger's present one.
    Lineage,
    /// This node stops: take it out of the voters of a pair.
    Unseat(NodeId, Incarnation),
    /// What does your journal hold? For a recovery by hand.
    Holdings,
    /// Go on without these voters: yours is the most complete journal. Answered by `HandedOver`.
    Recover(Vec<NodeId>),
    /// What do these attempts that run on you say of their progress?
    Progress(Vec<(JobId, Fence)>),
    /// An external worker asks for jobs.
    Lease(Box<LeaseWish>),
    /// Whoever asked this is gone: what it was granted goes back.
    Withdraw(AskId),
    /// An external worker is still at it.
    Beat(LeaseBeat),
    /// What must a node know of the cluster that keeps no ledger? It has this already, by [`Overview::hash`].
    Overview {
        /// The hash of the one that it has; 0 for none.
        have: u64,
    },
    /// Which of these jobs are in the record?
    Known(Vec<JobId>),
}

/// What a rehearsal asks a node to do to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrillFault {
    /// End at once, like by kill -9, and start again later.
    Kill,
    /// Stand still, like by SIGSTOP, and go on later.
    Pause,
    /// Be cut off from all other nodes for a while; HTTP stays.
    Cut,
    /// Stop in good order and start again.
    Restart,
}

/// The answer to [`Call`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To `Propose`.
    Committed {
        /// Where.
        index: Index,
        /// What became of them.
        outcomes: Outcomes,
    },
    /// To `ReadIndex`.
    ReadIndex(Index),
    /// To `Http`.
    Http {
        /// The status code.
        status: u16,
        /// The content type.
        content_type: String,
        /// The body.
        body: Vec<u8>,
    },
    /// To `Handover`: who has the role now.
    HandedOver(NodeId),
    /// To `Vitals`: JSON text.
    Vitals(String),
    /// Not the dispatcher; it believes that this one is.
    NotDispatcher(Option<NodeId>),
    /// Sent into the journal, but nobody knows whether it arrived.
    Unknown,
    /// It can't be done, and why.
    Failed(String),
    /// To `Drill`: it is about to happen.
    Struck,
    /// To `Lineage`.
    Lineage {
        /// Oldest first.
        lineage: Vec<Lineage>,
        /// The last entry applied.
        applied: Index,
    },
    /// To `Unseat`: it is no voter any more.
    Unseated,
    /// To `Holdings`.
    Holdings(Box<Holdings>),
    /// To `Progress`: one each, `None` for one that says nothing or does not run.
    Progress(Vec<Option<String>>),
    /// To `Lease`.
    Granted(Granted),
    /// To `Withdraw`.
    Withdrawn,
    /// To `Beat`.
    Beaten(BeatAnswer),
    /// To `Overview`.
    Overview {
        /// The last entry applied.
        applied: Index,
        /// What is new; nothing if it has that already.
        news: Option<Box<Overview>>,
    },
    /// To `Known`: one each.
    Known(Vec<bool>),
}

/// What a node's journal holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// Whose.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its journal.
    pub journal: RaftId,
    /// The history that it follows; `None` when it is empty.
    pub history: Option<Generation>,
    /// The end of its log.
    pub last_log: LogPosition,
    /// The last entry known to be committed.
    pub committed: Option<Index>,
    /// The last entry applied.
    pub applied: Option<Index>,
    /// Who votes in it.
    pub voters: Vec<NodeId>,
    /// The dispatcher that it hears.
    pub dispatcher: Option<NodeId>,
    /// The reign of its ledger.
    pub reign: Reign,
}
