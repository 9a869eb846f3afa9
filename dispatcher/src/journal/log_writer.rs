//! The one thread that writes the log, its high-water mark and the vote.
//!
//! An append is acknowledged only after the log's database *and then* the mark were synced, in this
//! order: entries beyond the mark were never acknowledged, entries up to it must be there at open.
//!
//! Under a simulated clock it is no thread but a task of the runtime, since such a clock runs ahead of
//! every thread.

use super::book::{Book, BookError};
use super::fork::ForkMark;
use super::guard::{Guard, Synced};
use super::ledger::Ledger;
use super::log::{BASE_KEY, COMMITTED_KEY, FRAMES};
use super::log_memory::{Base, Memory};
use super::slots::SlotFile;
use super::threads::LogJobs;
use super::types::{LogId, Types, Vote};
use openraft::storage::LogFlushed;
use relais_protocol::codec;
use relais_protocol::ids::Generation;
use serde::{Deserialize, Serialize};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait. Openraft waits for each but purges, so there is always room.
const JOBS: usize = 256;
/// Purged entries removed from disk between two looks for other work.
const PURGE_SLICE: u64 = 64;
/// Between two looks whether a snapshot is on disk.
const GAP_WAIT: Duration = Duration::from_millis(1);

/// Frames to write.
#[derive(Debug)]
pub(super) struct Append {
    /// Index and frame, in order.
    pub(super) frames: Vec<(u64, Vec<u8>)>,
    /// Index and hash of the last one.
    pub(super) mark: Option<(u64, u64)>,
    /// What was known to be committed.
    pub(super) committed: Option<LogId>,
}

impl Append {
    fn first(&self) -> u64 {
        self.frames.first().map_or(0, |(index, _)| *index)
    }

    /// `frames` that are the last ones in `memory`.
    pub(super) fn new(frames: Vec<(u64, Vec<u8>)>, memory: &Memory) -> Self {
        let mark = memory.known.back().filter(|_| !frames.is_empty()).map(|entry| (entry.id.index, entry.hash));
        Self { frames, mark, committed: memory.committed }
    }
}

/// What to do. A channel is dropped without an answer when the store has failed.
pub(super) enum LogJob {
    /// Write, sync, acknowledge.
    Append(Append, LogFlushed<Types>),
    /// Remove the entries from `since` up to but not `end`; the last one left is `mark`.
    Truncate {
        /// The first to go.
        since: u64,
        /// After the last to go.
        end: u64,
        /// Index and hash of the last one left.
        mark: Option<(u64, u64)>,
        /// Told when done.
        done: oneshot::Sender<()>,
    },
    /// Remove what is before the new base.
    Purge(Base),
    /// Keep a vote.
    Vote(Vote, oneshot::Sender<()>),
    /// Keep which history the log is of.
    Adopt(Generation, oneshot::Sender<()>),
    /// Keep whose log it is from now on, then write the entry with which that begins.
    Fork(Append, Ballot, oneshot::Sender<()>),
    /// A checkpoint was made.
    Nudge,
    /// End.
    Close,
}

/// The high-water mark: the last acknowledged entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Index and hash; `None` while nothing was acknowledged, or all of it was cut off again.
    pub(super) last: Option<(u64, u64)>,
}

/// The vote, whose journal it is, and of which history. Kept in one small file, so that a fork is one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ballot {
    /// The raft id of this journal.
    pub(super) raft_id: u64,
    /// The vote, once there was one.
    pub(super) vote: Option<Vote>,
    /// The history of its entries, once it has any.
    pub(super) history: Option<Generation>,
    /// The last fork. Its first entry may not be written yet: then it is at the next open.
    pub(super) fork: Option<ForkMark>,
}

impl Ballot {
    /// Of a new journal.
    pub(super) fn new(raft_id: u64) -> Self {
        Self { raft_id, vote: None, history: None, fork: None }
    }
}

/// Writes the log.
pub(super) struct LogWriter {
    /// Frames.
    pub(super) book: Arc<Book>,
    /// Counts and fails.
    pub(super) guard: Arc<Guard>,
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
                return;
            }
            self.work(job);
        }
    }

    async fn run_in_line(mut self, mut queue: mpsc::UnboundedReceiver<LogJob>) {
        while let Some(job) = queue.recv().await {
            if matches!(job, LogJob::Close) {
                return;
            }
            tokio::time::sleep(self.writer.guard.pace()).await;
            while let LogJob::Append(append, _) = &job
                && matches!(self.is_early(append), Ok(true))
            {
                tokio::time::sleep(GAP_WAIT).await;
            }
            self.work(job);
            while queue.is_empty() && matches!(self.purge_some(), Ok(true)) {}
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

    /// The next job; removes purged entries while there is none.
    fn next(&mut self, queue: &Receiver<LogJob>) -> Result<LogJob, RecvError> {
        loop {
            match queue.try_recv() {
                Ok(job) => return Ok(job),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                Err(TryRecvError::Empty) => match self.purge_some() {
                    Ok(true) => {}
                    Ok(false) => return queue.recv(),
                    Err(e) => {
                        self.writer.guard.fail(format!("cannot purge the log: {e}"));
                        return queue.recv();
                    }
                },
            }
        }
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
        self.writer.book.write(BASE_KEY, Some(&codec::encode(codec::FORMAT, &base)))?;
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
        let mut changes = Vec::with_capacity(append.frames.len() + 1);
        let mut bytes = 0;
        for (index, frame) in &append.frames {
            changes.extend(FRAMES.write(&index.to_be_bytes(), frame));
            bytes += frame.len() as u64;
            self.end = index + 1;
        }
        if let Some(committed) = append.committed {
            changes.push((COMMITTED_KEY.to_vec(), Some(codec::encode(codec::FORMAT, &committed))));
        }
        self.book.write_batch(changes)?;
        self.sync()?;
        self.guard.step()?;
        self.mark.write(&codec::encode(codec::FORMAT, &Mark { last: append.mark }))?;
        self.guard.sync(Synced::LogMark, || self.mark.sync())?;
        counters.bytes_appended.fetch_add(bytes, Ordering::Relaxed);
        counters.entries_acknowledged.fetch_add(entries, Ordering::Relaxed);
        counters.appends_acknowledged.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> Result<(), BookError> {
        self.book.flush()?;
        self.guard.sync_log(|| self.book.file().sync_data())?;
        Ok(())
    }

    /// The mark goes back first: entries beyond it may be there or not.
    fn truncate(&mut self, since: u64, end: u64, mark: Option<(u64, u64)>) -> Result<(), BookError> {
        self.mark.write(&codec::encode(codec::FORMAT, &Mark { last: mark }))?;
        self.guard.sync(Synced::LogMark, || self.mark.sync())?;
        for index in (since..end.min(self.end)).rev() {
            self.remove(index)?;
        }
        self.end = self.end.min(since);
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
