//! Which history the journal here follows, and why this node does not serve just now, if it does not.
//!
//! A history is what a takeover or a recovery begins; its number is the generation. A journal that has an
//! entry follows one for as long as it lives: of a higher one it is no part, whatever its entries say, and
//! its node has to come back under a new raft id. Who goes on alone and how one comes back is not here.

use super::Hub;
use parking_lot::Mutex;
use relais_dispatcher::ledger::NodeRow;
use relais_protocol::history::{RECOVERY_LEAP, Side, Takeover, TakeoverCause};
use relais_protocol::ids::Generation;
use relais_protocol::record::Standing;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An empty journal may follow any history.
const ANY: u64 = u64::MAX;

/// Which history a node's journal follows.
#[derive(Debug)]
pub struct History {
    follows: AtomicU64,
    /// The journal is being forked or begun anew: whatever it says of itself is about to be wrong.
    held: AtomicBool,
    waits: Mutex<Option<String>>,
    heals: Mutex<Option<String>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            follows: AtomicU64::new(ANY),
            held: AtomicBool::new(false),
            waits: Mutex::default(),
            heals: Mutex::default(),
        }
    }
}

/// While it is there, no reign begins here.
pub(super) struct Held<'a>(&'a History);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
    }
}

impl History {
    /// The history that the journal here follows, unless it is empty.
    #[must_use]
    pub fn follows(&self) -> Option<Generation> {
        Some(self.follows.load(Ordering::Acquire)).filter(|follows| *follows != ANY).map(Generation)
    }

    /// The journal here follows this one now.
    pub fn note(&self, generation: Option<Generation>) {
        self.follows.store(generation.map_or(ANY, |generation| generation.0), Ordering::Release);
    }

    /// Whether `heard` is one that the journal here is no part of, or must not be asked about just now.
    #[must_use]
    pub fn is_overtaken(&self, heard: Generation) -> bool {
        self.held.load(Ordering::Acquire) || self.follows().is_some_and(|follows| heard > follows)
    }

    /// Keeps reigns from beginning here for as long as the answer lives.
    pub(super) fn hold(&self) -> Held<'_> {
        self.held.store(true, Ordering::Release);
        Held(self)
    }

    /// Why this node does not go on, if it can't: it waits for its peer, or finds its way back.
    pub(super) fn reason(&self) -> Option<String> {
        self.heals.lock().clone().or_else(|| self.waits.lock().clone())
    }

    /// Says why this node does not take over; whether that is news.
    pub(super) fn set_waits(&self, why: Option<String>) -> bool {
        let mut waits = self.waits.lock();
        std::mem::replace(&mut *waits, why.clone()) != why
    }

    /// Says what of the way back is under way.
    pub(super) fn set_heals(&self, what: Option<&str>) {
        *self.heals.lock() = what.map(str::to_owned);
    }
}

impl Hub {
    /// Whether the dispatcher is of a history that the journal here is no part of: then nothing here is fit
    /// to be read or led by.
    pub(super) fn is_overtaken(&self) -> bool {
        self.history.is_overtaken(self.pulse.view().reign.generation)
    }

    /// Whether this is a pair, whole or reduced to its survivor: two nodes, neither of them a witness.
    pub(super) fn is_pair(&self) -> bool {
        let voters = self.pulse.view().voters.clone();
        let ledger = self.machine.read();
        let stays = |row: &&NodeRow| !matches!(row.standing, Standing::Left | Standing::Joining);
        let witness = ledger.nodes().any(|row| row.facts.witness && voters.contains(&row.id));
        let reduced = voters.len() == 1 && ledger.settings().voters > 1 && ledger.nodes().filter(stays).count() == 2;
        (voters.len() == 2 || reduced) && !witness
    }

    /// On how many disks what is acknowledged now is.
    pub(crate) fn durability(&self) -> &'static str {
        let status = self.journal().map(|journal| self.status_to_go_by(&journal.status().borrow())).unwrap_or_default();
        if status.voters.len() < 2 || self.is_overtaken() { "single" } else { "majority" }
    }

    /// What has to be in the journal before the next reign: it was forked, and the ledger does not know yet.
    pub fn history_to_begin(&self) -> Option<Takeover> {
        let mark = self.journal()?.status().borrow().fork?;
        let known = self.machine.own().reign().generation;
        if mark.generation <= known {
            return None;
        }
        // A takeover counts in the parity of its side, a recovery leaps: the number says which it was.
        let (cause, side) = match mark.generation.0 {
            number if number >= known.0 + RECOVERY_LEAP => (TakeoverCause::Recovery, Side::Both),
            number if number % 2 == 1 => (TakeoverCause::Takeover, Side::Odd),
            _ => (TakeoverCause::Takeover, Side::Even),
        };
        Some(Takeover {
            node: self.me.node,
            generation: mark.generation,
            side,
            cause,
            common: mark.common,
            at: self.clock.unix(),
        })
    }

    /// Takes over what the journal says of itself: its number, and the history that it follows.
    ///
    /// # Errors
    /// When its number can't be kept.
    pub async fn note_journal(&self) -> Result<(), String> {
        let Some(journal) = self.journal() else { return Ok(()) };
        let (id, history) = {
            let status = journal.status();
            let status = status.borrow();
            (status.id, status.history)
        };
        self.number_journal(move |last| last.max(id.journal())).await?;
        let facts = {
            let mut facts = self.facts.write();
            facts.journal = id.journal();
            facts.clone()
        };
        self.history.note(history);
        self.bench.input(relais_worker::core::Input::Facts(facts));
        Ok(())
    }

    /// A journal number that was never used before, on disk before it is used.
    pub(super) async fn next_journal(&self) -> Result<u32, String> {
        self.number_journal(|last| last + 1).await
    }

    /// Changes the journal's number on disk; what it is then.
    async fn number_journal(&self, change: impl FnOnce(u32) -> u32 + Send + 'static) -> Result<u32, String> {
        let dir = self.dir.clone();
        let numbered = tokio::task::spawn_blocking(move || {
            let mut dir = dir.lock();
            dir.update(|node| node.journal = change(node.journal)).map(|()| dir.node().journal)
        });
        let numbered = numbered.await.map_err(|error| error.to_string())?;
        numbered.map_err(|error| format!("the journal's number could not be kept: {error}"))
    }
}
