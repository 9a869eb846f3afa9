//! What the runs of all processes were seen to do, and the properties of the replicated log itself that are
//! judged at once: one entry per index for ever, one leader per term, no read that is older than an
//! acknowledgement before it.

use crate::checkers::Violation;
use crate::history::{At, Digest, History};
use parking_lot::Mutex;
use relais_dispatcher::journal::{Applied, Changes, Checkpoint, JournalStatus, LoadError, Machine, Role, Rows};
use relais_dispatcher::machine::LedgerMachine;
use relais_protocol::ids::{Index, JobId, NodeId, RaftId};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// Numbers of a run, for its report.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Records that clients asked to have committed.
    pub proposals: u64,
    /// Those that were acknowledged.
    pub acknowledged: u64,
    /// Those that nobody knows the fate of.
    pub unknown: u64,
    /// Terms that had a leader.
    pub leaders: u64,
    /// Starts of a process after its end.
    pub restarts: u64,
    /// Snapshots that were installed.
    pub snapshots: u64,
    /// Journals found damaged, and put aside.
    pub put_aside: u64,
    /// Changes of voters that were committed.
    pub voters_changed: u64,
    /// Reads that were checked against what had been acknowledged before.
    pub reads: u64,
    /// Entries applied, by all replicas together.
    pub applied: u64,
    /// Entries purged from the log of the final leader.
    pub purged: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u32>,
}

/// Sees everything.
pub(super) struct Watch {
    began: Instant,
    /// What happened, in words, if anybody wants to read it.
    trace: Option<Mutex<String>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    entries: BTreeMap<Index, (u64, RaftId)>,
    leaders: BTreeMap<u64, RaftId>,
    history: History,
    counts: Counts,
    broken: Vec<Violation>,
}

impl Watch {
    pub(super) fn new(told: bool) -> Self {
        Self { began: Instant::now(), trace: told.then(Mutex::default), seen: Mutex::default() }
    }

    /// Writes down what happens, if anybody wants to read it.
    pub(super) fn say(&self, node: NodeId, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let line = format!("{:>6} n{node} {}\n", self.now().0, what());
            trace.lock().push_str(&line);
        }
    }

    /// What was written down.
    pub(super) fn trace(&self) -> Option<String> {
        self.trace.as_ref().map(|trace| std::mem::take(&mut *trace.lock()))
    }

    /// Milliseconds since the run began.
    pub(super) fn now(&self) -> At {
        At(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Something that must not be.
    pub(super) fn broken(&self, property: &'static str, seen: String) {
        let seen = format!("at {} ms: {seen}", self.now().0);
        self.seen.lock().broken.push(Violation { property, seen });
    }

    /// Adds to the numbers.
    pub(super) fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.seen.lock().counts);
    }

    /// Reads or adds to the history.
    pub(super) fn history<T>(&self, with: impl FnOnce(&mut History) -> T) -> T {
        with(&mut self.seen.lock().history)
    }

    /// Jobs acknowledged so far.
    pub(super) fn acknowledged(&self) -> Vec<JobId> {
        let seen = self.seen.lock();
        seen.history.submits.iter().filter_map(|submit| submit.acked.first().map(|(_, job)| *job)).collect()
    }

    /// What it has come to.
    pub(super) fn take(&self) -> (History, Counts, Vec<Violation>) {
        let mut seen = self.seen.lock();
        let leaders = seen.leaders.len() as u64;
        seen.counts.leaders = leaders;
        (std::mem::take(&mut seen.history), seen.counts.clone(), std::mem::take(&mut seen.broken))
    }

    /// A replica applied an entry.
    fn applied(&self, by: RaftId, index: Index, payload: &[u8]) {
        let mut hasher = DefaultHasher::new();
        payload.hash(&mut hasher);
        let hash = hasher.finish();
        let (known, first) = {
            let mut seen = self.seen.lock();
            seen.counts.applied += 1;
            *seen.entries.entry(index).or_insert((hash, by))
        };
        if known != hash {
            self.broken("committed-is-final", format!("{by} applied another entry {index} than {first} had"));
        }
    }

    /// A journal said what it is at.
    pub(super) fn status(&self, status: &JournalStatus) {
        self.say(status.id.node(), || {
            let (voters, learners) = (&status.voters, &status.learners);
            format!(
                "{} {:?} term {} leader {:?} last {:?} committed {:?} voters {voters:?} {learners:?}",
                status.id, status.role, status.term, status.leader, status.last_log, status.committed
            )
        });
        let leader = if status.role == Role::Leader { Some(status.id) } else { status.leader };
        let Some(leader) = leader else { return };
        let known = *self.seen.lock().leaders.entry(status.term).or_insert(leader);
        if known != leader {
            self.broken("one-leader-per-term", format!("{known} and {leader} lead term {}", status.term));
        }
    }

    /// A replica made a checkpoint.
    pub(super) fn checkpoint(&self, node: NodeId, made: Checkpoint) {
        let digest = Digest { node, index: made.index, digest: made.hash.wrapping_add(made.rows.into()) };
        self.seen.lock().history.digests.push(digest);
    }
}

/// The ledger of one run of a process, watched.
pub(super) struct Witness {
    pub(super) ledger: LedgerMachine,
    watch: Arc<Watch>,
    id: RaftId,
    alive: Arc<AtomicBool>,
    /// The last index applied, 0 after a load.
    last: Mutex<(Index, u32)>,
}

impl Witness {
    pub(super) fn new(ledger: LedgerMachine, watch: Arc<Watch>, id: RaftId, alive: Arc<AtomicBool>) -> Self {
        Self { ledger, watch, id, alive, last: Mutex::default() }
    }
}

impl Machine for Witness {
    fn apply(&self, index: Index, payload: &[u8]) -> Applied {
        if self.alive.load(Ordering::Acquire) {
            self.watch.applied(self.id, index, payload);
            let before = std::mem::replace(&mut self.last.lock().0, index);
            if before >= index {
                self.watch.broken("applied-in-order", format!("{} applied {index} after {before}", self.id));
            }
        }
        self.ledger.apply(index, payload)
    }

    fn drain_changes(&self) -> Arc<Changes> {
        self.ledger.drain_changes()
    }

    fn drained(&self) {
        self.ledger.drained();
    }

    fn pending_bytes(&self) -> usize {
        self.ledger.pending_bytes()
    }

    fn load(&self, rows: Arc<dyn Rows>) -> Result<(), LoadError> {
        let loads = {
            let mut last = self.last.lock();
            *last = (Index(0), last.1 + 1);
            last.1
        };
        // The first one is the start.
        self.watch.count(|counts| counts.snapshots += u64::from(loads > 1));
        self.ledger.load(rows)
    }
}
