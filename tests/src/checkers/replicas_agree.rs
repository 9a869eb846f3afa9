//! Replicas agree: equal ledger digests at equal journal index.

use crate::history::History;
use std::collections::BTreeMap;

/// Indexes at which two digests differ.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let mut first = BTreeMap::new();
    let mut seen = Vec::new();
    for digest in &history.digests {
        let (node, known) = *first.entry(digest.index).or_insert((digest.node, digest.digest));
        if known != digest.digest {
            seen.push(format!("nodes {node} and {} differ at index {}", digest.node, digest.index));
        }
    }
    seen
}
