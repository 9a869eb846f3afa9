//! What was seen in one run of a cluster, by observers outside it: clients, executors, whoever watched the
//! journal being applied. Checkers read it; the simulator and the tests of real processes fill it.
//!
//! Nothing in here is judged. Times are those of one observer's clock, which no fault touches; indexes are
//! positions in the journal. A part that a kind of test can't see stays empty, and says nothing.

use relais_protocol::ids::{Fence, Incarnation, Index, JobId, NodeId, Reign};
use relais_protocol::job::{AttemptOutcome, StateName};
use relais_protocol::queue::Rate;
use relais_protocol::spec::{Concurrency, Labels, QueueName, Requires};
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds since the run began, by the observer's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct At(pub u64);

/// One run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What clients asked to be submitted, each once however often it was sent.
    pub submits: Vec<Submitted>,
    /// Every change of a job's state, in the order of the journal.
    pub steps: Vec<Step>,
    /// Which end of each life of a job somebody was told of.
    pub told: BTreeMap<(JobId, u16), StateName>,
    /// Every job that was reopened by a committed `:retry`.
    pub reopened: Vec<(Index, JobId)>,
    /// Every limit of a queue that was set, in the order of the journal.
    pub queue_limits: Vec<(Index, QueueName, Option<u32>)>,
    /// Every rate of a queue that was set, in the order of the journal.
    pub queue_rates: Vec<(Index, QueueName, Option<Rate>)>,
    /// Every pause of a queue (true) and every end of one, in the order of the journal.
    pub queue_pauses: Vec<(Index, QueueName, bool)>,
    /// The ledger's time after each entry, in the order of the journal.
    pub stamps: Vec<(Index, UnixMs)>,
    /// What every job was when it was first seen, however it came about.
    pub facts: BTreeMap<JobId, JobFacts>,
    /// What decides about how long jobs are kept, and what was forgotten, in the order of the journal.
    pub keeping: Vec<Keeping>,
    /// Groups of one job for each node.
    pub every: Vec<Every>,
    /// What jobs share with others, as they were taken in.
    pub shared: Vec<Shared>,
    /// What jobs ask of a node, as they were taken in.
    pub asked: Vec<Asked>,
    /// What nodes have, each time that it may have changed, in the order of the journal.
    pub rooms: Vec<Room>,
    /// Where attempts were placed, in the order of the journal.
    pub started: Vec<Started>,
    /// Every execution that began.
    pub executions: Vec<Execution>,
    /// Every reign that began.
    pub reigns: Vec<Began>,
    /// Everything that was done in the name of a reign.
    pub deeds: Vec<Deed>,
    /// Every time a voter stood for the role.
    pub stands: Vec<Stand>,
    /// Every answer to a client that named a place in the journal.
    pub answers: Vec<(At, Index)>,
    /// Every read that promised to be fresh and was answered.
    pub reads: Vec<Read>,
    /// Digests of ledgers.
    pub digests: Vec<Digest>,
    /// The jobs in the record at the end.
    pub finals: Vec<Final>,
    /// What became of the cluster once faults had stopped; `None` if nobody waited for it.
    pub recovery: Option<Recovery>,
}

/// A submit, as its client sees it.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The idempotency key, if it had one.
    pub key: Option<String>,
    /// The ids under which it was sent.
    pub sent_as: Vec<JobId>,
    /// Every acknowledgement: when, and which job it named.
    pub acked: Vec<(At, JobId)>,
}

/// A change of a job's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The entry that changed it.
    pub index: Index,
    /// The job.
    pub job: JobId,
    /// Its state from there on.
    pub state: StateName,
}

/// What a job shares with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its concurrency key, and its limit.
    pub concurrency: Option<Concurrency>,
    /// Its unique key, unless a later job may take it.
    pub unique: Option<String>,
}

/// What a job asks of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The job.
    pub job: JobId,
    /// What.
    pub requires: Requires,
}

/// What a job was when it was first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFacts {
    /// Its queue.
    pub queue: QueueName,
    /// When it came, by the ledger's time.
    pub created_at: UnixMs,
    /// Whether it has an idempotency key.
    pub keyed: bool,
    /// Its unique key and for how long that is its own, in ms, unless it is cancelled or expires.
    pub unique_for: Option<(String, u64)>,
    /// Jobs that it depends on.
    pub parents: Vec<JobId>,
    /// The group that it is a member of, by its id as that of a job.
    pub group: Option<JobId>,
    /// The one node that it is for.
    pub node: Option<NodeId>,
    /// Somebody is to be told of its end.
    pub notified: bool,
    /// Who submitted it.
    pub by: String,
}

/// Something about how long jobs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// By this entry.
    pub index: Index,
    /// When it was seen.
    pub at: At,
    /// How many steps there were before it.
    pub steps: usize,
    /// What.
    pub what: KeepingKind,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepingKind {
    /// Ended jobs are kept for so many ms, and so many of them, from now on; in one queue, or in all others.
    Set {
        /// Which queue.
        queue: Option<QueueName>,
        /// For how long, in ms.
        age_ms: Option<u64>,
        /// How many.
        count: Option<u64>,
    },
    /// All members of a group have ended.
    GroupEnded(JobId),
    /// Somebody was told of the end of a job, or nobody tries any more.
    Told(JobId),
    /// Jobs were forgotten: those that had ended before this, by the dispatcher's wish, and some more.
    Forgotten {
        /// Which.
        jobs: BTreeSet<JobId>,
        /// The time that the dispatcher named.
        before: UnixMs,
    },
}

/// A group of one job for each node that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Every {
    /// The group, by its id as that of a job.
    pub group: JobId,
    /// How many members it was said to have.
    pub count: usize,
    /// The nodes that matched when it was submitted, if nothing else happened to nodes just then.
    pub nodes: Option<BTreeSet<NodeId>>,
    /// No more of it was to run.
    pub halted: bool,
}

/// What a node has, as of the end of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The entry.
    pub index: Index,
    /// The node.
    pub node: NodeId,
    /// Slots.
    pub slots: u32,
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Labels.
    pub labels: Labels,
}

/// An attempt was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// By this entry.
    pub index: Index,
    /// The job.
    pub job: JobId,
    /// Where.
    pub node: NodeId,
}

/// One execution of a job, as its executor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub fence: Fence,
    /// Where.
    pub node: NodeId,
    /// When its first instruction ran.
    pub began: At,
    /// When its last one had; `None` if it still ran at the end.
    pub ended: Option<At>,
    /// When its right to run was over, if that was before its end.
    pub lease_over: Option<At>,
    /// How it ended, as the executor saw it.
    pub outcome: Option<AttemptOutcome>,
}

/// A reign begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// The entry that began it.
    pub index: Index,
    /// The reign.
    pub reign: Reign,
    /// Who reigns.
    pub node: NodeId,
    /// In which run of its process.
    pub incarnation: Incarnation,
}

/// Something was done in the name of a reign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: At,
    /// By whom.
    pub node: NodeId,
    /// What.
    pub what: DeedKind,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeedKind {
    /// A dispatcher gave orders in the name of this reign.
    Ordered(Reign),
    /// A worker carried out orders of this reign.
    Obeyed(Reign),
    /// The dispatcher of reign `by` took a report made under `report`.
    TookReport {
        /// The dispatcher's reign.
        by: Reign,
        /// The report's.
        report: Reign,
    },
    /// A record proposed under `proposed` took effect while `in_force` was.
    TookEffect {
        /// The reign that proposed it.
        proposed: Reign,
        /// The reign of the ledger.
        in_force: Reign,
    },
}

/// A voter stood for the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// When.
    pub at: At,
    /// Who.
    pub node: NodeId,
    /// Against whom, if there was a dispatcher that lived.
    pub against: NodeId,
    /// Voters, the dispatcher itself included, that had heard it without a gap for all the time in which
    /// they might have been asked.
    pub heard_by: usize,
    /// Voters in all.
    pub voters: usize,
}

/// A read that promised to be fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// When it was asked for.
    pub began: At,
    /// When it was answered.
    pub ended: At,
    /// By whom.
    pub node: NodeId,
    /// Which job.
    pub job: JobId,
    /// Its state; `None` if it was not found.
    pub found: Option<StateName>,
    /// As of which entry.
    pub applied: Index,
}

/// The digest of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Whose.
    pub node: NodeId,
    /// After this entry.
    pub index: Index,
    /// Of all rows.
    pub digest: u128,
}

/// A job as it is in the record at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Final {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub state: StateName,
    /// The idempotency key that it was submitted with.
    pub key: Option<String>,
    /// Its attempts: fence and outcome.
    pub attempts: Vec<(Fence, Option<AttemptOutcome>)>,
    /// Failed and timed-out attempts that its policy allows.
    pub failures_max: u16,
    /// Lost attempts that its policy allows.
    pub losses_max: u16,
    /// Attempts that failed in a way that is not to be tried again.
    pub fatal: BTreeSet<Fence>,
}

impl History {
    /// Jobs that were forgotten, and by which entry.
    #[must_use]
    pub fn forgotten(&self) -> BTreeMap<JobId, Index> {
        let each = self.keeping.iter().filter_map(|keeping| match &keeping.what {
            KeepingKind::Forgotten { jobs, .. } => Some(jobs.iter().map(|job| (*job, keeping.index))),
            _ => None,
        });
        each.flatten().collect()
    }

    /// The ledger's time after an entry.
    #[must_use]
    pub fn stamp_at(&self, index: Index) -> UnixMs {
        let after = self.stamps.partition_point(|(at, _)| *at <= index);
        after.checked_sub(1).map_or(UnixMs(0), |last| self.stamps[last].1)
    }
}

/// What became of the cluster once faults had stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// When the last fault ended.
    pub healed: At,
    /// When there was a dispatcher.
    pub dispatcher: Option<At>,
    /// When every job had ended.
    pub all_ended: Option<At>,
    /// When it was given up, if it was.
    pub gave_up: Option<At>,
    /// What was still not right then, in words.
    pub stuck: Vec<String>,
}
