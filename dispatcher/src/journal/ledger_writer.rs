//! The one thread that writes the stored ledger.
//!
//! A checkpoint is made so: work out which blocks of rows change and the meta after it, put all of it into the redo
//! file, then change block after block, the meta last, and sync. A snapshot that comes in is gathered in the free space of rows,
//! and becomes the ledger by one write of the meta.

use super::blocks::Step;
use super::book::{Book, BookError};
use super::checkpoint::{LedgerMeta, space};
use super::guard::{Guard, Synced};
use super::ledger::{Inner, Ledger, META_KEY};
use super::packed;
use super::redo;
use super::types::{LogId, Membership};
use crate::rows::Changes;
use parking_lot::MutexGuard;
use relais_protocol::codec;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; who makes more waits for room.
const JOBS: usize = 1;
/// A key has at most this many bytes, so that sled's inner nodes stay small.
const KEY_BYTES_MAX: usize = 400;
/// Changes of the book between two looks for readers, where they need not be seen as one.
const CHANGES_LOCKED: usize = 16;

/// A checkpoint to make.
pub(super) struct Draft {
    /// The rows that differ from the checkpoint before.
    pub(super) changes: Arc<Changes>,
    /// The last entry applied.
    pub(super) applied: Option<LogId>,
    /// The members as of then.
    pub(super) membership: Membership,
    /// It was asked for.
    pub(super) is_audit: bool,
}

/// What to do; each is answered on its channel, or the channel is dropped because the store failed.
pub(super) enum Job {
    /// Make a checkpoint.
    Checkpoint(Draft, oneshot::Sender<LedgerMeta>),
    /// Make room for a snapshot and number it. Answered `None` while another one waits to be installed.
    Begin(oneshot::Sender<Option<u64>>),
    /// Take packed rows of the snapshot with this number. Answered `false` if another began since, or
    /// they are malformed.
    Rows(u64, bytes::Bytes, oneshot::Sender<bool>),
    /// Check that the snapshot with this number has so many rows, and this hash. If so, it is kept for
    /// [`Job::Install`] until [`Job::Release`].
    Verify(u64, (u64, u128), oneshot::Sender<bool>),
    /// Make the snapshot with this number the ledger. Answered `false` if it is not there.
    Install(u64, Option<LogId>, Membership, oneshot::Sender<bool>),
    /// The snapshot with this number was installed or is not wanted.
    Release(u64, oneshot::Sender<()>),
    /// End.
    Close,
}

/// Speaks to the thread.
#[derive(Clone)]
pub(super) struct LedgerJobs {
    jobs: mpsc::Sender<Job>,
}

impl LedgerJobs {
    /// Hands over a job, waiting for room; `None` if the thread has ended.
    pub(super) async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        self.begin(job).await?.await.ok()
    }

    /// Ends the thread after the jobs handed over before.
    pub(super) async fn close(&self) {
        let _ = self.jobs.send(Job::Close).await;
    }

    /// Hands over a job without waiting for its answer.
    pub(super) async fn begin<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<oneshot::Receiver<T>> {
        Some(self.clone().room().await?.begin(job))
    }

    /// Waits until there is room for a job; `None` if the thread has ended.
    pub(super) async fn room(self) -> Option<Room> {
        self.jobs.reserve_owned().await.ok().map(Room)
    }
}

/// Room for one job.
pub(super) struct Room(mpsc::OwnedPermit<Job>);

impl Room {
    /// Hands over the job.
    pub(super) fn begin<T>(self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> oneshot::Receiver<T> {
        let (tx, rx) = oneshot::channel();
        self.0.send(job(tx));
        rx
    }
}

/// Starts the thread; it ends on [`Job::Close`], or when all [`LedgerJobs`] are dropped.
pub(super) fn spawn(ledger: Arc<Ledger>) -> std::io::Result<(LedgerJobs, JoinHandle<()>)> {
    let (jobs, mut queue) = mpsc::channel(JOBS);
    let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || {
        let guard = ledger.guard.clone();
        let mut writer = LedgerWriter { ledger, stage: Stage::default() };
        let run = || {
            while let Some(job) = queue.blocking_recv() {
                if matches!(job, Job::Close) {
                    return;
                }
                writer.work(job);
            }
        };
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            guard.fail("cannot write the ledger: its store panicked".to_owned());
        }
    })?;
    Ok((LedgerJobs { jobs }, thread))
}

/// Starts a task in the thread's place. Must be called within a runtime.
pub(super) fn spawn_in_line(ledger: Arc<Ledger>) -> (LedgerJobs, tokio::task::JoinHandle<()>) {
    let (jobs, mut queue) = mpsc::channel(JOBS);
    let mut writer = LedgerWriter { ledger, stage: Stage::default() };
    let task = tokio::spawn(async move {
        while let Some(job) = queue.recv().await {
            if matches!(job, Job::Close) {
                return;
            }
            tokio::time::sleep(writer.ledger.guard.pace()).await;
            writer.work(job);
        }
    });
    (LedgerJobs { jobs }, task)
}

/// A snapshot that is coming in.
#[derive(Default)]
struct Stage {
    number: u64,
    meta: LedgerMeta,
    is_open: bool,
    is_sealed: bool,
}

struct LedgerWriter {
    ledger: Arc<Ledger>,
    stage: Stage,
}

impl LedgerWriter {
    fn work(&mut self, job: Job) {
        let guard = self.ledger.guard.clone();
        if !guard.has_failed()
            && let Err(e) = self.run(job)
        {
            guard.fail(format!("cannot write the ledger: {e}"));
        }
    }

    fn run(&mut self, job: Job) -> Result<(), BookError> {
        // Whoever asked may have gone; what was asked for is done all the same.
        match job {
            Job::Checkpoint(draft, answer) => drop(answer.send(self.checkpoint(draft)?)),
            Job::Begin(answer) => drop(answer.send(self.begin()?)),
            Job::Rows(number, rows, answer) => drop(answer.send(self.rows(number, &rows)?)),
            Job::Verify(number, expected, answer) => {
                let meta = &self.stage.meta;
                let is_right = self.has(number) && (meta.rows, meta.hash) == expected;
                self.stage.is_sealed |= is_right;
                let _ = answer.send(is_right);
            }
            Job::Install(number, applied, membership, answer) => {
                let installed = self.has(number);
                if installed {
                    self.install(applied, membership)?;
                }
                let _ = answer.send(installed);
                if installed {
                    space(1 - self.ledger.meta().slot).clear(&self.ledger.book)?;
                }
            }
            Job::Release(number, answer) => {
                self.stage.is_sealed &= self.stage.number != number;
                let _ = answer.send(());
            }
            Job::Close => {}
        }
        Ok(())
    }

    fn has(&self, number: u64) -> bool {
        self.stage.is_open && self.stage.number == number
    }

    fn checkpoint(&mut self, draft: Draft) -> Result<LedgerMeta, BookError> {
        let ledger = self.ledger.clone();
        let mut meta = ledger.meta();
        meta.applied = draft.applied;
        meta.membership = draft.membership;
        if let Some(key) = draft.changes.keys().find(|key| key.len() > KEY_BYTES_MAX) {
            return Err(BookError::Damaged(format!("a key of {} bytes is too long", key.len())));
        }
        let rows = draft.changes.iter().map(|(key, row)| (key.as_slice(), row.as_deref()));
        let steps = meta.space().steps(&ledger.book, rows, &mut meta)?;
        let encoded = codec::encode(codec::FORMAT, &meta);
        let changes = steps.iter().flat_map(|step| &step.changes);
        redo::write(&ledger.dir, &encoded, changes.map(|(key, value)| (key.as_slice(), value.as_deref())))?;
        let whole = ledger.applying.lock();
        let mut keys = draft.changes.keys();
        for step in steps {
            let keys: Vec<&[u8]> = keys.by_ref().take(step.rows).map(Vec::as_slice).collect();
            make(&ledger, &keys, &step)?;
        }
        ledger.book.write(META_KEY, Some(&encoded))?;
        sync(&ledger.book, &ledger.guard)?;
        {
            let mut inner = ledger.inner();
            inner.meta = meta.clone();
            drop_overlay(&mut inner, &draft.changes);
        }
        drop(whole);
        ledger.guard.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        ledger.tell(&meta, draft.is_audit);
        Ok(meta)
    }

    fn begin(&mut self) -> Result<Option<u64>, BookError> {
        if self.stage.is_sealed {
            return Ok(None);
        }
        let free = 1 - self.ledger.meta().slot;
        space(free).clear(&self.ledger.book)?;
        let meta = LedgerMeta { slot: free, ..LedgerMeta::default() };
        self.stage = Stage { number: self.stage.number + 1, meta, is_open: true, is_sealed: false };
        Ok(Some(self.stage.number))
    }

    fn rows(&mut self, number: u64, packed: &[u8]) -> Result<bool, BookError> {
        let Ok(rows) = packed::unpack(packed) else { return Ok(false) };
        if !self.has(number) || self.stage.is_sealed {
            return Ok(false);
        }
        let is_whole = rows.iter().all(|(key, row)| row.is_some() && key.len() <= KEY_BYTES_MAX);
        if !is_whole || !rows.is_sorted_by(|one, next| one.0 < next.0) {
            return Ok(false);
        }
        let rows = rows.iter().map(|(key, row)| (key.as_slice(), row.as_deref()));
        let space = self.stage.meta.space();
        for step in space.steps(&self.ledger.book, rows, &mut self.stage.meta)? {
            for (key, value) in step.changes {
                self.ledger.book.write(&key, value.as_deref())?;
            }
        }
        Ok(true)
    }

    fn install(&mut self, applied: Option<LogId>, membership: Membership) -> Result<(), BookError> {
        let ledger = &self.ledger;
        let meta = LedgerMeta { applied, membership, ..std::mem::take(&mut self.stage.meta) };
        (self.stage.is_open, self.stage.is_sealed) = (false, false);
        redo::remove(&ledger.dir)?;
        sync(&ledger.book, &ledger.guard)?;
        ledger.book.write(META_KEY, Some(&codec::encode(codec::FORMAT, &meta)))?;
        sync(&ledger.book, &ledger.guard)?;
        // A peer counts on it from the answer on, and the log does not reach back behind it.
        let mark = codec::encode(codec::FORMAT, &meta.next_index());
        for _ in 0..2 {
            let mut slots = ledger.mark.lock();
            slots.write(&mark)?;
            ledger.guard.sync(Synced::LedgerMark, || slots.sync())?;
        }
        let mut inner = ledger.inner();
        for transfer in inner.transfers.drain(..).filter_map(|transfer| transfer.upgrade()) {
            transfer.make_void();
        }
        inner.overlays.clear();
        inner.shelf.clear();
        inner.meta = meta.clone();
        drop(inner);
        ledger.tell(&meta, false);
        Ok(())
    }
}

fn drop_overlay(inner: &mut Inner, changes: &Arc<Changes>) {
    inner.overlays.retain(|overlay| !Arc::ptr_eq(overlay, changes));
}

/// Makes one step, after those who still need what its rows were have taken it.
fn make(ledger: &Ledger, keys: &[&[u8]], step: &Step) -> Result<(), BookError> {
    let mut inner = ledger.inner();
    let transfers: Vec<_> = inner.transfers.iter().filter_map(std::sync::Weak::upgrade).collect();
    for key in keys.iter().filter(|_| !transfers.is_empty()) {
        let old = if step.is_growth { None } else { inner.meta.space().row(&ledger.book, key)? };
        transfers.iter().for_each(|transfer| transfer.keep(key, old.as_deref()));
    }
    for (number, (key, value)) in step.changes.iter().enumerate() {
        if step.is_growth && number % CHANGES_LOCKED == CHANGES_LOCKED - 1 {
            // Who waits to read goes first.
            MutexGuard::bump(&mut inner);
        }
        inner.shelf.clear();
        ledger.book.write(key, value.as_deref())?;
    }
    Ok(())
}

fn sync(book: &Book, guard: &Guard) -> Result<(), BookError> {
    book.flush()?;
    guard.sync(Synced::Ledger, || book.file().sync_data())?;
    Ok(())
}
