//! [`Backend`] of a hub: what the HTTP API may ask.

use super::Hub;
use crate::backend::{
    ActorState, Backend, ClusterVitals, NotFresh, OutputChunk, OutputFailed, OutputStream, Passed, PassedOn,
    ProposeFailed, Readiness, RecoverPlan, Standpoint,
};
use crate::figures::Page;
use crate::seed;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::RwLockReadGuard;
use relais_dispatcher::ledger::{Event, Ledger};
use relais_protocol::ids::{Fence, Index, JobId, NodeId};
use relais_protocol::lease::{BeatAnswer, Granted, LeaseAsk, LeaseBeat};
use relais_protocol::message::{DrillFault, Holdings};
use relais_protocol::record::{Committed, Record};
use relais_protocol::time::UnixMs;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// The hub as the HTTP API sees it.
pub struct HubBackend(pub Arc<Hub>);

impl HubBackend {
    /// Runs on the engine's threads, whichever thread asks.
    fn on_engine<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> BoxFuture<'static, Option<T>> {
        let task = self.0.engine.spawn(work);
        async move { task.await.ok() }.boxed()
    }
}

/// A task that ends with whoever waits for it.
struct Tied<T>(JoinHandle<T>);

impl<T> Drop for Tied<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Backend for HubBackend {
    fn standpoint(&self) -> Standpoint {
        let view = self.0.pulse.view();
        let staleness_ms = if view.leads { 0 } else { self.0.clock.mono().since(view.fresh_at) };
        Standpoint {
            reign: view.reign,
            node: self.0.me.name.clone(),
            dispatcher: view.dispatcher.and_then(|node| self.0.name_of(node)),
            staleness_ms,
        }
    }

    fn now(&self) -> UnixMs {
        self.0.clock.unix()
    }

    fn new_job_id(&self) -> JobId {
        seed::new_job_id(&self.0.clock)
    }

    fn random(&self) -> u128 {
        seed::random_u128()
    }

    fn ledger(&self) -> RwLockReadGuard<'_, Ledger> {
        self.0.machine.read()
    }

    fn has_ledger(&self) -> bool {
        self.0.ledger_is_here()
    }

    fn pass_on(&self, request: PassedOn) -> BoxFuture<'static, Result<Passed, NotFresh>> {
        let mut work = Tied(self.0.engine.spawn(self.0.clone().pass_on_anywhere(request)));
        async move { (&mut work.0).await.unwrap_or_else(|_| Err(NotFresh("the node is stopping".to_owned()))) }.boxed()
    }

    fn token_elsewhere(&self, hex: String) -> BoxFuture<'static, Result<Vec<u8>, NotFresh>> {
        let work = self.on_engine(self.0.clone().token_elsewhere(hex));
        async move { work.await.unwrap_or_else(|| Err(NotFresh("the node is stopping".to_owned()))) }.boxed()
    }

    fn propose(&self, records: Vec<Record>) -> BoxFuture<'static, Result<Committed, ProposeFailed>> {
        let hub = self.0.clone();
        if records.len() == 1 {
            // It is handed on and waited for: not worth a task on another thread.
            return hub.propose_anywhere(records).boxed();
        }
        let work = self.on_engine(hub.propose_anywhere(records));
        async move { work.await.unwrap_or_else(|| Err(ProposeFailed::NoDispatcher("the node is stopping".to_owned()))) }
            .boxed()
    }

    fn lease(&self, ask: LeaseAsk, wait: Duration) -> BoxFuture<'static, Result<Granted, ProposeFailed>> {
        let mut work = Tied(self.0.engine.spawn(self.0.clone().ask_anywhere(ask, wait)));
        async move {
            let stopped = |_| Err(ProposeFailed::NoDispatcher("the node is stopping".to_owned()));
            (&mut work.0).await.unwrap_or_else(stopped)
        }
        .boxed()
    }

    fn beat(&self, beat: LeaseBeat) -> BoxFuture<'static, Result<BeatAnswer, ProposeFailed>> {
        let work = self.on_engine(self.0.clone().beat_anywhere(beat));
        async move { work.await.unwrap_or_else(|| Err(ProposeFailed::NoDispatcher("the node is stopping".to_owned()))) }
            .boxed()
    }

    fn durability(&self) -> &'static str {
        self.0.durability()
    }

    fn fresh(&self) -> BoxFuture<'static, Result<(), NotFresh>> {
        let work = self.on_engine(self.0.clone().make_fresh());
        async move { work.await.unwrap_or_else(|| Err(NotFresh("the node is stopping".to_owned()))) }.boxed()
    }

    fn has_applied(&self, index: Index) -> BoxFuture<'static, ()> {
        let journal = self.0.journal();
        async move {
            if let Some(journal) = journal {
                // One that has stopped has nothing more to wait for.
                let _ = journal.wait_applied(index).await;
            }
        }
        .boxed()
    }

    fn events(&self) -> broadcast::Receiver<Arc<(Index, Vec<Event>)>> {
        self.0.events.subscribe()
    }

    fn vitals(&self) -> ClusterVitals {
        self.0.cluster_vitals()
    }

    fn hand_over(&self, to: Option<NodeId>) -> BoxFuture<'static, Result<NodeId, String>> {
        let work = self.on_engine(self.0.clone().hand_over_anywhere(to));
        async move { work.await.unwrap_or_else(|| Err("the node is stopping".to_owned())) }.boxed()
    }

    fn drill(&self, node: NodeId, fault: DrillFault, for_ms: u64) -> BoxFuture<'static, Result<(), String>> {
        let work = self.on_engine(self.0.clone().strike_anywhere(node, fault, for_ms));
        async move { work.await.unwrap_or_else(|| Err("the node is stopping".to_owned())) }.boxed()
    }

    fn holdings(&self) -> Holdings {
        self.0.holdings()
    }

    fn plan_recovery(&self, lost: BTreeSet<NodeId>) -> BoxFuture<'static, RecoverPlan> {
        let work = self.on_engine(self.0.clone().plan_recovery(lost));
        async move { work.await.unwrap_or_default() }.boxed()
    }

    fn recover(&self, lost: BTreeSet<NodeId>) -> BoxFuture<'static, Result<NodeId, String>> {
        let work = self.on_engine(self.0.clone().recover(lost));
        async move { work.await.unwrap_or_else(|| Err("the node is stopping".to_owned())) }.boxed()
    }

    fn output(
        &self,
        node: NodeId,
        job: JobId,
        attempt: u16,
        stream: OutputStream,
        offset: u64,
        bytes_max: usize,
    ) -> BoxFuture<'static, Result<OutputChunk, OutputFailed>> {
        let work = self.on_engine(self.0.clone().output_of(node, job, attempt, stream, offset, bytes_max));
        async move { work.await.unwrap_or_else(|| Err(OutputFailed::Gone("the node is stopping".to_owned()))) }.boxed()
    }

    fn progress(&self, node: NodeId, attempts: Vec<(JobId, Fence)>) -> BoxFuture<'static, Vec<Option<String>>> {
        let work = self.on_engine(self.0.clone().progress_of(node, attempts));
        async move { work.await.unwrap_or_default() }.boxed()
    }

    fn readiness(&self) -> Readiness {
        self.0.parts_ready()
    }

    fn actors(&self, node: NodeId) -> BoxFuture<'static, Option<Vec<ActorState>>> {
        let work = self.on_engine(self.0.clone().actors_of(node));
        async move { work.await.flatten() }.boxed()
    }

    fn metrics(&self, page: &mut Page) {
        self.0.put_figures(page);
    }

    fn join_token(&self, ends_at: UnixMs) -> Result<(String, [u8; 32], String), String> {
        self.0.new_join_token(ends_at)
    }
}
