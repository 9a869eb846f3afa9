//! A group comes: by a submit, or from the other side of a split.

use super::super::Ledger;
use super::super::keys;
use super::super::merge::join_groups;
use super::{Entry, inputs_key, spec_key};
use relais_protocol::codec;
use relais_protocol::group::{
    GroupId, GroupInputs, GroupRow, GroupSize, GroupSpec, GroupSubmit, MEMBERS_MAX, WINDOW_MAX,
};
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::job::Place;
use relais_protocol::record::{Outcome, Refusal};

/// Bytes of inputs in one row, about.
const INPUTS_A_ROW: usize = 16 << 10;
/// Cuts lines into parts for a row each: of which member the first line is, and the lines.
fn parts(lines: &str) -> Vec<(u32, String)> {
    let mut parts: Vec<(u32, String)> = Vec::new();
    for (index, line) in (0u32..).zip(lines.lines()) {
        match parts.last_mut().filter(|(_, part)| part.len() + line.len() < INPUTS_A_ROW) {
            Some((_, part)) => {
                part.push('\n');
                part.push_str(line);
            }
            None => parts.push((index, line.to_owned())),
        }
    }
    parts
}

impl Ledger {
    pub(in crate::ledger) fn submit_group(&mut self, place: Place, submit: GroupSubmit) -> Outcome {
        let id = submit.id;
        if let Some(known) = self.groups.known(id.as_job()) {
            return known;
        }
        if let Some(known) = self.known_by_key(&submit.spec, submit.body_hash) {
            return known;
        }
        if let Some(refusal) = self.unknown_parent(&submit.spec.options().depends_on) {
            return Outcome::Refused(refusal);
        }
        if !self.jobs_between(id.as_job(), id.last(), 1).is_empty() {
            return Outcome::Refused(Refusal::GroupIdTaken);
        }
        let nodes = match &submit.size {
            GroupSize::EveryNode => self.nodes.all_that_fit(&submit.spec.options().requires),
            _ => Vec::new(),
        };
        let count = match &submit.size {
            GroupSize::Count(count) => *count,
            GroupSize::Inputs(lines) => lines.lines().count() as u32,
            GroupSize::EveryNode => nodes.len() as u32,
        };
        let count = count.min(MEMBERS_MAX);
        if count == 0 {
            return Outcome::Refused(Refusal::NoNodeMatches);
        }
        self.keep_key(&submit.spec, id.as_job(), submit.body_hash);
        let row = self.new_row(place, &submit, count);
        self.keep_members(submit, nodes);
        self.groups.insert(Entry::new(row));
        Outcome::Grouped { id, count, deduplicated: false }
    }

    fn new_row(&self, place: Place, submit: &GroupSubmit, count: u32) -> GroupRow {
        GroupRow {
            id: submit.id,
            count,
            made: 0,
            place,
            created_at: self.head.now,
            body_hash: submit.body_hash,
            keyed: submit.spec.options().idempotency_key.is_some(),
            max_failures: submit.max_failures,
            window: submit.window.clamp(1, WINDOW_MAX),
            halt: None,
            swept: submit.id.as_job(),
            ended: None,
            completed: false,
            healing: false,
            born: self.stamp(),
            changed: self.stamp(),
        }
    }

    /// Keeps what the members are to be made from.
    fn keep_members(&mut self, submit: GroupSubmit, nodes: Vec<NodeId>) {
        let GroupSubmit { id, spec, size, first, submitted_by, .. } = submit;
        let born = self.stamp();
        self.keep_group_spec(&GroupSpec { id, spec, first, submitted_by, nodes, born });
        if let GroupSize::Inputs(lines) = size {
            for (first, lines) in parts(&lines) {
                self.keep_group_inputs(&GroupInputs { id, first, lines, born });
            }
        }
    }

    pub(in crate::ledger) fn keep_group_spec(&mut self, row: &GroupSpec) {
        self.sheet.write(spec_key(row.id), Some(codec::encode(codec::FORMAT, row)));
    }

    pub(in crate::ledger) fn keep_group_inputs(&mut self, row: &GroupInputs) {
        self.sheet.write(inputs_key(row.id, row.first), Some(codec::encode(codec::FORMAT, row)));
    }

    /// A group of the other side. Its members come after it.
    pub(in crate::ledger) fn merge_group(&mut self, row: GroupRow) {
        let id = row.id;
        let (changed, own) = (self.stamp(), self.groups.entries.get(&id));
        let mut entry = match own {
            Some(own) => {
                let joined = GroupRow { changed: own.row.changed, ..join_groups(&own.row, &row) };
                if joined == own.row {
                    return;
                }
                Entry { row: joined, ..own.clone() }
            }
            None => {
                let mut entry = Entry::new(row);
                self.jobs.oldest_first(&self.sheet, id.as_job(), id.last(), |job| {
                    entry.take(job.id, job.state.name());
                    true
                });
                entry
            }
        };
        entry.row.changed = changed;
        entry.row.healing = true;
        self.groups.insert(entry);
    }

    /// All rows of the other side are there.
    pub(in crate::ledger) fn end_healing(&mut self) {
        let healing = self.groups.rows().filter(|row| row.healing).map(|row| row.id);
        let stamp = self.stamp();
        for id in healing.collect::<Vec<_>>() {
            let Some(entry) = self.groups.entries.get(&id) else { continue };
            let ended = entry.row.ended.filter(|_| entry.has_ended()).map(|(at, _)| (at, entry.ending()));
            self.groups.change(id, stamp, |row| {
                row.healing = false;
                row.ended = ended;
            });
        }
    }

    /// The input of the members from `from` on, `count` at most.
    pub(super) fn inputs(&self, group: GroupId, from: u32, count: u32) -> Vec<String> {
        let mut inputs = Vec::new();
        let (low, high) = (inputs_key(group, 0), inputs_key(group, from.saturating_add(count)));
        let mut first_row = None;
        self.sheet.scan(&low, &inputs_key(group, from.saturating_add(1)), true, |key, _| {
            first_row = Some(key.to_vec());
            false
        });
        let Some(first_row) = first_row else { return inputs };
        self.sheet.scan(&first_row, &high, false, |key, row| {
            let Ok(row) = keys::decode_row::<GroupInputs>(key, row) else { return false };
            let skipped = from.saturating_sub(row.first) as usize;
            let left = count as usize - inputs.len();
            inputs.extend(row.lines.lines().skip(skipped).take(left).map(str::to_owned));
            inputs.len() < count as usize
        });
        inputs
    }

    /// What is not in the record as a job.
    pub(in crate::ledger) fn not_there(&self, id: JobId) -> Outcome {
        let unmade = self.unmade(id).map(|_| GroupId::of(id));
        Outcome::Refused(unmade.map_or(Refusal::NoSuchJob, Refusal::NotMade))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_into_rows_in_order() {
        let lines: Vec<String> = (0..5_000).map(|n| format!("\"input {n}\"")).collect();
        let cut = parts(&lines.join("\n"));
        assert!(cut.len() > 3 && cut.iter().all(|(_, part)| part.len() <= INPUTS_A_ROW));
        let again: Vec<&str> = cut.iter().flat_map(|(_, part)| part.lines()).collect();
        assert_eq!(again, lines);
        let firsts = cut.iter().scan(0u32, |next, (first, part)| {
            let is_right = *first == *next;
            *next += part.lines().count() as u32;
            Some(is_right)
        });
        assert!(firsts.collect::<Vec<_>>().into_iter().all(|is_right| is_right));
    }
}
