//! The way to the dispatcher's actor: what gathers for it beside its mailbox, and what it says of itself.

use super::{DispatcherActor, Wake};
use crate::core::{CoreCounts, Input, Rejection};
use crate::ledger::Event;
use actix::Addr;
use parking_lot::{Mutex, RwLock};
use relais_protocol::ids::{Fence, JobId, NodeId};
use relais_protocol::lease::{AskId, BeatAnswer, Granted, LeaseBeat, LeaseWish};
use relais_protocol::message::{Report, ReportAnswer};
use relais_protocol::record::{Committed, Record};
use relais_protocol::time::UnixMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::oneshot;

/// Proposals and reports that may gather before new ones are turned away.
const INTAKE_MAX: usize = 50_000;

/// One thing of what has gathered.
pub(super) enum Item {
    Propose(Vec<Record>, oneshot::Sender<Result<Committed, Rejection>>),
    Report(Box<Report>, oneshot::Sender<ReportAnswer>),
    Ask(Box<LeaseWish>, oneshot::Sender<Result<Granted, Rejection>>),
    Beat(Box<LeaseBeat>, oneshot::Sender<BeatAnswer>),
    Progress(Vec<(JobId, Fence)>, oneshot::Sender<Vec<Option<String>>>),
    Input(Input),
    Explain(&'static str, UnixMs, Option<UnixMs>),
}

/// What has gathered for the dispatcher.
#[derive(Default)]
struct Intake {
    items: Mutex<Vec<Item>>,
    woken: AtomicBool,
}

/// What the dispatcher says of itself, for heartbeats and watchers.
#[derive(Default)]
pub struct DeskState {
    /// When it last made progress, by the monotonic clock in ms. It stands still while a batch hangs.
    pub progress_ms: AtomicU64,
    /// When the actor last had its turn, by the same clock.
    pub turned_ms: AtomicU64,
    /// Nodes that have a lease of this dispatcher, and external workers' leases that it counts.
    pub leases: (AtomicUsize, AtomicUsize),
    /// Counts for people who watch.
    pub counts: Mutex<CoreCounts>,
    /// Whether the reign that was applied last is of this node.
    may_reign: AtomicBool,
}

/// The way to the dispatcher: cheap to clone, outlives a restart of the actor.
#[derive(Clone)]
pub struct Desk {
    intake: Arc<Intake>,
    addr: Arc<RwLock<Option<Addr<DispatcherActor>>>>,
    state: Arc<DeskState>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { intake: Arc::default(), addr: Arc::new(RwLock::new(None)), state: Arc::default() }
    }
}

impl Desk {
    /// Has records committed in one entry. The sender of a dropped answer was restarted: ask again.
    pub async fn propose(&self, records: Vec<Record>) -> Result<Committed, Rejection> {
        let (tx, rx) = oneshot::channel();
        if !self.put(Item::Propose(records, tx)) {
            return Err(Rejection::NotDispatcher);
        }
        rx.await.unwrap_or(Err(Rejection::Unknown))
    }

    /// Hands in a worker's report; the answer comes when what it settles is committed.
    pub async fn report(&self, report: Report) -> ReportAnswer {
        let (tx, rx) = oneshot::channel();
        if !self.put(Item::Report(Box::new(report), tx)) {
            return ReportAnswer::Busy;
        }
        rx.await.unwrap_or(ReportAnswer::Busy)
    }

    /// Asks for jobs for an external worker; answered when there are some, or its wait is over.
    pub async fn ask(&self, wish: LeaseWish) -> Result<Granted, Rejection> {
        let (tx, rx) = oneshot::channel();
        if !self.put(Item::Ask(Box::new(wish), tx)) {
            return Err(Rejection::NotDispatcher);
        }
        rx.await.unwrap_or(Err(Rejection::Unknown))
    }

    /// Whoever asked this is gone.
    pub fn withdraw(&self, ask: AskId) {
        self.put_always(Item::Input(Input::Withdraw(ask)));
    }

    /// Hands in that an external worker is still at it.
    pub async fn beat(&self, beat: LeaseBeat) -> BeatAnswer {
        let (tx, rx) = oneshot::channel();
        if !self.put(Item::Beat(Box::new(beat), tx)) {
            return BeatAnswer::Busy;
        }
        rx.await.unwrap_or(BeatAnswer::Busy)
    }

    /// What external workers last said of the progress of these attempts, one each, while this node dispatches.
    pub async fn progress(&self, attempts: Vec<(JobId, Fence)>) -> Vec<Option<String>> {
        let (tx, rx) = oneshot::channel();
        if !self.put(Item::Progress(attempts, tx)) {
            return Vec::new();
        }
        rx.await.unwrap_or_default()
    }

    /// Hands in anything else.
    pub fn input(&self, input: Input) {
        self.put_always(Item::Input(input));
    }

    /// Says how the next reign comes about, and when that was suspected and confirmed.
    pub fn explain_reign(&self, cause: &'static str, suspected_at: UnixMs, confirmed_at: Option<UnixMs>) {
        self.put_always(Item::Explain(cause, suspected_at, confirmed_at));
    }

    /// What the dispatcher says of itself.
    #[must_use]
    pub fn state(&self) -> &DeskState {
        &self.state
    }

    /// What has gathered for the dispatcher and was not taken yet.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.intake.items.lock().len()
    }

    fn put(&self, item: Item) -> bool {
        if self.intake.items.lock().len() >= INTAKE_MAX {
            return false;
        }
        self.put_always(item);
        true
    }

    fn put_always(&self, item: Item) {
        self.intake.items.lock().push(item);
        if !self.intake.woken.swap(true, Ordering::AcqRel)
            && let Some(addr) = &*self.addr.read()
        {
            // A full mailbox holds a wake already.
            let _ = addr.try_send(Wake);
        }
    }

    /// All that has gathered; what comes from now on wakes the actor again.
    pub(super) fn take(&self) -> Vec<Item> {
        self.intake.woken.store(false, Ordering::Release);
        std::mem::take(&mut *self.intake.items.lock())
    }

    /// From now on this actor is woken.
    pub(super) fn serve(&self, addr: Addr<DispatcherActor>) {
        *self.addr.write() = Some(addr);
    }
}

/// Hands applied events to the desk of node `me`, if they concern it: who does not reign learns of reigns alone.
/// Called in the order of the journal.
pub fn applied(desk: &Desk, me: NodeId, events: &[Event]) {
    let promoted = events.iter().rev().find_map(|event| match event {
        Event::Promoted { node, .. } => Some(*node == me),
        _ => None,
    });
    let was_own = desk.state.may_reign.load(Ordering::Acquire);
    if let Some(is_own) = promoted {
        desk.state.may_reign.store(is_own, Ordering::Release);
    }
    if !events.is_empty() && (was_own || promoted.is_some()) {
        desk.input(Input::Applied(events.to_vec()));
    }
}
