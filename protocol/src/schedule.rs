//! Schedules: what is to be submitted again and again, and what became of each time that it was due.
//!
//! Names and shapes only. A *slot* is a point in time at which a schedule is due; which ones those are is
//! worked out from the cron text by the dispatcher alone, and comes to everybody else as records. The job of a
//! slot has an id that follows from schedule and slot, so that a slot that is fired twice, by a proposal that
//! is repeated or on both sides of a split, is one job.

use crate::history::Stamp;
use crate::ids::JobId;
use crate::spec::JobSpec;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Firings of a schedule that are kept for people to look at, the newest.
pub const FIRINGS_KEPT: usize = 100;
/// Slots that `missed: all` makes up for, the newest; those before them are counted.
pub const MADE_UP_MAX: usize = 1_000;
/// Schedules that a cluster may have.
pub const SCHEDULES_MAX: usize = 10_000;
/// Jobs of a schedule that are remembered as perhaps not ended, the newest.
pub const OPEN_MAX: usize = 16;
/// Characters of a cron text.
pub const CRON_CHARS_MAX: usize = 200;

/// A schedule's name: `^[a-z0-9][a-z0-9._-]{0,63}$`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScheduleName(String);

impl ScheduleName {
    /// Checks `text`.
    ///
    /// # Errors
    /// With the pattern, when it does not fit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let starts_well = text.chars().next().is_some_and(plain);
        let goes_on_well = text.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'));
        if starts_well && goes_on_well && text.len() <= 64 {
            Ok(Self(text.to_owned()))
        } else {
            Err("a schedule's name is 1 to 64 of a-z 0-9 . _ - and starts with a letter or digit".to_owned())
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number for it: that of its tombstone.
    #[must_use]
    pub fn number(&self) -> u128 {
        xxhash_rust::xxh3::xxh3_128(self.0.as_bytes())
    }

    /// The id of the job that `slot` of this schedule makes: of version 7, with the time of the slot, and a hash
    /// in the place of chance.
    #[must_use]
    pub fn job_of(&self, slot: UnixMs) -> JobId {
        let mut bytes = slot.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.0.as_bytes());
        JobId::v7(slot.0, xxhash_rust::xxh3::xxh3_128(&bytes))
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What becomes of slots that were due while nobody could fire them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Missed {
    /// They are counted.
    #[default]
    Skip,
    /// The newest of them is fired, the others are counted.
    Once,
    /// Each is fired, up to [`MADE_UP_MAX`]; those before are counted.
    All,
}

/// What becomes of a slot while a job of the schedule has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Overlap {
    /// It is fired all the same.
    #[default]
    Allow,
    /// It is skipped.
    Forbid,
    /// The older job is cancelled, and the slot is fired.
    Replace,
}

impl Missed {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Skip, Self::Once, Self::All];

    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Forbid, Self::Replace];

    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Forbid => "forbid",
            Self::Replace => "replace",
        }
    }
}

/// What a schedule is to be. The edge that reads JSON has checked all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name.
    pub name: ScheduleName,
    /// When it is due: a cron text of five fields, or six with seconds first.
    pub cron: String,
    /// The IANA name of the time zone that the cron text is read in.
    pub time_zone: String,
    /// What each slot submits.
    pub job: JobSpec,
    /// What becomes of slots that nobody could fire.
    pub missed: Missed,
    /// What becomes of a slot while the job of an earlier one has not ended.
    pub overlap: Overlap,
}

/// A wish to have a schedule, new or in the place of the one of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSet {
    /// The schedule.
    pub schedule: Schedule,
    /// Whether it is to rest; `None` leaves that as it is, and a new one does not.
    pub paused: Option<bool>,
}

/// What the dispatcher found due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fire {
    /// The schedule.
    pub name: ScheduleName,
    /// Its definition, by what last changed it: a slot of another one is void.
    pub of: Stamp,
    /// The slot.
    pub slot: UnixMs,
}

/// A schedule as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRow {
    /// What it is to be.
    pub schedule: Schedule,
    /// Whether it rests: then nothing is due.
    pub paused: bool,
    /// When it was first set.
    pub created_at: UnixMs,
    /// What last changed the definition, pausing included; kept as it was when a split is healed.
    pub defined: Stamp,
    /// What last changed the row.
    pub changed: Stamp,
}

/// What became of a schedule's slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiringLog {
    /// The schedule.
    pub name: ScheduleName,
    /// All slots up to this time have had what was due to them.
    pub settled: UnixMs,
    /// Jobs of it that perhaps have not ended, in order.
    pub open: Vec<JobId>,
    /// Of all time. A heal takes the greater count of both sides.
    pub counts: FiringCounts,
    /// The newest, in order.
    pub firings: Vec<Firing>,
    /// What last changed the row.
    pub changed: Stamp,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FiringCounts {
    /// Slots that made a job.
    pub fired: u64,
    /// Jobs made by hand.
    pub by_hand: u64,
    /// Slots skipped because an earlier job had not ended.
    pub skipped: u64,
    /// Slots that nobody could fire in time.
    pub missed: u64,
    /// Slots whose job was refused.
    pub refused: u64,
}

/// What became of a slot, or of a wish to fire at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Firing {
    /// The slot; of a firing by hand, when it was committed.
    pub slot: UnixMs,
    /// Who fired it by hand: a token's name, perhaps empty. `None` when it was due.
    pub by_hand: Option<String>,
    /// When it was committed.
    pub at: UnixMs,
    /// What became of it.
    pub outcome: FiringOutcome,
}

/// What became of a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FiringOutcome {
    /// It made this job.
    Job(JobId),
    /// This earlier job had not ended.
    Skipped(JobId),
    /// This many slots, it and those before it, were missed.
    Missed(u64),
    /// Its job was not taken.
    Refused,
}

impl Firing {
    /// What tells it from others of its schedule. A slot has one account on both sides of a split; what was
    /// fired by hand is told apart by its job.
    #[must_use]
    pub fn key(&self) -> (UnixMs, Option<JobId>) {
        match (&self.by_hand, &self.outcome) {
            (Some(_), FiringOutcome::Job(job)) => (self.slot, Some(*job)),
            _ => (self.slot, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_pattern() {
        for good in ["nightly", "a", "0.x_y-z"] {
            assert_eq!(ScheduleName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "A", "-x", "a b", "a:pause", "a/b", &"s".repeat(65)] {
            assert!(ScheduleName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slot_has_one_job_id_and_it_is_a_v7_of_its_time() {
        let (a, b) = (ScheduleName::parse("a").unwrap(), ScheduleName::parse("b").unwrap());
        let slot = UnixMs(1_795_000_000_000);
        assert_eq!(a.job_of(slot), a.job_of(slot));
        assert_ne!(a.job_of(slot), b.job_of(slot));
        assert_ne!(a.job_of(slot), a.job_of(slot.plus(1_000)));
        let id = a.job_of(slot);
        assert_eq!((id.unix_ms(), id.0 >> 76 & 0xf, id.0 >> 62 & 0b11), (slot.0, 7, 0b10));
    }
}
