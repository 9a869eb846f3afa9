//! What a seed means: how large the cluster is, what its clients want, and which faults come when.

use super::dice::Dice;
use super::fault::FaultKind;
use relais_protocol::ids::NodeId;
use std::collections::BTreeMap;

/// The first fault comes after this, in ms: there is a cluster by then.
const CALM_MS: u64 = 1_500;

/// A fault to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultPlan {
    pub(super) kind: FaultKind,
    pub(super) at: u64,
    pub(super) until: u64,
    /// Whom it strikes, where that is not the dispatcher; and a second one.
    pub(super) node: NodeId,
    pub(super) other: NodeId,
    pub(super) strength: u64,
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) nodes: u32,
    /// Voters of the first hour: the first so many nodes.
    pub(super) founders: u32,
    /// Voters wanted, once there are as many nodes.
    pub(super) voters: usize,
    /// Nodes that start later, and when.
    pub(super) joins: BTreeMap<NodeId, u64>,
    pub(super) slots: Vec<u32>,
    pub(super) clients: usize,
    /// Submits of each client.
    pub(super) submits: u32,
    /// Mean ms between two requests of a client.
    pub(super) pace_ms: u64,
    pub(super) heal_at: u64,
    pub(super) faults: Vec<FaultPlan>,
    /// Who leads when voters change for the first time crashes at that moment.
    pub(super) crash_in_change: bool,
    /// Jobs run for longer than a lease.
    pub(super) long_jobs: bool,
    /// In a pair with a tie-break: of how many questions in a hundred it says yes.
    pub(super) tie_break: Option<u64>,
    /// Workers that are no nodes.
    pub(super) outside: usize,
    /// Entries between two checkpoints of a node.
    pub(super) checkpoint_every: u64,
    /// Entries that stay in the log when it is purged.
    pub(super) entries_kept: u64,
}

impl Plan {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let nodes = dice.pick(&[1, 2, 3, 3, 3, 3, 3, 4, 4, 5, 5, 6, 7]).unwrap_or(3);
        let voters = if nodes >= 5 && dice.chance(60) { 5 } else { 3 };
        let founders = if dice.chance(15) { 1 } else { nodes.min(voters as u32) };
        let heal_at = dice.range(7_000, 15_000);
        let late = (founders + 1..=nodes).map(NodeId).filter(|_| dice.chance(60)).collect::<Vec<_>>();
        let joins = late.into_iter().map(|node| (node, dice.range(CALM_MS, heal_at / 2))).collect();
        let mut faults = Vec::new();
        for _ in 0..dice.range(2, 7) {
            let kind = dice.pick(&FaultKind::ALL).unwrap_or(FaultKind::CrashDispatcher);
            plan_fault(dice, kind, nodes, heal_at, &mut faults);
        }
        if dice.chance(50) && nodes > 2 {
            plan_scene(dice, nodes, heal_at, &mut faults);
        }
        Self {
            nodes,
            founders,
            voters,
            joins,
            // Few nodes have to do the same work.
            slots: (0..nodes).map(|_| dice.range(if nodes < 3 { 4 } else { 1 }, 4) as u32).collect(),
            clients: dice.range(2, 4) as usize,
            submits: dice.range(8, 20) as u32,
            pace_ms: dice.range(100, 600),
            heal_at,
            faults,
            crash_in_change: dice.chance(25),
            long_jobs: false,
            tie_break: None,
            outside: 0,
            checkpoint_every: dice.range(3, 60),
            entries_kept: dice.range(1, 40),
        }
    }
}

/// Several faults that belong together, since each is much worse just after the other.
fn plan_scene(dice: &mut Dice, nodes: u32, heal_at: u64, faults: &mut Vec<FaultPlan>) {
    use FaultKind::*;
    let node = NodeId(dice.range(1, nodes.into()) as u32);
    let other = another(dice, node, nodes);
    let third = another(dice, other, nodes);
    let scene = dice.range(0, 6);
    // In two scenes one way is held back or cut, and no other.
    let strength = dice.range(1, if matches!(scene, 3 | 4) { 30 } else { 100 });
    let at = dice.range(CALM_MS, heal_at - if scene == 4 { 5_000 } else { 2_500 });
    let mut plan = |kind, node, from: u64, to: u64| {
        let (at, until) = (at + from, (at + to).min(heal_at));
        faults.push(FaultPlan { kind, at, until: until.max(at), node, other, strength });
    };
    match scene {
        // An old leader comes back with a tail of its own at the moment when the new one falls.
        0 => {
            let end = 430 + dice.range(0, 600);
            plan(SlowDisk, other, 0, end + 500);
            plan(CutDispatcher, node, 0, end);
            plan(CrashLeader, node, end - dice.range(0, 20), end + 3_000);
        }
        // One is behind, one loses its tail, and the one that had all is gone.
        1 => {
            let end = dice.range(300, 2_000);
            plan(CutNode, node, 0, end);
            plan(LostTail, other, end - dice.range(0, 30), end + 100);
            plan(CrashDispatcher, node, end - dice.range(0, 30), end + 4_000);
        }
        // The same, with the damage found out by its checksum.
        2 => {
            let end = dice.range(300, 2_000);
            plan(CutNode, node, 0, end);
            plan(FlippedBit, other, end - dice.range(0, 30), end + 100);
            plan(CrashDispatcher, node, end - dice.range(0, 30), end + 4_000);
        }
        // Orders are held back while their worker starts anew, and come when it has a lease again.
        3 => {
            let end = dice.range(100, 600);
            plan(HoldDispatcher, node, 0, end + dice.range(150, 700));
            plan(CrashNode, other, end, end + 50);
        }
        // The last answer to a worker comes late, and then nobody hears of it any more.
        4 => {
            plan(HoldDispatcher, node, 0, 1_900);
            plan(OneWayToDispatcher, other, dice.range(200, 900), 6_500);
        }
        // Two restarts one after the other, as an operator makes them; and the power goes.
        _ => {
            plan(Stop, node, 0, 2_000);
            plan(Stop, third, 2_200, 4_200);
            plan(CrashAll, node, 4_400, 4_800);
        }
    }
}

fn another(dice: &mut Dice, node: NodeId, nodes: u32) -> NodeId {
    if nodes < 2 {
        return node;
    }
    NodeId((node.0 + dice.range(0, u64::from(nodes) - 2) as u32) % nodes + 1)
}

fn plan_fault(dice: &mut Dice, kind: FaultKind, nodes: u32, heal_at: u64, faults: &mut Vec<FaultPlan>) {
    let node = NodeId(dice.range(1, nodes.into()) as u32);
    let other = another(dice, node, nodes);
    let (short, long) = kind.lasts_ms();
    let mut at = dice.range(CALM_MS, heal_at - 500);
    let strength = dice.range(1, 100);
    for _ in 0..kind.times() {
        let until = at + dice.range(short, long);
        faults.push(FaultPlan { kind, at, until: until.min(heal_at), node, other, strength });
        at = until + dice.range(short, long);
        if at >= heal_at {
            return;
        }
    }
}
