//! Why a job has no node, in words: because none could ever hold it, or because what it asks for is in use now.

use super::Ledger;
use super::load::Load;
use super::nodes::{has_labels, takes_work};
use relais_protocol::node::NodeRow;
use relais_protocol::record::Standing;
use relais_protocol::size::{cores_text, rough_bytes_text};
use relais_protocol::spec::Requires;

/// Something that a node has an amount of.
struct Kind {
    of: fn(&Load) -> u64,
    text: fn(u64) -> String,
    /// What follows the amount, where the amount alone does not say it.
    noun: &'static str,
}

fn slots_text(slots: u64) -> String {
    if slots == 1 { "1 slot".to_owned() } else { format!("{slots} slots") }
}

fn cpu_text(millis: u64) -> String {
    let cores = cores_text(u32::try_from(millis).unwrap_or(u32::MAX));
    if millis == 1_000 { "1 core".to_owned() } else { format!("{cores} cores") }
}

const KINDS: [Kind; 3] = [
    Kind { of: |load| u64::from(load.slots), text: slots_text, noun: "" },
    Kind { of: |load| load.cpu_millis, text: cpu_text, noun: "" },
    Kind { of: |load| load.memory_bytes, text: rough_bytes_text, noun: " of memory" },
];

/// `2 slots and 1.5 cores`, of what is asked for.
fn asked(asks: &Load) -> String {
    let named = KINDS.iter().filter(|kind| (kind.of)(asks) > 0);
    let named: Vec<String> = named.map(|kind| format!("{}{}", (kind.text)((kind.of)(asks)), kind.noun)).collect();
    named.join(" and ")
}

impl Ledger {
    /// Why no node that takes work could hold such a job even if nothing else ran; `None` when one could.
    pub(super) fn never_fits(&self, requires: &Requires) -> Option<String> {
        let asks = Load::of(requires);
        let could = |row: &NodeRow| Load::default().has_room(Load::whole(row), asks);
        if self.nodes.bearing(requires).any(could) {
            return None;
        }
        let takers: Vec<&NodeRow> = self.nodes.takers().collect();
        let why = if takers.is_empty() {
            "no node that takes work is online".to_owned()
        } else {
            self.no_labels(requires, &takers).unwrap_or_else(|| self.too_small(requires, &asks))
        };
        let away = self.nodes().find(|row| could_be(row) && has_labels(row, requires) && could(row));
        Some(match away {
            Some(row) => format!("{why}; {} could hold it, but {}", row.name, why_not(row)),
            None => why,
        })
    }

    fn no_labels(&self, requires: &Requires, takers: &[&NodeRow]) -> Option<String> {
        if self.nodes.bearing(requires).next().is_some() {
            return None;
        }
        if let Some(node) = requires.node {
            let name = self.node(node).map_or_else(|| node.to_string(), |row| row.name.clone());
            return Some(format!("it is for node {name} alone, which takes no work or has lost what it requires"));
        }
        let offers = |kind: &String| takers.iter().any(|row| row.facts.kinds.contains(kind));
        if let Some(kind) = requires.kind.as_ref().filter(|kind| !offers(kind)) {
            return Some(format!("no online node offers kind `{kind}`"));
        }
        let borne = |key: &str, value: &str| takers.iter().any(|row| row.label(key) == Some(value));
        let nowhere = requires.labels.iter().find(|(key, value)| !borne(key, value));
        Some(match nowhere {
            Some((key, value)) => format!("no online node has label {key}={value}"),
            None => format!("no online node has all of the labels {}", labels(requires)),
        })
    }

    fn too_small(&self, requires: &Requires, asks: &Load) -> String {
        let which = if requires.labels.is_empty() { String::new() } else { format!(" with {}", labels(requires)) };
        let largest = |kind: &Kind| self.nodes.bearing(requires).map(|row| (kind.of)(&Load::whole(row))).max();
        for kind in &KINDS {
            let (wanted, largest) = ((kind.of)(asks), largest(kind).unwrap_or(0));
            if wanted > largest {
                let (wanted, largest) = ((kind.text)(wanted), (kind.text)(largest));
                return format!("no online node{which} has {wanted}{}; the largest has {largest}", kind.noun);
            }
        }
        format!("no online node{which} has {} at once", asked(asks))
    }

    /// What a job that some node could hold lacks now.
    pub(super) fn lacks(&self, requires: &Requires) -> String {
        let asks = Load::of(requires);
        let free = |row: &NodeRow| self.nodes.used(row.id).left_of(Load::whole(row));
        let most = |kind: &Kind| self.nodes.bearing(requires).map(|row| (kind.of)(&free(row))).max().unwrap_or(0);
        match KINDS.iter().find(|kind| (kind.of)(&asks) > most(kind)) {
            Some(_) if most(&KINDS[0]) == 0 => "all slots that fit are in use".to_owned(),
            Some(kind) => {
                let (wanted, most) = ((kind.text)((kind.of)(&asks)), (kind.text)(most(kind)));
                format!("no node that fits has {wanted}{} free; the most is {most}", kind.noun)
            }
            None if self.nodes.has_room(requires) => "a node has room for it".to_owned(),
            None => format!("no node that fits has {} free at once", asked(&asks)),
        }
    }
}

fn labels(requires: &Requires) -> String {
    let labels: Vec<String> = requires.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(", ")
}

/// Whether it may take work again.
fn could_be(row: &NodeRow) -> bool {
    !takes_work(row) && !row.facts.witness && row.standing != Standing::Left
}

fn why_not(row: &NodeRow) -> &'static str {
    match row.standing {
        Standing::Online => "is asked to take no new jobs",
        Standing::Suspect => "is out of reach",
        Standing::Leaving => "is about to leave",
        Standing::Joining | Standing::Offline | Standing::Left => "is offline",
    }
}
