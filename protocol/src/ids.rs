//! The ids of the system, each a newtype, so that none can be taken for another.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A cluster, named once by its first node: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

/// A node of a cluster: a small number, given out by the journal when the node joins, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Stands where a node would, for what runs outside of all nodes: it is given to none.
    pub const OUTSIDE: Self = Self(0);
}

/// Which run of a node's process this is: a counter kept in the data directory, raised at each start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// A node's journal as the replicated log knows it: node id and journal number.
///
/// A journal that was put aside is never continued: the node comes back with the next journal number,
/// hence under a new raft id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct RaftId(pub u64);

/// A job: a UUID, version 7 when the server made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u128);

/// The history number of the cluster, raised by a takeover or a recovery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// The number of a dispatcher's reign, raised by each `Promote` record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A position in the journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Index(pub u64);

/// Generation and epoch together: who may give orders. Orders as a pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Reign {
    /// The history this reign belongs to.
    pub generation: Generation,
    /// The number of the reign.
    pub epoch: Epoch,
}

/// The fence of one attempt: `epoch × 65,536 + attempt number`, strictly growing per job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Fence(pub u64);

impl Fence {
    /// The fence of attempt `number` (from 1, all attempts of the job counted) begun under `epoch`.
    #[must_use]
    pub fn new(epoch: Epoch, number: u16) -> Self {
        Self(epoch.0 * 65_536 + u64::from(number))
    }

    /// The attempt number in it.
    #[must_use]
    pub fn number(self) -> u16 {
        (self.0 % 65_536) as u16
    }

    /// The epoch in it.
    #[must_use]
    pub fn epoch(self) -> Epoch {
        Epoch(self.0 / 65_536)
    }
}

impl RaftId {
    /// Journal `journal` (from 1) of `node`.
    #[must_use]
    pub fn new(node: NodeId, journal: u32) -> Self {
        Self(u64::from(node.0) << 32 | u64::from(journal))
    }

    /// The node in it.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId((self.0 >> 32) as u32)
    }

    /// The journal number in it.
    #[must_use]
    pub fn journal(self) -> u32 {
        self.0 as u32
    }
}

impl JobId {
    /// A UUID v7 from a wall-clock time (48 bits of milliseconds) and random bits (74 are used).
    #[must_use]
    pub fn v7(unix_ms: u64, random: u128) -> Self {
        let time = u128::from(unix_ms & 0xffff_ffff_ffff) << 80;
        let rand_a = (random >> 64 & 0xfff) << 64;
        let rand_b = random & 0x3fff_ffff_ffff_ffff;
        Self(time | 0x7 << 76 | rand_a | 0b10 << 62 | rand_b)
    }

    /// The milliseconds since 1970 that a v7 id starts with.
    #[must_use]
    pub fn unix_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The range of ids whose text starts with `prefix` (hex digits, dashes ignored), or `None` if it
    /// holds anything else or is too long.
    #[must_use]
    pub fn prefix_range(prefix: &str) -> Option<(JobId, JobId)> {
        let digits: String = prefix.chars().filter(|c| *c != '-').collect();
        if digits.is_empty() || digits.len() > 32 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        let value = u128::from_str_radix(&digits, 16).ok()?;
        let shift = (32 - digits.len()) as u32 * 4;
        let low = value << shift;
        let high = low | if shift == 0 { 0 } else { u128::MAX >> (128 - shift) };
        Some((JobId(low), JobId(high)))
    }
}

/// A text that is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a job id (36 characters, like 01963a0c-7f1e-7abc-8def-0123456789ab)")]
pub struct NotAnId;

impl FromStr for JobId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let dashes_right = text.len() == 36 && [8, 13, 18, 23].iter().all(|i| text.as_bytes()[*i] == b'-');
        if !dashes_right {
            return Err(NotAnId);
        }
        match Self::prefix_range(text) {
            Some((low, high)) if low == high => Ok(low),
            _ => Err(NotAnId),
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        let part = |shift: u32, digits: u32| (v >> shift) & ((1u128 << (digits * 4)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node(), self.journal())
    }
}

impl fmt::Display for Reign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.epoch)
    }
}

macro_rules! text_for_people {
    ($($name:ident: $read:expr),*) => {$(
        /// A number for the codec; a text in formats that people read.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if !from.is_human_readable() {
                    return u128::deserialize(from).map(Self);
                }
                let text = String::deserialize(from)?;
                $read(&text).ok_or_else(|| D::Error::custom(concat!("no ", stringify!($name))))
            }
        }
    )*};
}

text_for_people!(
    ClusterId: |text: &str| u128::from_str_radix(text, 16).ok().map(ClusterId),
    JobId: |text: &str| text.parse::<JobId>().ok()
);

macro_rules! shown_as_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

macro_rules! debug_as_display {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

shown_as_number!(NodeId, Incarnation, Generation, Epoch, Index, Fence);
debug_as_display!(ClusterId, NodeId, Incarnation, RaftId, JobId, Generation, Epoch, Index, Reign, Fence);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_survives_its_text() {
        let id = JobId::v7(1_700_000_000_123, u128::MAX / 3);
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        assert_eq!(id.unix_ms(), 1_700_000_000_123);
        assert_eq!(id.to_string().as_bytes()[14], b'7');
        assert!("x".parse::<JobId>().is_err());
        assert!("0196".parse::<JobId>().is_err());
    }

    #[test]
    fn a_prefix_spans_what_starts_with_it() {
        let id = JobId::v7(1_700_000_000_123, 42);
        let text = id.to_string();
        for n in 1..=36 {
            let (low, high) = JobId::prefix_range(&text[..n]).unwrap();
            assert!(low <= id && id <= high, "prefix of {n}");
        }
        assert_eq!(JobId::prefix_range("zz"), None);
        assert_eq!(JobId::prefix_range(""), None);
    }

    #[test]
    fn fences_grow_with_epoch_and_attempt() {
        assert!(Fence::new(Epoch(2), 1) > Fence::new(Epoch(1), 65_535));
        assert_eq!(Fence::new(Epoch(3), 9).number(), 9);
        assert_eq!(Fence::new(Epoch(3), 9).epoch(), Epoch(3));
    }
}
