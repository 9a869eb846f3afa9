//! The one thread that writes the log. It takes jobs in order, and tidies up while there are none.
//!
//! Under a simulated clock it is no thread but a task of the runtime, since such a clock runs ahead of
//! every thread.

use super::book::BookError;
use super::log::BASE_KEY;
use super::log_job::{Append, Ballot, LogJob};
use super::log_memory::Base;
use super::log_writer::LogWriter;
use super::threads::LogJobs;
use relais_protocol::codec;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// Jobs that may wait. Openraft waits for each but purges, so there is always room.
const JOBS: usize = 256;
/// Purged entries removed from disk, and that synced, between two looks for other work.
const PURGE_SLICE: u64 = 256;
/// So many times as much as is worth it is written into the database at once, whoever waits.
const TAIL_FULL: usize = 4;
/// How long the log is idle before the mark is synced.
const MARK_LAG: Duration = Duration::from_millis(100);
/// Between two looks whether a snapshot is on disk.
const GAP_WAIT: Duration = Duration::from_millis(1);

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
                if let Some(callback) = callback {
                    callback.log_io_completed(told);
                }
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
