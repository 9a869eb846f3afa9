//! What a model of a journal keeps on its disk: entries since the last purge, who is a member as of each of
//! them, the term, the vote, and the mark of how far it was once synced.

use relais_dispatcher::rows::Changes;
use relais_protocol::ids::RaftId;
use relais_protocol::message::LogPosition;
use relais_protocol::record::Batch;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What an entry holds.
#[derive(Clone, Debug)]
pub(super) enum Load {
    /// A leader began.
    Blank,
    Batch(Arc<Batch>),
    Members(Arc<Members>),
}

/// An entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) term: u64,
    pub(super) load: Load,
}

/// Who votes, and who only listens. Two sets of voters while they change: each must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) sets: Vec<BTreeSet<RaftId>>,
    pub(super) learners: BTreeSet<RaftId>,
}

impl Members {
    pub(super) fn new(voters: BTreeSet<RaftId>) -> Self {
        Self { sets: vec![voters], learners: BTreeSet::new() }
    }

    pub(super) fn is_joint(&self) -> bool {
        self.sets.len() > 1
    }

    pub(super) fn is_voter(&self, id: RaftId) -> bool {
        self.sets.iter().any(|set| set.contains(&id))
    }

    pub(super) fn voters(&self) -> BTreeSet<RaftId> {
        self.sets.iter().flatten().copied().collect()
    }

    pub(super) fn all(&self) -> BTreeSet<RaftId> {
        self.voters().union(&self.learners).copied().collect()
    }

    /// Whether those for whom `says` is true are a majority of each set.
    pub(super) fn agree(&self, says: impl Fn(RaftId) -> bool) -> bool {
        let most = |set: &BTreeSet<RaftId>| set.iter().filter(|id| says(**id)).count() * 2 > set.len();
        !self.sets.is_empty() && self.sets.iter().all(most)
    }

    /// The highest value that a majority of each set has reached.
    pub(super) fn reached(&self, value: impl Fn(RaftId) -> u64) -> u64 {
        let of_set = |set: &BTreeSet<RaftId>| {
            let mut values: Vec<u64> = set.iter().map(|id| value(*id)).collect();
            values.sort_unstable_by(|a, b| b.cmp(a));
            values.get(set.len() / 2).copied().unwrap_or(0)
        };
        self.sets.iter().map(of_set).min().unwrap_or(0)
    }
}

/// A ledger as of one entry, on its way to a journal that is too far behind.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) at: LogPosition,
    pub(super) members: Arc<Members>,
    pub(super) rows: Changes,
}

/// The entries that are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// The entry before the first one kept.
    base: LogPosition,
    base_members: Arc<Members>,
    entries: VecDeque<Entry>,
    /// Entries that change the members.
    changes: Vec<(u64, Arc<Members>)>,
}

impl Log {
    /// What stands before every entry that was ever written.
    pub(super) fn beginning(entries: Vec<Entry>) -> Self {
        let mut log = Self::default();
        for entry in entries {
            log.push(entry);
        }
        log
    }

    pub(super) fn base(&self) -> LogPosition {
        self.base
    }

    pub(super) fn last_index(&self) -> u64 {
        self.base.index + self.entries.len() as u64
    }

    pub(super) fn last(&self) -> LogPosition {
        self.entries.back().map_or(self.base, |entry| LogPosition { term: entry.term, index: self.last_index() })
    }

    /// The entry at `index`, from 1, unless it is purged or not there yet.
    pub(super) fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(index.checked_sub(self.base.index + 1)? as usize)
    }

    /// The term of the entry at `index`; 0 before all, `None` where it is purged or to come.
    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    /// Entries from `index` on, `count` at most.
    pub(super) fn from(&self, index: u64, count: usize) -> Vec<Entry> {
        let skip = index.saturating_sub(self.base.index + 1) as usize;
        self.entries.iter().skip(skip).take(count).cloned().collect()
    }

    /// Who belongs to the journal, as of its last entry.
    pub(super) fn members(&self) -> &Arc<Members> {
        self.changes.last().map_or(&self.base_members, |(_, members)| members)
    }

    /// The same, as of the entry at `index`.
    pub(super) fn members_at(&self, index: u64) -> &Arc<Members> {
        let change = self.changes.iter().rev().find(|(at, _)| *at <= index);
        change.map_or(&self.base_members, |(_, members)| members)
    }

    /// The index of the last change of members.
    pub(super) fn changed_at(&self) -> u64 {
        self.changes.last().map_or(0, |(at, _)| *at)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let index = self.last_index() + 1;
        if let Load::Members(members) = &entry.load {
            self.changes.push((index, members.clone()));
        }
        self.entries.push_back(entry);
    }

    /// Drops everything after `index`.
    pub(super) fn truncate(&mut self, index: u64) {
        self.entries.truncate(index.saturating_sub(self.base.index) as usize);
        self.changes.retain(|(at, _)| *at <= index);
    }

    /// Drops everything up to `index`.
    pub(super) fn purge(&mut self, index: u64) {
        let Some(term) = self.term_at(index).filter(|_| index > self.base.index) else { return };
        self.base_members = self.members_at(index).clone();
        self.entries.drain(..(index - self.base.index) as usize);
        self.changes.retain(|(at, _)| *at > index);
        self.base = LogPosition { term, index };
    }

    /// A snapshot takes the place of all up to its own position, and of all after it that does not follow.
    pub(super) fn install(&mut self, at: LogPosition, members: Arc<Members>) {
        if self.term_at(at.index) == Some(at.term) {
            self.purge(at.index);
        } else {
            *self = Self { base: at, base_members: members, ..Self::default() };
        }
    }
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Stable {
    pub(super) term: u64,
    pub(super) voted: Option<RaftId>,
    pub(super) log: Log,
    /// The mark of the last entry that was ever synced: kept in a file of its own.
    pub(super) high_water: u64,
}

impl Stable {
    /// Whether entries are gone that were once synced, so perhaps acknowledged.
    pub(super) fn is_damaged(&self) -> bool {
        self.log.last_index() < self.high_water
    }
}
