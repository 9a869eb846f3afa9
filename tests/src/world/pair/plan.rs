//! What a seed of a pair means: cuts that outlast the takeover, a machine that is lost with its disk, stops
//! by plan, and the common faults between them.

use super::super::dice::Dice;
use super::super::fault::FaultKind::{self, *};
use super::super::plan::{FaultPlan, Plan};
use relais_protocol::ids::NodeId;
use std::collections::BTreeMap;

/// The first fault comes after this, in ms: there is a pair by then.
const CALM_MS: u64 = 1_500;

/// Faults that come by themselves.
const COMMON: [FaultKind; 24] = [
    CrashDispatcher,
    CrashNode,
    CrashAll,
    QuickRestart,
    PauseDispatcher,
    PauseNode,
    CutNode,
    OneWayFromDispatcher,
    OneWayToDispatcher,
    Flapping,
    Loss,
    Delay,
    Twice,
    Reorder,
    HoldDispatcher,
    SlowDisk,
    ClockJump,
    FalseEvidence,
    Handover,
    LostTail,
    FlippedBit,
    DiskError,
    Stop,
    Drain,
];

/// Two nodes, clients of both, and faults.
pub(in super::super) fn plan(dice: &mut Dice) -> Plan {
    let heal_at = dice.range(12_000, 20_000);
    let mut faults = Vec::new();
    for _ in 0..dice.range(1, 4) {
        let kind = dice.pick(&COMMON).unwrap_or(CutNode);
        let at = dice.range(CALM_MS, heal_at - 1_000);
        let until = at + dice.range(100, 7_000);
        let (node, other) = sides(dice);
        let strength = dice.range(1, 100);
        faults.push(FaultPlan { kind, at, until: until.min(heal_at), node, other, strength });
    }
    for _ in 0..dice.range(1, 2) {
        scene(dice, heal_at, &mut faults);
    }
    let any = Plan::new(&mut dice.part());
    Plan {
        nodes: 2,
        founders: 2,
        voters: 2,
        joins: BTreeMap::new(),
        slots: vec![dice.range(2, 6) as u32, dice.range(2, 6) as u32],
        clients: dice.range(3, 4) as usize,
        submits: dice.range(20, 40) as u32,
        pace_ms: dice.range(60, 350),
        heal_at,
        faults,
        crash_in_change: false,
        tie_break: dice.chance(20).then(|| dice.range(20, 100)),
        ..any
    }
}

fn sides(dice: &mut Dice) -> (NodeId, NodeId) {
    let node = dice.range(1, 2) as u32;
    (NodeId(node), NodeId(3 - node))
}

/// What a pair is for.
fn scene(dice: &mut Dice, heal_at: u64, faults: &mut Vec<FaultPlan>) {
    let (node, other) = sides(dice);
    let at = dice.range(CALM_MS, heal_at - 7_500);
    let scene = dice.range(0, 9);
    let strength = dice.range(1, 100);
    let mut plan = |kind, node, strength, from: u64, to: u64| {
        let (at, until) = (at + from, (at + to).min(heal_at));
        faults.push(FaultPlan { kind, at, until: until.max(at), node, other, strength });
    };
    match scene {
        // The cable is cut for longer than a takeover takes.
        0..5 => plan(CutNode, node, strength, 0, dice.range(4_000, 10_000)),
        // The dispatcher's last words do not arrive, and then its machine is gone with its disk.
        5 | 6 => {
            let end = dice.range(15, 120);
            plan(SlowDisk, other, dice.range(2, 6), 0, end + 300);
            plan(OneWayFromDispatcher, node, 100, 60, 60 + end);
            plan(FlippedBit, node, strength, 60 + end - 1, dice.range(3_000, 7_000));
        }
        // One is killed, the other goes on; then the other is, while the first comes back.
        7 => {
            let first = dice.range(3_500, 5_500);
            plan(CrashNode, node, strength, 0, first);
            plan(CrashNode, other, strength, first - dice.range(0, 500), first + dice.range(200, 3_000));
        }
        // A cut, and a side that is killed in it and started again.
        8 => {
            let cut = dice.range(5_000, 9_000);
            plan(CutNode, node, strength, 0, cut);
            plan(CrashNode, node, strength, dice.range(500, 4_500), cut - dice.range(0, 400));
        }
        // One is stopped by plan, and then the other falls.
        _ => {
            plan(Stop, node, strength, 0, dice.range(2_500, 5_000));
            plan(CrashNode, other, strength, dice.range(200, 6_000), dice.range(6_100, 7_400));
        }
    }
}
