//! Records: the durable facts that make up the journal, and what becomes of each.
//!
//! A journal entry is one [`Batch`]. Enums here only ever grow at their end.

pub use crate::outcome::{Committed, Outcome, Outcomes, Refusal};

use crate::failover::FailoverTale;
use crate::group::{GroupId, GroupSubmit};
use crate::history::Takeover;
use crate::ids::{ClusterId, Epoch, Fence, Generation, Incarnation, JobId, NodeId};
use crate::job::{AttemptOutcome, JobError};
use crate::lease::{LeaseAsk, LeaseEnd};
use crate::merge::Merge;
use crate::node::NodeChange;
use crate::notice::Noticed;
use crate::queue::QueueChange;
use crate::schedule::{Fire, ScheduleName, ScheduleSet};
use crate::spec::{JobSpec, Labels};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Records a batch may hold.
pub const BATCH_RECORDS_MAX: usize = 1_024;
/// Encoded bytes at which a batch is closed.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Cap for decoding a batch: a full one, and one record of the largest payload beyond it.
pub const BATCH_DECODE_CAP: usize = 4 << 20;
/// The version of the rules that [`Batch`]es of this build ask for.
pub const RULES: u16 = 1;

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The rules to apply it by: every replica applies the same ones, whatever its own version.
    pub rules: u16,
    /// The history that it was proposed in.
    pub generation: Generation,
    /// The reign that proposed it. Records of another reign than the ledger's are void, but `Promote`.
    pub epoch: Epoch,
    /// The proposer's wall clock, the only clock that applying it reads.
    pub stamp: UnixMs,
    /// The facts.
    pub records: Vec<Record>,
}

/// One durable fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Nothing but the stamp: time has passed.
    Tick,
    /// The cluster begins; `node` 1 is its first node.
    Found {
        /// The cluster.
        cluster: ClusterId,
        /// The first node's name.
        name: String,
    },
    /// A reign begins.
    Promote {
        /// Who reigns.
        node: NodeId,
        /// In this run of its process.
        incarnation: Incarnation,
    },
    /// A job is submitted.
    Submit(Box<Submit>),
    /// An attempt ended.
    Finish(Box<Finish>),
    /// A job is to be cancelled.
    Cancel {
        /// Which.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// A job that ended otherwise than well is to run again.
    Retry {
        /// Which.
        job: JobId,
    },
    /// A finished job is to be forgotten.
    Delete {
        /// Which.
        job: JobId,
    },
    /// A machine asks to be a node.
    Join(Box<Join>),
    /// A node's process is up and serves.
    NodeUp {
        /// Which.
        node: NodeId,
        /// In this run.
        incarnation: Incarnation,
        /// What it is.
        facts: Box<NodeFacts>,
    },
    /// A node's standing changed.
    NodeStanding {
        /// Which.
        node: NodeId,
        /// The run of its process that this is about.
        incarnation: Incarnation,
        /// What it is now.
        standing: Standing,
    },
    /// A node is to get no new jobs, or is to get them again.
    Drain {
        /// Which.
        node: NodeId,
        /// Whether it drains.
        on: bool,
    },
    /// A token is made.
    TokenMade(Box<Token>),
    /// A token is revoked.
    TokenRevoked {
        /// Its id.
        id: u64,
    },
    /// A setting of the cluster.
    Setting {
        /// Its name.
        key: String,
        /// Its value.
        value: String,
    },
    /// What a failover did and how long it took.
    Failover(Box<Failover>),
    /// Every replica counts and hashes its rows here.
    Audit,
    /// A node goes on alone in a history of its own. With the `Promote` after it the only records that are
    /// taken from a batch of a higher generation than the ledger's.
    Takeover(Box<Takeover>),
    /// Rows of the other side of a split.
    Merge(Box<Merge>),
    /// The same as [`Record::Failover`], in full.
    FailoverTold(Box<FailoverTale>),
    /// Jobs that ended long ago are to be forgotten, a few at a time.
    Forget {
        /// The first job to be looked at.
        from: JobId,
        /// What ended before this is forgotten.
        before: UnixMs,
        /// So many more of those that ended are, the oldest.
        surplus: u32,
    },
    /// Something is done to a queue.
    Queue(Box<QueueChange>),
    /// A schedule is set, or changed.
    ScheduleSet(Box<ScheduleSet>),
    /// A schedule is to be forgotten.
    ScheduleRemoved(ScheduleName),
    /// A schedule is to rest, or to go on.
    SchedulePaused {
        /// Which.
        name: ScheduleName,
        /// Whether it rests.
        on: bool,
    },
    /// A schedule's job is to be made now, beside its slots.
    ScheduleTriggered {
        /// Which.
        name: ScheduleName,
        /// The job's id, given by the node that received the wish: told again, it is the same job.
        job: JobId,
        /// Who wishes it.
        by: String,
    },
    /// A slot is due.
    ScheduleFired(Box<Fire>),
    /// So many slots, this one the newest of them, were due while nobody could fire them.
    ScheduleMissed(Box<Fire>, u64),
    /// What came of telling of a job's end.
    Noticed(Box<Noticed>),
    /// Slots or labels of a node are set, or unset.
    NodeSet(Box<NodeChange>),
    /// An external worker is granted what waits for it.
    Lease(Box<LeaseAsk>),
    /// An attempt that ran outside of the nodes is over.
    LeaseEnd(Box<LeaseEnd>),
    /// A group of jobs is submitted.
    SubmitGroup(Box<GroupSubmit>),
    /// No more of a group is to run.
    CancelGroup {
        /// Which.
        group: GroupId,
        /// Why.
        reason: String,
    },
}

/// A job is submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submit {
    /// Its id, given by the node that received it.
    pub id: JobId,
    /// What it is to be.
    pub spec: JobSpec,
    /// A hash of the submitted body, to tell a repeat from a misuse of its key.
    pub body_hash: u64,
    /// Who submits it.
    pub submitted_by: String,
}

/// An attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub fence: Fence,
    /// The node that ran it.
    pub node: NodeId,
    /// The outcome. `Lost` only when the worker killed it because its lease was over; of a worker that falls
    /// silent the dispatcher says it.
    pub outcome: AttemptOutcome,
    /// The exit code.
    pub exit_code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// What went wrong.
    pub error: Option<JobError>,
    /// JSON text.
    pub result: Option<String>,
    /// What it last said of its progress.
    pub progress: Option<String>,
    /// The last 4 KiB of its output.
    pub output_tail: Vec<u8>,
}

/// A machine asks to be a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The name that it wants.
    pub name: String,
    /// SHA-256 of its token's secret.
    pub secret_hash: [u8; 32],
    /// SHA-256 of its public key: a repeat of the same join gets the same node id.
    pub key_hash: [u8; 32],
}

/// What a node is, told at each start.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Slots that it offers.
    pub slots: u32,
    /// Whether nobody said how many slots: they follow from its cores and memory.
    pub slots_derived: bool,
    /// Thousandths of a core that it offers.
    pub cpu_millis: u32,
    /// Bytes of memory that it offers.
    pub memory_bytes: u64,
    /// Its labels.
    pub labels: Labels,
    /// Its software's version.
    pub version: String,
    /// An id of its machine: nodes with the same one fall together.
    pub machine: String,
    /// Its process id.
    pub pid: u32,
    /// Where its HTTP API is reached.
    pub http: String,
    /// Where its QUIC port is reached.
    pub quic: String,
    /// The number of its journal.
    pub journal: u32,
    /// Whether it only votes and stores.
    pub witness: bool,
    /// Kinds that it offers beside those that every node has.
    pub kinds: Vec<String>,
}

/// Whether a node can be given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Standing {
    /// Admitted, not yet seen.
    Joining,
    /// Serves.
    Online,
    /// Out of reach; keeps what it runs, gets nothing new.
    Suspect,
    /// Its leases are over.
    Offline,
    /// It said goodbye.
    Left,
    /// It is about to leave; finishes what it runs, gets nothing new.
    Leaving,
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TokenRole {
    /// To read.
    Read,
    /// To read and submit.
    Submit,
    /// Everything.
    Admin,
    /// To join as a node.
    Join,
}

impl TokenRole {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
            Self::Join => "join",
        }
    }
}

/// A token, by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: u64,
    /// A name for people.
    pub name: String,
    /// What it allows.
    pub role: TokenRole,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: UnixMs,
    /// When it ends.
    pub expires_at: Option<UnixMs>,
}

/// A failover, with its phases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// The reign that began.
    pub epoch: Epoch,
    /// Its history.
    pub generation: Generation,
    /// Who held the role before.
    pub from: Option<NodeId>,
    /// Who holds it.
    pub to: NodeId,
    /// `start`, `killed`, `silent`, `handover` or `resumed`.
    pub cause: String,
    /// When the old one was suspected.
    pub suspected_at: UnixMs,
    /// When the new reign was committed.
    pub elected_at: UnixMs,
    /// When the first order left.
    pub first_dispatch_at: Option<UnixMs>,
    /// From the suspicion to the new reign.
    pub unavailable_ms: u64,
    /// Running attempts that went on.
    pub adopted: u32,
    /// Jobs put back in line.
    pub retried: u32,
    /// Attempts given up.
    pub lost_attempts: u32,
}
