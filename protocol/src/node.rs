//! A node as the journal knows it: what it said of itself at its start, and what was set of it since.

use crate::history::Stamp;
use crate::ids::{Incarnation, NodeId};
use crate::record::{NodeFacts, Standing};
use crate::spec::Labels;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A node, as the journal knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// Its name, unique among nodes that have not left for good.
    pub name: String,
    /// What it said of itself at its last start.
    pub facts: NodeFacts,
    /// What was set of it, which goes before `facts`.
    pub set: NodeSet,
    /// The last run of its process.
    pub incarnation: Incarnation,
    /// Whether it can be given work.
    pub standing: Standing,
    /// Whether it was asked to take no more.
    pub draining: bool,
    /// SHA-256 of the public key that it joined with.
    pub key_hash: [u8; 32],
    /// When its standing last changed.
    pub since: UnixMs,
    /// The history and position that last changed this row.
    pub changed: Stamp,
}

/// What was set of a node while it ran. It stays set when the node starts again, whatever it is started with,
/// until it is unset.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeSet {
    /// Slots that it offers.
    pub slots: Option<u32>,
    /// Labels that it bears, or, with `None`, bears not.
    pub labels: BTreeMap<String, Option<String>>,
    /// The history and position that last changed this.
    pub changed: Stamp,
}

impl NodeSet {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.slots.is_none() && self.labels.is_empty()
    }
}

/// What is to be set of a node, or unset.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeChange {
    /// Which.
    pub node: NodeId,
    /// Its slots: a number, or with `Some(None)` as many as it was started with.
    pub slots: Option<Option<u32>>,
    /// Whether all labels are to be as it was started with, before `labels` is looked at.
    pub labels_unset: bool,
    /// Labels that it is to bear, or, with `None`, not to bear.
    pub labels: BTreeMap<String, Option<String>>,
}

impl NodeRow {
    /// Slots that it offers.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.set.slots.unwrap_or(self.facts.slots)
    }

    /// The value of a label that it bears.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        match self.set.labels.get(key) {
            Some(set) => set.as_deref(),
            None => self.facts.labels.get(key).map(String::as_str),
        }
    }

    /// All labels that it bears.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let mut labels = self.facts.labels.clone();
        for (key, value) in &self.set.labels {
            match value {
                Some(value) => labels.insert(key.clone(), value.clone()),
                None => labels.remove(key),
            };
        }
        labels
    }

    /// Sets and unsets what `change` says.
    pub fn change(&mut self, change: NodeChange, stamp: Stamp) {
        if let Some(slots) = change.slots {
            self.set.slots = slots;
        }
        if change.labels_unset {
            self.set.labels.clear();
        }
        for (key, value) in change.labels {
            if value.is_none() && !self.facts.labels.contains_key(&key) {
                self.set.labels.remove(&key);
            } else {
                self.set.labels.insert(key, value);
            }
        }
        self.set.changed = stamp;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Generation, Index};

    fn row() -> NodeRow {
        let labels = [("zone", "eu"), ("gpu", "no")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        NodeRow {
            id: NodeId(1),
            name: "n1".into(),
            facts: NodeFacts { slots: 2, labels: labels.into(), ..NodeFacts::default() },
            set: NodeSet::default(),
            incarnation: Incarnation(1),
            standing: Standing::Online,
            draining: false,
            key_hash: [0; 32],
            since: UnixMs(0),
            changed: Stamp::default(),
        }
    }

    #[test]
    fn what_is_set_goes_before_what_the_node_was_started_with() {
        let stamp = (Generation(0), Index(7));
        let mut row = row();
        let labels = [("zone", None), ("gpu", Some("yes")), ("disk", Some("ssd")), ("none", None)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        row.change(NodeChange { slots: Some(Some(5)), labels: labels.into(), ..NodeChange::default() }, stamp);
        assert_eq!((row.slots(), row.label("zone"), row.label("gpu")), (5, None, Some("yes")));
        let shown: Vec<(String, String)> = row.labels().into_iter().collect();
        assert_eq!(shown, [("disk".to_owned(), "ssd".to_owned()), ("gpu".to_owned(), "yes".to_owned())]);
        assert_eq!((row.set.labels.len(), row.set.changed), (3, stamp), "a label that nobody gave is not kept");
        row.facts.slots = 9;
        assert_eq!(row.slots(), 5, "whatever the node is started with");
        row.change(NodeChange { slots: Some(None), labels_unset: true, ..NodeChange::default() }, stamp);
        assert_eq!((row.slots(), row.label("zone"), row.label("disk")), (9, Some("eu"), None));
        assert!(row.set.is_void());
    }
}
