//! The one thread that writes the log, its high-water mark and the vote.
//!
//! An append is acknowledged after the log's tail was synced and the mark was written, in this order: entries up
//! to the mark must be there at open. A process that is killed leaves a mark that is exact. The mark itself is
//! synced when the log is idle and whenever the database is, so after a power cut it can lag: then the frames
//! beyond it are taken as far as they are whole, and the only loss that it would not show is damage, in the same
//! moment, to a frame of the last [`MARK_LAG`] or so. It would cost a second sync of each append to show that.
//!
//! The log's database gets what is in the tail at once, before that grows long, and is synced after every change;
//! so what the power cuts in two in there was never yet taken out of the tail.
//!
//! Under a simulated clock it is no thread but a task of the runtime, since such a clock runs ahead of
//! every thread.

use super::book::{Book, BookError};
use super::guard::{Guard, Synced};
use super::ledger::Ledger;
use super::log::{BASE_KEY, COMMITTED_KEY, FRAMES};
pub(super) use super::log_job::{Append, Ballot, LogJob, Mark};
use super::log_memory::Base;
use super::slots::SlotFile;
use super::tail::Tail;
use super::threads::LogJobs;
use relais_protocol::codec;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// Jobs that may wait. Openraft waits for each but purges, so there is always room.
const JOBS: usize = 256;
/// Purged entries removed from disk, and that synced, between two looks for other work.
const PURGE_SLICE: u64 = 256;
/// Frames, and bytes of them, from which on the tail is written into the database when there is nothing else to do.
const TAIL_FRAMES: usize = 96;
const TAIL_BYTES: u64 = 2 << 20;
/// So many times that much is written into the database at once.
const TAIL_FULL: usize = 4;
/// How long the log is idle before the mark is synced.
const MARK_LAG: Duration = Duration::from_millis(100);
/// Between two looks whether a snapshot is on disk.
const GAP_WAIT: Duration = Duration::from_millis(1);

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

/// Starts the thread; it ends on [`LogJob::Close`].
pub(super) fn spawn(writer: LogWriter) -> io::Result<(LogJobs, JoinHandle<()>)> {
    let (jobs, queue) = sync_channel(JOBS);
    let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
        let guard = writer.guard.clone();
        let mut running = Running::new(writer);
        if catch_unwind(AssertUnwindSafe(|| running.run(&queue))).is_err() {
            guard.fail("cannot write the log: its store panicked".to_owned());
        }
    })?;
    Ok((LogJobs::Thread(jobs), thread))
}

/// Starts a task in the thread's place. Must be called within a runtime.
pub(super) fn spawn_in_line(writer: LogWriter) -> (LogJobs, tokio::task::JoinHandle<()>) {
    let (jobs, queue) = mpsc::unbounded_channel();
    (LogJobs::InLine(jobs), tokio::spawn(Running::new(writer).run_in_line(queue)))
}

struct Running {
    writer: LogWriter,
    /// A purge not yet made on disk.
    wanted: Option<Base>,
    /// Frames below this index are gone from disk; those up to the base are to go.
    removed: u64,
}

impl Running {
    fn new(writer: LogWriter) -> Self {
        let removed = writer.base.next_index();
        Self { writer, wanted: None, removed }
    }

    fn run(&mut self, queue: &Receiver<LogJob>) {
        while let Ok(job) = self.next(queue) {
            if matches!(job, LogJob::Close) {
                self.end();
                return;
            }
            self.work(job);
        }
    }

    async fn run_in_line(mut self, mut queue: mpsc::UnboundedReceiver<LogJob>) {
        loop {
            let job = match tokio::time::timeout(MARK_LAG, queue.recv()).await {
                Ok(Some(job)) => job,
                Ok(None) => return,
                Err(_) => {
                    self.rest();
                    match queue.recv().await {
                        Some(job) => job,
                        None => return,
                    }
                }
            };
            if matches!(job, LogJob::Close) {
                return self.end();
            }
            tokio::time::sleep(self.writer.guard.pace()).await;
            while let LogJob::Append(append, _) = &job
                && matches!(self.is_early(append), Ok(true))
            {
                tokio::time::sleep(GAP_WAIT).await;
            }
            self.work(job);
            while queue.is_empty() && matches!(self.tidy(), Ok(true)) {}
        }
    }

    /// Leaves nothing in the tail. That it fails is no loss: it is read at the next open.
    fn end(&mut self) {
        if !self.writer.guard.has_failed() {
            let _ = self.writer.settle().and_then(|()| Ok(self.writer.tail.clear()?));
        }
    }

    /// Dropping a job drops its channel: nothing is acknowledged after a failure.
    fn work(&mut self, job: LogJob) {
        if !self.writer.guard.has_failed()
            && let Err(e) = self.job(job)
        {
            self.writer.guard.fail(format!("cannot write the log: {e}"));
        }
    }

    /// The next job; tidies up while there is none.
    fn next(&mut self, queue: &Receiver<LogJob>) -> Result<LogJob, RecvError> {
        loop {
            match queue.try_recv() {
                Ok(job) => return Ok(job),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                Err(TryRecvError::Empty) => {}
            }
            match self.tidy() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(e) => self.writer.guard.fail(format!("cannot tidy the log: {e}")),
            }
            if !self.writer.lags {
                return queue.recv();
            }
            match queue.recv_timeout(MARK_LAG) {
                Ok(job) => return Ok(job),
                Err(RecvTimeoutError::Disconnected) => return Err(RecvError),
                Err(RecvTimeoutError::Timeout) => self.rest(),
            }
        }
    }

    /// The log is idle: what lags is synced.
    fn rest(&mut self) {
        if !self.writer.guard.has_failed()
            && let Err(e) = self.writer.sync_mark()
        {
            self.writer.guard.fail(format!("cannot write the log: {e}"));
        }
    }

    /// Does a part of what nobody waits for; `false` if there is nothing.
    fn tidy(&mut self) -> Result<bool, BookError> {
        if self.writer.guard.has_failed() {
            return Ok(false);
        }
        if self.writer.is_long(1) {
            self.writer.settle()?;
            return Ok(true);
        }
        self.purge_some()
    }

    fn job(&mut self, job: LogJob) -> Result<(), BookError> {
        match job {
            LogJob::Append(append, callback) => {
                self.before_append(&append)?;
                let told = self.writer.append(append).map_err(|e| {
                    self.writer.guard.fail(format!("cannot write the log: {e}"));
                    io::Error::other(e.to_string())
                });
                callback.log_io_completed(told);
                if self.writer.is_long(TAIL_FULL) && !self.writer.guard.has_failed() {
                    self.writer.settle()?;
                }
                Ok(())
            }
            LogJob::Truncate { since, end, mark, done } => {
                self.writer.truncate(since, end, mark)?;
                let _ = done.send(());
                Ok(())
            }
            LogJob::Purge(base) => {
                self.wanted = Some(base);
                Ok(())
            }
            LogJob::Vote(vote, done) => {
                self.writer.save_ballot(Ballot { vote: Some(vote), ..self.writer.ballot })?;
                let _ = done.send(());
                Ok(())
            }
            LogJob::Adopt(history, done) => {
                self.writer.save_ballot(Ballot { history: Some(history), ..self.writer.ballot })?;
                let _ = done.send(());
                Ok(())
            }
            LogJob::Fork(append, ballot, done) => {
                self.before_append(&append)?;
                self.writer.fork(append, ballot)?;
                let _ = done.send(());
                Ok(())
            }
            LogJob::Nudge | LogJob::Close => Ok(()),
        }
    }

    /// After a snapshot the log goes on beyond a gap. The gap must not come to disk before the snapshot
    /// is, which a crash in between would turn into a journal that lacks entries.
    fn before_append(&mut self, append: &Append) -> Result<(), BookError> {
        while self.is_early(append)? {
            std::thread::sleep(GAP_WAIT);
        }
        let is_gap = append.first() > self.writer.end && self.writer.base.next_index() > self.writer.end;
        while is_gap && self.purge_some()? {}
        Ok(())
    }

    /// Whether an append has to wait for a snapshot to be on disk.
    fn is_early(&mut self, append: &Append) -> Result<bool, BookError> {
        let end = self.writer.end;
        let is_gap = self.wanted.is_some_and(|base| base.next_index() > end && append.first() > end);
        Ok(is_gap && !self.writer.guard.has_failed() && !self.begin_purge()?)
    }

    /// Writes the base of a wanted purge, if the ledger on disk has all that goes.
    fn begin_purge(&mut self) -> Result<bool, BookError> {
        let Some(base) = self.wanted else { return Ok(false) };
        if self.writer.ledger.inner().meta.next_index() < base.next_index() {
            return Ok(false);
        }
        self.writer.settle()?;
        self.writer.book.write(BASE_KEY, Some(&codec::encode(codec::FORMAT, &base)))?;
        self.writer.sync()?;
        self.writer.base = base;
        self.wanted = None;
        Ok(true)
    }

    /// Removes some purged entries; `false` if there are none.
    fn purge_some(&mut self) -> Result<bool, BookError> {
        let begun = self.begin_purge()?;
        let upto = self.writer.base.next_index().min(self.writer.end);
        let some = self.removed < upto;
        for index in self.removed..upto.min(self.removed + PURGE_SLICE) {
            self.writer.remove(index)?;
            self.removed = index + 1;
        }
        if some {
            self.writer.sync()?;
        }
        if self.writer.end < self.writer.base.next_index() && self.removed >= self.writer.end {
            self.writer.end = self.writer.base.next_index();
            self.removed = self.writer.end;
        }
        Ok(begun || some)
    }
}

impl LogWriter {
    /// The ballot first: from then on the fork is made, and whoever opens the store finishes it.
    fn fork(&mut self, append: Append, ballot: Ballot) -> Result<(), BookError> {
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
        self.unsettled.push(append);
        counters.bytes_appended.fetch_add(bytes as u64, Ordering::Relaxed);
        counters.entries_acknowledged.fetch_add(entries, Ordering::Relaxed);
        counters.appends_acknowledged.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the tail is `times` as long as what is worth being written into the book.
    fn is_long(&self, times: usize) -> bool {
        let frames: usize = self.unsettled.iter().map(|append| append.frames.len()).sum();
        frames >= times * TAIL_FRAMES || self.tail.bytes() >= times as u64 * TAIL_BYTES
    }

    /// Writes what is in the tail into the book, and syncs that.
    fn settle(&mut self) -> Result<(), BookError> {
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

    fn sync(&mut self) -> Result<(), BookError> {
        self.book.flush()?;
        self.guard.sync_log(Synced::Log, || self.book.file().sync_data())?;
        self.sync_mark()
    }

    fn sync_mark(&mut self) -> Result<(), BookError> {
        if self.lags {
            self.guard.sync(Synced::LogMark, || self.mark.sync())?;
            self.lags = false;
        }
        Ok(())
    }

    /// The mark goes back first: entries beyond it may be there or not.
    fn truncate(&mut self, since: u64, end: u64, mark: Option<(u64, u64)>) -> Result<(), BookError> {
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
        self.settled.store(self.end, Ordering::Release);
        self.sync()
    }

    fn remove(&self, index: u64) -> Result<(), BookError> {
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
