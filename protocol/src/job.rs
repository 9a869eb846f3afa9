//! A job as the ledger keeps it: its spec, its state and its attempts.

use crate::history::Stamp;
use crate::ids::{Epoch, Fence, Incarnation, Index, JobId, NodeId};
use crate::notice::Notice;
use crate::spec::JobSpec;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// A job's place in the order of the journal: index of its entry and position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Place(pub u64);

impl Place {
    /// Record `position` of the entry at `index`. An entry has fewer than 2^20 records.
    #[must_use]
    pub fn new(index: Index, position: usize) -> Self {
        Self(index.0 << 20 | (position as u64 & 0xf_ffff))
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it is to be.
    pub spec: JobSpec,
    /// Its place in the order of the journal.
    pub place: Place,
    /// Who submitted it: a token's name, or empty.
    pub submitted_by: String,
    /// A hash of the submitted body.
    pub body_hash: u64,
    /// When its submit was committed.
    pub created_at: UnixMs,
    /// When it last became ready to run.
    pub queued_at: Option<UnixMs>,
    /// When it ended.
    pub finished_at: Option<UnixMs>,
    /// Where it is in its life.
    pub state: JobState,
    /// All attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Failed and timed-out attempts that count against the policy.
    pub failures: u16,
    /// Lost attempts that count against the policy.
    pub losses: u16,
    /// A wish to cancel it that has been committed.
    pub cancel: Option<Cancel>,
    /// Why it did not succeed.
    pub error: Option<JobError>,
    /// What its last attempt left as its result: JSON text.
    pub result: Option<String>,
    /// The history and position that last changed this row.
    pub changed: Stamp,
    /// The history and position of its submit.
    pub born: Stamp,
    /// The history and position at which it entered its state.
    pub moved: Stamp,
    /// The attempt whose end was the end of the job; `None` if it has not ended, or ended without one.
    pub ended_by: Option<Fence>,
    /// How often it was run again by wish after it had ended.
    pub life: u16,
    /// Other endings than the one of its state: of earlier lives, and of the other side of a split.
    pub endings: Vec<Ending>,
    /// The job that had been submitted under the same key on the other side of a split, before this one.
    pub alias_of: Option<JobId>,
    /// The job that took its unique key while it was not done, and for which it was cancelled.
    pub replaced_by: Option<JobId>,
    /// That somebody is to be told of its end, or was; of the life that it is in.
    pub notice: Option<Box<Notice>>,
}

/// An ending of a job beside the one that stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ending {
    /// In which life.
    pub life: u16,
    /// The history and position of it.
    pub at: Stamp,
    /// In which state.
    pub state: StateName,
    /// When.
    pub finished_at: UnixMs,
    /// The attempt whose end it was; `None` if it ended without one.
    pub fence: Option<Fence>,
    /// Why it did not succeed.
    pub error: Option<JobError>,
    /// The result: JSON text.
    pub result: Option<String>,
}

impl Job {
    /// The ending of its state, if it has ended.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        let finished_at = self.finished_at.filter(|_| self.state.is_terminal())?;
        Some(Ending {
            life: self.life,
            at: self.moved,
            state: self.state.name(),
            finished_at,
            fence: self.ended_by,
            error: self.error.clone(),
            result: self.result.clone(),
        })
    }

    /// How many attempts ended it that another attempt had ended: only a split pair makes such.
    #[must_use]
    pub fn duplicate_executions(&self) -> u32 {
        let all = self.endings.iter().cloned().chain(self.ending());
        let ended: std::collections::BTreeSet<(u16, Fence)> =
            all.filter_map(|ending| ending.fence.map(|fence| (ending.life, fence))).collect();
        let lives: std::collections::BTreeSet<u16> = ended.iter().map(|(life, _)| *life).collect();
        (ended.len() - lives.len()) as u32
    }
}

/// Where a job is in its life. Each state carries what only it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Its start time is to come.
    Scheduled {
        /// That time.
        at: UnixMs,
    },
    /// Waits for a slot.
    Queued,
    /// An attempt runs: the last of `attempts`.
    Running {
        /// On this node,
        node: NodeId,
        /// in this run of its process,
        incarnation: Incarnation,
        /// under this fence.
        fence: Fence,
    },
    /// An attempt failed, the next one is due.
    Retrying {
        /// At this time.
        at: UnixMs,
    },
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended by wish.
    Cancelled,
    /// Its time to start was over.
    Expired,
    /// Jobs that it depends on have not ended yet.
    Blocked,
}

/// The name of a state, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StateName {
    /// Waits for other jobs.
    Blocked,
    /// Its start time is to come.
    Scheduled,
    /// Waits for a slot.
    Queued,
    /// An attempt runs.
    Running,
    /// The next attempt is due.
    Retrying,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended by wish.
    Cancelled,
    /// Its time to start was over.
    Expired,
}

impl StateName {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 9] = [
        Self::Blocked,
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether a job in it never changes again.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

impl JobState {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> StateName {
        match self {
            Self::Scheduled { .. } => StateName::Scheduled,
            Self::Queued => StateName::Queued,
            Self::Running { .. } => StateName::Running,
            Self::Retrying { .. } => StateName::Retrying,
            Self::Succeeded => StateName::Succeeded,
            Self::Failed => StateName::Failed,
            Self::Cancelled => StateName::Cancelled,
            Self::Expired => StateName::Expired,
            Self::Blocked => StateName::Blocked,
        }
    }

    /// Whether it never changes again.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.name().is_terminal()
    }
}

/// One execution of a job on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1, all attempts of the job counted.
    pub number: u16,
    /// Where it runs.
    pub node: NodeId,
    /// The reign that started it.
    pub epoch: Epoch,
    /// Its fence.
    pub fence: Fence,
    /// When it was placed.
    pub started_at: UnixMs,
    /// How it ended, when it has.
    pub end: Option<AttemptEnd>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// When its end was committed.
    pub finished_at: UnixMs,
    /// In one word.
    pub outcome: AttemptOutcome,
    /// The exit code, of a process that left one.
    pub exit_code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// What went wrong.
    pub error: Option<JobError>,
    /// The last 4 KiB of its output.
    pub output_tail: Vec<u8>,
}

/// How an attempt ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AttemptOutcome {
    /// It did what it should.
    Succeeded,
    /// It said no.
    Failed,
    /// Its time was over.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// Its lease ran out, or its node came back without it.
    Lost,
}

impl AttemptOutcome {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

/// A wish to cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// When it was committed.
    pub at: UnixMs,
    /// Why, in the words of who wished it.
    pub reason: String,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobError {
    /// Its type.
    pub kind: ErrorKind,
    /// In words.
    pub message: String,
}

/// `error.type` of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// A process left another code than 0.
    Exit,
    /// A process was killed by a signal.
    Signal,
    /// The attempt's time was over.
    Timeout,
    /// The attempt could not be started.
    Spawn,
    /// An HTTP call failed.
    Http,
    /// The attempt was lost, and the policy says that is enough.
    Lost,
    /// More attempts were lost than the policy allows.
    LostTooOften,
    /// It was cancelled.
    Cancelled,
    /// Its time to start was over.
    Expired,
    /// A job that it depends on did not end as it must.
    Dependency,
}

impl ErrorKind {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::Spawn => "spawn",
            Self::Http => "http",
            Self::Lost => "lost",
            Self::LostTooOften => "lost_too_often",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Dependency => "dependency",
        }
    }
}
