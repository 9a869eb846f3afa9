//! What was seen in one run of a cluster, by observers outside it: clients, executors, whoever watched the
//! journal being applied. Checkers read it; the simulator and the tests of real processes fill it.
//!
//! Nothing in here is judged. Times are those of one observer's clock, which no fault touches; indexes are
//! positions in the journal. A part that a kind of test can't see stays empty, and says nothing.

use relais_protocol::ids::{Fence, Incarnation, Index, JobId, NodeId, Reign};
use relais_protocol::job::{AttemptOutcome, StateName};
use relais_protocol::spec::{Concurrency, QueueName};
use std::collections::BTreeMap;

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
    /// What jobs share with others, as they were taken in.
    pub shared: Vec<Shared>,
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
