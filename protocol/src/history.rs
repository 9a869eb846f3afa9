//! Histories: what a takeover or a recovery makes of the cluster's one history, and the numbers that keep
//! two of them apart. Pure arithmetic; who takes over and when is not decided here.
//!
//! A pair that is cut in two can have two dispatchers at once. What must never be is that two of their
//! reigns share an epoch: fences would repeat. So each side counts generations and epochs in its own
//! [`Side`], and a recovery by hand leaps ahead by [`RECOVERY_LEAP`].

use crate::ids::{Epoch, Generation, Index, NodeId};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// By how much a recovery by hand raises generation and epoch: above whatever a side that was given up may
/// have counted to meanwhile.
pub const RECOVERY_LEAP: u64 = 1_000;

/// By how much a takeover at least raises the epoch. The other side's journal can end with reigns that were
/// never committed, counted before there were two sides, and may make them its history: they are fewer.
pub const TAKEOVER_LEAP: u64 = 8;

/// Where a row last changed: the history, and the position in it. Orders as the later one.
pub type Stamp = (Generation, Index);

/// Which numbers a history counts its generations and epochs in, until it is healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Side {
    /// All of them: there is no other side.
    #[default]
    Both,
    /// The odd ones: the lower node id of a pair.
    Odd,
    /// The even ones: the higher node id of a pair.
    Even,
}

impl Side {
    /// The side of `node` in a pair with `peer`.
    #[must_use]
    pub fn of(node: NodeId, peer: NodeId) -> Self {
        if node < peer { Self::Odd } else { Self::Even }
    }

    /// The next number of this side strictly above `number`.
    #[must_use]
    pub fn next_of_parity(self, number: u64) -> u64 {
        let next = number + 1;
        match self {
            Self::Both => next,
            Self::Odd => next | 1,
            Self::Even => next + (next & 1),
        }
    }
}

impl Generation {
    /// The generation that a takeover by `side` begins.
    #[must_use]
    pub fn after_takeover(self, side: Side) -> Self {
        Self(side.next_of_parity(self.0))
    }

    /// The generation that a recovery by hand begins.
    #[must_use]
    pub fn after_recovery(self, side: Side) -> Self {
        Self(side.next_of_parity(self.0 + RECOVERY_LEAP - 1))
    }

    /// The generation that `cause` begins.
    #[must_use]
    pub fn after(self, cause: TakeoverCause, side: Side) -> Self {
        match cause {
            TakeoverCause::Takeover => self.after_takeover(side),
            TakeoverCause::Recovery => self.after_recovery(side),
        }
    }
}

impl Epoch {
    /// The epoch of the next reign in a history that counts in `side`.
    #[must_use]
    pub fn next(self, side: Side) -> Self {
        Self(side.next_of_parity(self.0))
    }

    /// Where the epochs of a history go on from that begins for `cause`; its first reign is above it.
    #[must_use]
    pub fn after(self, cause: TakeoverCause) -> Self {
        match cause {
            TakeoverCause::Takeover => Self(self.0 + TAKEOVER_LEAP - 1),
            TakeoverCause::Recovery => Self(self.0 + RECOVERY_LEAP - 1),
        }
    }

    /// The epoch at which a healed history goes on: above both.
    #[must_use]
    pub fn healed(self, other: Self, side: Side) -> Self {
        self.max(other).next(side)
    }
}

/// Why a history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TakeoverCause {
    /// The survivor of a pair went on alone, by itself.
    Takeover,
    /// Somebody recovered the cluster by hand after its majority was lost.
    Recovery,
}

impl TakeoverCause {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Takeover => "takeover",
            Self::Recovery => "recover",
        }
    }
}

/// A node goes on alone, in a history of its own. Proposed once its journal was forked, in one batch with
/// the `Promote` that follows it; that batch bears the new generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// Who goes on.
    pub node: NodeId,
    /// The new generation: [`Generation::after`] of the ledger's. A lower one than the ledger's is void.
    pub generation: Generation,
    /// What the new history counts in: [`Side::of`] of the two nodes of a pair, else `Both`.
    pub side: Side,
    /// Why.
    pub cause: TakeoverCause,
    /// The last entry that was known to be committed when the journal was forked: up to there any other
    /// history of this cluster has the same entries. `ForkMark::common`.
    pub common: Index,
    /// When, by its wall clock.
    pub at: UnixMs,
}

/// One history of those that led to the ledger's present one, oldest first. The first one of all,
/// generation 0, has no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Its number.
    pub generation: Generation,
    /// Who began it.
    pub node: NodeId,
    /// Why.
    pub cause: TakeoverCause,
    /// What it counts in.
    pub side: Side,
    /// The entry that began it.
    pub began: Index,
    /// See [`Takeover::common`].
    pub common: Index,
    /// When.
    pub at: UnixMs,
    /// The other side's highest generation and epoch, once all of it was merged into this history.
    pub healed: Option<(Generation, Epoch)>,
}

/// A point up to which two histories are the same, for export and merge: the rows that either changed after
/// it are to be merged. Each side is given by its lineage and the last entry it has applied. The point may
/// be earlier than the true one, never later: merging more than needed changes nothing.
#[must_use]
pub fn common_point(ours: (&[Lineage], Index), theirs: (&[Lineage], Index)) -> Stamp {
    let is_same = |a: &Lineage, b: &Lineage| (a.generation, a.node, a.began) == (b.generation, b.node, b.began);
    let shared = ours.0.iter().zip(theirs.0).take_while(|(a, b)| is_same(a, b)).count();
    let generation = shared.checked_sub(1).map_or(Generation(0), |last| ours.0[last].generation);
    let left = |(lineage, applied): (&[Lineage], Index)| lineage.get(shared).map_or(applied, |next| next.common);
    (generation, left(ours).min(left(theirs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_counts_in_its_own_numbers_and_always_upwards() {
        for number in 0..50 {
            let (odd, even) = (Side::Odd.next_of_parity(number), Side::Even.next_of_parity(number));
            assert!(odd > number && odd <= number + 2 && odd % 2 == 1, "{number}: {odd}");
            assert!(even > number && even <= number + 2 && even % 2 == 0, "{number}: {even}");
            assert_eq!(Side::Both.next_of_parity(number), number + 1);
            let recovered = Generation(number).after_recovery(Side::Even);
            assert!(recovered.0 >= number + RECOVERY_LEAP && recovered.0 % 2 == 0);
            let healed = Epoch(number).healed(Epoch(20), Side::Odd);
            assert!(healed > Epoch(number) && healed > Epoch(20) && healed.0 % 2 == 1);
        }
        assert_eq!((Side::of(NodeId(2), NodeId(5)), Side::of(NodeId(5), NodeId(2))), (Side::Odd, Side::Even));
    }

    fn lineage(generation: u64, common: u64) -> Lineage {
        Lineage {
            generation: Generation(generation),
            node: NodeId(1),
            cause: TakeoverCause::Takeover,
            side: Side::Odd,
            began: Index(common + 3),
            common: Index(common),
            at: UnixMs(0),
            healed: None,
        }
    }

    #[test]
    fn the_common_point_is_the_earliest_that_either_side_left() {
        let (one, two, other) = (lineage(1, 10), lineage(3, 30), lineage(4, 25));
        let point = |a: &[Lineage], b: &[Lineage]| {
            let there = common_point((a, Index(99)), (b, Index(90)));
            assert_eq!(there, common_point((b, Index(90)), (a, Index(99))));
            (there.0.0, there.1.0)
        };
        assert_eq!(point(&[], &[]), (0, 90));
        assert_eq!(point(&[one.clone()], &[]), (0, 10));
        assert_eq!(point(&[one.clone(), two.clone()], &[one.clone()]), (1, 30));
        assert_eq!(point(&[one.clone(), two], &[one, other.clone()]), (1, 25));
        assert_eq!(point(&[lineage(1, 10)], &[other]), (0, 10));
    }
}
