//! The ledger: the job table and all else that results from applying the journal.
//!
//! [`Ledger::apply`] is the only thing that changes it. It reads no clock (the batch is stamped), rolls no
//! dice (a retry's jitter is a hash of job and attempt) and keeps every index in an ordered map, so that
//! equal journals make equal ledgers on every machine. What has to be told to anyone comes back as
//! [`Event`]s, which exist only once their batch is committed: to tell too early can't be written down.
//!
//! Memory holds what is in motion: running jobs, and a few dozen bytes for each waiting one. The rest of a
//! row is read from the checkpointed [`Rows`] when it is needed.

mod attempts;
mod blocked;
mod check;
pub mod dump;
mod entries;
mod export;
mod fit;
mod graves;
mod groups;
mod heal;
mod history;
mod jobs;
mod keys;
mod leases;
mod lines;
mod load;
pub mod merge;
mod nodes;
mod notices;
mod overview;
mod place;
mod queues;
mod read;
mod retention;
mod schedules;
mod table;
mod tally;
mod unique;

pub use check::Violation;
pub use groups::GroupView;
pub use load::Load;
pub use queues::{Hold, QueueView, Waiting};
pub use read::JobFilter;
pub use relais_protocol::node::NodeRow;
pub use tally::{BOUNDS_MS, ENDS, OUTCOMES, Spread, Tally};

use crate::rows::{Changes, Rows, Sheet};
use blocked::Blocked;
use graves::Graves;
use groups::Groups;
use leases::Deadlines;
use lines::Lines;
use nodes::Nodes;
use notices::Notices;
use relais_protocol::codec::{self, CodecError};
use relais_protocol::failover::FailoverTale;
use relais_protocol::group::GroupId;
use relais_protocol::history::{Lineage, Side, Takeover};
use relais_protocol::ids::{ClusterId, Epoch, Fence, Incarnation, Index, JobId, NodeId, Reign};
use relais_protocol::job::{Place, StateName};
use relais_protocol::merge::{Merged, SettingRow, TokenRow};
use relais_protocol::record::{BATCH_DECODE_CAP, Batch, Failover, Outcome, Outcomes, Record, Refusal};
use relais_protocol::schedule::ScheduleName;
use relais_protocol::settings::Settings;
use relais_protocol::time::UnixMs;
use schedules::Schedules;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use table::JobTable;

/// What happened when a batch was applied: to be acted on by the dispatcher, and shown to watchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An attempt was placed: its worker must be told.
    Started {
        /// The job.
        job: JobId,
        /// Its worker.
        node: NodeId,
        /// The run of the worker's process.
        incarnation: Incarnation,
        /// The attempt.
        fence: Fence,
    },
    /// A running attempt is to be cancelled: its worker must be told.
    CancelWanted {
        /// The job.
        job: JobId,
        /// Its worker.
        node: NodeId,
        /// The attempt.
        fence: Fence,
    },
    /// An attempt was given up.
    AttemptLost {
        /// The job.
        job: JobId,
        /// Where it ran.
        node: NodeId,
        /// The attempt.
        fence: Fence,
    },
    /// A job is in another state.
    State {
        /// The job.
        job: JobId,
        /// The state.
        state: StateName,
    },
    /// A job was deleted, or its time in the record is over: what is left of it elsewhere can go.
    Forgotten(JobId),
    /// A node's row changed.
    Node(NodeId),
    /// A reign began.
    Promoted {
        /// The reign.
        reign: Reign,
        /// Who reigns.
        node: NodeId,
        /// In which run of its process.
        incarnation: Incarnation,
        /// Who reigned before.
        before: Option<NodeId>,
    },
    /// A history began: its reign begins with the `Promoted` that follows.
    TakenOver(Takeover),
    /// Rows of the other side of a split were joined with those here. If that needed a higher epoch, a
    /// `Promoted` of the dispatcher there was follows.
    Merged {
        /// What it came to.
        merged: Merged,
        /// Whether it was the last chunk.
        last: bool,
    },
    /// A schedule was set, removed, paused or resumed.
    Schedule(ScheduleName),
    /// The ledger was loaded from rows: nobody was told of what is in them.
    Loaded,
    /// A group has ended, or no more of it is to run.
    Group(GroupId),
}

/// What applying one entry came to.
#[derive(Debug, Default)]
pub struct Effects {
    /// What became of each record.
    pub outcomes: Outcomes,
    /// What is to be told, now that it is committed.
    pub events: Vec<Event>,
    /// Whether every replica counts and hashes its rows here.
    pub audit: bool,
}

/// Why rows could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("the stored row {key} can't be read: {source}")]
pub struct LoadError {
    key: String,
    source: CodecError,
}

/// The head of the ledger: small facts that are one row.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Head {
    cluster: Option<ClusterId>,
    reign: Reign,
    dispatcher: Option<(NodeId, Incarnation)>,
    now: UnixMs,
    next_node: u32,
    /// What generations, epochs and node ids are counted in.
    side: Side,
    /// The history left another one behind, and nobody has said yet that all of it was merged.
    unhealed: bool,
    /// Executions that merges found to have ended a job that another had ended.
    duplicates: u64,
}

/// The job table and all else that results from applying the journal.
pub struct Ledger {
    head: Head,
    applied: Index,
    sheet: Sheet,
    jobs: JobTable,
    lines: Lines,
    blocked: Blocked,
    deadlines: Deadlines,
    nodes: Nodes,
    notices: Notices,
    tokens: BTreeMap<u64, TokenRow>,
    settings: BTreeMap<String, SettingRow>,
    /// The same, typed.
    typed_settings: Settings,
    graves: Graves,
    schedules: Schedules,
    groups: Groups,
    failovers: BTreeMap<Epoch, Failover>,
    lineage: Vec<Lineage>,
    tales: BTreeMap<Epoch, FailoverTale>,
    events: Vec<Event>,
    tally: Tally,
}

impl Ledger {
    /// An empty one over `rows`, which must be empty too; else use [`Ledger::load`].
    #[must_use]
    pub fn new(rows: Arc<dyn Rows>) -> Self {
        Self {
            head: Head::default(),
            applied: Index(0),
            sheet: Sheet::new(rows),
            jobs: JobTable::default(),
            lines: Lines::with_aging(Settings::default().priority_aging_ms),
            blocked: Blocked::default(),
            deadlines: Deadlines::default(),
            nodes: Nodes::default(),
            notices: Notices::default(),
            tokens: BTreeMap::new(),
            settings: BTreeMap::new(),
            typed_settings: Settings::default(),
            graves: Graves::default(),
            schedules: Schedules::default(),
            groups: Groups::default(),
            failovers: BTreeMap::new(),
            lineage: Vec::new(),
            tales: BTreeMap::new(),
            events: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Applies the entry at `index`. Bytes that are no batch change nothing but the index: they can't
    /// have been acknowledged by this version, and every replica skips them alike.
    pub fn apply(&mut self, index: Index, payload: &[u8]) -> Effects {
        match codec::decode_packed::<Batch>(codec::FORMAT, payload, BATCH_DECODE_CAP) {
            Ok(batch) => self.apply_batch(index, batch),
            Err(error) => {
                tracing::error!(%index, %error, "skipped an entry that is no batch");
                self.applied = index;
                Effects::default()
            }
        }
    }

    /// Applies a decoded batch.
    pub fn apply_batch(&mut self, index: Index, batch: Batch) -> Effects {
        self.applied = index;
        self.head.now = self.head.now.max(batch.stamp);
        let mut effects = Effects::default();
        let proposed = Reign { generation: batch.generation, epoch: batch.epoch };
        // A merge raises the epoch in the middle of its batch; what follows there is of the same proposer.
        let mut merges = false;
        for (position, record) in batch.records.into_iter().enumerate() {
            let begins = matches!(record, Record::Promote { .. } | Record::Found { .. } | Record::Takeover(_));
            let of_this_reign = proposed == self.head.reign || merges;
            merges |= of_this_reign && matches!(record, Record::Merge(_));
            let outcome = if begins || of_this_reign || crate::planted::epoch_ignored() {
                effects.audit |= record == Record::Audit;
                self.enter(Place::new(index, position), record)
            } else {
                Outcome::Refused(Refusal::StaleReign)
            };
            effects.outcomes.each.push(outcome);
        }
        self.come_due();
        self.come_to_rest();
        self.place();
        self.write_flows();
        self.write_head();
        effects.outcomes.epoch = self.head.reign.epoch;
        effects.events = std::mem::take(&mut self.events);
        effects
    }

    /// The index of the last entry applied.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The reign in force.
    #[must_use]
    pub fn reign(&self) -> Reign {
        self.head.reign
    }

    /// Who was last promoted.
    #[must_use]
    pub fn dispatcher(&self) -> Option<(NodeId, Incarnation)> {
        self.head.dispatcher
    }

    /// The cluster's id, once it is founded.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.head.cluster
    }

    /// The latest stamp applied.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.head.now
    }

    /// When something becomes due by the stamp alone: the dispatcher then proposes a `Tick`.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMs> {
        let at_once = self.groups.has_work().then_some(self.head.now);
        at_once.into_iter().chain(self.lines.next_due()).chain(self.deadlines.next()).min()
    }

    /// Rough bytes of change waiting for a checkpoint.
    #[must_use]
    pub fn changed_bytes(&self) -> usize {
        self.sheet.changed_bytes()
            + self.jobs.changed_bytes()
            + self.schedules.changed_bytes()
            + self.groups.changed_bytes()
    }

    /// All rows changed since the last call, each once however often it changed.
    pub fn drain_changes(&mut self) -> Arc<Changes> {
        self.jobs.write_changed(&mut self.sheet);
        self.nodes.write_changed(&mut self.sheet);
        self.schedules.write_changed(&mut self.sheet);
        self.groups.write_changed(&mut self.sheet);
        let mut changes = self.sheet.drain();
        for (bug, kind) in [("keys-not-kept", keys::KEY), ("unique-not-kept", keys::UNIQUE)] {
            if crate::planted::is_planted(bug) {
                Arc::make_mut(&mut changes).retain(|key, _| key[0] != kind);
            }
        }
        changes
    }

    /// The checkpointed rows answer with all that was drained now.
    pub fn kept(&mut self) {
        self.sheet.kept();
    }

    /// A ledger from checkpointed rows, as of `applied`.
    ///
    /// # Errors
    /// When a row can't be decoded.
    pub fn load(rows: Arc<dyn Rows>, applied: Index) -> Result<Self, LoadError> {
        let mut ledger = Self::new(rows.clone());
        ledger.applied = applied;
        if let Some(head) = rows.read(keys::HEAD) {
            ledger.head = keys::decode_row(keys::HEAD, &head)?;
        }
        ledger.nodes = Nodes::load(&*rows)?;
        ledger.tokens = keys::load_table(&*rows, keys::TOKEN, |row: &TokenRow| row.token.id)?;
        ledger.failovers = keys::load_table(&*rows, keys::FAILOVER, |f: &Failover| f.epoch)?;
        ledger.tales = keys::load_table(&*rows, keys::TALE, |tale: &FailoverTale| tale.failover.epoch)?;
        ledger.settings = keys::load_table(&*rows, keys::SETTING, |row: &SettingRow| row.key.clone())?;
        ledger.type_settings();
        ledger.graves = Graves::load(&*rows)?;
        ledger.schedules = Schedules::load(&*rows)?;
        ledger.groups = Groups::load(&*rows)?;
        keys::each_row(&*rows, keys::LINEAGE, |row: Lineage| ledger.lineage.push(row))?;
        ledger.load_queues(&*rows)?;
        ledger.load_jobs(&*rows)?;
        if crate::planted::is_planted("notices-in-memory") {
            ledger.notices = Notices::default();
        }
        ledger.load_flows(&*rows)?;
        ledger.load_blocked(&*rows)?;
        ledger.groups.find_work();
        Ok(ledger)
    }

    fn write_head(&mut self) {
        self.sheet.write(keys::HEAD.to_vec(), Some(codec::encode(codec::FORMAT, &self.head)));
    }
}

#[cfg(test)]
mod tests;
