//! What a seed means: how many hosts there are, which of them vote, what clients want, which faults come
//! when.

use super::fault::Kind;
use crate::world::dice::Dice;
use relais_protocol::ids::NodeId;
use std::collections::BTreeSet;

/// A fault to come.
#[derive(Clone, Debug)]
pub(super) struct FaultPlan {
    pub(super) kind: Kind,
    /// When it begins, after the cluster is whole, in ms.
    pub(super) at: u64,
    /// How long it lasts, in ms.
    pub(super) lasts: u64,
    /// Whom it strikes, where that is not the dispatcher.
    pub(super) node: NodeId,
    /// 1 to 100.
    pub(super) strength: u64,
    pub(super) dice: Dice,
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) hosts: u32,
    pub(super) voters: BTreeSet<NodeId>,
    /// Entries that a log keeps behind a checkpoint.
    pub(super) kept_entries: u64,
    pub(super) clients: u64,
    /// Mean ms between two requests of a client.
    pub(super) pace_ms: u64,
    pub(super) faults: Vec<FaultPlan>,
}

impl Plan {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let hosts = dice.pick(&[3, 3, 3, 4, 5, 5]).unwrap_or(3);
        let voters = if hosts == 5 && dice.chance(60) { 5 } else { 3 };
        let faults_for_ms = dice.range(3_500, 7_000);
        let faults = (0..dice.range(3, 8)).map(|_| fault(dice, hosts, faults_for_ms)).collect();
        Self {
            hosts,
            voters: (1..=voters).map(NodeId).collect(),
            kept_entries: dice.pick(&[8, 20, 60, 5_000]).unwrap_or(20),
            clients: dice.range(2, 5),
            pace_ms: dice.range(20, 150),
            faults,
        }
    }
}

fn fault(dice: &mut Dice, hosts: u32, until: u64) -> FaultPlan {
    let kind = dice.pick(&Kind::ALL).unwrap_or(Kind::KillNode);
    let (short, long) = kind.lasts_ms();
    let lasts = dice.range(short, long).min(until - 500);
    FaultPlan {
        kind,
        at: dice.range(0, until - lasts),
        lasts,
        node: NodeId(dice.range(1, hosts.into()) as u32),
        strength: dice.range(1, 100),
        dice: dice.part(),
    }
}
