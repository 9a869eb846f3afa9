//! What stands between the store and its acknowledgements: each sync is counted, each failure is final.

use super::ballast;
use super::flushed::Flushed;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// What the store counted since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// `fdatasync`s of the log's tail and of its database.
    pub log_syncs: AtomicU64,
    /// `fdatasync`s of the high-water mark.
    pub mark_syncs: AtomicU64,
    /// `fdatasync`s of the vote.
    pub vote_syncs: AtomicU64,
    /// `fdatasync`s of the ledger's database and its mark.
    pub ledger_syncs: AtomicU64,
    /// Appends acknowledged; each needs one sync of the log before it.
    pub appends_acknowledged: AtomicU64,
    /// Entries in them.
    pub entries_acknowledged: AtomicU64,
    /// Bytes of their frames.
    pub bytes_appended: AtomicU64,
    /// Checkpoints made.
    pub checkpoints: AtomicU64,
    /// Time that all syncs of the log took together, in µs.
    pub log_sync_us: AtomicU64,
    /// Votes given to others.
    pub votes_granted: AtomicU64,
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

/// What is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Synced {
    /// The log's database.
    Log,
    /// The log's high-water mark.
    LogMark,
    /// The vote.
    Vote,
    /// The ledger's database.
    Ledger,
    /// How far an installed snapshot was acknowledged.
    LedgerMark,
    /// The newest frames of the log.
    LogTail,
}

/// A disk of a simulation under the store: it says how long writes take, is told of each sync, and can fail.
pub trait Disk: Send + Sync + 'static {
    /// How long the next job takes a writer that works in line.
    fn pace(&self) -> Duration;

    /// Something is about to be synced.
    ///
    /// # Errors
    /// The sync is not made, and fails.
    fn before_sync(&self, what: Synced) -> io::Result<()>;

    /// It was synced.
    ///
    /// # Errors
    /// The sync was made, and fails all the same.
    fn after_sync(&self, what: Synced) -> io::Result<()>;
}

/// Shared by all that writes.
pub(super) struct Guard {
    /// What was counted.
    pub(super) counters: Arc<Counters>,
    /// How far the log is written.
    pub(super) flushed: Flushed,
    mode: SyncMode,
    disk: Option<Arc<dyn Disk>>,
    dir: PathBuf,
    failed: AtomicBool,
    closed: AtomicBool,
    steps: AtomicU32,
    on_fatal: OnFatal,
}

impl Guard {
    /// A guard of the journal in `dir`, whose ballast it gives back when the disk is full.
    pub(super) fn new(
        mode: SyncMode,
        disk: Option<Arc<dyn Disk>>,
        dir: PathBuf,
        on_fatal: OnFatal,
        counters: Arc<Counters>,
    ) -> Self {
        let (failed, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        let (flushed, steps) = (Flushed::default(), AtomicU32::new(0));
        Self { counters, flushed, mode, disk, dir, failed, closed, steps, on_fatal }
    }

    /// How long the next job takes a writer that works in line.
    pub(super) fn pace(&self) -> Duration {
        self.disk.as_ref().map_or(self.mode.delay, |disk| disk.pace())
    }

    /// Takes no more entries from a leader, or takes them again.
    pub(super) fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::Release);
    }

    /// Whether entries are refused for want of room.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Syncs the log with `sync`, counts it and how long it took.
    pub(super) fn sync_log(&self, what: Synced, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let began = tokio::time::Instant::now();
        self.sync(what, sync)?;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.log_sync_us.fetch_add(took, Ordering::Relaxed);
        Ok(())
    }

    /// Syncs with `sync` and counts it.
    pub(super) fn sync(&self, what: Synced, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if !self.mode.delay.is_zero() && self.disk.is_none() {
            std::thread::sleep(self.mode.delay);
        }
        if self.mode.planted == PlantedBug::SkipFsync {
            return Ok(());
        }
        self.disk.as_ref().map_or(Ok(()), |disk| disk.before_sync(what))?;
        sync()?;
        self.counter(what).fetch_add(1, Ordering::Relaxed);
        self.disk.as_ref().map_or(Ok(()), |disk| disk.after_sync(what))
    }

    fn counter(&self, what: Synced) -> &AtomicU64 {
        match what {
            Synced::Log | Synced::LogTail => &self.counters.log_syncs,
            Synced::LogMark => &self.counters.mark_syncs,
            Synced::Vote => &self.counters.vote_syncs,
            Synced::Ledger | Synced::LedgerMark => &self.counters.ledger_syncs,
        }
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
        self.flushed.fail();
        // Whatever failed, room for the next open does no harm; it is made again when there is space.
        if reason.contains("No space") || reason.contains("os error 28") {
            let _ = ballast::release(&self.dir);
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
