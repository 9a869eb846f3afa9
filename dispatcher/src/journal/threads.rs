//! The writers of a store: two threads or, under a simulated clock, two tasks; and their end.

use super::book::Book;
use super::ledger::Ledger;
use super::ledger_writer::{self, LedgerJobs};
use super::log_job::LogJob;
use super::log_thread;
use super::log_writer::LogWriter;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// The way to the log's writer.
#[derive(Clone)]
pub(super) enum LogJobs {
    /// A thread.
    Thread(SyncSender<LogJob>),
    /// A task.
    InLine(mpsc::UnboundedSender<LogJob>),
}

impl LogJobs {
    /// Hands over a job; `None` if the writer has ended.
    pub(super) fn send(&self, job: LogJob) -> Option<()> {
        match self {
            Self::Thread(jobs) => jobs.send(job).ok(),
            Self::InLine(jobs) => jobs.send(job).ok(),
        }
    }

    /// Wakes the writer, unless it has work.
    pub(super) fn nudge(&self) {
        match self {
            Self::Thread(jobs) => drop(jobs.try_send(LogJob::Nudge)),
            Self::InLine(jobs) => drop(jobs.send(LogJob::Nudge)),
        }
    }
}

/// The writers, to end them.
pub(super) struct Threads {
    log_jobs: LogJobs,
    log_book: Arc<Book>,
    writers: Writers,
}

enum Writers {
    Threads([JoinHandle<()>; 2]),
    InLine([tokio::task::JoinHandle<()>; 2]),
}

impl Threads {
    /// Starts both, `in_line` within the runtime that this is called in.
    pub(super) fn start(log: LogWriter, in_line: bool) -> io::Result<(LogJobs, LedgerJobs, Self)> {
        let (ledger, log_book) = (log.ledger.clone(), log.book.clone());
        let (log_jobs, ledger_jobs, writers) = if in_line {
            let (log_jobs, log_task) = log_thread::spawn_in_line(log);
            let (ledger_jobs, ledger_task) = ledger_writer::spawn_in_line(ledger);
            (log_jobs, ledger_jobs, Writers::InLine([log_task, ledger_task]))
        } else {
            let (log_jobs, log_thread) = log_thread::spawn(log)?;
            let (ledger_jobs, ledger_thread) = ledger_writer::spawn(ledger)?;
            (log_jobs, ledger_jobs, Writers::Threads([log_thread, ledger_thread]))
        };
        Ok((log_jobs.clone(), ledger_jobs, Self { log_jobs, log_book, writers }))
    }

    /// Ends the writers after what they were told to do, and closes the databases. Blocks.
    pub(super) fn close(self, ledger: &Ledger) {
        let _ = self.log_jobs.send(LogJob::Close);
        if let Writers::Threads(threads) = self.writers {
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        self.log_book.close();
        ledger.book.close();
    }

    /// The same from within the runtime: writers that are its tasks need the clock to go on meanwhile.
    pub(super) async fn end(mut self, ledger: Arc<Ledger>) {
        if let Writers::InLine(tasks) = &mut self.writers {
            let _ = self.log_jobs.send(LogJob::Close);
            for task in tasks {
                drop(task.await);
            }
        }
        drop(tokio::task::spawn_blocking(move || self.close(&ledger)).await);
    }
}
