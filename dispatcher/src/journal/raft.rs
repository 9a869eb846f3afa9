//! [`Journal`] by openraft.
//!
//! Openraft's own election timer and heartbeat are off: [`Journal::stand`] and [`Journal::heartbeat`] are
//! for the election to call. `election_timeout_max` only says for how long a follower refuses votes after
//! it heard its leader.

use super::fork::{Fork, ForkError, ForkMark, ResetError};
use super::instance::{Instance, Lasting, Stored};
use super::machine::Position;
use super::renew;
use super::status::{Herald, JournalStatus, Role};
use super::store::{Store, StoreOptions, Threads};
use super::types::Types;
use super::{ChangeError, Checkpoint, Counters, Journal, Link, LoadError, Machine, ProposeError, ReadError, Stopped};
use super::{calls, network, rpc};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::Raft;
use parking_lot::RwLock;
use relais_protocol::ids::{Index, RaftId};
use relais_protocol::record::Outcomes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

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
    shared: Arc<Shared>,
}

/// What the calls share with a fork or a reset that is under way.
pub(super) struct Shared {
    /// Outlives both.
    pub(super) lasting: Lasting,
    /// Held by who changes `current` as a whole.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// What is there now.
    pub(super) current: RwLock<Current>,
    /// It was shut down.
    pub(super) is_closed: AtomicBool,
}

/// A store, and the openraft that runs on it.
pub(super) struct Current {
    /// How the store was opened.
    pub(super) options: StoreOptions,
    /// The store.
    pub(super) stored: Stored,
    /// Its writers, until it is closed.
    pub(super) threads: Option<Threads>,
    /// `None` while the journal is forked or begun anew, and when it is shut down.
    pub(super) instance: Option<Instance>,
}

impl Current {
    /// The parts of an open store.
    pub(super) fn of(store: Store) -> Self {
        let Store { options, log, ledger, ledger_jobs, guard, threads, .. } = store;
        let stored = Stored { log, ledger, ledger_jobs, guard, kept_entries: options.kept_entries };
        Self { options, stored, threads: Some(threads), instance: None }
    }
}

impl Shared {
    fn raft(&self) -> Option<Raft<Types>> {
        self.current.read().instance.as_ref().map(|instance| instance.raft.clone())
    }

    /// Whether what has stopped is only about to go on in another way.
    fn is_renewed(&self) -> bool {
        !self.is_closed.load(Ordering::Acquire) && !self.current.read().stored.guard.has_failed()
    }

    /// Loads the machine with the rows of the last checkpoint.
    pub(super) async fn load(&self, stored: &Stored) -> Result<Position, StartError> {
        let (machine, rows) = (self.lasting.machine.clone(), stored.ledger.clone());
        let loaded = tokio::task::spawn_blocking(move || machine.load(rows)).await;
        loaded.map_err(|e| StartError::Raft(e.to_string()))??;
        Ok(Position::loaded(&stored.ledger))
    }
}

impl RaftJournal {
    /// Loads `machine` from the store, applies what is known to be committed since, and takes part. Never
    /// starts as the leader.
    ///
    /// # Errors
    /// The machine cannot be loaded, or openraft refuses what is in the store.
    pub async fn start(store: Store, machine: Arc<dyn Machine>, link: Arc<dyn Link>) -> Result<Self, StartError> {
        let id = store.id;
        let applied_next = Arc::new(watch::channel(0).0);
        let lasting = Lasting { machine, link, herald: Arc::default(), applied_next };
        let shared = Shared {
            lasting,
            changing: tokio::sync::Mutex::default(),
            current: RwLock::new(Current::of(store)),
            is_closed: AtomicBool::new(false),
        };
        let stored = shared.current.read().stored.clone();
        let at = shared.load(&stored).await?;
        let instance = Instance::start(id, &shared.lasting, &stored, at).await?;
        shared.current.write().instance = Some(instance);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes no more entries or snapshots from a leader, for want of room, or takes them again. Heartbeats
    /// and votes go on, and so does what is in the log already. A leader's own entries are for its
    /// dispatcher to hold back.
    pub fn close(&self, closed: bool) {
        self.shared.current.read().stored.guard.close(closed);
    }

    /// Bytes of frames in the log, for metrics.
    pub fn log_bytes(&self) -> u64 {
        self.shared.current.read().stored.log.bytes()
    }

    /// Calls openraft; `away` while there is none.
    fn call<T, E, F>(
        &self,
        away: impl Fn() -> E + Send + 'static,
        stopped: impl Fn(&E) -> bool + Send + 'static,
        ask: impl FnOnce(Raft<Types>, &Herald) -> F,
    ) -> BoxFuture<'static, Result<T, E>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let shared = self.shared.clone();
        let asked = shared.raft().map(|raft| ask(raft, &shared.lasting.herald));
        async move {
            let result = match asked {
                Some(asked) => asked.await,
                None => Err(away()),
            };
            // What was asked of an instance that a fork has ended was not asked of the journal.
            result.map_err(|error| if stopped(&error) && shared.is_renewed() { away() } else { error })
        }
        .boxed()
    }
}

impl Journal for RaftJournal {
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<(Index, Outcomes), ProposeError>> {
        let away = || ProposeError::NotLeader { leader: None };
        self.call(away, |e| *e == ProposeError::Stopped, |raft, herald| calls::propose(raft, herald.role(), payload))
    }

    fn read_index(&self) -> BoxFuture<'static, Result<Index, ReadError>> {
        let away = || ReadError::NotLeader { leader: None };
        self.call(away, |e| *e == ReadError::Stopped, |raft, _| calls::read_index(raft))
    }

    fn wait_applied(&self, index: Index) -> BoxFuture<'static, Result<(), Stopped>> {
        let mut applied = self.shared.lasting.applied_next.subscribe();
        let mut role = self.shared.lasting.herald.role();
        async move {
            tokio::select! {
                biased;
                applied = applied.wait_for(|next| *next > index.0) => applied.map(drop).map_err(|_| Stopped),
                _ = role.wait_for(|role| *role == Role::Stopped) => Err(Stopped),
            }
        }
        .boxed()
    }

    fn found(&self) -> BoxFuture<'static, Result<(), ChangeError>> {
        let log = self.shared.current.read().stored.log.clone();
        let away = || ChangeError::InProgress;
        self.call(away, |e| *e == ChangeError::Stopped, |raft, _| calls::found(raft, log))
    }

    fn stand(&self) -> BoxFuture<'static, Result<(), Stopped>> {
        let (shared, raft) = (self.shared.clone(), self.shared.raft());
        async move {
            let Some(raft) = raft else { return Ok(()) };
            let asked = raft.trigger().elect().await;
            if asked.is_err() && !shared.is_renewed() { Err(Stopped) } else { Ok(()) }
        }
        .boxed()
    }

    fn heartbeat(&self) -> BoxFuture<'static, Result<(), Stopped>> {
        let (shared, raft) = (self.shared.clone(), self.shared.raft());
        async move {
            let Some(raft) = raft else { return Ok(()) };
            let asked = raft.trigger().heartbeat().await;
            if asked.is_err() && !shared.is_renewed() { Err(Stopped) } else { Ok(()) }
        }
        .boxed()
    }

    fn add_learner(&self, node: RaftId) -> BoxFuture<'static, Result<(), ChangeError>> {
        let away = || ChangeError::NotLeader { leader: None };
        self.call(
            away,
            |e| *e == ChangeError::Stopped,
            |raft, herald| calls::add_learner(raft, herald.status(), herald.role(), node),
        )
    }

    fn remove_learner(&self, node: RaftId) -> BoxFuture<'static, Result<(), ChangeError>> {
        let away = || ChangeError::NotLeader { leader: None };
        self.call(away, |e| *e == ChangeError::Stopped, |raft, herald| calls::remove_learner(raft, herald.role(), node))
    }

    fn change_voters(&self, voters: BTreeSet<RaftId>) -> BoxFuture<'static, Result<(), ChangeError>> {
        let away = || ChangeError::NotLeader { leader: None };
        self.call(
            away,
            |e| *e == ChangeError::Stopped,
            |raft, herald| calls::change_voters(raft, herald.status(), herald.role(), voters),
        )
    }

    fn status(&self) -> watch::Receiver<JournalStatus> {
        self.shared.lasting.herald.status()
    }

    fn checkpoint(&self) -> watch::Receiver<Option<Checkpoint>> {
        self.shared.current.read().stored.ledger.checkpoints()
    }

    fn audit(&self) -> watch::Receiver<Option<Checkpoint>> {
        self.shared.current.read().stored.ledger.audits()
    }

    fn handle_rpc(&self, from: RaftId, request: Bytes) -> BoxFuture<'static, Bytes> {
        let current = self.shared.current.read();
        let host = current.instance.as_ref().map(|instance| network::Host {
            raft: instance.raft.clone(),
            jobs: current.stored.ledger_jobs.clone(),
            log: current.stored.log.clone(),
            guard: current.stored.guard.clone(),
            own: instance.id,
        });
        async move {
            match host {
                Some(host) => host.answer(from, &request).await,
                None => rpc::encode(&rpc::Response::Failed("this journal is begun anew just now".to_owned())),
            }
        }
        .boxed()
    }

    fn purged(&self) -> u64 {
        self.shared.current.read().stored.log.purged_next()
    }

    fn counters(&self) -> Arc<Counters> {
        self.shared.current.read().stored.guard.counters.clone()
    }

    fn fork(&self, fork: Fork) -> BoxFuture<'static, Result<ForkMark, ForkError>> {
        let forking = renew::fork(self.shared.clone(), fork);
        async { tokio::spawn(forking).await.unwrap_or(Err(ForkError::Stopped)) }.boxed()
    }

    fn reset(&self, journal: u32) -> BoxFuture<'static, Result<RaftId, ResetError>> {
        let resetting = renew::reset(self.shared.clone(), journal);
        async { tokio::spawn(resetting).await.unwrap_or(Err(ResetError::Stopped)) }.boxed()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let shared = self.shared.clone();
        async move {
            shared.is_closed.store(true, Ordering::Release);
            let _alone = shared.changing.lock().await;
            let instance = shared.current.write().instance.take();
            if let Some(mut instance) = instance {
                instance.silence().await;
                instance.stop().await;
            }
            shared.lasting.herald.stop();
            renew::close(&shared).await;
        }
        .boxed()
    }
}
