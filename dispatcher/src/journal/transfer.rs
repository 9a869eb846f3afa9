//! One stream of the checkpoint to a peer.
//!
//! It shows the ledger as it was when the stream began: rows that later checkpoints overwrite ahead of it
//! are kept in memory until it has passed them.

use super::book::BookError;
use super::checkpoint::LedgerMeta;
use super::ledger::Ledger;
use super::merge::page;
use super::packed;
use crate::rows::Changes;
use parking_lot::Mutex;
use std::sync::Arc;

/// Bytes of rows in a page, unless a single row is larger.
const PAGE_BYTES: usize = 1 << 20;

/// A stream.
pub(super) struct Transfer {
    ledger: Arc<Ledger>,
    meta: LedgerMeta,
    state: Mutex<State>,
}

struct State {
    /// Rows from here on were not sent.
    from: Vec<u8>,
    /// What rows ahead were before they were overwritten.
    before: Changes,
    is_done: bool,
    is_void: bool,
}

impl Transfer {
    /// A stream of the ledger that `meta` describes.
    pub(super) fn new(ledger: Arc<Ledger>, meta: LedgerMeta) -> Self {
        let state = State { from: Vec::new(), before: Changes::new(), is_done: false, is_void: false };
        Self { ledger, meta, state: Mutex::new(state) }
    }

    /// What is streamed.
    pub(super) fn meta(&self) -> &LedgerMeta {
        &self.meta
    }

    /// Keeps what the row of `key` was, since it is about to change. Called under the ledger's lock.
    pub(super) fn keep(&self, key: &[u8], row: Option<&[u8]>) {
        let mut state = self.state.lock();
        if !state.is_done && key >= state.from.as_slice() && !state.before.contains_key(key) {
            state.before.insert(key.to_vec(), row.map(<[u8]>::to_vec));
        }
    }

    /// The ledger is replaced: what is left of the stream is gone.
    pub(super) fn make_void(&self) {
        self.state.lock().is_void = true;
    }

    /// The next packed rows, `None` after the last. Reads the disk.
    pub(super) fn next_page(&self) -> Result<Option<Vec<u8>>, BookError> {
        // The ledger's lock first, as whoever overwrites rows does.
        let inner = self.ledger.inner();
        let mut state = self.state.lock();
        if state.is_void {
            return Err(BookError::Closed);
        }
        if state.is_done {
            return Ok(None);
        }
        let range = (state.from.as_slice(), [].as_slice());
        let max = (usize::MAX, PAGE_BYTES);
        let page = page(&self.ledger.book, self.meta.space(), &state.before, range, false, max)?;
        drop(inner);
        let mut bytes = Vec::new();
        for (key, value) in &page.rows {
            packed::push(&mut bytes, key, Some(value));
        }
        if let Some((last, _)) = page.rows.last() {
            state.from = [last.as_slice(), &[0]].concat();
            let from = state.from.clone();
            state.before = state.before.split_off(&from);
        }
        state.is_done = page.is_last;
        Ok(Some(bytes))
    }
}
