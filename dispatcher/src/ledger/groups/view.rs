//! Groups as they are read, and checked.

use super::super::{Ledger, keys};
use super::{Entry, Groups, spec_key};
use relais_protocol::group::{GroupId, GroupRow, GroupSpec};
use relais_protocol::job::StateName;

/// A group as it is now.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// Its row.
    pub row: GroupRow,
    /// What its members are made from.
    pub spec: GroupSpec,
    /// Its members by state, in the order of [`StateName::ALL`]: those that are still to be made are counted as
    /// what they will be, and as cancelled once none is made any more.
    pub counts: [u64; StateName::ALL.len()],
    /// Members whose time in the record is over, or that were deleted.
    pub forgotten: u64,
    /// `queued` until a member has started, then `running`, then how it ended.
    pub state: StateName,
}

impl GroupView {
    /// Members that have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let ended = StateName::ALL.iter().zip(self.counts).filter(|(state, _)| state.is_terminal());
        ended.map(|(_, count)| count).sum::<u64>() + self.forgotten
    }
}

impl Ledger {
    /// A group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<GroupView> {
        let entry = self.groups.entries.get(&id)?;
        let spec = self.group_spec(id)?;
        let row = entry.row.clone();
        let mut counts = entry.counts;
        let unmade = u64::from(row.count - row.made);
        if unmade > 0 {
            let next = self.unmade(id.member(row.made)).map_or(StateName::Queued, |job| job.state.name());
            counts[next as usize] += unmade;
        }
        let forgotten = u64::from(row.made).saturating_sub(entry.known());
        let has_begun = entry.in_states(&[StateName::Blocked, StateName::Scheduled, StateName::Queued]) < entry.known();
        let state = match row.ended {
            Some((_, state)) => state,
            None if has_begun => StateName::Running,
            None => StateName::Queued,
        };
        Some(GroupView { row, spec, counts, forgotten, state })
    }

    /// All groups, by id.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.groups.rows().map(|row| row.id)
    }

    /// What the members of a group are made from.
    #[must_use]
    pub fn group_spec(&self, id: GroupId) -> Option<GroupSpec> {
        let key = spec_key(id);
        keys::decode_row(&key, &self.sheet.read(&key)?).ok()
    }

    /// What is wrong with the groups, for checks: the index must follow from the rows.
    pub(in crate::ledger) fn groups_broken(&self) -> Option<String> {
        let mut again = Groups {
            entries: self.groups.rows().map(|row| (row.id, Entry::new(row.clone()))).collect(),
            ..Groups::default()
        };
        self.each_job(|job| again.enter(job.id, job.state.name()));
        again.find_work();
        if again.due != self.groups.due {
            return Some(format!("groups {:?} have something to do, kept {:?}", again.due, self.groups.due));
        }
        self.groups.entries.values().find_map(|entry| {
            let (row, right) = (&entry.row, again.entries.get(&entry.row.id)?);
            let counted = right.counts == entry.counts && right.live == entry.live;
            if !counted {
                return Some(format!("members of {} are {:?}, counted {:?}", row.id, right.counts, entry.counts));
            }
            let is_ended = row.healing || row.ended.is_none() || entry.has_ended();
            let made = row.made <= row.count && entry.known() <= u64::from(row.count);
            (!(is_ended && made)).then(|| format!("group {row:?} has {:?}", entry.counts))
        })
    }
}
