//! The dispatcher's actor: a thin shell around [`Core`]. It takes what has gathered, steps the core, and
//! performs the effects; it decides nothing.
//!
//! Nothing crosses its mailbox one by one: proposals, reports and applied entries gather in an [`Intake`]
//! beside it, and the mailbox carries only "there is something", once for however much there is.

use crate::core::{Core, CoreConfig, CoreCounts, Effect, Input, Now, Rejection, Ticket};
use crate::journal::{Journal, ProposeError};
use crate::ledger::Event;
use crate::machine::LedgerMachine;
use actix::prelude::*;
use parking_lot::{Mutex, RwLock};
use relais_protocol::codec;
use relais_protocol::ids::{Fence, Incarnation, JobId, NodeId};
use relais_protocol::lease::{AskId, BeatAnswer, Granted, LeaseBeat, LeaseWish};
use relais_protocol::message::{Orders, Report, ReportAnswer};
use relais_protocol::record::{Batch, Committed, Record};
use relais_protocol::time::UnixMs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often the core looks at the clock, in ms.
const TICK_MS: u64 = 20;
/// Proposals and reports that may gather before new ones are turned away.
const INTAKE_MAX: usize = 50_000;

/// What the dispatcher needs of its node.
pub trait Outlet: Send + Sync + 'static {
    /// Both clocks.
    fn now(&self) -> Now;
    /// Sends orders to a worker; a failure comes back as [`Input::OrdersFailed`].
    fn order(&self, to: NodeId, orders: Orders);
    /// Proposals are held, and none is in flight.
    fn drained(&self);
    /// A `Promote` came to nothing.
    fn promote_failed(&self);
    /// How many voters there are, for the lease: two in a pair, even when it is reduced to its survivor.
    fn voters(&self) -> usize;
}

enum Item {
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
}

/// What the actor is made of.
#[derive(Clone)]
pub struct DispatcherParts {
    /// Times.
    pub config: CoreConfig,
    /// This node.
    pub me: NodeId,
    /// This run of its process.
    pub incarnation: Incarnation,
    /// The ledger.
    pub machine: Arc<LedgerMachine>,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The node.
    pub outlet: Arc<dyn Outlet>,
}

/// The actor. Start it with [`start`].
pub struct DispatcherActor {
    core: Core,
    parts: DispatcherParts,
    desk: Desk,
    replies: BTreeMap<Ticket, oneshot::Sender<Result<Committed, Rejection>>>,
    answers: BTreeMap<Ticket, oneshot::Sender<ReportAnswer>>,
    asks: BTreeMap<Ticket, (AskId, oneshot::Sender<Result<Granted, Rejection>>)>,
    beats: BTreeMap<Ticket, oneshot::Sender<BeatAnswer>>,
    next_ticket: u64,
    _ward: Box<dyn Send>,
}

/// Starts the actor on the current arbiter, behind `desk`. `ward` is dropped when it ends, however it ends.
pub fn start(parts: DispatcherParts, desk: &Desk, ward: Box<dyn Send>) {
    let core = Core::new(parts.config, parts.me, parts.incarnation);
    let actor = DispatcherActor {
        core,
        parts,
        desk: desk.clone(),
        replies: BTreeMap::new(),
        answers: BTreeMap::new(),
        asks: BTreeMap::new(),
        beats: BTreeMap::new(),
        next_ticket: 0,
        _ward: ward,
    };
    let addr = DispatcherActor::create(|ctx| {
        ctx.set_mailbox_capacity(4);
        actor
    });
    *desk.addr.write() = Some(addr);
}

struct Wake;

impl Message for Wake {
    type Result = ();
}

impl Actor for DispatcherActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_millis(TICK_MS), |actor, ctx| {
            actor.step(Input::Voters(actor.parts.outlet.voters()), ctx);
            actor.step(Input::Tick, ctx);
            actor.turn(ctx);
            if !actor.core.has_work() {
                actor.progress();
            }
        });
        ctx.notify(Wake);
    }
}

impl Handler<Wake> for DispatcherActor {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.turn(ctx);
    }
}

impl DispatcherActor {
    /// Takes all that has gathered.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        assert!(!crate::planted::dispatcher_panics(), "a planted panic");
        self.desk.intake.woken.store(false, Ordering::Release);
        let items = std::mem::take(&mut *self.desk.intake.items.lock());
        for item in items {
            let ticket = Ticket(self.next_ticket);
            self.next_ticket += 1;
            match item {
                Item::Propose(records, tx) => {
                    self.replies.insert(ticket, tx);
                    self.step(Input::Propose(ticket, records), ctx);
                }
                Item::Report(report, tx) => {
                    self.answers.insert(ticket, tx);
                    self.step(Input::Report(ticket, report), ctx);
                }
                Item::Ask(wish, tx) => {
                    self.asks.insert(ticket, (wish.ask.id, tx));
                    self.step(Input::Ask(ticket, wish), ctx);
                }
                Item::Beat(beat, tx) => {
                    self.beats.insert(ticket, tx);
                    self.step(Input::Beat(ticket, beat), ctx);
                }
                Item::Progress(attempts, tx) => {
                    let said = attempts.iter().map(|(job, fence)| self.core.progress_outside(*job, *fence));
                    let _ = tx.send(said.collect());
                }
                Item::Input(input) => self.step(input, ctx),
                Item::Explain(cause, suspected, confirmed) => self.core.explain_reign(cause, suspected, confirmed),
            }
        }
    }

    fn step(&mut self, input: Input, ctx: &mut Context<Self>) {
        let now = self.parts.outlet.now();
        let effects = self.core.handle(now, &self.parts.machine.read(), input);
        for effect in effects {
            self.perform(effect, ctx);
        }
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Propose(batch) => self.propose(&batch, ctx),
            Effect::Reply(ticket, result) => {
                if let Some(tx) = self.replies.remove(&ticket) {
                    // Who asked may have gone; the record is there all the same.
                    let _ = tx.send(result);
                }
            }
            Effect::Answer(ticket, answer) => {
                if let Some(tx) = self.answers.remove(&ticket) {
                    let _ = tx.send(answer);
                }
            }
            Effect::Order(to, incarnation, orders) => {
                if let Some(reign) = self.core.reign() {
                    self.parts.outlet.order(to, Orders { reign, incarnation, orders });
                }
            }
            Effect::Granted(ticket, result) => {
                if let Some((ask, tx)) = self.asks.remove(&ticket)
                    && let Err(Ok(granted)) = tx.send(result)
                    && !granted.leases.is_empty()
                {
                    // Who asked is gone.
                    self.step(Input::Withdraw(ask), ctx);
                }
            }
            Effect::Beaten(ticket, answer) => {
                if let Some(tx) = self.beats.remove(&ticket) {
                    let _ = tx.send(answer);
                }
            }
            Effect::Drained => self.parts.outlet.drained(),
            Effect::PromoteFailed => self.parts.outlet.promote_failed(),
        }
    }

    fn propose(&mut self, batch: &Batch, ctx: &mut Context<Self>) {
        let payload = codec::encode_packed(codec::FORMAT, batch);
        let proposed = self.parts.journal.propose(payload.into());
        ctx.spawn(proposed.into_actor(self).map(|result, actor, ctx| {
            let input = match result {
                Ok((index, outcomes)) => Input::Committed(Committed { index, outcomes }),
                Err(ProposeError::Unknown) => Input::Failed(Rejection::Unknown),
                Err(ProposeError::NotLeader { .. } | ProposeError::Stopped) => Input::Failed(Rejection::NotDispatcher),
            };
            actor.progress();
            // What was applied before this was told has gathered already: it comes first.
            actor.turn(ctx);
            actor.step(input, ctx);
        }));
    }

    fn progress(&self) {
        let now = self.parts.outlet.now().mono.0;
        self.desk.state.progress_ms.store(now, Ordering::Release);
        *self.desk.state.counts.lock() = self.core.counts();
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
