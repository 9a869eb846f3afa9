//! The state machine as openraft sees it: applies in memory, and decides when to make a checkpoint.

use super::checkpoint::LedgerMeta;
use super::ledger::Ledger;
use super::ledger_writer::{Draft, Job, LedgerJobs};
use super::snapshot::SnapshotData;
use super::types::{LogId, Membership, SnapshotMeta, StorageError, Types, read_error, write_error};
use super::{Applied, Machine};
use openraft::storage::RaftStateMachine;
use openraft::{Entry, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use parking_lot::Mutex;
use relais_protocol::ids::Index;
use relais_protocol::record::Outcomes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Pending changes at which a checkpoint is due.
const CHECKPOINT_BYTES: usize = 8 << 20;
/// Entries since the last one at which it is due.
const CHECKPOINT_ENTRIES: u64 = 20_000;

/// Where the state machine stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    /// The last entry applied.
    pub(super) applied: Option<LogId>,
    /// The members as of then.
    pub(super) membership: Membership,
    /// Index after the last entry of the last checkpoint begun.
    pub(super) drafted_next: u64,
}

impl Position {
    /// Of a machine that was loaded from `ledger` just now.
    pub(super) fn loaded(ledger: &Ledger) -> Self {
        let meta = ledger.meta();
        Self { drafted_next: meta.next_index(), applied: meta.applied, membership: meta.membership }
    }
}

/// The state machine.
pub(super) struct Applier {
    machine: Arc<dyn Machine>,
    ledger: Arc<Ledger>,
    jobs: LedgerJobs,
    applied: Option<LogId>,
    membership: Membership,
    /// Index after the last entry of the last checkpoint begun.
    drafted_next: u64,
    told: Arc<watch::Sender<u64>>,
    /// Where it stands is sent here when it is dropped.
    left: Option<oneshot::Sender<Position>>,
    /// Index after the last entry of the last checkpoint that openraft was told of.
    reported_next: Arc<Mutex<u64>>,
}

impl Applier {
    /// A state machine whose `machine` stands at `at`; what it applies is told by `told`. The receiver gets
    /// where it stands in the end, when nothing more will be applied by it.
    pub(super) fn new(
        machine: Arc<dyn Machine>,
        ledger: Arc<Ledger>,
        jobs: LedgerJobs,
        at: Position,
        told: Arc<watch::Sender<u64>>,
    ) -> (Self, oneshot::Receiver<Position>) {
        let (left, end) = oneshot::channel();
        told.send_replace(at.applied.map_or(0, |id| id.index + 1));
        let reported_next = Arc::new(Mutex::new(ledger.meta().next_index()));
        let applier = Self {
            machine,
            ledger,
            jobs,
            applied: at.applied,
            membership: at.membership,
            drafted_next: at.drafted_next,
            told,
            left: Some(left),
            reported_next,
        };
        (applier, end)
    }

    fn next_index(&self) -> u64 {
        self.applied.map_or(0, |id| id.index + 1)
    }

    /// What to write for a checkpoint at this very index. From here on reads see it.
    fn draft(&mut self, is_audit: bool) -> Draft {
        let changes = self.machine.drain_changes();
        self.ledger.inner().overlays.push_back(changes.clone());
        self.machine.drained();
        self.drafted_next = self.next_index();
        Draft { changes, applied: self.applied, membership: self.membership.clone(), is_audit }
    }

    async fn checkpoint(&mut self, is_audit: bool) -> Result<(), StorageError> {
        // Room first: each draft holds all that it changes.
        let room = self.jobs.clone().room().await.ok_or_else(|| write_error("the ledger has failed"))?;
        let draft = self.draft(is_audit);
        // Nobody waits for this one.
        drop(room.begin(|done| Job::Checkpoint(draft, done)));
        Ok(())
    }

    async fn apply_one(&mut self, entry: Entry<Types>) -> Result<Outcomes, StorageError> {
        let index = Index(entry.log_id.index);
        self.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(Outcomes::default()),
            EntryPayload::Membership(members) => {
                self.membership = Membership::new(Some(entry.log_id), members);
                Ok(Outcomes::default())
            }
            EntryPayload::Normal(payload) => {
                let apply = || self.machine.apply(index, &payload.bytes);
                let Ok(Applied { outcomes, checkpoint }) = catch_unwind(AssertUnwindSafe(apply)) else {
                    let reason = format!("entry {index} cannot be applied: the ledger panicked");
                    self.ledger.guard.fail(reason.clone());
                    return Err(write_error(reason));
                };
                if checkpoint {
                    self.checkpoint(true).await?;
                }
                Ok(outcomes)
            }
        }
    }

    async fn install(&mut self, stage: u64, meta: &SnapshotMeta) -> Result<(), StorageError> {
        let (applied, membership) = (meta.last_log_id, meta.last_membership.clone());
        let installed = self.jobs.ask(|done| Job::Install(stage, applied, membership.clone(), done)).await;
        match installed {
            Some(true) => {}
            Some(false) => return Err(write_error("the snapshot to install is not there any more")),
            None => return Err(write_error("the ledger has failed")),
        }
        let (machine, ledger) = (self.machine.clone(), self.ledger.clone());
        let loaded = tokio::task::spawn_blocking(move || machine.load(ledger)).await;
        loaded.map_err(write_error)?.map_err(write_error)?;
        self.applied = applied;
        self.membership = membership;
        self.drafted_next = self.next_index();
        *self.reported_next.lock() = self.drafted_next;
        self.told.send_replace(self.drafted_next);
        Ok(())
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        let at = Position {
            applied: self.applied,
            membership: std::mem::take(&mut self.membership),
            drafted_next: self.drafted_next,
        };
        if let Some(left) = self.left.take() {
            // Nobody waits for it but a fork.
            let _ = left.send(at);
        }
    }
}

impl RaftStateMachine<Types> for Applier {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        // Collected first, since an iterator need not be `Send` across a checkpoint.
        let entries: Vec<_> = entries.into_iter().collect();
        if let Some(last) = entries.last() {
            self.ledger.guard.flushed.until_true(last.log_id.index).await?;
        }
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            outcomes.push(self.apply_one(entry).await?);
        }
        self.told.send_replace(self.next_index());
        let is_due = self.machine.pending_bytes() > CHECKPOINT_BYTES
            || self.next_index().saturating_sub(self.drafted_next) > CHECKPOINT_ENTRIES;
        if is_due {
            self.checkpoint(false).await?;
        }
        Ok(outcomes)
    }

    /// A checkpoint that openraft does not know yet is good enough; else one is made here and now.
    async fn get_snapshot_builder(&mut self) -> Builder {
        let known = self.ledger.meta();
        let is_news = known.next_index() > *self.reported_next.lock();
        let mut pending = None;
        if !is_news {
            // Handed over here and not by the builder, which runs beside further checkpoints: they must
            // be made in the order of the journal.
            let draft = self.draft(false);
            pending = Some(self.jobs.begin(|done| Job::Checkpoint(draft, done)).await);
        }
        Builder { known, pending, reported_next: self.reported_next.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Box<SnapshotData>) -> Result<(), StorageError> {
        match *snapshot {
            SnapshotData::Staged(stage) => self.install(stage, meta).await,
            SnapshotData::None => Err(write_error("a snapshot without rows")),
            SnapshotData::Outgoing(transfer) => {
                let failed = || write_error("the ledger has failed");
                let stage = self.jobs.ask(Job::Begin).await.flatten().ok_or_else(failed)?;
                while let Some(rows) = transfer.next_page().map_err(read_error)? {
                    let taken = self.jobs.ask(|done| Job::Rows(stage, rows.into(), done)).await;
                    taken.filter(|taken| *taken).ok_or_else(failed)?;
                }
                self.install(stage, meta).await
            }
        }
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let ledger = self.ledger.clone();
        let transfer = tokio::task::spawn_blocking(move || ledger.transfer()).await.map_err(read_error)?;
        Ok(transfer.map(|transfer| Snapshot {
            meta: transfer.meta().snapshot_meta(),
            snapshot: Box::new(SnapshotData::Outgoing(transfer)),
        }))
    }
}

/// Waits for a checkpoint, or knows one that was made.
pub(super) struct Builder {
    known: LedgerMeta,
    pending: Option<Option<oneshot::Receiver<LedgerMeta>>>,
    reported_next: Arc<Mutex<u64>>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let failed = || write_error("the ledger has failed");
        if let Some(pending) = self.pending.take() {
            self.known = pending.ok_or_else(failed)?.await.map_err(|_| failed())?;
        }
        let mut reported = self.reported_next.lock();
        *reported = (*reported).max(self.known.next_index());
        Ok(Snapshot { meta: self.known.snapshot_meta(), snapshot: Box::default() })
    }
}
