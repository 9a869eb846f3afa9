//! Room holds: by the journal no job starts on a node that has less left of slots, cores or memory than it asks for,
//! or does not bear the labels that it asks for.

use crate::history::{History, Room};
use relais_protocol::ids::{Index, JobId, NodeId};
use relais_protocol::job::StateName;
use relais_protocol::spec::Requires;
use std::collections::BTreeMap;

/// Starts that took a node above what it had, or on one that had not what it takes.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let asked: BTreeMap<JobId, &Requires> = history.asked.iter().map(|one| (one.job, &one.requires)).collect();
    let started: BTreeMap<(Index, JobId), NodeId> =
        history.started.iter().map(|one| ((one.index, one.job), one.node)).collect();
    let mut running: BTreeMap<JobId, NodeId> = BTreeMap::new();
    let mut seen = Vec::new();
    for step in &history.steps {
        running.remove(&step.job);
        let Some(node) = started.get(&(step.index, step.job)).filter(|_| step.state == StateName::Running) else {
            continue;
        };
        running.insert(step.job, *node);
        let (Some(own), Some(room)) = (asked.get(&step.job), room_at(history, *node, step.index)) else { continue };
        let there = running.iter().filter(|(_, at)| *at == node).filter_map(|(job, _)| asked.get(job));
        let (mut slots, mut cpu, mut memory) = (0u64, 0u64, 0u64);
        for asks in there {
            slots += u64::from(asks.slots);
            cpu += u64::from(asks.cpu_millis);
            memory += asks.memory_bytes;
        }
        let over = slots > u64::from(room.slots)
            || own.cpu_millis > 0 && cpu > u64::from(room.cpu_millis)
            || own.memory_bytes > 0 && memory > room.memory_bytes;
        let bears = own.labels.iter().all(|(key, value)| room.labels.get(key) == Some(value));
        if !bears {
            seen.push(format!("{} asks for {:?} and starts on {room:?}", step.job, own.labels));
        }
        if over {
            let used = format!("{slots} slots, {cpu} m, {memory} B");
            seen.push(format!(
                "{} starts at index {} on node {node}, where {used} of {room:?} are in use",
                step.job, step.index
            ));
        }
    }
    seen
}

fn room_at(history: &History, node: NodeId, index: Index) -> Option<&Room> {
    history.rooms.iter().rev().find(|room| room.node == node && room.index <= index)
}
