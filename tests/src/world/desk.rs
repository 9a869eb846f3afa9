//! The dispatcher's shell, as in a node: proposals go into the journal one at a time, what was applied is
//! told to the core before what was committed, and answers go back to who called.

use super::World;
use super::event::{Inside, Message};
use super::outside::Word;
use crate::history::{At, Deed, DeedKind};
use relais_dispatcher::core::{Effect, Input, Rejection, Ticket};
use relais_dispatcher::election::Input as ElectionInput;
use relais_protocol::ids::NodeId;
use relais_protocol::message::{Orders, Report, ReportAnswer};
use relais_protocol::record::{Batch, Record};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How long a worker has to answer orders, in ms.
const ORDERS_ANSWERED_MS: u64 = 2_000;

/// How long a handover holds proposals, in ms.
const HANDOVER_MS: u64 = 1_500;

/// What the dispatcher's shell of one run of a process holds.
#[derive(Default)]
pub(super) struct Desk {
    waiting: BTreeMap<Ticket, Waiter>,
    next_ticket: u64,
    /// The batches in flight, oldest first.
    flights: VecDeque<Flight>,
    last_flight: u64,
    /// Orders not yet answered.
    ordered: BTreeMap<u64, NodeId>,
    /// When the core last got on.
    pub(super) progress_at: u64,
}

/// A batch in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    /// 0 when the journal refused it.
    index: u64,
    pub(super) term: u64,
    /// What became of it, which the core is told in the order of the flights.
    end: Option<Input>,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    from: NodeId,
    call: u64,
    reports: bool,
}

impl Desk {
    /// A ticket that nobody has.
    pub(super) fn take_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// The batch in flight that the journal has at `index`.
    pub(super) fn flight_at(&self, index: u64) -> Option<&Flight> {
        self.flights.iter().find(|flight| flight.index == index && index > 0 && flight.end.is_none())
    }

    /// The numbers of the batches of which nobody knows yet what became.
    pub(super) fn open_flights(&self) -> Vec<u64> {
        self.flights.iter().filter(|flight| flight.end.is_none()).map(|flight| flight.number).collect()
    }
}

impl World {
    /// Steps the dispatcher's core of a node.
    pub(super) fn dispatch(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let wall = self.node(id).wall(now);
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let effects = life.core.handle(life.now(now, wall), &life.ledger, input);
        for effect in effects {
            self.perform(id, effect);
        }
    }

    pub(super) fn on_propose(&mut self, id: NodeId, from: NodeId, call: u64, records: Vec<Record>) {
        if let Some(ticket) = self.ticket(id, Waiter { from, call, reports: false }) {
            self.dispatch(id, Input::Propose(ticket, records));
        }
    }

    pub(super) fn on_report(&mut self, id: NodeId, from: NodeId, call: u64, report: Box<Report>) {
        if let Some(ticket) = self.ticket(id, Waiter { from, call, reports: true }) {
            self.reports.insert((id, ticket), report.reign);
            self.dispatch(id, Input::Report(ticket, report));
        }
    }

    pub(super) fn on_orders_answer(&mut self, id: NodeId, call: u64, accepted: bool) {
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        if let Some(to) = life.desk.ordered.remove(&call)
            && !accepted
        {
            self.dispatch(id, Input::OrdersFailed(to));
        }
    }

    pub(super) fn on_core_tick(&mut self, id: NodeId) {
        self.dispatch(id, Input::Tick);
        let now = self.now;
        if let Some(life) = self.node(id).life.as_deref_mut()
            && !life.core.has_work()
        {
            life.desk.progress_at = now;
        }
    }

    /// A batch in flight has an end.
    pub(super) fn land(&mut self, id: NodeId, number: u64, input: Input) {
        let now = self.now;
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.desk.progress_at = now;
            if let Some(flight) = life.desk.flights.iter_mut().find(|flight| flight.number == number) {
                flight.end = Some(input);
            }
        }
        while let Some(life) = self.node(id).life.as_deref_mut()
            && life.desk.flights.front().is_some_and(|flight| flight.end.is_some())
        {
            if let Some(end) = life.desk.flights.pop_front().and_then(|flight| flight.end) {
                self.dispatch(id, end);
            }
        }
    }

    /// Nobody will ever say what became of this flight.
    pub(super) fn on_orphaned(&mut self, id: NodeId, number: u64) {
        let Some(life) = self.node(id).life.as_deref() else { return };
        if let Some(flight) = life.desk.flights.iter().find(|flight| flight.number == number && flight.end.is_none()) {
            let rejection = if flight.index == 0 { Rejection::NotDispatcher } else { Rejection::Unknown };
            self.land(id, number, Input::Failed(rejection));
        }
    }

    /// The journal does not lead any more: after a while nobody waits for it.
    pub(super) fn orphan_flight(&mut self, id: NodeId, within_ms: u64) {
        let flights = self.node(id).life.as_deref().map(|life| life.desk.open_flights());
        for number in flights.unwrap_or_default() {
            let delay = self.dice.range(0, within_ms);
            self.inside(id, delay, Inside::Orphaned(number));
        }
    }

    fn ticket(&mut self, id: NodeId, waiter: Waiter) -> Option<Ticket> {
        let desk = &mut self.node(id).life.as_deref_mut()?.desk;
        let ticket = desk.take_ticket();
        desk.waiting.insert(ticket, waiter);
        Some(ticket)
    }

    fn perform(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Propose(batch) => self.propose(id, batch),
            Effect::Reply(ticket, result) => {
                if let Some(waiter) = self.waiter(id, ticket, false) {
                    self.send(id, waiter.from, Message::ProposeAnswer(waiter.call, result.ok()));
                }
            }
            Effect::Answer(ticket, answer) => self.answer(id, ticket, answer),
            Effect::Order(to, incarnation, orders) => {
                let Some(reign) = self.node(id).life.as_deref().and_then(|life| life.core.reign()) else { return };
                self.deed(id, DeedKind::Ordered(reign));
                let call = self.new_call();
                self.trace.say(self.now, id.0.into(), || format!("orders n{to}: {orders:?}"));
                if let Some(life) = self.node(id).life.as_deref_mut() {
                    life.desk.ordered.insert(call, to);
                }
                self.inside(id, ORDERS_ANSWERED_MS, Inside::Late(call));
                self.send(id, to, Message::Orders(call, Orders { reign, incarnation, orders }));
            }
            Effect::Drained => self.on_drained(id),
            Effect::Granted(ticket, told) => self.tell_outside(id, ticket, told),
            Effect::Beaten(ticket, answer) => self.answer_outside(id, ticket, Word::Beaten(answer)),
            Effect::PromoteFailed => self.elect(id, ElectionInput::PromoteFailed),
        }
    }

    fn propose(&mut self, id: NodeId, batch: Batch) {
        let now = self.now;
        self.trace.say(now, id.0.into(), || format!("proposes {batch:?}"));
        let mut out = Vec::new();
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        life.desk.last_flight += 1;
        let (number, term) = (life.desk.last_flight, life.raft.stable.term);
        let index = life.raft.propose(now, Arc::new(batch), &mut out).unwrap_or(0);
        life.desk.flights.push_back(Flight { number, index, term, end: None });
        if index == 0 {
            self.inside(id, 0, Inside::Orphaned(number));
        }
        self.after_log(id, out);
    }

    fn answer(&mut self, id: NodeId, ticket: Ticket, answer: ReportAnswer) {
        let Some(waiter) = self.waiter(id, ticket, true) else { return };
        let report = self.reports.remove(&(id, ticket)).unwrap_or_default();
        match &answer {
            ReportAnswer::Taken { reign, .. } => self.deed(id, DeedKind::TookReport { by: *reign, report }),
            ReportAnswer::StaleReign(_) => self.refused.reports += 1,
            _ => {}
        }
        self.send(id, waiter.from, Message::ReportAnswer(waiter.call, answer));
    }

    /// Who waits behind a ticket, once; a report that is told what a proposal is told is never answered.
    fn waiter(&mut self, id: NodeId, ticket: Ticket, reports: bool) -> Option<Waiter> {
        let waiter = self.node(id).life.as_deref_mut()?.desk.waiting.remove(&ticket)?;
        if waiter.reports != reports {
            self.broken("every-call-is-answered", format!("node {id} answers {waiter:?} with the wrong kind"));
            return None;
        }
        Some(waiter)
    }

    pub(super) fn deed(&mut self, node: NodeId, what: DeedKind) {
        let at = At(self.now);
        self.history.deeds.push(Deed { at, node, what });
    }

    /// Begins a handover: what comes is held, what is in flight lands.
    pub(super) fn hand_over(&mut self, id: NodeId) -> super::fault::Struck {
        let leads = self.node(id).turns() && self.node(id).life.as_deref().is_some_and(|life| life.election.leads());
        if leads {
            self.dispatch(id, Input::Hold(true));
        }
        super::fault::Struck::default()
    }

    /// This node leads the journal and is not to reign: the heir stands once it has all that is here.
    pub(super) fn hand_on(&mut self, id: NodeId, heir: NodeId) {
        let last = |node: &super::node::Node| node.life.as_deref().map(|life| life.raft.last());
        let mine = last(self.node(id));
        if last(self.node(heir)) == mine {
            self.send(id, heir, Message::StandNow);
        }
    }

    /// Nothing is in flight: who has all that this node has stands, at once.
    fn on_drained(&mut self, id: NodeId) {
        let last = |node: &super::node::Node| {
            node.life.as_deref().filter(|life| life.raft.is_voter()).map(|life| life.raft.last())
        };
        let mine = last(self.node(id));
        let target = self.nodes.iter().filter(|node| node.id != id && last(node) == mine).map(|node| node.id).next();
        self.trace.say(self.now, id.0.into(), || format!("hands over to {target:?}"));
        if let Some(target) = target {
            self.send(id, target, Message::StandNow);
        }
        self.inside(id, HANDOVER_MS, Inside::Unhold);
    }
}
