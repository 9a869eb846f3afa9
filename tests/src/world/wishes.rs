//! What is asked for in a world beside what its clients want: schedules, arrays, and what an operator does.

use super::arrays::{self, Wanted};
use super::operator::Operator;
use super::{Profile, crons, every};
use relais_protocol::schedule::ScheduleSet;

/// What is asked for beside what clients want.
pub(super) struct Wishes {
    pub(super) arrays: Vec<Wanted>,
    pub(super) schedules: Vec<ScheduleSet>,
    pub(super) operator: Operator,
}

impl Wishes {
    /// What both sides of a split fire is the ledger's tests' affair, and worlds that aim at leases are left at that.
    pub(super) fn of_seed(profile: Profile, seed: u64, nodes: u32) -> Self {
        let schedules = if profile == Profile::Pair { Vec::new() } else { crons::of_seed(seed, nodes) };
        let mut arrays = arrays::of_seed(seed);
        let is_any = matches!(profile, Profile::Any | Profile::Outside);
        let every = if is_any { every::of_seed(seed) } else { Vec::new() };
        let operator = match is_any {
            true => Operator::of_seed(seed, nodes, &schedules, !every.is_empty()),
            false => Operator::default(),
        };
        arrays.extend(every);
        Self { arrays, schedules, operator }
    }
}
