//! The stored ledger: rows on disk as of the last checkpoint, which is also the snapshot.
//!
//! Reads see a checkpoint's rows from the moment they were drained, before they are on disk. The thread
//! that writes lives in [`super::ledger_writer`]; how rows are merged with those not yet written, in
//! [`super::merge`].

use super::Rows;
use super::blocks::Shelf;
use super::book::{Book, BookError};
use super::checkpoint::{Checkpoint, LedgerMeta};
use super::guard::{Counters, Guard};
use super::merge::{Page, page};
use super::slots::SlotFile;
use super::transfer::Transfer;
use crate::rows::Changes;
use parking_lot::{Mutex, MutexGuard};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// The key of the meta, outside both spaces of rows.
pub(super) const META_KEY: &[u8] = b"m.meta";
/// Rows read from disk at a time by a scan.
const SCAN_ROWS: usize = 512;

/// The stored ledger.
pub(super) struct Ledger {
    /// Rows and meta.
    pub(super) book: Book,
    /// The folder.
    pub(super) dir: PathBuf,
    /// Counts and fails.
    pub(super) guard: Arc<Guard>,
    /// How far an installed snapshot was acknowledged.
    pub(super) mark: Mutex<SlotFile>,
    /// Held while a checkpoint's rows are being made, so that no transfer begins between two of them.
    pub(super) applying: Mutex<()>,
    inner: Mutex<Inner>,
    outlook: Arc<Outlook>,
}

/// What is told of a store; goes on when another takes its place.
pub(super) struct Outlook {
    told: watch::Sender<Option<Checkpoint>>,
    audits: watch::Sender<Option<Checkpoint>>,
    /// What was counted.
    pub(super) counters: Arc<Counters>,
}

impl Default for Outlook {
    fn default() -> Self {
        Self { told: watch::channel(None).0, audits: watch::channel(None).0, counters: Arc::default() }
    }
}

/// What changes under the lock that also makes each row's change whole.
pub(super) struct Inner {
    /// What is on disk.
    pub(super) meta: LedgerMeta,
    /// Checkpoints drained but not on disk yet, oldest first.
    pub(super) overlays: VecDeque<Arc<Changes>>,
    /// Streams of the checkpoint that are under way.
    pub(super) transfers: Vec<Weak<Transfer>>,
    /// Blocks of `meta`'s space as they are on disk.
    pub(super) shelf: Shelf,
}

impl Ledger {
    /// A ledger whose `meta` was read and verified.
    pub(super) fn new(
        book: Book,
        dir: PathBuf,
        guard: Arc<Guard>,
        mark: SlotFile,
        meta: LedgerMeta,
        outlook: Arc<Outlook>,
    ) -> Self {
        outlook.told.send_replace(meta.checkpoint());
        Self {
            book,
            dir,
            guard,
            mark: Mutex::new(mark),
            applying: Mutex::new(()),
            inner: Mutex::new(Inner {
                meta,
                overlays: VecDeque::new(),
                transfers: Vec::new(),
                shelf: Shelf::default(),
            }),
            outlook,
        }
    }

    /// The lock.
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// What is on disk.
    pub(super) fn meta(&self) -> LedgerMeta {
        self.inner.lock().meta.clone()
    }

    /// Told at each checkpoint.
    pub(super) fn checkpoints(&self) -> watch::Receiver<Option<Checkpoint>> {
        self.outlook.told.subscribe()
    }

    /// Told at each checkpoint that was asked for.
    pub(super) fn audits(&self) -> watch::Receiver<Option<Checkpoint>> {
        self.outlook.audits.subscribe()
    }

    /// Puts `meta` on record as what is on disk.
    pub(super) fn tell(&self, meta: &LedgerMeta, audit: bool) {
        self.outlook.told.send_replace(meta.checkpoint());
        if audit {
            self.outlook.audits.send_replace(meta.checkpoint());
        }
    }

    /// Begins to stream the checkpoint as it is now; `None` if there is none yet. Waits for a checkpoint
    /// being made.
    pub(super) fn transfer(self: &Arc<Self>) -> Option<Arc<Transfer>> {
        let _whole = self.applying.lock();
        let mut inner = self.inner.lock();
        inner.meta.applied?;
        let transfer = Arc::new(Transfer::new(self.clone(), inner.meta.clone()));
        inner.transfers.retain(|other| other.strong_count() > 0);
        inner.transfers.push(Arc::downgrade(&transfer));
        Some(transfer)
    }

    fn read_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BookError> {
        let mut inner = self.inner.lock();
        if let Some(row) = inner.overlays.iter().rev().find_map(|changes| changes.get(key)) {
            return Ok(row.clone());
        }
        let space = inner.meta.space();
        space.row_by(&mut inner.shelf, &self.book, key)
    }

    fn scan_page(&self, from: &[u8], to: &[u8], reverse: bool) -> Result<Page, BookError> {
        let inner = self.inner.lock();
        let mut over = Cow::Owned(Changes::new());
        for (n, changes) in inner.overlays.iter().enumerate() {
            if n == 0 {
                over = Cow::Borrowed(changes.as_ref());
            } else {
                over.to_mut().extend(changes.iter().map(|(key, row)| (key.clone(), row.clone())));
            }
        }
        page(&self.book, inner.meta.space(), &over, (from, to), reverse, (SCAN_ROWS, usize::MAX))
    }

    /// A failed read is as fatal as a failed write: an absent row would be a lie.
    fn answer<T: Default>(&self, result: Result<T, BookError>) -> T {
        match result {
            Ok(value) => value,
            Err(BookError::Closed) => T::default(),
            Err(e) => {
                self.guard.fail(format!("cannot read the stored ledger: {e}"));
                T::default()
            }
        }
    }
}

impl Rows for Ledger {
    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.answer(self.read_row(key))
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let (mut low, mut high) = (from.to_vec(), to.to_vec());
        loop {
            let page = self.answer(self.scan_page(&low, &high, reverse));
            let Some((last, _)) = page.rows.last() else { return };
            if reverse {
                high.clone_from(last);
            } else {
                low = [last.as_slice(), &[0]].concat();
            }
            for (key, value) in &page.rows {
                if !visit(key, value) {
                    return;
                }
            }
            if page.is_last || (reverse && high.is_empty()) {
                return;
            }
        }
    }
}
