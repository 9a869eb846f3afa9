//! One openraft over one store. A fork or a reset ends it and starts the next; what others hold on to, the
//! status and how far is applied, goes on.

use super::guard::Guard;
use super::ledger::Ledger;
use super::ledger_writer::LedgerJobs;
use super::log::Log;
use super::machine::{Applier, Position};
use super::network::Peers;
use super::status::{self, Herald};
use super::types::Types;
use super::{Checkpoint, Link, Machine, StartError};
use openraft::{Config, Raft, SnapshotPolicy};
use relais_protocol::ids::RaftId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Bytes of entries kept behind a checkpoint.
const KEPT_BYTES: u64 = 256 << 20;

/// What goes on from one instance to the next.
pub(super) struct Lasting {
    /// What is applied to.
    pub(super) machine: Arc<dyn Machine>,
    /// The way to the peers.
    pub(super) link: Arc<dyn Link>,
    /// What the journal is at.
    pub(super) herald: Arc<Herald>,
    /// The index applied last, plus one.
    pub(super) applied_next: Arc<watch::Sender<u64>>,
}

/// The parts of a store that an instance works with; clones share it.
#[derive(Clone)]
pub(super) struct Stored {
    /// Entries, vote, history.
    pub(super) log: Log,
    /// Rows of the last checkpoint.
    pub(super) ledger: Arc<Ledger>,
    /// Its writer.
    pub(super) ledger_jobs: LedgerJobs,
    /// Counts and fails.
    pub(super) guard: Arc<Guard>,
    /// Entries kept behind a checkpoint, for followers that are behind.
    pub(super) kept_entries: u64,
}

/// A running openraft.
pub(super) struct Instance {
    /// Under this id.
    pub(super) id: RaftId,
    /// It.
    pub(super) raft: Raft<Types>,
    tasks: Vec<JoinHandle<()>>,
    is_closing: Arc<AtomicBool>,
    end: Option<oneshot::Receiver<Position>>,
}

fn config(kept_entries: u64) -> Config {
    Config {
        cluster_name: "relais".to_owned(),
        election_timeout_min: 60,
        election_timeout_max: 80,
        // The pace of openraft's own clock, three halves of this: nothing hangs on it but what is said of the tick.
        heartbeat_interval: 55,
        max_payload_entries: 64,
        replication_lag_threshold: kept_entries,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: kept_entries,
        purge_batch_size: kept_entries.min(256),
        // A leader's alone: without it one that is taken out of the voters would never step down. See the status.
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        ..Config::default()
    }
}

impl Instance {
    /// Starts under `id`, with the machine standing `at`. What is known to be committed since is applied.
    ///
    /// # Errors
    /// Openraft refuses what is in the store.
    pub(super) async fn start(
        id: RaftId,
        lasting: &Lasting,
        stored: &Stored,
        at: Position,
    ) -> Result<Self, StartError> {
        let refused = |e: &dyn std::fmt::Display| StartError::Raft(e.to_string());
        let Stored { log, ledger, ledger_jobs, guard, kept_entries } = stored;
        let (machine, told) = (lasting.machine.clone(), lasting.applied_next.clone());
        let (applier, end) = Applier::new(machine, ledger.clone(), ledger_jobs.clone(), at, told);
        let config = Arc::new(config(*kept_entries).validate().map_err(|e| refused(&e))?);
        let status = lasting.herald.status();
        let peers = Peers { id, link: lasting.link.clone(), log: log.clone(), status };
        let raft = Raft::new(id.0, config, peers, log.clone(), applier).await.map_err(|e| refused(&e))?;
        // An answer means that the core has begun, and told what it is.
        raft.with_raft_state(|_| ()).await.map_err(|e| refused(&e))?;
        lasting.herald.tell(status::now(&raft, log));
        let is_closing = Arc::new(AtomicBool::new(false));
        let follow = follow(raft.clone(), log.clone(), lasting.herald.clone(), guard.clone(), is_closing.clone());
        let keep = keep(raft.clone(), log.clone(), ledger.checkpoints());
        let tasks = vec![tokio::spawn(follow), tokio::spawn(keep)];
        Ok(Self { id, raft, tasks, is_closing, end: Some(end) })
    }

    /// Ends it: nothing is written or applied by it afterwards. Where the machine stands then.
    pub(super) async fn stop(&mut self) -> Option<Position> {
        self.is_closing.store(true, Ordering::Release);
        // Openraft's core may have stopped already, which is what is wanted.
        drop(self.raft.shutdown().await);
        self.end.take()?.await.ok()
    }

    /// No change of its status is told any more, its end neither.
    pub(super) async fn silence(&mut self) {
        self.is_closing.store(true, Ordering::Release);
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            drop(task.await);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Keeps the status told; openraft's end, unless it was asked for, is the end of the process.
async fn follow(raft: Raft<Types>, log: Log, herald: Arc<Herald>, guard: Arc<Guard>, is_closing: Arc<AtomicBool>) {
    status::follow(raft.clone(), log, herald).await;
    if !is_closing.load(Ordering::Acquire) {
        let why = raft.metrics().borrow().running_state.as_ref().err().map(ToString::to_string);
        guard.fail(format!("the journal stopped: {}", why.unwrap_or_else(|| "it gave no reason".to_owned())));
    }
}

/// Tells openraft of checkpoints, whereupon it purges the log, and purges further if entries are large.
async fn keep(raft: Raft<Types>, log: Log, mut checkpoints: watch::Receiver<Option<Checkpoint>>) {
    while checkpoints.changed().await.is_ok() {
        log.nudge();
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
        let at = checkpoints.borrow_and_update().map(|checkpoint| checkpoint.index.0);
        if let (Some(at), Some(upto)) = (at, log.purge_for_bytes(KEPT_BYTES))
            && raft.trigger().purge_log(upto.min(at)).await.is_err()
        {
            return;
        }
    }
}
