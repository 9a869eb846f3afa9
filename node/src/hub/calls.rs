//! Calls to the dispatcher, wherever it is: proposals, and the question that makes a read linearizable.

use super::Hub;
use crate::backend::{NotFresh, ProposeFailed};
use crate::net::Purpose;
use bytes::Bytes;
use parking_lot::Mutex;
use relais_dispatcher::core::Rejection;
use relais_protocol::codec;
use relais_protocol::ids::{Index, NodeId};
use relais_protocol::message::{CALL_BYTES_MAX, Call, ProposeCall, Reply};
use relais_protocol::record::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Committed, Outcome, Outcomes, Record, Refusal};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a request is held while there is no dispatcher.
pub(super) const HELD: Duration = Duration::from_secs(3);
/// The pause before it is sent again.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
/// How long a read may wait for the commit index.
const READ_LIMIT: Duration = Duration::from_secs(2);

type Waiting = oneshot::Sender<Result<(), NotFresh>>;

/// Reads waiting for one answer from the dispatcher: whoever comes while a question is under way waits for
/// the next one, which is asked for all of them together.
#[derive(Default)]
pub(super) struct Barrier {
    waiting: Mutex<(Vec<Waiting>, bool)>,
}

impl Hub {
    /// Has records committed; cuts what does not fit into one entry.
    pub(crate) async fn propose_anywhere(self: Arc<Self>, records: Vec<Record>) -> Result<Committed, ProposeFailed> {
        let deadline = Instant::now() + HELD;
        let mut all = Committed { index: Index(0), outcomes: Outcomes::default() };
        for part in parts(records) {
            let committed = self.propose_part(part, deadline).await?;
            all.index = committed.index;
            all.outcomes.epoch = committed.outcomes.epoch;
            all.outcomes.each.extend(committed.outcomes.each);
        }
        Ok(all)
    }

    async fn propose_part(
        self: &Arc<Self>,
        records: Vec<Record>,
        deadline: Instant,
    ) -> Result<Committed, ProposeFailed> {
        loop {
            if self.limits.majority_is_full() {
                return Err(ProposeFailed::DiskFull);
            }
            let mut changed = self.pulse.changed();
            let tried = tokio::select! {
                tried = timeout_at(deadline, self.try_propose(&records)) => tried,
                // Whoever was asked is not the dispatcher any more: an answer may never come.
                () = changed.dispatcher_changes() => Ok(None),
                () = self.limits.until_full() => return Err(ProposeFailed::DiskFull),
            };
            match tried {
                Ok(Some(committed)) => return Ok(committed),
                Ok(None) if Instant::now() < deadline => sleep(PAUSE).await,
                Ok(None) | Err(_) => return Err(ProposeFailed::NoDispatcher(self.why_no_dispatcher())),
            }
        }
    }

    /// One try, at whoever is the dispatcher now. The records' ids make a repeat harmless.
    async fn try_propose(self: &Arc<Self>, records: &[Record]) -> Option<Committed> {
        let dispatcher = self.pulse.view().dispatcher?;
        let reply = if dispatcher == self.me.node {
            match self.desk.propose(records.to_vec()).await {
                Ok(committed) => Reply::Committed { index: committed.index, outcomes: committed.outcomes },
                Err(_) => return None,
            }
        } else {
            self.counts.passed_on.fetch_add(1, Ordering::Relaxed);
            let call = codec::encode_packed(codec::FORMAT, &ProposeCall::Propose(records));
            self.ask(dispatcher, Purpose::Records, call.into(), HELD).await?
        };
        match reply {
            Reply::Committed { index, outcomes } if !is_stale(&outcomes) => Some(Committed { index, outcomes }),
            _ => None,
        }
    }

    /// Asks another node; `None` when no answer came.
    pub(super) async fn call(&self, to: NodeId, call: &Call, limit: Duration) -> Option<Reply> {
        self.ask(to, Purpose::Api, codec::encode(codec::FORMAT, call).into(), limit).await
    }

    async fn ask(&self, to: NodeId, purpose: Purpose, request: Bytes, limit: Duration) -> Option<Reply> {
        let answer = self.reach(to, purpose, request, limit).await.ok()?;
        codec::decode(codec::FORMAT, &answer, CALL_BYTES_MAX).ok()
    }

    /// Has records committed that another node passed on.
    pub(super) async fn on_propose(&self, records: Vec<Record>) -> Reply {
        match self.desk.propose(records).await {
            Ok(committed) => Reply::Committed { index: committed.index, outcomes: committed.outcomes },
            Err(Rejection::NotDispatcher) => Reply::NotDispatcher(self.pulse.view().dispatcher),
            Err(Rejection::Unknown) => Reply::Unknown,
            Err(Rejection::Full) => Reply::Failed("a majority of the voters has no disk space left".to_owned()),
        }
    }

    /// Answers what another node passed on.
    pub(super) async fn on_call(self: Arc<Self>, call: Call) -> Reply {
        match call {
            Call::Propose(records) => self.on_propose(records).await,
            Call::ReadIndex => match self.read_index_here().await {
                Some(index) => Reply::ReadIndex(index),
                None => Reply::NotDispatcher(self.pulse.view().dispatcher),
            },
            Call::Handover(to) => match self.hand_over_from_here(to).await {
                Ok(node) => Reply::HandedOver(node),
                Err(reason) => Reply::Failed(reason),
            },
            Call::Drill { fault, for_ms } => match self.strike(fault, for_ms) {
                Ok(()) => Reply::Struck,
                Err(reason) => Reply::Failed(reason),
            },
            Call::Lineage => self.lineage_here(),
            Call::Unseat(node, incarnation) => match self.unseat(node, incarnation).await {
                Ok(()) => Reply::Unseated,
                Err(reason) => Reply::Failed(reason),
            },
            Call::Recover(lost) => match self.recover(lost.into_iter().collect()).await {
                Ok(node) => Reply::HandedOver(node),
                Err(reason) => Reply::Failed(reason),
            },
            Call::Holdings => Reply::Holdings(Box::new(self.holdings())),
            Call::Lease(wish) => self.ask_here(*wish).await,
            Call::Withdraw(ask) => {
                self.desk.withdraw(ask);
                Reply::Withdrawn
            }
            Call::Beat(beat) => Reply::Beaten(self.desk.beat(beat).await),
            Call::Http { body, .. } => self.token_here(&body),
            Call::Progress(attempts) => Reply::Progress(self.progress_here(&attempts).await),
            Call::Vitals => self.actors_here(),
            Call::Overview { have } => self.overview_here(have),
            Call::Known(jobs) => self.known_here(&jobs).await,
        }
    }

    /// Waits until the ledger here has all that was committed before the call.
    pub(super) async fn make_fresh(self: Arc<Self>) -> Result<(), NotFresh> {
        let (tx, rx) = oneshot::channel();
        let first = {
            let mut waiting = self.barrier.waiting.lock();
            waiting.0.push(tx);
            !std::mem::replace(&mut waiting.1, true)
        };
        if first {
            let hub = self.clone();
            self.engine.spawn(async move { hub.ask_for_all().await });
        }
        rx.await.unwrap_or_else(|_| Err(NotFresh("the node is stopping".to_owned())))
    }

    async fn ask_for_all(self: Arc<Self>) {
        loop {
            let asked = {
                let mut waiting = self.barrier.waiting.lock();
                if waiting.0.is_empty() {
                    waiting.1 = false;
                    return;
                }
                std::mem::take(&mut waiting.0)
            };
            let result = self.catch_up().await;
            if result.is_ok() {
                self.pulse.note_fresh();
            }
            for waiter in asked {
                // Who asked may have gone.
                let _ = waiter.send(result.clone());
            }
        }
    }

    async fn catch_up(&self) -> Result<(), NotFresh> {
        let deadline = Instant::now() + READ_LIMIT;
        let failed = || NotFresh(self.why_no_dispatcher());
        loop {
            let dispatcher = self.pulse.view().dispatcher.ok_or_else(failed)?;
            if self.is_overtaken() {
                // The index of another history says nothing of this ledger.
                return Err(failed());
            }
            let index = if dispatcher == self.me.node {
                self.read_index_here().await
            } else {
                match timeout_at(deadline, self.call(dispatcher, &Call::ReadIndex, READ_LIMIT)).await {
                    Ok(Some(Reply::ReadIndex(index))) => Some(index),
                    _ => None,
                }
            };
            if let (Some(index), Some(journal)) = (index, self.journal()) {
                let applied = timeout_at(deadline, journal.wait_applied(index)).await;
                return applied.map_err(|_| failed())?.map_err(|_| failed());
            }
            if Instant::now() >= deadline {
                return Err(failed());
            }
            sleep(PAUSE).await;
        }
    }

    fn lineage_here(&self) -> Reply {
        let view = self.pulse.view();
        if !view.leads {
            return Reply::NotDispatcher(view.dispatcher);
        }
        let ledger = self.machine.own();
        Reply::Lineage { lineage: ledger.lineage().to_vec(), applied: ledger.applied() }
    }

    async fn read_index_here(&self) -> Option<Index> {
        if !self.pulse.view().leads {
            return None;
        }
        self.journal()?.read_index().await.ok()
    }

    pub(super) fn why_no_dispatcher(&self) -> String {
        if let Some(reason) = self.history.reason() {
            return reason;
        }
        let view = self.pulse.view();
        let voters = view.voters.len();
        if voters == 0 {
            return "this node has no journal yet; it waits to be taken in by the dispatcher".to_owned();
        }
        if let Some(lost) = self.why_majority_is_lost() {
            return lost;
        }
        let heard = view.heard_voters + usize::from(view.is_voter);
        if heard * 2 > voters {
            return format!("{heard} of {voters} voters hear each other; an election is under way");
        }
        format!(
            "only {heard} of {voters} voters hear each other, and a majority is needed; start the others, or restore the network between them"
        )
    }
}

fn is_stale(outcomes: &Outcomes) -> bool {
    outcomes.each.iter().any(|outcome| *outcome == Outcome::Refused(Refusal::StaleReign))
}

/// Parts that fit into one entry each.
fn parts(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut parts: Vec<Vec<Record>> = vec![Vec::new()];
    let mut bytes = 0;
    for record in records {
        let more = match &record {
            Record::Submit(submit) => submit.spec.payload.len() + 300,
            Record::LeaseEnd(end) => match &end.how {
                relais_protocol::lease::LeaseOutcome::Completed { result: Some(result) } => result.len() + 300,
                _ => 300,
            },
            _ => 300,
        };
        let full = parts
            .last()
            .is_some_and(|part| part.len() >= BATCH_RECORDS_MAX || !part.is_empty() && bytes + more > BATCH_BYTES_MAX);
        if full {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        if let Some(part) = parts.last_mut() {
            part.push(record);
        }
    }
    parts
}
