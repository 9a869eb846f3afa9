//! What one side of a split tells the other when it heals: the rows that it changed since.

use crate::group::{GroupInputs, GroupRow, GroupSpec, Origin};
use crate::history::Stamp;
use crate::ids::{JobId, NodeId, Reign};
use crate::job::Job;
use crate::node::NodeRow;
use crate::queue::QueueRow;
use crate::record::{Failover, Token};
use crate::schedule::{FiringLog, ScheduleRow};
use crate::spec::JobSpec;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Rows a chunk may hold.
pub const MERGE_ROWS_MAX: usize = 512;
/// Rough encoded bytes at which a chunk is closed: so that it fits a batch and a control message. A single
/// larger row goes alone.
pub const MERGE_BYTES_MAX: usize = 768 << 10;

/// Rows of the other side, to be joined with those here. Sent chunk after chunk in the order of the export,
/// by the dispatcher of the side with the higher generation, under its own reign. The first one that bears
/// an epoch not below the ledger's begins a reign above both. A chunk that comes twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The highest reign of the other side.
    pub from: Reign,
    /// The point up to which both histories are the same: [`crate::history::common_point`].
    pub since: Stamp,
    /// The rows.
    pub rows: Vec<MergeRow>,
    /// Whether all rows of the other side were given: the history is whole again.
    pub last: bool,
    /// The time of the other side's ledger. Where its clock was ahead, its rows are of a time to come here:
    /// what waits in them would wait until the time here has come up.
    pub now: UnixMs,
}

/// A row of the other side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergeRow {
    /// A node.
    Node(Box<NodeRow>),
    /// A setting of the cluster.
    Setting(SettingRow),
    /// A token.
    Token(TokenRow),
    /// A failover.
    Failover(Box<Failover>),
    /// Something that was deleted.
    Gone(Gone),
    /// An idempotency key.
    Key(String, KeyRow),
    /// A job.
    Job(Box<Job>),
    /// A queue.
    Queue(Box<QueueRow>),
    /// A schedule, and what became of its slots.
    Schedule(Box<ScheduleRow>, Box<FiringLog>),
    /// What the members of a group are made from.
    GroupSpec(Box<GroupSpec>),
    /// Some of a group's inputs.
    GroupInputs(GroupInputs),
    /// A group.
    Group(Box<GroupRow>),
}

impl MergeRow {
    /// Rough bytes of it, encoded.
    #[must_use]
    pub fn rough_bytes(&self) -> usize {
        const BASE: usize = 200;
        match self {
            Self::Node(row) => BASE + 4 * BASE + (row.facts.labels.len() + row.set.labels.len()) * BASE,
            Self::Setting(row) => BASE + row.key.len() + row.value.len(),
            Self::Token(row) => BASE + row.token.name.len(),
            Self::Failover(_) | Self::Gone(_) | Self::Queue(_) => BASE,
            Self::Key(key, _) => BASE + key.len(),
            Self::Job(job) => 2 * BASE + job_bytes(job),
            Self::Group(_) => 2 * BASE,
            Self::GroupSpec(row) => BASE + spec_bytes(&row.spec) + row.nodes.len() * 4,
            Self::GroupInputs(row) => BASE + row.lines.len(),
            Self::Schedule(row, log) => 5 * BASE + spec_bytes(&row.schedule.job) + log.firings.len() * 60,
        }
    }
}

fn job_bytes(job: &Job) -> usize {
    let attempts = job.attempts.iter().map(|attempt| {
        let end = attempt.end.as_ref();
        let error = end.and_then(|end| end.error.as_ref()).map_or(0, |error| error.message.len());
        let progress = end.and_then(|end| end.progress.as_ref()).map_or(0, String::len);
        100 + error + progress + end.map_or(0, |end| end.output_tail.len())
    });
    let endings = job.endings.iter().map(|ending| 200 + ending.result.as_ref().map_or(0, String::len));
    spec_bytes(&job.spec)
        + job.result.as_ref().map_or(0, String::len)
        + attempts.sum::<usize>()
        + endings.sum::<usize>()
}

fn spec_bytes(spec: &JobSpec) -> usize {
    let options = spec.options();
    let keys = options.concurrency.as_ref().map_or(0, |one| one.key.len())
        + options.unique.as_ref().map_or(0, |one| one.key.len());
    let texts = options.metadata.len() + spec.name.len() + options.labels.len() * 100;
    let completion = options.on_complete.as_ref().map_or(0, |spec| spec_bytes(spec));
    let input = match &options.origin {
        Some(Origin::Member { input, .. }) => input.as_ref().map_or(0, String::len),
        _ => 0,
    };
    spec.payload.len() + keys + texts + completion + input + options.depends_on.len() * 20
}

/// A setting of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingRow {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What last changed it.
    pub changed: Stamp,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// The token.
    pub token: Token,
    /// What last changed it.
    pub changed: Stamp,
}

/// What an idempotency key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// The job.
    pub job: JobId,
    /// Of the body that it was submitted with.
    pub body_hash: u64,
    /// Until when it is kept.
    pub ends_at: UnixMs,
    /// When it was first used.
    pub changed: Stamp,
}

/// What is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GoneId {
    /// A job, in all its lives up to this one.
    Job {
        /// Which.
        job: JobId,
        /// Up to which life, see [`Job::life`].
        life: u16,
    },
    /// A token.
    Token(u64),
    /// A schedule, in all its definitions up to this one.
    Schedule {
        /// Which: [`crate::schedule::ScheduleName::number`].
        number: u128,
        /// What removed it.
        up_to: Stamp,
    },
}

/// A tombstone: what is deleted stays so when a side that still has it is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// What.
    pub id: GoneId,
    /// When, by the ledger's time.
    pub at: UnixMs,
    /// What deleted it.
    pub changed: Stamp,
}

/// What a merge came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Merged {
    /// Jobs that are new here or changed.
    pub jobs: u32,
    /// Executions that ended a job that another execution had ended, counted when they came in.
    pub duplicates: u32,
    /// Jobs that are an alias of another with the same key.
    pub aliases: u32,
    /// Settings, queues, nodes, tokens and schedules that both sides had changed: the later one stands.
    pub conflicts: u32,
}

/// Where the next chunk of an export begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeCursor {
    /// The table: its place in the order of an export.
    pub table: u8,
    /// Rows after this key, encoded as the ledger does.
    pub after: Vec<u8>,
}

/// A part of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeChunk {
    /// Its rows.
    pub rows: Vec<MergeRow>,
    /// Where the next one begins; `None` when this is the last.
    pub next: Option<MergeCursor>,
}

/// A node whose name another node bears, after a merge, goes by this name.
#[must_use]
pub fn renamed(name: &str, id: NodeId) -> String {
    format!("{name}-{id}")
}
