//! Worlds in which jobs run for longer than a lease, and leases are what faults aim at: an answer to a worker
//! that comes late by half a lease, and a dispatcher that is cut off with what runs beside it.

use super::dice::Dice;
use super::fault::FaultKind::{self, *};
use super::plan::{FaultPlan, Plan};
use relais_protocol::ids::NodeId;
use std::collections::BTreeMap;

/// The first fault comes after this, in ms: by then jobs run everywhere.
const CALM_MS: u64 = 2_500;
/// Between two scenes, in ms: all is well again by then.
const SCENE_MS: u64 = 9_500;

/// Three nodes with room for what is tried again, long jobs, and two scenes.
pub(super) fn plan(dice: &mut Dice) -> Plan {
    let any = Plan::new(&mut dice.part());
    let mut faults = Vec::new();
    let first = NodeId(dice.range(1, 3) as u32);
    let second = NodeId(first.0 % 3 + 1);
    for (number, other) in [(0, first), (1, second)] {
        let at = CALM_MS + number * SCENE_MS + dice.range(0, 1_000);
        let mut plan = |kind: FaultKind, strength, from: u64, to: u64| {
            faults.push(FaultPlan { kind, at: at + from, until: at + to, node: other, other, strength });
        };
        if dice.chance(60) {
            // The last answer to a worker comes late, and then nobody hears of it any more.
            plan(HoldDispatcher, 30, 0, 1_900);
            plan(OneWayToDispatcher, 30, dice.range(520, 800), 7_500);
        } else {
            plan(CutDispatcher, 100, 0, dice.range(6_000, 8_000));
        }
    }
    Plan {
        nodes: 3,
        founders: 3,
        voters: 3,
        joins: BTreeMap::new(),
        slots: (0..3).map(|_| dice.range(4, 8) as u32).collect(),
        clients: 3,
        submits: dice.range(12, 20) as u32,
        pace_ms: dice.range(300, 800),
        heal_at: CALM_MS + 2 * SCENE_MS,
        faults,
        crash_in_change: false,
        long_jobs: true,
        ..any
    }
}
