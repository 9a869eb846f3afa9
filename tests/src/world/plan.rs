//! What a seed means: how large the cluster is, what its clients want, and which faults come when.

use super::dice::Dice;
use super::fault::FaultKind;
use relais_protocol::ids::NodeId;

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
    pub(super) slots: Vec<u32>,
    pub(super) clients: usize,
    /// Submits of each client.
    pub(super) submits: u32,
    /// Mean ms between two requests of a client.
    pub(super) pace_ms: u64,
    pub(super) heal_at: u64,
    pub(super) faults: Vec<FaultPlan>,
    /// Entries between two checkpoints of a node.
    pub(super) checkpoint_every: u64,
}

impl Plan {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let nodes = dice.pick(&[3, 3, 3, 4, 5]).unwrap_or(3);
        let heal_at = dice.range(9_000, 18_000);
        let mut faults = Vec::new();
        for _ in 0..dice.range(2, 7) {
            let kind = dice.pick(&FaultKind::ALL).unwrap_or(FaultKind::CrashDispatcher);
            plan_fault(dice, kind, nodes, heal_at, &mut faults);
        }
        Self {
            nodes,
            slots: (0..nodes).map(|_| dice.range(1, 4) as u32).collect(),
            clients: dice.range(2, 4) as usize,
            submits: dice.range(8, 20) as u32,
            pace_ms: dice.range(100, 700),
            heal_at,
            faults,
            checkpoint_every: dice.range(3, 60),
        }
    }
}

fn plan_fault(dice: &mut Dice, kind: FaultKind, nodes: u32, heal_at: u64, faults: &mut Vec<FaultPlan>) {
    let node = NodeId(dice.range(1, nodes.into()) as u32);
    let other = NodeId((node.0 + dice.range(0, u64::from(nodes) - 2) as u32) % nodes + 1);
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
