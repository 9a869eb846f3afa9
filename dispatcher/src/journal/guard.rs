//! What stands between the store and its acknowledgements: each sync is counted, each failure is final.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// What the store counted since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// `fdatasync`s of the log's database.
    pub log_syncs: AtomicU64,
    /// `fdatasync`s of the high-water mark.
    pub mark_syncs: AtomicU64,
    /// `fdatasync`s of the vote.
    pub vote_syncs: AtomicU64,
    /// `fdatasync`s of the ledger's database.
    pub ledger_syncs: AtomicU64,
    /// Appends acknowledged; each needs one sync of the log and one of the mark before it.
    pub appends_acknowledged: AtomicU64,
    /// Entries in them.
    pub entries_acknowledged: AtomicU64,
    /// Bytes of their frames.
    pub bytes_appended: AtomicU64,
    /// Checkpoints made.
    pub checkpoints: AtomicU64,
}

/// Called once, with the reason, when a write or a sync failed: the process must end (exit code 74).
/// Nothing is acknowledged afterwards.
pub type OnFatal = Arc<dyn Fn(String) + Send + Sync>;

/// How the store syncs. Anything but the default is for tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncMode {
    /// Every sync takes this much longer: a slow disk.
    pub delay: Duration,
    /// A bug to be found.
    #[doc(hidden)]
    pub planted: PlantedBug,
}

/// A bug that tests switch on to prove that they would find it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PlantedBug {
    /// None.
    #[default]
    None,
    /// Acknowledge without having synced.
    SkipFsync,
    /// Fail at this durable step of a fork, from 1, as a process does that is killed there.
    DieInFork(u32),
}

/// Shared by all that writes.
pub(super) struct Guard {
    /// What was counted.
    pub(super) counters: Arc<Counters>,
    mode: SyncMode,
    ballast: PathBuf,
    failed: AtomicBool,
    steps: AtomicU32,
    on_fatal: OnFatal,
}

impl Guard {
    /// A guard; `ballast` is the file to delete when the disk is full.
    pub(super) fn new(mode: SyncMode, ballast: PathBuf, on_fatal: OnFatal, counters: Arc<Counters>) -> Self {
        Self { counters, mode, ballast, failed: AtomicBool::new(false), steps: AtomicU32::new(0), on_fatal }
    }

    /// Syncs with `sync` and counts it.
    pub(super) fn sync(&self, counter: &AtomicU64, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if !self.mode.delay.is_zero() {
            std::thread::sleep(self.mode.delay);
        }
        if self.mode.planted == PlantedBug::SkipFsync {
            return Ok(());
        }
        sync()?;
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A fork begins, or is over.
    pub(super) fn count_steps(&self, on: bool) {
        self.steps.store(u32::from(on), Ordering::Relaxed);
    }

    /// Between two durable steps of a fork: where a test may have the process die.
    pub(super) fn step(&self) -> io::Result<()> {
        if self.steps.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        if self.mode.planted == PlantedBug::DieInFork(step) {
            return Err(io::Error::other("a test wants it to end here"));
        }
        Ok(())
    }

    /// Stops the store for good.
    pub(super) fn fail(&self, reason: String) {
        if self.failed.swap(true, Ordering::SeqCst) {
            return;
        }
        // Whatever failed, room for the next open does no harm; it is made again when there is space.
        if reason.contains("No space") || reason.contains("os error 28") {
            let _ = fs::remove_file(&self.ballast);
        }
        tracing::error!(%reason, "the journal's store failed, nothing more is acknowledged");
        (self.on_fatal)(reason);
    }

    /// Whether [`Guard::fail`] was called.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

/// Syncs a folder, so that the files made in it are found after a power cut.
pub(super) fn sync_dir(dir: &std::path::Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
