//! Groups: many jobs of one submit, an array or one job for each node.
//!
//! A group's id ends in 20 bits of nothing, and the id of its member `n` (from 0) is that plus `n + 1`: whose
//! member a job would be, and which, is seen in its id, whether it was made yet or not.

use crate::history::Stamp;
use crate::ids::{JobId, NodeId, NotAnId};
use crate::job::{Cancel, Place, StateName};
use crate::spec::JobSpec;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Jobs that a group may have.
pub const MEMBERS_MAX: u32 = 1_000_000;
/// Bytes that all inputs of an array may have together, as JSON texts.
pub const INPUTS_BYTES_MAX: usize = 2 << 20;
/// Bytes that the payload of an array may have: each member bears it.
pub const ARRAY_PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Members that wait in line, at most.
pub const WINDOW_MAX: u32 = 1_000;
/// Rough bytes of those that wait, and of one of them beside its texts.
const WINDOW_BYTES: usize = 4 << 20;
const MEMBER_BYTES: usize = 500;
/// Bits of an id that tell the members of a group apart.
const MEMBER_BITS: u32 = 20;

/// A group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(JobId);

impl GroupId {
    /// The group whose ids begin as `id` does.
    #[must_use]
    pub fn of(id: JobId) -> Self {
        Self(JobId(id.0 >> MEMBER_BITS << MEMBER_BITS))
    }

    /// Its id as that of a job, which no job has.
    #[must_use]
    pub fn as_job(self) -> JobId {
        self.0
    }

    /// The id of its member `index`, from 0.
    #[must_use]
    pub fn member(self, index: u32) -> JobId {
        JobId(self.0.0 + u128::from(index) + 1)
    }

    /// The highest id that can be its member's.
    #[must_use]
    pub fn last(self) -> JobId {
        self.member(MEMBERS_MAX - 1)
    }

    /// Which member `id` is, if it is one's.
    #[must_use]
    pub fn index_of(self, id: JobId) -> Option<u32> {
        let index = u32::try_from(id.0.checked_sub(self.0.0 + 1)?).ok()?;
        (index < MEMBERS_MAX).then_some(index)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({self})")
    }
}

impl FromStr for GroupId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let id: JobId = text.parse()?;
        if Self::of(id).0 == id { Ok(Self(id)) } else { Err(NotAnId) }
    }
}

/// The id of the job that is submitted when `ended`, a job or a group, has ended: of version 7 with its time, and
/// a hash in the place of chance. So two sides of a split make the same one.
#[must_use]
pub fn completion_of(ended: JobId) -> JobId {
    let mut bytes = ended.0.to_be_bytes().to_vec();
    bytes.extend_from_slice(b"on_complete");
    JobId::v7(ended.unix_ms(), xxhash_rust::xxh3::xxh3_128(&bytes))
}

/// How many members of such a spec are to wait in line: fewer of large ones.
#[must_use]
pub fn window_of(spec: &JobSpec) -> u32 {
    let options = spec.options();
    let bytes = MEMBER_BYTES + spec.payload.len() + options.metadata.len() + options.depends_on.len() * 20;
    (WINDOW_BYTES / bytes).min(WINDOW_MAX as usize) as u32
}

/// What a job was made from, where nobody submitted it by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// It is a member of a group.
    Member {
        /// Which, as it is told to it.
        index: u32,
        /// Its own input: JSON text.
        input: Option<String>,
    },
    /// It is the `on_complete` of a job or a group.
    Completion {
        /// Of which, by its id.
        of: JobId,
        /// How that ended.
        state: StateName,
    },
}

/// A group is submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSubmit {
    /// Its id, given by the node that received it.
    pub id: GroupId,
    /// What each member is to be; its `on_complete` is the group's.
    pub spec: JobSpec,
    /// How many.
    pub size: GroupSize,
    /// The index of the first of them, as it is told to it.
    pub first: u32,
    /// So many members wait in line: [`window_of`] its spec.
    pub window: u32,
    /// After more members than this failed, the rest is cancelled.
    pub max_failures: Option<u32>,
    /// A hash of the submitted body, to tell a repeat from a misuse of its key.
    pub body_hash: u64,
    /// Who submits it.
    pub submitted_by: String,
}

/// How many members a group has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupSize {
    /// So many.
    Count(u32),
    /// One for each line of this: JSON texts.
    Inputs(String),
    /// One for each node that matches when this is applied, bound to it.
    EveryNode,
}

impl GroupSubmit {
    /// Rough bytes of what is particular to it.
    #[must_use]
    pub fn rough_bytes(&self) -> usize {
        let options = self.spec.options();
        let completion = options.on_complete.as_ref().map_or(0, |spec| spec.payload.len() + 200);
        let inputs = match &self.size {
            GroupSize::Inputs(lines) => lines.len(),
            GroupSize::Count(_) | GroupSize::EveryNode => 0,
        };
        self.spec.payload.len() + options.metadata.len() + self.spec.name.len() + completion + inputs
    }
}

/// That no more of a group's members are to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// When, and why.
    pub wish: Cancel,
    /// It was not somebody's wish: too many members had failed, or a job that all depend on.
    pub aborted: bool,
}

/// A group. How many of its members are in which state follows from the members' rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Its id.
    pub id: GroupId,
    /// Its members, made or not.
    pub count: u32,
    /// The members below this index were made.
    pub made: u32,
    /// Its place in the order of the journal, and that of its members.
    pub place: Place,
    /// When its submit was committed.
    pub created_at: UnixMs,
    /// A hash of the submitted body.
    pub body_hash: u64,
    /// Whether it was submitted under an idempotency key.
    pub keyed: bool,
    /// After more members than this failed, the rest is cancelled.
    pub max_failures: Option<u32>,
    /// So many of its members wait in line, if there are.
    pub window: u32,
    /// That no more of it is to run.
    pub halt: Option<Halt>,
    /// Members up to this id were cancelled for it.
    pub swept: JobId,
    /// When all had ended, and how that is called.
    pub ended: Option<(UnixMs, StateName)>,
    /// Whether its `on_complete` was submitted.
    pub completed: bool,
    /// Rows of the other side of a split are coming in: until all have, nothing is made and it does not end.
    pub healing: bool,
    /// The history and position of its submit.
    pub born: Stamp,
    /// The history and position that last changed this row.
    pub changed: Stamp,
}

/// What the members of a group are made from. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// The group.
    pub id: GroupId,
    /// What each member is to be; its `on_complete` is the group's.
    pub spec: JobSpec,
    /// The index of the first member, as it is told to it.
    pub first: u32,
    /// Who submitted it.
    pub submitted_by: String,
    /// The node of each member, where each has its own.
    pub nodes: Vec<NodeId>,
    /// The history and position of its submit.
    pub born: Stamp,
}

/// Some of a group's inputs. They never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInputs {
    /// The group.
    pub id: GroupId,
    /// Of which member the first is.
    pub first: u32,
    /// JSON texts, one a line.
    pub lines: String,
    /// The history and position of its submit.
    pub born: Stamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_tells_its_group_and_its_index() {
        let group = GroupId::of(JobId::v7(1_700_000_000_123, u128::MAX / 3));
        for index in [0, 1, 77, MEMBERS_MAX - 1] {
            let member = group.member(index);
            assert_eq!((GroupId::of(member), group.index_of(member)), (group, Some(index)));
            assert_eq!(member.unix_ms(), 1_700_000_000_123);
        }
        assert_eq!(group.index_of(group.as_job()), None);
        assert_eq!(group.index_of(JobId(group.last().0 + 1)), None);
        assert_eq!(group.to_string().parse::<GroupId>(), Ok(group));
        assert!(group.member(0).to_string().parse::<GroupId>().is_err());
    }

    #[test]
    fn a_completion_has_one_id_of_its_own() {
        let [a, b] = [1, 2].map(|n| JobId::v7(5, n << 64));
        assert_eq!(completion_of(a), completion_of(a));
        assert_ne!(completion_of(a), completion_of(b));
        assert_eq!(completion_of(a).unix_ms(), 5);
    }
}
