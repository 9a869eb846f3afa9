//! Groups: many jobs of one submit.
//!
//! ```text
//!   members of a group   0 ········ made ········ count
//!                        └─ rows ─┘└─ not there yet ─┘
//! ```
//!
//! A group of a million is a small row, what its members are made from, and the members that were made so far:
//! a window of them waits in line, and is filled again as they start. A member has the place and the time of its
//! group's submit, so that the group keeps its turn however late the member is made.
//!
//! How many members are in which state is an index over their rows, made again at load; the group's own row
//! changes when members are made, when no more is to run, and when all have ended. What a group has to do then
//! follows from the row and the index alone ([`Work`]), and is done as each batch is applied, so many members at
//! a time; if there is more, the next `Tick` goes on.
//!
//! It makes no member twice: not below `made`, nor where a row or a tombstone is. Members are neither deleted nor
//! forgotten before their group has ended.

mod submit;
mod view;
mod work;

pub use view::GroupView;

use super::LoadError;
use super::jobs::KEY_KEPT_MS;
use super::keys;
use crate::rows::{Rows, Sheet};
use relais_protocol::codec;
use relais_protocol::group::{GroupId, GroupRow, MEMBERS_MAX, Origin};
use relais_protocol::history::Stamp;
use relais_protocol::ids::JobId;
use relais_protocol::job::{Job, StateName};
use relais_protocol::record::Outcome;
use relais_protocol::spec::JobSpec;
use relais_protocol::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// A rough size of a group's row.
const ROW_BYTES: usize = 250;
/// How long a group that ended before any member of it was made is kept, in ms.
const UNMADE_KEPT_MS: u64 = 24 * 3_600_000;

/// Members by state, in the order of [`StateName::ALL`].
type Counts = [u64; StateName::ALL.len()];

/// A group, and what follows from the rows of its members.
#[derive(Clone, Debug)]
struct Entry {
    row: GroupRow,
    counts: Counts,
    /// Members that have not ended.
    live: BTreeSet<JobId>,
}

/// An `on_complete` to be submitted in this batch.
#[derive(Debug)]
struct Completion {
    of: JobId,
    state: StateName,
    spec: Box<JobSpec>,
}

/// All groups.
#[derive(Default)]
pub(super) struct Groups {
    entries: BTreeMap<GroupId, Entry>,
    changed: BTreeSet<GroupId>,
    /// Those that have something to do.
    due: BTreeSet<GroupId>,
    completions: Vec<Completion>,
}

impl Entry {
    fn new(row: GroupRow) -> Self {
        Self { row, counts: Counts::default(), live: BTreeSet::new() }
    }

    fn in_states(&self, states: &[StateName]) -> u64 {
        states.iter().map(|state| self.counts[*state as usize]).sum()
    }

    /// Members in the record.
    fn known(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn failed(&self) -> u64 {
        self.in_states(&[StateName::Failed, StateName::Expired])
    }

    fn waiting(&self) -> u64 {
        self.in_states(&[StateName::Blocked, StateName::Scheduled, StateName::Queued])
    }

    /// Members that are still to be made.
    fn unmade(&self) -> u32 {
        if self.row.halt.is_some() { 0 } else { self.row.count - self.row.made }
    }

    fn take(&mut self, id: JobId, state: StateName) {
        self.counts[state as usize] += 1;
        if !state.is_terminal() {
            self.live.insert(id);
        }
    }

    fn give(&mut self, id: JobId, state: StateName) {
        let count = &mut self.counts[state as usize];
        *count = count.saturating_sub(1);
        self.live.remove(&id);
    }

    /// How a group is called whose members have all ended.
    fn ending(&self) -> StateName {
        let all_well = self.in_states(&[StateName::Succeeded]) == u64::from(self.row.count);
        match &self.row.halt {
            Some(halt) if halt.aborted => StateName::Failed,
            Some(_) if !all_well => StateName::Cancelled,
            _ if self.failed() > 0 => StateName::Failed,
            _ if self.in_states(&[StateName::Cancelled]) > 0 => StateName::Cancelled,
            _ => StateName::Succeeded,
        }
    }
}

impl Groups {
    /// All of them; their members are counted as they are loaded.
    pub(super) fn load(rows: &dyn Rows) -> Result<Self, LoadError> {
        let rows = keys::load_table(rows, keys::GROUP, |row: &GroupRow| row.id)?;
        Ok(Self { entries: rows.into_iter().map(|(id, row)| (id, Entry::new(row))).collect(), ..Self::default() })
    }

    /// Looks at all groups, once their members were counted.
    pub(super) fn find_work(&mut self) {
        self.completions.clear();
        self.due = self.entries.values().filter(|entry| entry.work().is_some()).map(|entry| entry.row.id).collect();
    }

    pub(super) fn write_changed(&mut self, sheet: &mut Sheet) {
        for id in std::mem::take(&mut self.changed) {
            let row = self.entries.get(&id).map(|entry| codec::encode(codec::FORMAT, &entry.row));
            sheet.write(row_key(id), row);
        }
    }

    pub(super) fn changed_bytes(&self) -> usize {
        self.changed.len() * ROW_BYTES
    }

    /// All rows, by id.
    pub(super) fn rows(&self) -> impl Iterator<Item = &GroupRow> {
        self.entries.values().map(|entry| &entry.row)
    }

    /// Whether a group has something to do.
    pub(super) fn has_work(&self) -> bool {
        !self.due.is_empty()
    }

    /// What a submit is answered with that `id` was made of, if that is a group.
    pub(super) fn known(&self, id: JobId) -> Option<Outcome> {
        let row = &self.entries.get(&GroupId::of(id)).filter(|entry| entry.row.id.as_job() == id)?.row;
        Some(Outcome::Grouped { id: row.id, count: row.count, deduplicated: true })
    }

    fn of_member(&self, id: JobId) -> Option<&Entry> {
        let group = GroupId::of(id);
        let index = group.index_of(id)?;
        self.entries.get(&group).filter(|entry| index < entry.row.count)
    }

    /// A job is in this state now: counted if it is a member of a group.
    pub(super) fn enter(&mut self, id: JobId, state: StateName) {
        if let Some(group) = self.of_member(id).map(|entry| entry.row.id) {
            self.look_at(group, |entry| entry.take(id, state));
        }
    }

    /// It is in this state no more.
    pub(super) fn exit(&mut self, id: JobId, state: StateName) {
        if let Some(group) = self.of_member(id).map(|entry| entry.row.id) {
            self.look_at(group, |entry| entry.give(id, state));
        }
    }

    /// Changes what is known of a group, and sees what it has to do then.
    fn look_at(&mut self, id: GroupId, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        change(entry);
        if entry.work().is_some() {
            self.due.insert(id);
        } else {
            self.due.remove(&id);
        }
    }

    /// Changes a row, by what bears `stamp`.
    fn change(&mut self, id: GroupId, stamp: Stamp, change: impl FnOnce(&mut GroupRow)) {
        self.changed.insert(id);
        self.look_at(id, |entry| {
            change(&mut entry.row);
            entry.row.changed = stamp;
        });
    }

    fn insert(&mut self, entry: Entry) {
        let id = entry.row.id;
        self.changed.insert(id);
        self.entries.insert(id, entry);
        self.look_at(id, |_| {});
    }

    /// A row of a member comes in from the other side of a split: how the group stands is seen when all have.
    pub(super) fn heal(&mut self, id: JobId, stamp: Stamp) {
        if let Some(group) = self.of_member(id).filter(|entry| !entry.row.healing).map(|entry| entry.row.id) {
            self.change(group, stamp, |row| row.healing = true);
        }
    }

    /// The group whose member `id` is, if that is why the job is kept: it has not ended, or its key still stands.
    pub(super) fn that_keeps(&self, id: JobId, now: UnixMs) -> Option<GroupId> {
        let row = &self.of_member(id)?.row;
        let has_key = row.keyed && row.created_at.plus(KEY_KEPT_MS) > now;
        (row.ended.is_none() || has_key).then_some(row.id)
    }

    /// When the time of an ended job began to count: a member's with the end of its group.
    pub(super) fn ended_with(&self, job: &Job) -> Option<UnixMs> {
        let group = self.of_member(job.id).and_then(|entry| entry.row.ended);
        group.map(|(at, _)| at).or(job.finished_at)
    }

    /// A job has ended: what is to follow on it is submitted at the end of the batch. Only its first end counts.
    pub(super) fn note_end(&mut self, job: &Job) {
        let options = job.spec.options();
        let is_member = matches!(options.origin, Some(Origin::Member { .. }));
        if let Some(spec) = options.on_complete.as_ref().filter(|_| job.life == 0 && !is_member) {
            self.completions.push(Completion { of: job.id, state: job.state.name(), spec: spec.clone() });
        }
    }

    /// Forgets groups that ended long ago and never had a member.
    pub(super) fn forget_unmade(&mut self, now: UnixMs) {
        let is_over = |at: UnixMs| now.since(at) > UNMADE_KEPT_MS;
        let over = self.entries.values().filter(|entry| {
            entry.known() == 0 && entry.row.made == 0 && entry.row.ended.is_some_and(|(at, _)| is_over(at))
        });
        for id in over.map(|entry| entry.row.id).collect::<Vec<_>>() {
            self.change(id, (Default::default(), Default::default()), |row| row.made = row.count);
        }
    }
}

fn row_key(id: GroupId) -> Vec<u8> {
    keys::key(keys::GROUP, &id.as_job().0.to_be_bytes())
}

fn spec_key(id: GroupId) -> Vec<u8> {
    keys::key(keys::GROUP_SPEC, &id.as_job().0.to_be_bytes())
}

fn inputs_key(id: GroupId, first: u32) -> Vec<u8> {
    keys::key(keys::GROUP_INPUTS, &[id.as_job().0.to_be_bytes().as_slice(), &first.to_be_bytes()].concat())
}

const _: () = assert!(MEMBERS_MAX < 1 << 20, "ids of members must not run into the next group's");
