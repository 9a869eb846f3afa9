//! A group of one job for each node that matches: each node that was known to match has one member and no other node
//! has one, and a member runs nowhere but on its node, whatever nodes come, go and change meanwhile.
//!
//! That such a group ends is asked for elsewhere: nothing may be left open.

use crate::history::{Every, History};
use relais_protocol::ids::{JobId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes with two members or none, members without a node, and executions elsewhere.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let mut seen = Vec::new();
    for group in &history.every {
        let own = history.facts.iter().filter(|(_, facts)| facts.group == Some(group.group));
        let members: BTreeMap<JobId, Option<NodeId>> = own.map(|(job, facts)| (*job, facts.node)).collect();
        seen.extend(miscounted(group, &members));
        let elsewhere = |job: JobId, on: NodeId| members.get(&job).is_some_and(|node| *node != Some(on));
        for started in history.started.iter().filter(|started| elsewhere(started.job, started.node)) {
            seen.push(format!("{} of {} was placed on node {}", started.job, group.group, started.node));
        }
        for execution in history.executions.iter().filter(|one| elsewhere(one.job, one.node)) {
            seen.push(format!("{} of {} ran on node {}", execution.job, group.group, execution.node));
        }
    }
    seen
}

fn miscounted(group: &Every, members: &BTreeMap<JobId, Option<NodeId>>) -> Option<String> {
    let nodes: BTreeSet<NodeId> = members.values().filter_map(|node| *node).collect();
    let is_whole = members.len() == group.count || group.halted;
    let known = group.nodes.as_ref();
    let is_right = known
        .is_none_or(|known| nodes.is_subset(known) && known.len() == group.count && (group.halted || nodes == *known));
    let is_sound = nodes.len() == members.len() && is_whole && is_right;
    (!is_sound).then(|| format!("{group:?} has the members {members:?}"))
}
