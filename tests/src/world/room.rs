//! Cores and memory: what the nodes have, what jobs ask for, and what is set of a node while it runs.

use super::World;
use super::dice::Dice;
use super::node::Node;
use crate::history::{Asked, Room, Started};
use relais_dispatcher::ledger::{Effects, Event as LedgerEvent};
use relais_protocol::ids::{Index, NodeId};
use relais_protocol::node::NodeChange;
use relais_protocol::record::{NodeFacts, Outcome, Record};
use relais_protocol::spec::{JobOptions, Placement, Requires};

/// The label that each node has from its start.
pub(super) const ZONE: &str = "zone";
/// One that somebody gives and takes, and its value.
pub(super) const TIER: &str = "tier";
pub(super) const TOP: &str = "top";

/// Memory that comes with a slot.
const SLOT_BYTES: u64 = 1 << 30;

/// In which zone a node is: the first one's is never empty.
pub(super) fn zone(node: NodeId) -> &'static str {
    if node.0.is_multiple_of(2) { "even" } else { "odd" }
}

/// What a node says of itself: a core and 1 GiB for each slot, of two slots at least, so that each job fits each.
pub(super) fn facts(node: &Node) -> NodeFacts {
    let parts = node.slots.max(2);
    NodeFacts {
        name: format!("n{}", node.id),
        slots: node.slots,
        cpu_millis: parts * 1_000,
        memory_bytes: u64::from(parts) * SLOT_BYTES,
        journal: node.disk.journal,
        labels: [(ZONE.to_owned(), zone(node.id).to_owned())].into(),
        ..NodeFacts::default()
    }
}

/// Lets a job ask for something, by chance.
pub(super) fn ask(options: &mut JobOptions, dice: &mut Dice) {
    let cpu_millis = dice.pick(&[0, 0, 0, 250, 1_000, 1_500]).unwrap_or(0);
    let memory_bytes = dice.pick(&[0, 0, SLOT_BYTES / 4, SLOT_BYTES, SLOT_BYTES, 2 * SLOT_BYTES]).unwrap_or(0);
    options.requires = Requires { cpu_millis, memory_bytes, ..Requires::default() };
    options.placement = if dice.chance(30) { Placement::Pack } else { Placement::Spread };
}

impl World {
    /// More slots for some node than it was started with, or just as many again.
    pub(super) fn set_some_node(&self, dice: &mut Dice) -> Option<Record> {
        let node = dice.pick(&self.ids)?;
        let more = dice.range(0, 2) as u32;
        let own = self.plan.slots.get(node.0 as usize - 1).copied()?;
        let slots = Some((more > 0).then_some(own + more));
        Some(Record::NodeSet(Box::new(NodeChange { node, slots, ..NodeChange::default() })))
    }

    /// Writes down what a committed entry says of room: what jobs ask for, what nodes have, and where jobs start.
    pub(super) fn note_room(&mut self, id: NodeId, index: u64, records: &[Record], applied: &Effects) {
        for (record, outcome) in records.iter().zip(&applied.outcomes.each) {
            if let (Record::Submit(submit), Outcome::Submitted { deduplicated: false, .. }) = (record, outcome) {
                let requires = submit.spec.options().requires.clone();
                self.history.asked.push(Asked { job: submit.id, requires });
            }
        }
        let Some(life) = self.nodes[id.0 as usize - 1].life.as_deref() else { return };
        for event in &applied.events {
            match *event {
                LedgerEvent::Node(node) => {
                    let row = life.ledger.node(node);
                    let room = row.map(|row| Room {
                        index: Index(index),
                        node,
                        slots: row.slots(),
                        cpu_millis: row.facts.cpu_millis,
                        memory_bytes: row.facts.memory_bytes,
                        labels: row.labels(),
                    });
                    self.history.rooms.extend(room);
                }
                LedgerEvent::Started { job, node, .. } => {
                    self.history.started.push(Started { index: Index(index), job, node });
                }
                _ => {}
            }
        }
    }
}
