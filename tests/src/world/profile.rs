//! What kind of world a seed makes: any cluster under any faults, or one that goes to a place where certain
//! mistakes show.

use super::dice::{Dice, scramble};
use super::plan::Plan;

/// A kind of world. The same seed is another run in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// One to seven nodes, with faults of any kind; in some there are workers that are no nodes.
    #[default]
    Any,
    /// Two nodes: takeovers, sides that both go on, and heals.
    Pair,
    /// Three nodes whose jobs run for longer than a lease, and faults that aim at leases.
    Leases,
    /// The models of the journal without anything around them, in every order that chance finds.
    Journals,
    /// As any, with workers that are no nodes, and jobs for them.
    Outside,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Any, Self::Pair, Self::Leases, Self::Journals, Self::Outside];

    /// Its name in commands and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Pair => "pair",
            Self::Leases => "leases",
            Self::Journals => "journals",
            Self::Outside => "outside",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    pub(super) fn dice(self, seed: u64) -> Dice {
        match self {
            Self::Any => Dice::new(seed),
            other => Dice::new(seed ^ scramble(other as u64)),
        }
    }

    /// Of a cluster; journals alone have none.
    pub(super) fn plan(self, dice: &mut Dice) -> Plan {
        match self {
            Self::Journals => Plan::new(dice),
            Self::Any => {
                let any = Plan::new(dice);
                Plan { outside: if dice.chance(15) { dice.range(1, 3) as usize } else { 0 }, ..any }
            }
            Self::Pair => super::pair::plan(dice),
            Self::Leases => super::leases::plan(dice),
            Self::Outside => {
                let any = Plan::new(dice);
                Plan { outside: dice.range(2, 4) as usize, ..any }
            }
        }
    }
}
