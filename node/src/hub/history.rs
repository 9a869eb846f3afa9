//! Which history the journal here follows, and why this node does not serve just now, if it does not.
//!
//! A history is what a takeover or a recovery begins; its number is the generation. A journal follows one
//! for as long as it lives: of a higher one it is not a part, whatever its entries say, and its node has to
//! come back under a new raft id. This only keeps the number; what follows from it is decided elsewhere.

use super::Hub;
use parking_lot::Mutex;
use relais_protocol::ids::Generation;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Which history a node's journal follows.
#[derive(Debug, Default)]
pub struct History {
    follows: AtomicU64,
    /// The journal is being forked or reset: whatever it says of itself is about to be wrong.
    held: AtomicBool,
    waits: Mutex<Option<String>>,
    heals: Mutex<Option<String>>,
}

/// While it is there, no reign begins here.
pub(super) struct Held<'a>(&'a History);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
    }
}

impl History {
    /// As kept in the data directory.
    #[must_use]
    pub fn new(follows: Generation) -> Self {
        Self { follows: AtomicU64::new(follows.0), ..Self::default() }
    }

    /// The history that the journal here follows.
    #[must_use]
    pub fn follows(&self) -> Generation {
        Generation(self.follows.load(Ordering::Acquire))
    }

    /// The journal here has come to this one.
    pub fn note(&self, generation: Generation) {
        self.follows.fetch_max(generation.0, Ordering::AcqRel);
    }

    /// Whether `heard` is one that the journal here does not follow, or must not be asked about just now.
    #[must_use]
    pub fn is_overtaken(&self, heard: Generation) -> bool {
        self.held.load(Ordering::Acquire) || heard > self.follows()
    }

    /// Keeps reigns from beginning here for as long as the answer lives.
    pub(super) fn hold(&self) -> Held<'_> {
        self.held.store(true, Ordering::Release);
        Held(self)
    }

    /// Why this node does not take over, if it can't go on with its peer.
    pub(super) fn waits(&self) -> Option<String> {
        self.waits.lock().clone()
    }

    /// Says why this node does not take over; whether that is news.
    pub(super) fn set_waits(&self, why: Option<String>) -> bool {
        let mut waits = self.waits.lock();
        std::mem::replace(&mut *waits, why.clone()) != why
    }

    /// What of the way back into a higher history is under way.
    pub(super) fn heals(&self) -> Option<String> {
        self.heals.lock().clone()
    }

    /// Says what of the way back is under way; whether that is news.
    pub(super) fn set_heals(&self, what: Option<String>) -> bool {
        let mut heals = self.heals.lock();
        std::mem::replace(&mut *heals, what.clone()) != what
    }
}

impl Hub {
    /// Keeps the history in the data directory; from then on this node's journal follows it.
    ///
    /// # Errors
    /// When it can't be written; nothing is changed then.
    pub(super) fn follow_history(&self, generation: Generation) -> Result<(), String> {
        self.dir
            .lock()
            .update(|node| node.follows = node.follows.max(generation))
            .map_err(|error| format!("the history could not be kept: {error}"))?;
        self.history.note(generation);
        Ok(())
    }

    /// Whether the dispatcher is of a history that the journal here does not follow: then nothing here is
    /// fit to be read or led by.
    pub(super) fn is_overtaken(&self) -> bool {
        self.history.is_overtaken(self.pulse.view().reign.generation)
    }
}
