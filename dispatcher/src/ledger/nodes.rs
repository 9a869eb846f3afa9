//! The node table of the ledger: who belongs to the cluster, who can be given work, and what runs where.

use super::LoadError;
use super::keys;
use super::load::Load;
use crate::planted::is_planted;
use crate::rows::{Rows, Sheet};
use relais_protocol::codec;
use relais_protocol::history::Stamp;
use relais_protocol::ids::{Fence, Incarnation, JobId, NodeId};
use relais_protocol::node::NodeRow;
use relais_protocol::record::Standing;
use relais_protocol::spec::{OnDisconnect, Placement, Requires};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// An attempt that runs on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunningAttempt {
    pub(super) fence: Fence,
    pub(super) asks: Load,
    pub(super) on_disconnect: OnDisconnect,
}

/// All nodes and what runs on them.
#[derive(Default)]
pub(super) struct Nodes {
    rows: BTreeMap<NodeId, NodeRow>,
    running: BTreeMap<NodeId, BTreeMap<JobId, RunningAttempt>>,
    used: BTreeMap<NodeId, Load>,
    changed: BTreeSet<NodeId>,
}

impl Nodes {
    pub(super) fn load(rows: &dyn Rows) -> Result<Self, LoadError> {
        let rows = keys::load_table(rows, keys::NODE, |row: &NodeRow| row.id)?;
        Ok(Self { rows, ..Self::default() })
    }

    pub(super) fn row(&self, id: NodeId) -> Option<&NodeRow> {
        self.rows.get(&id)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &NodeRow> {
        self.rows.values()
    }

    /// The row, to be changed by what bears `stamp`.
    pub(super) fn change(&mut self, id: NodeId, stamp: Stamp) -> Option<&mut NodeRow> {
        self.changed.insert(id);
        let row = self.rows.get_mut(&id)?;
        row.changed = stamp;
        Some(row)
    }

    pub(super) fn insert(&mut self, row: NodeRow) {
        self.changed.insert(row.id);
        self.rows.insert(row.id, row);
    }

    pub(super) fn write_changed(&mut self, sheet: &mut Sheet) {
        for id in std::mem::take(&mut self.changed) {
            let row = self.rows.get(&id).map(|row| codec::encode(codec::FORMAT, row));
            sheet.write(keys::key(keys::NODE, &id.0.to_be_bytes()), row);
        }
    }

    /// An attempt takes what it asks for.
    pub(super) fn occupy(&mut self, node: NodeId, job: JobId, attempt: RunningAttempt) {
        self.used.entry(node).or_default().add(attempt.asks);
        self.running.entry(node).or_default().insert(job, attempt);
    }

    /// It gives them back.
    pub(super) fn release(&mut self, node: NodeId, job: JobId) {
        let Some(attempt) = self.running.get_mut(&node).and_then(|jobs| jobs.remove(&job)) else { return };
        if let Some(used) = self.used.get_mut(&node) {
            used.take(attempt.asks);
        }
    }

    /// What runs on `node`, in the order of job ids.
    pub(super) fn running(&self, node: NodeId) -> impl Iterator<Item = (JobId, RunningAttempt)> {
        self.running.get(&node).into_iter().flatten().map(|(job, attempt)| (*job, *attempt))
    }

    /// What is in use on `node`.
    pub(super) fn used(&self, node: NodeId) -> Load {
        self.used.get(&node).copied().unwrap_or_default()
    }

    /// Whether any node has what is required, and room for it now.
    pub(super) fn has_room(&self, requires: &Requires) -> bool {
        let asks = Load::of(requires);
        self.bearing(requires).any(|row| self.used(row.id).has_room(Load::whole(row), asks))
    }

    /// The best node for a job, of those that have what it requires and room for it: not `avoid` if there is
    /// another; the least loaded to spread, the most loaded to pack; the lowest id of equals.
    pub(super) fn best(
        &self,
        requires: &Requires,
        placement: Placement,
        avoid: Option<NodeId>,
    ) -> Option<(NodeId, Incarnation)> {
        let asks = Load::of(requires);
        let fit = self.bearing(requires).filter_map(|row| {
            let (used, whole) = (self.used(row.id), Load::whole(row));
            used.has_room(whole, asks).then(|| (row, used.fullness(whole)))
        });
        let avoided = |row: &NodeRow| avoid == Some(row.id);
        let best = match placement {
            Placement::Spread => fit.min_by_key(|(row, fullness)| (avoided(row), *fullness, row.id)),
            Placement::Pack => fit.min_by_key(|(row, fullness)| (avoided(row), Reverse(*fullness), row.id)),
        };
        best.map(|(row, _)| (row.id, row.incarnation))
    }

    /// Nodes that take work and bear the labels.
    pub(super) fn bearing(&self, requires: &Requires) -> impl Iterator<Item = &NodeRow> {
        self.takers().filter(|row| has_labels(row, requires))
    }

    /// Nodes that take work.
    pub(super) fn takers(&self) -> impl Iterator<Item = &NodeRow> {
        self.rows.values().filter(|row| takes_work(row))
    }

    /// All nodes that could run it, if nothing else ran.
    pub(super) fn all_that_fit(&self, requires: &Requires) -> Vec<NodeId> {
        let asks = Load::of(requires);
        let could = |row: &&NodeRow| Load::default().has_room(Load::whole(row), asks);
        if is_planted("every-node-unlabelled") {
            return self.takers().map(|row| row.id).collect();
        }
        self.bearing(requires).filter(could).map(|row| row.id).collect()
    }

    /// Free slots on all nodes that take work.
    pub(super) fn free_in_all(&self) -> u32 {
        self.takers().map(|row| row.slots().saturating_sub(self.used(row.id).slots)).sum()
    }
}

pub(super) fn takes_work(row: &NodeRow) -> bool {
    row.standing == Standing::Online && !row.draining && !row.facts.witness
}

/// Whether a node is the one that is meant, offers the kind and bears the labels.
pub(super) fn has_labels(row: &NodeRow, requires: &Requires) -> bool {
    if requires.kind.as_ref().is_some_and(|kind| !row.facts.kinds.contains(kind)) {
        return false;
    }
    requires.node.is_none_or(|node| node == row.id)
        && requires
            .labels
            .iter()
            .filter(|_| !is_planted("labels-ignored"))
            .all(|(key, value)| row.label(key) == Some(value))
}
