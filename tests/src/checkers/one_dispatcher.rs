//! One dispatcher per epoch, epochs strictly grow, and nothing of a lower one takes effect.

use crate::history::{Began, Deed, DeedKind, History};
use relais_protocol::ids::{NodeId, Reign};
use std::collections::BTreeMap;

/// All that breaks it.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let mut seen = order(&history.reigns);
    seen.extend(deeds(&history.deeds, &history.reigns));
    seen
}

/// Reigns of one journal that did not grow.
#[must_use]
pub fn order(reigns: &[Began]) -> Vec<String> {
    let mut began = reigns.to_vec();
    began.sort_by_key(|began| began.index);
    began.dedup();
    let falls = began.windows(2).filter(|pair| pair[0].reign >= pair[1].reign);
    falls.map(|pair| format!("{:?} was followed by {:?}", pair[0], pair[1])).collect()
}

/// Reigns with two holders, deeds by who did not reign, deeds of a reign that was over.
#[must_use]
pub fn deeds(deeds: &[Deed], reigns: &[Began]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut holders: BTreeMap<Reign, NodeId> = BTreeMap::new();
    for began in reigns {
        if holders.insert(began.reign, began.node).is_some_and(|other| other != began.node) {
            seen.push(format!("two nodes hold the reign {}", began.reign));
        }
    }
    let mut obeyed: BTreeMap<NodeId, Reign> = BTreeMap::new();
    for deed in deeds {
        match deed.what {
            DeedKind::Ordered(reign) if holders.get(&reign) != Some(&deed.node) => {
                seen.push(format!("node {} gave orders in the name of {reign}, which is not its own", deed.node));
            }
            DeedKind::Obeyed(reign) => {
                let highest = obeyed.entry(deed.node).or_insert(reign);
                if reign < *highest {
                    seen.push(format!("node {} obeyed {reign} after {highest} at {} ms", deed.node, deed.at.0));
                }
                *highest = reign.max(*highest);
            }
            DeedKind::TookReport { by, report } if by != report => {
                seen.push(format!("node {} took a report of {report} while it reigned as {by}", deed.node));
            }
            DeedKind::TookEffect { proposed, in_force } if proposed != in_force => {
                seen.push(format!("a record of {proposed} took effect under {in_force} at {} ms", deed.at.0));
            }
            _ => {}
        }
    }
    seen
}
