//! A journal of one node without a disk: it enters at once what is proposed, and answers when it may. It elects
//! nobody and changes no members.

use crate::journal::*;
use crate::machine::LedgerMachine;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use relais_protocol::ids::{Index, RaftId};
use relais_protocol::record::Outcomes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

pub(super) struct SlowJournal {
    machine: Arc<LedgerMachine>,
    last: AtomicU64,
    answers: watch::Sender<bool>,
}

impl SlowJournal {
    pub(super) fn new(machine: Arc<LedgerMachine>) -> Arc<Self> {
        Arc::new(Self { machine, last: AtomicU64::new(0), answers: watch::Sender::new(true) })
    }

    /// Whether proposals are answered from now on; what waited is.
    pub(super) fn answers(&self, answers: bool) {
        self.answers.send_replace(answers);
    }

    pub(super) fn enter(&self, payload: &[u8]) -> (Index, Outcomes) {
        let index = Index(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        (index, self.machine.apply(index, payload).outcomes)
    }
}

const UNASKED: &str = "the actor only proposes";

impl Journal for SlowJournal {
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<(Index, Outcomes), ProposeError>> {
        let entered = self.enter(&payload);
        let mut answers = self.answers.subscribe();
        async move { answers.wait_for(|answers| *answers).await.map_err(|_| ProposeError::Stopped).map(|_| entered) }
            .boxed()
    }

    fn read_index(&self) -> BoxFuture<'static, Result<Index, ReadError>> {
        unreachable!("{UNASKED}")
    }

    fn wait_applied(&self, _: Index) -> BoxFuture<'static, Result<(), Stopped>> {
        unreachable!("{UNASKED}")
    }

    fn found(&self) -> BoxFuture<'static, Result<(), ChangeError>> {
        unreachable!("{UNASKED}")
    }

    fn stand(&self) -> BoxFuture<'static, Result<(), Stopped>> {
        unreachable!("{UNASKED}")
    }

    fn heartbeat(&self) -> BoxFuture<'static, Result<(), Stopped>> {
        unreachable!("{UNASKED}")
    }

    fn add_learner(&self, _: RaftId) -> BoxFuture<'static, Result<(), ChangeError>> {
        unreachable!("{UNASKED}")
    }

    fn remove_learner(&self, _: RaftId) -> BoxFuture<'static, Result<(), ChangeError>> {
        unreachable!("{UNASKED}")
    }

    fn change_voters(&self, _: BTreeSet<RaftId>) -> BoxFuture<'static, Result<(), ChangeError>> {
        unreachable!("{UNASKED}")
    }

    fn status(&self) -> watch::Receiver<JournalStatus> {
        unreachable!("{UNASKED}")
    }

    fn checkpoint(&self) -> watch::Receiver<Option<Checkpoint>> {
        unreachable!("{UNASKED}")
    }

    fn audit(&self) -> watch::Receiver<Option<Checkpoint>> {
        unreachable!("{UNASKED}")
    }

    fn handle_rpc(&self, _: RaftId, _: Bytes) -> BoxFuture<'static, Bytes> {
        unreachable!("{UNASKED}")
    }

    fn purged(&self) -> u64 {
        unreachable!("{UNASKED}")
    }

    fn counters(&self) -> Arc<Counters> {
        unreachable!("{UNASKED}")
    }

    fn fork(&self, _: Fork) -> BoxFuture<'static, Result<ForkMark, ForkError>> {
        unreachable!("{UNASKED}")
    }

    fn reset(&self, _: u32) -> BoxFuture<'static, Result<RaftId, ResetError>> {
        unreachable!("{UNASKED}")
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        unreachable!("{UNASKED}")
    }
}
