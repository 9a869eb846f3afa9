//! The journal of the model: ballots, entries, and what applying a journal comes to.

use std::hash::{Hash, Hasher};

/// Entries that a journal of the model has room for.
pub const ENTRIES_MAX: usize = 6;

/// A vote of the journal: (term, candidate), ordered like openraft's, which tells two candidates of one
/// term apart by their ids. Each ballot has one owner, so it says as well who leads by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ballot(u8);

impl Ballot {
    /// The ballot of `node` in `term`.
    #[must_use]
    pub fn new(term: u8, node: u8) -> Self {
        Self(term * 4 + node)
    }

    /// Its term.
    #[must_use]
    pub fn term(self) -> u8 {
        self.0 / 4
    }

    /// Whose it is.
    #[must_use]
    pub fn node(self) -> u8 {
        self.0 % 4
    }
}

/// One run of a node's process: the counterpart of (node, incarnation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run {
    /// The node.
    pub node: u8,
    /// How often it was restarted before.
    pub restarts: u8,
}

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Record {
    /// A reign begins.
    Promote(Run),
    /// A job, in a batch that was stamped with an epoch when its dispatcher took it in.
    Submit(Submit),
}

/// A submit, as stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Submit {
    /// Which of the submits.
    pub job: u8,
    /// The epoch of the dispatcher that took it in.
    pub epoch: u8,
}

/// An entry of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    /// By which ballot its leader led.
    pub ballot: Ballot,
    /// What it records.
    pub record: Record,
}

/// Where a journal ends: the greater one is the more complete one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct End {
    /// The ballot of the last entry.
    pub ballot: Ballot,
    /// The number of entries.
    pub len: u8,
}

/// A journal, of one node or as it was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Journal {
    len: u8,
    entries: [Option<Entry>; ENTRIES_MAX],
}

/// Entries are hashed most of the time: one number each, and only those that are there.
impl Hash for Journal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.len);
        for (_, entry) in self.entries() {
            let record = match entry.record {
                Record::Promote(run) => [1, run.node, run.restarts],
                Record::Submit(submit) => [2, submit.job, submit.epoch],
            };
            state.write_u32(u32::from_le_bytes([entry.ballot.0, record[0], record[1], record[2]]));
        }
    }
}

impl Journal {
    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> u8 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no entry can be added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        usize::from(self.len) == ENTRIES_MAX
    }

    /// The entries, with their index from 0.
    pub fn entries(&self) -> impl Iterator<Item = (u8, Entry)> + '_ {
        self.entries.iter().flatten().zip(0..).map(|(entry, index)| (index, *entry))
    }

    /// The entry at `index`, from 0.
    #[must_use]
    pub fn entry(&self, index: u8) -> Option<Entry> {
        self.entries.get(usize::from(index)).copied().flatten()
    }

    /// Where it ends.
    #[must_use]
    pub fn end(&self) -> End {
        let last = self.len.checked_sub(1).and_then(|index| self.entry(index));
        End { ballot: last.map_or(Ballot::default(), |entry| entry.ballot), len: self.len }
    }

    /// Adds an entry; there must be room.
    pub fn push(&mut self, entry: Entry) {
        self.entries[usize::from(self.len)] = Some(entry);
        self.len += 1;
    }

    /// Its first `len` entries.
    #[must_use]
    pub fn first(&self, len: u8) -> Self {
        let mut first = *self;
        first.len = len.min(self.len);
        first.entries[usize::from(first.len)..].fill(None);
        first
    }

    /// Whether `other` goes on where this one ends.
    #[must_use]
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        self.len <= other.len && other.first(self.len) == *self
    }

    /// The epoch that is in force after the first `len` entries: each `Promote` raises it by one.
    #[must_use]
    pub fn epoch_at(&self, len: u8) -> u8 {
        let first = self.entries().take(usize::from(len));
        first.filter(|(_, entry)| matches!(entry.record, Record::Promote(_))).fold(0, |epoch, _| epoch + 1)
    }

    /// Whether `submit` takes effect in it: it stands where its own epoch is in force. One that stands
    /// elsewhere is void, as in the ledger.
    #[must_use]
    pub fn has(&self, submit: Submit) -> bool {
        self.entries()
            .any(|(index, entry)| entry.record == Record::Submit(submit) && self.epoch_at(index) == submit.epoch)
    }

    /// The index behind the last entry that `ballot`'s leader added, or 0.
    #[must_use]
    pub fn last_promote_by(&self, ballot: Ballot) -> u8 {
        let own = self.entries().filter(|(_, entry)| entry.ballot == ballot);
        own.filter(|(_, entry)| matches!(entry.record, Record::Promote(_)))
            .map(|(index, _)| index + 1)
            .last()
            .unwrap_or(0)
    }
}
