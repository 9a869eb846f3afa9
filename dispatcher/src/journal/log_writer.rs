//! Writes the log, its high-water mark and the vote, for the one thread that may: [`super::log_thread`].
//!
//! An append is acknowledged after the log's tail was synced and the mark was written, in this order: entries up
//! to the mark must be there at open. A process that is killed leaves a mark that is exact. The mark itself is
//! synced when the log is idle and whenever the database is, so after a power cut it can lag: then the frames
//! beyond it are taken as far as they are whole, and the only loss that it would not show is damage, in the same
//! moment, to a frame of the last [`MARK_LAG`](super::log_thread) or so. It would cost a second sync of each append to show that.
//!
//! The log's database gets what is in the tail at once, before that grows long, and is synced after every change;
//! so what the power cuts in two in there was never yet taken out of the tail.

use super::book::{Book, BookError};
use super::guard::{Guard, Synced};
use super::ledger::Ledger;
use super::log::{COMMITTED_KEY, FRAMES};
use super::log_job::{Append, Ballot, Mark};
use super::log_memory::Base;
use super::slots::SlotFile;
use super::tail::Tail;
use relais_protocol::codec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Frames, and bytes of them, from which on the tail is written into the database when there is nothing else to do.
const TAIL_FRAMES: usize = 96;
const TAIL_BYTES: u64 = 2 << 20;

/// Writes the log.
pub(super) struct LogWriter {
    /// Frames.
    pub(super) book: Arc<Book>,
    /// Counts and fails.
    pub(super) guard: Arc<Guard>,
    /// The newest frames.
    pub(super) tail: Tail,
    /// The index after the last frame in the book, told to who reads.
    pub(super) settled: Arc<AtomicU64>,
    /// What is in the tail and not in the book.
    pub(super) unsettled: Vec<Append>,
    /// Says how far the ledger reaches: what is not in it is not purged.
    pub(super) ledger: Arc<Ledger>,
    /// Holds [`Mark`].
    pub(super) mark: SlotFile,
    /// Holds [`Ballot`].
    pub(super) vote: SlotFile,
    /// What is in it.
    pub(super) ballot: Ballot,
    /// The base on disk.
    pub(super) base: Base,
    /// The index after the last frame on disk.
    pub(super) end: u64,
    /// Whether the mark is not synced.
    pub(super) lags: bool,
}

impl LogWriter {
    /// The ballot first: from then on the fork is made, and whoever opens the store finishes it.
    pub(super) fn fork(&mut self, append: Append, ballot: Ballot) -> Result<(), BookError> {
        self.guard.count_steps(true);
        self.guard.step()?;
        self.save_ballot(ballot)?;
        self.append(append)?;
        self.guard.step()?;
        self.guard.count_steps(false);
        Ok(())
    }

    /// Writes and syncs, and says so by the mark.
    pub(super) fn append(&mut self, append: Append) -> Result<(), BookError> {
        let counters = self.guard.counters.clone();
        let entries = append.frames.len() as u64;
        let bytes: usize = append.frames.iter().map(|(_, frame)| frame.len()).sum();
        self.tail.write(&append)?;
        self.guard.sync_log(Synced::LogTail, || self.tail.sync())?;
        self.guard.step()?;
        self.mark.write(&codec::encode(codec::FORMAT, &Mark { last: append.mark }))?;
        self.lags = true;
        self.end = append.frames.last().map_or(self.end, |(index, _)| index + 1);
        self.guard.flushed.reach(self.end);
        self.unsettled.push(append);
        counters.bytes_appended.fetch_add(bytes as u64, Ordering::Relaxed);
        counters.entries_acknowledged.fetch_add(entries, Ordering::Relaxed);
        counters.appends_acknowledged.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the tail is `times` as long as what is worth being written into the book.
    pub(super) fn is_long(&self, times: usize) -> bool {
        let frames: usize = self.unsettled.iter().map(|append| append.frames.len()).sum();
        frames >= times * TAIL_FRAMES || self.tail.bytes() >= times as u64 * TAIL_BYTES
    }

    /// Writes what is in the tail into the book, and syncs that.
    pub(super) fn settle(&mut self) -> Result<(), BookError> {
        if self.unsettled.is_empty() {
            return Ok(());
        }
        let mut changes = Vec::new();
        for append in &self.unsettled {
            for (index, frame) in &append.frames {
                changes.extend(FRAMES.write(&index.to_be_bytes(), frame));
            }
        }
        if let Some(committed) = self.unsettled.iter().rev().find_map(|append| append.committed) {
            changes.push((COMMITTED_KEY.to_vec(), Some(codec::encode(codec::FORMAT, &committed))));
        }
        self.book.write_batch(changes)?;
        self.sync()?;
        self.unsettled.clear();
        self.settled.store(self.end, Ordering::Release);
        self.tail.rewind();
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), BookError> {
        self.book.flush()?;
        self.guard.sync_log(Synced::Log, || self.book.file().sync_data())?;
        self.sync_mark()
    }

    pub(super) fn sync_mark(&mut self) -> Result<(), BookError> {
        if self.lags {
            self.guard.sync(Synced::LogMark, || self.mark.sync())?;
            self.lags = false;
        }
        Ok(())
    }

    /// The mark goes back first: entries beyond it may be there or not.
    pub(super) fn truncate(&mut self, since: u64, end: u64, mark: Option<(u64, u64)>) -> Result<(), BookError> {
        self.settle()?;
        self.mark.write(&codec::encode(codec::FORMAT, &Mark { last: mark }))?;
        self.guard.sync(Synced::LogMark, || self.mark.sync())?;
        self.lags = false;
        self.tail.clear()?;
        self.guard.sync_log(Synced::LogTail, || self.tail.sync())?;
        for index in (since..end.min(self.end)).rev() {
            self.remove(index)?;
        }
        self.end = self.end.min(since);
        self.guard.flushed.reach(self.end);
        self.settled.store(self.end, Ordering::Release);
        self.sync()
    }

    pub(super) fn remove(&self, index: u64) -> Result<(), BookError> {
        let key = index.to_be_bytes();
        if let Some(stored) = self.book.read(&FRAMES.key(&key))? {
            // The first key goes last, since it says how many others there are.
            for (key, _) in FRAMES.remove(&key, &stored).into_iter().rev() {
                self.book.write(&key, None)?;
            }
        }
        Ok(())
    }

    /// Keeps `ballot` in both slots.
    pub(super) fn save_ballot(&mut self, ballot: Ballot) -> Result<(), BookError> {
        let bytes = codec::encode(codec::FORMAT, &ballot);
        for _ in 0..2 {
            self.vote.write(&bytes)?;
            self.guard.sync(Synced::Vote, || self.vote.sync())?;
            self.guard.step()?;
        }
        self.ballot = ballot;
        Ok(())
    }
}
