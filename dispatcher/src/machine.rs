//! The ledger as the journal's state machine: applied under a lock, and told of to whoever listens.
//!
//! On a node whose journal follows nobody an overview stands in for it: who reads the small tables need not know.

use crate::journal::{Applied, LoadError, Machine};
use crate::ledger::{Event, Ledger};
use crate::rows::{Changes, MemoryRows, Rows};
use parking_lot::{RwLock, RwLockReadGuard};
use relais_protocol::ids::Index;
use relais_protocol::overview::Overview;
use relais_protocol::time::UnixMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Called after each applied entry, in order, on the journal's task: it must be quick.
pub type AppliedSink = Box<dyn Fn(Index, Vec<Event>) + Send + Sync>;

/// The ledger, shared between the journal that applies and all who read.
pub struct LedgerMachine {
    ledger: RwLock<Ledger>,
    /// What another node told, and whether it is read instead.
    overview: RwLock<Ledger>,
    stands_in: AtomicBool,
    sink: AppliedSink,
}

impl LedgerMachine {
    /// An empty ledger, until the journal loads it.
    #[must_use]
    pub fn new(sink: AppliedSink) -> Self {
        let empty = || RwLock::new(Ledger::new(Arc::new(MemoryRows::default())));
        Self { ledger: empty(), overview: empty(), stands_in: AtomicBool::new(false), sink }
    }

    /// Another node told how the cluster looks as of `applied`.
    pub fn overlook(&self, overview: &Overview, applied: Index) {
        *self.overview.write() = Ledger::of_overview(overview, applied);
    }

    /// Whether the overview is read from now on, and no jobs.
    pub fn stand_in(&self, stands_in: bool) {
        self.stands_in.store(stands_in, Ordering::Release);
    }

    /// Whether the overview is read, and there are no jobs here.
    #[must_use]
    pub fn stands_in(&self) -> bool {
        self.stands_in.load(Ordering::Acquire)
    }

    /// Counts only what is stamped with this time or a later one: see [`Ledger::count_from`].
    pub fn count_from(&self, since: UnixMs) {
        self.ledger.write().count_from(since);
    }

    /// Reads what was applied here, whatever stands in for it: what is dispatched, healed and recovered rests on that.
    #[must_use]
    pub fn own(&self) -> RwLockReadGuard<'_, Ledger> {
        self.ledger.read_recursive()
    }

    /// Reads. Applying waits for the guard to be dropped. Who reads may read once more meanwhile: a plain
    /// read lock would wait for the writer that waits for the first one.
    #[must_use]
    pub fn read(&self) -> RwLockReadGuard<'_, Ledger> {
        if self.stands_in() { self.overview.read_recursive() } else { self.own() }
    }
}

impl Machine for LedgerMachine {
    fn apply(&self, index: Index, payload: &[u8]) -> Applied {
        let effects = self.ledger.write().apply(index, payload);
        (self.sink)(index, effects.events);
        Applied { outcomes: effects.outcomes, checkpoint: effects.audit }
    }

    fn drain_changes(&self) -> Arc<Changes> {
        self.ledger.write().drain_changes()
    }

    fn drained(&self) {
        self.ledger.write().kept();
    }

    fn pending_bytes(&self) -> usize {
        self.ledger.read().changed_bytes()
    }

    fn load(&self, rows: Arc<dyn Rows>) -> Result<(), LoadError> {
        let mut loaded = Ledger::load(rows, Index(0)).map_err(|error| LoadError(error.to_string()))?;
        let mut ledger = self.ledger.write();
        loaded.count_on(&ledger);
        *ledger = loaded;
        drop(ledger);
        (self.sink)(Index(0), vec![Event::Loaded]);
        Ok(())
    }
}
