//! A dispatcher that a majority hears keeps its role: one false suspicion deposes nobody.

use crate::history::History;

/// Voters that stood against a dispatcher that a majority heard all the time.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let unjust = history.stands.iter().filter(|stand| stand.heard_by * 2 > stand.voters);
    let tell = |stand: &crate::history::Stand| {
        let (at, voters) = (stand.at.0, stand.voters);
        format!(
            "node {} stood at {at} ms against node {}, heard by {} of {voters}",
            stand.node, stand.against, stand.heard_by
        )
    };
    unjust.map(tell).collect()
}
