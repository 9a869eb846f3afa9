//! What is known of the log without reading the disk: where it begins, each entry's id and hash, and the
//! last entries themselves. Reads and writes nothing.

use super::fork::ForkMark;
use super::frame;
use super::types::{LogId, Types};
use openraft::{Entry, EntryPayload};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries kept in memory.
const RECENT: usize = 160;
/// Bytes of entries kept in memory.
const RECENT_BYTES: usize = 8 << 20;

/// Where the log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Base {
    /// The last entry purged.
    pub(super) purged: Option<LogId>,
    /// Its frame's hash, 0 if there never was one here.
    pub(super) hash: u64,
}

impl Base {
    /// The first index that can be there.
    pub(super) fn next_index(&self) -> u64 {
        self.purged.map_or(0, |id| id.index + 1)
    }
}

/// What is known of an entry without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// Its log id.
    pub(super) id: LogId,
    /// The hash of its frame.
    pub(super) hash: u64,
    /// Bytes of its frame.
    pub(super) bytes: u32,
}

/// The log in memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Where it begins.
    pub(super) base: Base,
    /// All entries after `base`.
    pub(super) known: VecDeque<Known>,
    /// Bytes of all frames.
    pub(super) bytes: u64,
    /// The last entries, in order.
    recent: VecDeque<Entry<Types>>,
    recent_bytes: usize,
    /// The index after the last entry that can be read from disk; the writer moves it.
    pub(super) settled: Arc<AtomicU64>,
    /// The last log id known to be committed.
    pub(super) committed: Option<LogId>,
}

impl Memory {
    /// A log that was read from disk.
    pub(super) fn new(base: Base, known: VecDeque<Known>, committed: Option<LogId>) -> Self {
        let bytes = known.iter().map(|entry| u64::from(entry.bytes)).sum();
        let memory = Self { base, known, bytes, committed, ..Self::default() };
        memory.settled.store(memory.next_index(), Ordering::Release);
        memory
    }

    /// The last log id, purged or not.
    pub(super) fn last(&self) -> Option<LogId> {
        self.known.back().map(|entry| entry.id).or(self.base.purged)
    }

    /// The index that the next entry has.
    pub(super) fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    /// The hash that the next entry is chained to.
    pub(super) fn last_hash(&self) -> u64 {
        self.known.back().map_or(self.base.hash, |entry| entry.hash)
    }

    /// Frames `entries`, in order, and keeps them: index and frame of each.
    pub(super) fn frame(&mut self, entries: Vec<Entry<Types>>) -> Vec<(u64, Vec<u8>)> {
        let mut frames = Vec::with_capacity(entries.len());
        for entry in entries {
            let index = entry.log_id.index;
            let (bytes, hash) = frame::encode(&entry, self.last_hash());
            self.push(entry, hash, bytes.len() as u32);
            frames.push((index, bytes));
        }
        self.evict();
        frames
    }

    /// What the fork `mark` still lacks: its first entry framed, if the log ends just before it.
    ///
    /// # Errors
    /// In words, when the log is not the one that was forked.
    pub(super) fn finish_fork(&mut self, mark: &ForkMark) -> Result<Option<Vec<(u64, Vec<u8>)>>, String> {
        let next = self.next_index();
        if next < mark.index.0 {
            return Err(format!("it was forked at entry {}, but ends before {next}", mark.index));
        }
        let id = mark.log_id();
        if next == mark.index.0 {
            if self.last_hash() != mark.hash {
                return Err(format!("the entry before {} is not the one that was forked at", mark.index));
            }
            return Ok(Some(self.frame(vec![mark.entry()])));
        }
        match self.known_at(mark.index.0) {
            Some(known) if known.id != id => Err(format!("entry {} is not the one of the fork", mark.index)),
            _ => Ok(None),
        }
    }

    /// The first index that is there, or would be.
    pub(super) fn first_index(&self) -> u64 {
        self.known.front().map_or(self.base.next_index(), |entry| entry.id.index)
    }

    fn position(&self, index: u64) -> Option<usize> {
        self.known.binary_search_by_key(&index, |entry| entry.id.index).ok()
    }

    /// What is known of the entry at `index`.
    pub(super) fn known_at(&self, index: u64) -> Option<Known> {
        self.position(index).map(|position| self.known[position])
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, entry: Entry<Types>, hash: u64, bytes: u32) {
        self.known.push_back(Known { id: entry.log_id, hash, bytes });
        self.bytes += u64::from(bytes);
        self.recent_bytes += payload_bytes(&entry);
        self.recent.push_back(entry);
    }

    /// Lets go of the oldest entries, but not of those that can't be read from disk yet.
    fn evict(&mut self) {
        let settled = self.settled.load(Ordering::Acquire);
        while self.recent.len() > RECENT || self.recent_bytes > RECENT_BYTES {
            let Some(entry) = self.recent.pop_front_if(|entry| entry.log_id.index < settled) else { return };
            self.recent_bytes -= payload_bytes(&entry);
        }
    }

    /// Cuts off the entries from `since` on.
    pub(super) fn truncate(&mut self, since: u64) {
        while let Some(entry) = self.known.pop_back_if(|entry| entry.id.index >= since) {
            self.bytes -= u64::from(entry.bytes);
        }
        while let Some(entry) = self.recent.pop_back_if(|entry| entry.log_id.index >= since) {
            self.recent_bytes -= payload_bytes(&entry);
        }
    }

    /// Lets go of the entries up to `upto`.
    pub(super) fn purge(&mut self, upto: LogId) {
        let hash = self.known_at(upto.index).map_or(0, |entry| entry.hash);
        while let Some(entry) = self.known.pop_front_if(|entry| entry.id.index <= upto.index) {
            self.bytes -= u64::from(entry.bytes);
        }
        while let Some(entry) = self.recent.pop_front_if(|entry| entry.log_id.index <= upto.index) {
            self.recent_bytes -= payload_bytes(&entry);
        }
        self.base = Base { purged: Some(upto), hash };
    }

    /// The entry at `index`, if it is in memory.
    pub(super) fn recent_at(&self, index: u64) -> Option<&Entry<Types>> {
        let position = self.recent.binary_search_by_key(&index, |entry| entry.log_id.index);
        position.ok().and_then(|position| self.recent.get(position))
    }
}

/// Bytes that an entry takes in memory.
pub(super) fn payload_bytes(entry: &Entry<Types>) -> usize {
    match &entry.payload {
        EntryPayload::Normal(payload) => payload.bytes.len() + 64,
        _ => 64,
    }
}
