//! [`Journal`] by openraft.
//!
//! Openraft's own election timer and heartbeat are off: [`Journal::stand`] and [`Journal::heartbeat`] are
//! for the election to call. `election_timeout_max` only says for how long a follower refuses votes after
//! it heard its leader.

use super::guard::Guard;
use super::ledger::Ledger;
use super::ledger_writer::LedgerJobs;
use super::log::Log;
use super::machine::Applier;
use super::network::{self, Peers};
use super::status::{self, JournalStatus, Role};
use super::store::{Store, Threads};
use super::types::{Payload, Types};
use super::{ChangeError, Checkpoint, Counters, Journal, Link, LoadError, Machine, ProposeError, ReadError, Stopped};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::error::{CheckIsLeaderError, ClientWriteError, RaftError};
use openraft::{Config, Raft, SnapshotPolicy};
use parking_lot::Mutex;
use relais_protocol::ids::{Index, RaftId};
use relais_protocol::record::Outcomes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes of entries kept behind a checkpoint.
const KEPT_BYTES: u64 = 256 << 20;
/// How long a proposal of a former leader may still find its end.
const GRACE: Duration = Duration::from_millis(500);

/// Why the journal does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The machine could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Openraft refused.
    #[error("the journal cannot start: {0}")]
    Raft(String),
}

/// The journal of this node.
pub struct RaftJournal {
    id: RaftId,
    raft: Raft<Types>,
    log: Log,
    ledger: Arc<Ledger>,
    ledger_jobs: LedgerJobs,
    counters: Arc<Counters>,
    status: watch::Receiver<JournalStatus>,
    applied_next: watch::Receiver<u64>,
    tasks: Vec<JoinHandle<()>>,
    is_closing: Arc<AtomicBool>,
    threads: Arc<Mutex<Option<Threads>>>,
}

fn config(kept_entries: u64) -> Config {
    Config {
        cluster_name: "relais".to_owned(),
        election_timeout_min: 60,
        election_timeout_max: 80,
        heartbeat_interval: 22,
        max_payload_entries: 64,
        replication_lag_threshold: kept_entries,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: kept_entries,
        purge_batch_size: kept_entries.min(256),
        // The tick stays on: without it a leader taken out of the voters would never step down.
        enable_tick: true,
        enable_heartbeat: false,
        enable_elect: false,
        ..Config::default()
    }
}

impl RaftJournal {
    /// Loads `machine` from the store, applies what is known to be committed since, and takes part. Never
    /// starts as the leader.
    ///
    /// # Errors
    /// The machine cannot be loaded, or openraft refuses what is in the store.
    pub async fn start(store: Store, machine: Arc<dyn Machine>, link: Arc<dyn Link>) -> Result<Self, StartError> {
        let Store { id, log, ledger, ledger_jobs, guard, threads, kept_entries } = store;
        let (loading, rows) = (machine.clone(), ledger.clone());
        let loaded = tokio::task::spawn_blocking(move || loading.load(rows)).await;
        loaded.map_err(|e| StartError::Raft(e.to_string()))??;
        let applier = Applier::new(machine, ledger.clone(), ledger_jobs.clone());
        let applied_next = applier.applied_next();
        let config = config(kept_entries).validate().map_err(|e| StartError::Raft(e.to_string()))?;
        let raft = Raft::new(id.0, Arc::new(config), Peers { id, link }, log.clone(), applier)
            .await
            .map_err(|e| StartError::Raft(e.to_string()))?;
        // An answer means that the core has begun, and told what it is.
        raft.with_raft_state(|_| ()).await.map_err(|e| StartError::Raft(e.to_string()))?;
        let now = status::now(&raft, &log.committed_next());
        let (tell, status) = watch::channel(now);
        let is_closing = Arc::new(AtomicBool::new(false));
        let follow = follow(raft.clone(), log.committed_next(), tell, guard.clone(), is_closing.clone());
        let keep = tokio::spawn(keep(raft.clone(), log.clone(), ledger.checkpoints()));
        Ok(Self {
            id,
            raft,
            log,
            ledger,
            ledger_jobs,
            counters: guard.counters.clone(),
            status,
            applied_next,
            tasks: vec![tokio::spawn(follow), keep],
            is_closing,
            threads: Arc::new(Mutex::new(Some(threads))),
        })
    }

    /// Bytes of frames in the log, for metrics.
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }
}

/// Keeps the status told; openraft's end, unless it was asked for, is the end of the process.
async fn follow(
    raft: Raft<Types>,
    committed_next: Arc<AtomicU64>,
    tell: watch::Sender<JournalStatus>,
    guard: Arc<Guard>,
    is_closing: Arc<AtomicBool>,
) {
    status::follow(raft.clone(), committed_next, tell).await;
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

/// Ends when this node has not led for a while. Openraft answers a proposal only once it knows its fate,
/// and a deposed leader without a majority never learns of it.
async fn deposed(status: &mut watch::Receiver<JournalStatus>) {
    loop {
        status.wait_for(|status| status.role != Role::Leader).await.ok();
        tokio::time::sleep(GRACE).await;
        if status.borrow().role != Role::Leader {
            return;
        }
    }
}

type WriteError = RaftError<u64, ClientWriteError<u64, openraft::EmptyNode>>;

async fn propose(
    raft: Raft<Types>,
    mut status: watch::Receiver<JournalStatus>,
    payload: Bytes,
) -> Result<(Index, Outcomes), ProposeError> {
    let (payload, taken) = Payload::proposed(payload);
    let writing = tokio::spawn(async move { raft.client_write(payload).await });
    let deposed = deposed(&mut status);
    let written = tokio::select! {
        written = writing => written,
        () = deposed => return Err(ProposeError::Unknown),
    };
    let unless_taken = |error| if taken.load(Ordering::Acquire) { ProposeError::Unknown } else { error };
    match written {
        Ok(Ok(response)) => Ok((Index(response.log_id.index), response.data)),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
            Err(unless_taken(ProposeError::NotLeader { leader: to.leader_id.map(RaftId) }))
        }
        Ok(Err(_)) | Err(_) => Err(unless_taken(ProposeError::Stopped)),
    }
}

fn change_error(error: WriteError) -> ChangeError {
    use openraft::error::ChangeMembershipError as Change;
    match error {
        RaftError::Fatal(_) => ChangeError::Stopped,
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            ChangeError::NotLeader { leader: to.leader_id.map(RaftId) }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(Change::InProgress(_))) => ChangeError::InProgress,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(e)) => ChangeError::Refused(e.to_string()),
    }
}

/// Waits for a change on a task of its own; a leader that is deposed meanwhile would never be told.
async fn change<F>(mut status: watch::Receiver<JournalStatus>, changing: F) -> Result<(), ChangeError>
where
    F: Future<Output = Result<(), WriteError>> + Send + 'static,
{
    let changing = tokio::spawn(changing);
    let deposed = deposed(&mut status);
    tokio::select! {
        changed = changing => changed.map_err(|_| ChangeError::Stopped)?.map_err(change_error),
        () = deposed => Err(ChangeError::Unknown),
    }
}

async fn add_learner(raft: Raft<Types>, status: watch::Receiver<JournalStatus>, id: RaftId) -> Result<(), ChangeError> {
    let is_member = {
        let status = status.borrow();
        status.voters.contains(&id) || status.learners.contains(&id)
    };
    if is_member {
        return Ok(());
    }
    change(status, async move { raft.add_learner(id.0, openraft::EmptyNode {}, false).await.map(drop) }).await
}

async fn change_voters(
    raft: Raft<Types>,
    mut status: watch::Receiver<JournalStatus>,
    voters: BTreeSet<RaftId>,
) -> Result<(), ChangeError> {
    let (now, is_joint) = {
        let status = status.borrow();
        (status.voters.clone(), status.is_joint)
    };
    if now == voters && !is_joint {
        return Ok(());
    }
    for id in voters.difference(&now) {
        add_learner(raft.clone(), status.clone(), *id).await?;
    }
    for id in voters.difference(&now) {
        caught_up(&mut status, *id).await?;
    }
    let ids: BTreeSet<u64> = voters.iter().map(|id| id.0).collect();
    change(status, async move { raft.change_membership(ids, false).await.map(drop) }).await
}

/// Waits until `id` has all that the log had a moment ago: else the change would hold up every write
/// until it has.
async fn caught_up(status: &mut watch::Receiver<JournalStatus>, id: RaftId) -> Result<(), ChangeError> {
    /// Entries that may be on their way.
    const NEAR: u64 = 64;
    let near = status.wait_for(|status| {
        let matched = status.matched.get(&id).copied().flatten().map_or(0, |at| at.0 + 1);
        let last = status.last_log.map_or(0, |last| last.index + 1);
        status.role != Role::Leader || (matched > 0 && matched + NEAR >= last)
    });
    let status = near.await.map_err(|_| ChangeError::Stopped)?.clone();
    if status.role == Role::Leader { Ok(()) } else { Err(ChangeError::NotLeader { leader: status.leader }) }
}

async fn read_index(raft: Raft<Types>) -> Result<Index, ReadError> {
    if crate::planted::read_round_skipped() {
        return Ok(Index(raft.metrics().borrow().last_applied.map_or(0, |at| at.index)));
    }
    match raft.get_read_log_id().await {
        Ok((at, _)) => Ok(Index(at.map_or(0, |at| at.index))),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to))) => {
            Err(ReadError::NotLeader { leader: to.leader_id.map(RaftId) })
        }
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Err(ReadError::NoMajority),
        Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
    }
}

async fn found(raft: Raft<Types>) -> Result<(), ChangeError> {
    let id = raft.metrics().borrow().id;
    let members: BTreeSet<u64> = [id].into();
    match raft.initialize(members).await {
        Ok(()) => Ok(()),
        Err(RaftError::APIError(e)) => Err(ChangeError::Refused(e.to_string())),
        Err(RaftError::Fatal(_)) => Err(ChangeError::Stopped),
    }
}

impl Journal for RaftJournal {
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<(Index, Outcomes), ProposeError>> {
        propose(self.raft.clone(), self.status.clone(), payload).boxed()
    }

    fn read_index(&self) -> BoxFuture<'static, Result<Index, ReadError>> {
        read_index(self.raft.clone()).boxed()
    }

    fn wait_applied(&self, index: Index) -> BoxFuture<'static, Result<(), Stopped>> {
        let mut applied = self.applied_next.clone();
        async move { applied.wait_for(|next| *next > index.0).await.map(drop).map_err(|_| Stopped) }.boxed()
    }

    fn found(&self) -> BoxFuture<'static, Result<(), ChangeError>> {
        found(self.raft.clone()).boxed()
    }

    fn stand(&self) -> BoxFuture<'static, Result<(), Stopped>> {
        let raft = self.raft.clone();
        async move { raft.trigger().elect().await.map_err(|_| Stopped) }.boxed()
    }

    fn heartbeat(&self) -> BoxFuture<'static, Result<(), Stopped>> {
        let raft = self.raft.clone();
        async move { raft.trigger().heartbeat().await.map_err(|_| Stopped) }.boxed()
    }

    fn add_learner(&self, node: RaftId) -> BoxFuture<'static, Result<(), ChangeError>> {
        add_learner(self.raft.clone(), self.status.clone(), node).boxed()
    }

    fn remove_learner(&self, node: RaftId) -> BoxFuture<'static, Result<(), ChangeError>> {
        let raft = self.raft.clone();
        let nodes = openraft::ChangeMembers::RemoveNodes([node.0].into());
        change(self.status.clone(), async move { raft.change_membership(nodes, false).await.map(drop) }).boxed()
    }

    fn change_voters(&self, voters: BTreeSet<RaftId>) -> BoxFuture<'static, Result<(), ChangeError>> {
        change_voters(self.raft.clone(), self.status.clone(), voters).boxed()
    }

    fn status(&self) -> watch::Receiver<JournalStatus> {
        self.status.clone()
    }

    fn checkpoint(&self) -> watch::Receiver<Option<Checkpoint>> {
        self.ledger.checkpoints()
    }

    fn audit(&self) -> watch::Receiver<Option<Checkpoint>> {
        self.ledger.audits()
    }

    fn handle_rpc(&self, from: RaftId, request: Bytes) -> BoxFuture<'static, Bytes> {
        let (raft, jobs, id) = (self.raft.clone(), self.ledger_jobs.clone(), self.id);
        async move { network::answer(&raft, &jobs, id, from, &request).await }.boxed()
    }

    fn purged(&self) -> u64 {
        self.log.purged_next()
    }

    fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let (raft, jobs, ledger) = (self.raft.clone(), self.ledger_jobs.clone(), self.ledger.clone());
        let (threads, is_closing) = (self.threads.clone(), self.is_closing.clone());
        async move {
            is_closing.store(true, Ordering::Release);
            // Openraft's core may have stopped already, which is what is wanted.
            drop(raft.shutdown().await);
            jobs.close().await;
            let Some(threads) = threads.lock().take() else { return };
            threads.close(ledger).await;
        }
        .boxed()
    }
}

impl Drop for RaftJournal {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
