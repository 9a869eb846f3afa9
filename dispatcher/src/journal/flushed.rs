//! How far a leader's own entries are on stable storage.
//!
//! A leader's entries go to its peers while they are being written here: openraft, which would wait for the write
//! before it sends anything, is told at once that they are. So what it takes for committed may lack the leader's own
//! copy for a moment. Nothing comes of it before that is there: the entry is not applied, so nobody is answered, and
//! no peer is told that it is committed.

use super::types::{StorageError, write_error};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// How far the log is written, and up to where that was said before it was so.
#[derive(Debug)]
pub(super) struct Flushed {
    /// The index after the last entry of which it was said early.
    said_next: AtomicU64,
    /// The index after the last entry that was synced; `None` once the store has failed.
    next: watch::Sender<Option<u64>>,
}

impl Default for Flushed {
    fn default() -> Self {
        Self { said_next: AtomicU64::new(0), next: watch::Sender::new(Some(0)) }
    }
}

impl Flushed {
    /// It is about to be said that all entries before `next` are written.
    pub(super) fn say(&self, next: u64) {
        self.said_next.fetch_max(next, Ordering::AcqRel);
    }

    /// All entries before `next` are synced, and none is written beyond it.
    pub(super) fn reach(&self, next: u64) {
        self.next.send_if_modified(|now| {
            let lives = now.is_some();
            *now = lives.then_some(next);
            lives
        });
    }

    /// Nothing more will be.
    pub(super) fn fail(&self) {
        self.next.send_replace(None);
    }

    /// The index after the last entry that is what it was said to be; beyond all entries if every one is.
    pub(super) fn true_next(&self) -> u64 {
        let next = self.next.borrow().unwrap_or(0);
        if next >= self.said_next.load(Ordering::Acquire) { u64::MAX } else { next }
    }

    /// Waits until it is true of the entry at `index` that it is written.
    ///
    /// # Errors
    /// The store has failed.
    pub(super) async fn until_true(&self, index: u64) -> Result<(), StorageError> {
        if index >= self.said_next.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut next = self.next.subscribe();
        let reached = next.wait_for(|next| next.is_none_or(|next| next > index)).await;
        let has_failed = reached.map_or(true, |next| next.is_none());
        if has_failed { Err(write_error("the log has failed")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn what_was_said_early_is_waited_for() {
        let flushed = Flushed::default();
        assert_eq!(flushed.until_true(7).now_or_never(), Some(Ok(())), "nothing was said");
        flushed.say(8);
        assert_eq!((flushed.until_true(7).now_or_never(), flushed.true_next()), (None, 0));
        assert_eq!(flushed.until_true(8).now_or_never(), Some(Ok(())));
        flushed.reach(7);
        assert_eq!((flushed.until_true(6).now_or_never(), flushed.true_next()), (Some(Ok(())), 7));
        assert_eq!(flushed.until_true(7).now_or_never(), None);
        flushed.reach(8);
        assert_eq!((flushed.until_true(7).now_or_never(), flushed.true_next()), (Some(Ok(())), u64::MAX));
    }

    #[test]
    fn nothing_comes_true_after_a_failure() {
        let flushed = Flushed::default();
        flushed.say(8);
        flushed.fail();
        flushed.reach(9);
        assert!(matches!(flushed.until_true(7).now_or_never(), Some(Err(_))));
        assert_eq!(flushed.true_next(), 0);
    }
}
