//! The node table of the ledger: who belongs to the cluster, who can be given work, and what runs where.

use super::LoadError;
use super::keys;
use crate::rows::{Rows, Sheet};
use relais_protocol::codec;
use relais_protocol::history::Stamp;
use relais_protocol::ids::{Fence, Incarnation, JobId, NodeId};
use relais_protocol::node::NodeRow;
use relais_protocol::record::Standing;
use relais_protocol::spec::{OnDisconnect, Requires};
use std::collections::{BTreeMap, BTreeSet};

/// An attempt that runs on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunningAttempt {
    pub(super) fence: Fence,
    pub(super) slots: u32,
    pub(super) on_disconnect: OnDisconnect,
}

/// All nodes and what runs on them.
#[derive(Default)]
pub(super) struct Nodes {
    rows: BTreeMap<NodeId, NodeRow>,
    running: BTreeMap<NodeId, BTreeMap<JobId, RunningAttempt>>,
    used: BTreeMap<NodeId, u32>,
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

    /// An attempt takes its slots.
    pub(super) fn occupy(&mut self, node: NodeId, job: JobId, attempt: RunningAttempt) {
        *self.used.entry(node).or_default() += attempt.slots;
        self.running.entry(node).or_default().insert(job, attempt);
    }

    /// It gives them back.
    pub(super) fn release(&mut self, node: NodeId, job: JobId) {
        let Some(attempt) = self.running.get_mut(&node).and_then(|jobs| jobs.remove(&job)) else { return };
        if let Some(used) = self.used.get_mut(&node) {
            *used = used.saturating_sub(attempt.slots);
        }
    }

    /// What runs on `node`, in the order of job ids.
    pub(super) fn running(&self, node: NodeId) -> impl Iterator<Item = (JobId, RunningAttempt)> {
        self.running.get(&node).into_iter().flatten().map(|(job, attempt)| (*job, *attempt))
    }

    /// Slots in use on `node`.
    pub(super) fn used(&self, node: NodeId) -> u32 {
        self.used.get(&node).copied().unwrap_or(0)
    }

    /// The best node for a job: one that has what it requires and enough free slots; least loaded first,
    /// not `avoid` if there is another, the lowest id of equals.
    pub(super) fn best(&self, requires: &Requires, avoid: Option<NodeId>) -> Option<(NodeId, Incarnation)> {
        let fit = self.rows.values().filter(|row| self.takes_work(row) && self.free(row) >= requires.slots);
        let fit = fit.filter(|row| has_labels(row, requires));
        let best = fit.min_by_key(|row| {
            let load = u64::from(self.used(row.id)) * 1_000 / u64::from(row.facts.slots.max(1));
            (avoid == Some(row.id), load, row.id)
        });
        best.map(|row| (row.id, row.incarnation))
    }

    /// Whether any node could run it, were all slots free.
    pub(super) fn any_fits(&self, requires: &Requires) -> bool {
        self.rows
            .values()
            .any(|row| self.takes_work(row) && row.facts.slots >= requires.slots && has_labels(row, requires))
    }

    /// All nodes that could run it, were all slots free.
    pub(super) fn all_that_fit(&self, requires: &Requires) -> Vec<NodeId> {
        let fit = self.rows.values().filter(|row| self.takes_work(row) && row.facts.slots >= requires.slots);
        fit.filter(|row| has_labels(row, requires)).map(|row| row.id).collect()
    }

    /// Free slots on all nodes that take work.
    pub(super) fn free_in_all(&self) -> u32 {
        self.rows.values().filter(|row| self.takes_work(row)).map(|row| self.free(row)).sum()
    }

    fn takes_work(&self, row: &NodeRow) -> bool {
        row.standing == Standing::Online && !row.draining && !row.facts.witness
    }

    fn free(&self, row: &NodeRow) -> u32 {
        row.facts.slots.saturating_sub(self.used(row.id))
    }
}

fn has_labels(row: &NodeRow, requires: &Requires) -> bool {
    requires.node.is_none_or(|node| node == row.id)
        && requires.labels.iter().all(|(key, value)| row.facts.labels.get(key) == Some(value))
}
