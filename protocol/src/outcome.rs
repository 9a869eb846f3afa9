//! What became of records: the outcome of each, and why one had no effect. Enums here only ever grow at their end.

use crate::group::GroupId;
use crate::ids::{Epoch, Fence, Index, JobId, NodeId};
use crate::job::StateName;
use crate::merge::Merged;
use crate::queue::Purged;
use serde::{Deserialize, Serialize};

/// What became of each record of a batch, in the order of the batch.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcomes {
    /// One each.
    pub each: Vec<Outcome>,
    /// The reign that they were applied under.
    pub epoch: Epoch,
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It took effect.
    Done,
    /// The job is in the record.
    Submitted {
        /// Its id.
        id: JobId,
        /// Whether it was there before.
        deduplicated: bool,
        /// Its state now.
        state: StateName,
    },
    /// The cancel wish is in the record.
    Cancelled {
        /// Whether the job has ended; else its worker is being told.
        now: bool,
    },
    /// The machine is a node.
    Joined {
        /// Its id.
        node: NodeId,
    },
    /// It had no effect, and why.
    Refused(Refusal),
    /// Rows of the other side were joined with those here.
    Merged(Merged),
    /// Jobs that had ended were forgotten.
    Forgot {
        /// How many.
        count: u32,
        /// Where to go on; `None` at the end.
        next: Option<JobId>,
    },
    /// Waiting jobs of a queue were cancelled.
    Purged(Purged),
    /// These attempts were granted to an external worker.
    Leased(Vec<(JobId, Fence)>),
    /// The attempt has ended, and its job is in this state.
    LeaseEnded(StateName),
    /// The group is in the record.
    Grouped {
        /// Its id.
        id: GroupId,
        /// How many members it has.
        count: u32,
        /// Whether it was there before.
        deduplicated: bool,
    },
}

/// Why a record had no effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It was proposed by a reign that is over.
    StaleReign,
    /// There is no such job.
    NoSuchJob,
    /// The job has ended.
    JobEnded(StateName),
    /// The job has not ended.
    JobNotEnded(StateName),
    /// The key belongs to a job with another body.
    KeyReused(JobId),
    /// The attempt is not the job's newest, or not known.
    StaleFence,
    /// No such token, or it is over.
    TokenUnknown,
    /// Another node has this name.
    NameTaken,
    /// There is no such node.
    NoSuchNode,
    /// The run of the process that it speaks of is over.
    StaleIncarnation,
    /// The cluster's own first record is still to come.
    NotFounded,
    /// It depends on a job that is not known.
    NoSuchParent(JobId),
    /// It depends on a job that ended otherwise than it had to.
    ParentEnded(JobId, StateName),
    /// A job that waits depends on it.
    JobNeeded(JobId),
    /// Another job has its unique key.
    UniqueHeld(JobId),
    /// There is no such schedule.
    NoSuchSchedule,
    /// There are as many schedules as there can be.
    TooManySchedules,
    /// The slot was settled before, or is of a definition that is over.
    SlotSettled,
    /// An earlier job of the schedule has not ended, and it forbids that they overlap.
    Overlaps(JobId),
    /// The attempt does not run any more, or never did.
    LeaseOver,
    /// No node has ever offered this kind.
    UnknownKind(String),
    /// There is no such group.
    NoSuchGroup,
    /// The group has ended.
    GroupEnded(StateName),
    /// The group has not ended, and its members are kept until then.
    GroupGoesOn(GroupId),
    /// The job is a member of this group, and its turn to be made has not come.
    NotMade(GroupId),
    /// No node matches.
    NoNodeMatches,
    /// Another group has its id.
    GroupIdTaken,
}

/// Where in the journal a batch was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Its index.
    pub index: Index,
    /// What became of its records.
    pub outcomes: Outcomes,
}
