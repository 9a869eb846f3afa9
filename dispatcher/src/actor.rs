//! The dispatcher's actor: a thin shell around [`Core`]. It takes what has gathered, steps the core, and
//! performs the effects; it decides nothing.
//!
//! Nothing crosses its mailbox one by one: proposals, reports and applied entries gather at a [`Desk`]
//! beside it, and the mailbox carries only "there is something", once for however much there is.

mod desk;
mod ticks;

pub use desk::{Desk, DeskState, applied};

use crate::core::{Core, CoreConfig, Effect, Input, Now, Rejection, Ticket};
use crate::journal::{Journal, ProposeError};
use crate::machine::LedgerMachine;
use actix::prelude::*;
use desk::Item;
use relais_protocol::codec;
use relais_protocol::ids::{Incarnation, NodeId};
use relais_protocol::lease::{AskId, BeatAnswer, Granted};
use relais_protocol::message::{Orders, ReportAnswer};
use relais_protocol::record::{Batch, Committed};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

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
    /// Whether others vote, so that this node can't come to reign.
    fn looks_on(&self) -> bool;
    /// The monotonic clock in µs, to measure what takes less than a ms.
    fn now_us(&self) -> u64;
    /// An entry that was proposed was acknowledged by a majority, and applied here, so many µs later.
    fn committed(&self, took_us: u64);
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
    /// The batches in flight, oldest first, with what became of them: the core is told in this order.
    flights: VecDeque<(u64, Option<Input>)>,
    next_flight: u64,
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
        flights: VecDeque::new(),
        next_flight: 0,
        _ward: ward,
    };
    let addr = DispatcherActor::create(|ctx| {
        ctx.set_mailbox_capacity(4);
        actor
    });
    desk.serve(addr);
}

struct Wake;

impl Message for Wake {
    type Result = ();
}

impl Actor for DispatcherActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tick_later(ctx);
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
        for item in self.desk.take() {
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
        let effects = self.core.handle(now, &self.parts.machine.own(), input);
        for effect in effects {
            if let Some(batch) = self.perform(effect) {
                self.propose(&batch, ctx);
            }
        }
    }

    /// Performs an effect, or hands back the batch that is to be proposed. It has no context, so that it can't step
    /// the core: what a step within a step proposes would overtake the batches of the outer one, which the core has
    /// in flight already.
    fn perform(&mut self, effect: Effect) -> Option<Batch> {
        match effect {
            Effect::Propose(batch) => return Some(batch),
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
                    // Who asked is gone: taken with the next turn.
                    self.desk.withdraw(ask);
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
        None
    }

    fn propose(&mut self, batch: &Batch, ctx: &mut Context<Self>) {
        let payload = codec::encode_packed(codec::FORMAT, batch);
        let began_us = self.parts.outlet.now_us();
        let proposed = self.parts.journal.propose(payload.into());
        let number = self.next_flight;
        self.next_flight += 1;
        self.flights.push_back((number, None));
        ctx.spawn(proposed.into_actor(self).map(move |result, actor, ctx| {
            let input = match result {
                Ok((index, outcomes)) => {
                    actor.parts.outlet.committed(actor.parts.outlet.now_us().saturating_sub(began_us));
                    Input::Committed(Committed { index, outcomes })
                }
                Err(ProposeError::Unknown) => Input::Failed(Rejection::Unknown),
                Err(ProposeError::NotLeader { .. } | ProposeError::Stopped) => Input::Failed(Rejection::NotDispatcher),
            };
            actor.progress();
            // What was applied before this was told has gathered already: it comes first.
            actor.turn(ctx);
            actor.land(number, input, ctx);
        }));
    }

    /// A batch has an end: told to the core when those before it have theirs.
    fn land(&mut self, number: u64, input: Input, ctx: &mut Context<Self>) {
        if let Some((_, end)) = self.flights.iter_mut().find(|(other, _)| *other == number) {
            *end = Some(input);
        }
        while let Some((_, Some(_))) = self.flights.front() {
            if let Some((_, Some(input))) = self.flights.pop_front() {
                self.step(input, ctx);
            }
        }
    }

    fn show_turn(&self) {
        let now = self.parts.outlet.now().mono;
        let ((_, leased), outside) = (self.core.leases(now), self.core.leases_outside());
        let state = self.desk.state();
        state.turned_ms.store(now.0, Ordering::Relaxed);
        state.leases.0.store(leased, Ordering::Relaxed);
        state.leases.1.store(outside, Ordering::Relaxed);
    }

    fn progress(&self) {
        let now = self.parts.outlet.now().mono.0;
        self.desk.state().progress_ms.store(now, Ordering::Release);
        *self.desk.state().counts.lock() = self.core.counts();
    }
}

#[cfg(test)]
mod tests;
