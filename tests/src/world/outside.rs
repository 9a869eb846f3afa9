//! External workers: they ask for jobs at any node, renew their leases, work and say how it ended; now and then one
//! hangs up while it waits. What they ask goes by the node that they ask, as from its edge, to the dispatcher.

use super::World;
use super::bench::{Script, result_of};
use super::dice::Dice;
use super::event::{Event, Message};
use super::room::{ZONE, zone};
use crate::history::{At, Execution};
use relais_dispatcher::core::{Input, Rejection, Ticket};
use relais_protocol::ids::{Fence, JobId, NodeId};
use relais_protocol::job::{AttemptOutcome, ErrorKind, JobError};
use relais_protocol::lease::{
    AskId, BeatAnswer, EXTERNAL, Granted, LeaseAsk, LeaseBeat, LeaseEnd, LeaseOutcome, LeaseWish,
};
use relais_protocol::record::{Committed, Outcome, Record};
use relais_protocol::spec::JobSpec;
use std::collections::BTreeMap;

/// Numbers of clients from here on are external workers.
pub(super) const WORKERS_FROM: usize = 1_000;
/// Every lease, in ms.
const LEASE_MS: u64 = 3_000;
/// How long an ask waits for a job, and for its answer.
const WAIT_MS: u64 = 1_500;
const PATIENCE_MS: u64 = 2_600;
/// After this it says again how its work ended.
const AGAIN_MS: u64 = 1_500;

/// What is said between an external worker's node and the dispatcher.
#[derive(Clone, Debug)]
pub(super) enum Word {
    Ask(LeaseWish),
    Granted(Option<Granted>),
    Beat(LeaseBeat),
    Beaten(BeatAnswer),
    Withdraw(AskId),
}

/// A worker that is no node.
struct Worker {
    dice: Dice,
    ask: Option<Ask>,
    held: Option<Held>,
}

struct Ask {
    id: AskId,
    call: u64,
    /// When it was first sent: what it is granted counts from then.
    begun_at: u64,
    sent_at: u64,
    /// It was told to ask again.
    again: bool,
}

/// What it works at.
struct Held {
    job: JobId,
    fence: Fence,
    execution: usize,
    /// Until when it may, by its own count: from when it sent what was answered.
    until: u64,
    /// When it stops by itself, since its job may not take any longer.
    stop_at: u64,
    done_at: u64,
    how: LeaseOutcome,
    outcome: AttemptOutcome,
    beat: (u64, u64),
    ending: Option<(u64, u64)>,
}

/// All external workers, and whom the dispatchers are to answer.
#[derive(Default)]
pub(super) struct Outside {
    workers: Vec<Worker>,
    tickets: BTreeMap<(NodeId, Ticket), (NodeId, usize, u64)>,
}

impl Outside {
    pub(super) fn new(count: usize, dice: &mut Dice) -> Self {
        let worker = |_| Worker { dice: dice.part(), ask: None, held: None };
        Self { workers: (0..count).map(worker).collect(), tickets: BTreeMap::new() }
    }
}

/// The same job, for an external worker.
pub(super) fn external(mut spec: JobSpec) -> JobSpec {
    spec.kind = EXTERNAL.into();
    let options = spec.options().clone();
    spec.with_options(options)
}

impl World {
    /// The first turn of each.
    pub(super) fn begin_outside(&mut self) {
        for number in 0..self.outside.workers.len() {
            self.at(700 + 40 * number as u64, Event::Outside(number, 0, None));
        }
    }

    /// It is a worker's turn, or it is told something.
    pub(super) fn on_outside(&mut self, number: usize, call: u64, word: Option<Word>) {
        match word {
            Some(Word::Granted(granted)) => self.on_granted(number, call, granted),
            Some(Word::Beaten(answer)) => self.on_beaten(number, call, &answer),
            Some(_) => {}
            None => {
                if self.outside.workers[number].held.is_some() {
                    self.go_on_working(number);
                } else {
                    self.go_on_asking(number);
                }
                let wait = self.outside.workers[number].dice.range(60, 140);
                self.at(wait, Event::Outside(number, 0, None));
            }
        }
    }

    /// A word arrives at a node: from a worker's node at the dispatcher, or back.
    pub(super) fn on_word(&mut self, id: NodeId, from: NodeId, number: usize, call: u64, word: Word) {
        match word {
            Word::Ask(wish) => {
                let ticket = self.outside_ticket(id, (from, number, call));
                self.dispatch_some(id, ticket.map(|ticket| Input::Ask(ticket, Box::new(wish))));
            }
            Word::Beat(beat) => {
                let ticket = self.outside_ticket(id, (from, number, call));
                self.dispatch_some(id, ticket.map(|ticket| Input::Beat(ticket, Box::new(beat))));
            }
            Word::Withdraw(ask) => self.dispatch(id, Input::Withdraw(ask)),
            told => self.at(0, Event::Outside(number, call, Some(told))),
        }
    }

    fn dispatch_some(&mut self, id: NodeId, input: Option<Input>) {
        if let Some(input) = input {
            self.dispatch(id, input);
        }
    }

    fn outside_ticket(&mut self, id: NodeId, waiter: (NodeId, usize, u64)) -> Option<Ticket> {
        let ticket = self.node(id).life.as_deref_mut()?.desk.take_ticket();
        self.outside.tickets.insert((id, ticket), waiter);
        Some(ticket)
    }

    /// The dispatcher answers.
    pub(super) fn answer_outside(&mut self, id: NodeId, ticket: Ticket, word: Word) {
        if let Some((from, number, call)) = self.outside.tickets.remove(&(id, ticket)) {
            self.send(id, from, Message::Outside(number, call, word));
        }
    }

    /// Says something to the dispatcher by some node that is up; its call, if there was one.
    fn say_outside(&mut self, number: usize, word: Word) -> u64 {
        let (now, ids, call) = (self.now, self.ids.clone(), self.new_call());
        let Some(node) = self.outside.workers[number].dice.pick(&ids) else { return call };
        let Some(life) = self.node(node).life.as_deref() else { return call };
        if let Some(dispatcher) = life.election.heard_dispatcher(life.mono(now)) {
            self.send(node, dispatcher, Message::Outside(number, call, word));
        }
        call
    }

    fn go_on_asking(&mut self, number: usize) {
        let now = self.now;
        let fresh = AskId(self.outside.workers[number].dice.wide());
        let worker = &mut self.outside.workers[number];
        let (id, begun_at, again) = match &worker.ask {
            None => (fresh, now, false),
            Some(ask) if !ask.again && now - ask.sent_at < PATIENCE_MS => return,
            Some(ask) if worker.dice.chance(30) => {
                let id = ask.id;
                worker.ask = None;
                self.say_outside(number, Word::Withdraw(id));
                return;
            }
            Some(ask) => (ask.id, ask.begun_at, true),
        };
        let ask = LeaseAsk {
            id,
            worker: format!("w{number}"),
            queues: Vec::new(),
            kinds: vec![EXTERNAL.into()],
            labels: [(ZONE.to_owned(), zone(NodeId(1)).to_owned())].into(),
            max: 1,
            lease_ms: LEASE_MS,
        };
        let call = self.say_outside(number, Word::Ask(LeaseWish { ask, wait_ms: WAIT_MS, again }));
        self.outside.workers[number].ask = Some(Ask { id, call, begun_at, sent_at: now, again: false });
    }

    fn on_granted(&mut self, number: usize, call: u64, granted: Option<Granted>) {
        let now = self.now;
        let worker = &mut self.outside.workers[number];
        // What it does not wait for any more it never hears of.
        let Some(ask) = worker.ask.as_mut().filter(|ask| ask.call == call) else { return };
        let Some(granted) = granted else {
            ask.again = true;
            return;
        };
        let sent_at = ask.begun_at;
        let until = sent_at + LEASE_MS;
        worker.ask = None;
        let Some(lease) = granted.leases.first().copied().filter(|_| now < until) else { return };
        let lives = self.nodes.iter().filter_map(|node| node.life.as_deref());
        let Some(job) = lives.filter_map(|life| life.ledger.job(lease.job)).next() else { return };
        let script = Script::parse(&job.spec.payload);
        let stop_at = job.spec.options().timeout_ms.map_or(u64::MAX, |timeout| sent_at + timeout);
        let fails = u64::from(lease.fence.number()) <= script.fails;
        let error = JobError { kind: ErrorKind::Worker, message: "Flaky: as it was told to".into() };
        let gives_back = self.outside.workers[number].dice.chance(8);
        let result = result_of(lease.job, lease.fence);
        let (how, outcome) = match fails {
            _ if gives_back => (LeaseOutcome::Released, AttemptOutcome::Cancelled),
            true => (LeaseOutcome::Failed(error), AttemptOutcome::Failed),
            false => (LeaseOutcome::Completed { result }, AttemptOutcome::Succeeded),
        };
        let execution = self.history.executions.len();
        self.history.executions.push(Execution {
            job: lease.job,
            fence: lease.fence,
            node: NodeId::OUTSIDE,
            began: At(now),
            ended: None,
            lease_over: None,
            outcome: None,
        });
        self.trace.say(now, 0, || format!("worker {number} begins {} fence {}", lease.job, lease.fence));
        self.outside.workers[number].held = Some(Held {
            job: lease.job,
            fence: lease.fence,
            execution,
            until: until.min(stop_at),
            stop_at,
            done_at: now + script.ms,
            how,
            outcome,
            beat: (0, now),
            ending: None,
        });
    }

    fn go_on_working(&mut self, number: usize) {
        let now = self.now;
        let Some(held) = self.outside.workers[number].held.as_mut() else { return };
        let execution = &mut self.history.executions[held.execution];
        if execution.ended.is_none() && held.until <= held.done_at.min(now) {
            (execution.ended, execution.lease_over) = (Some(At(held.until)), Some(At(held.until)));
            self.outside.workers[number].held = None;
            return;
        }
        if now < held.done_at {
            if now - held.beat.1 >= LEASE_MS / 4 {
                let beat = LeaseBeat { job: held.job, fence: held.fence, progress: result_of(held.job, held.fence) };
                let call = self.say_outside(number, Word::Beat(beat));
                self.outside.workers[number].held.as_mut().expect("it is held").beat = (call, now);
            }
            return;
        }
        if execution.ended.is_none() {
            execution.ended = Some(At(held.done_at));
        }
        if held.ending.is_none_or(|(_, at)| now - at >= AGAIN_MS) {
            let end = LeaseEnd { job: held.job, fence: held.fence, how: held.how.clone() };
            self.say_end(number, Record::LeaseEnd(Box::new(end)));
        }
    }

    /// Says how it ended to some node that is up, as a client does.
    fn say_end(&mut self, number: usize, record: Record) {
        let (now, ids, call) = (self.now, self.ids.clone(), self.new_call());
        let worker = &mut self.outside.workers[number];
        if let Some(held) = &mut worker.held {
            held.ending = Some((call, now));
        }
        let node = worker.dice.pick(&ids).filter(|node| self.nodes[node.0 as usize - 1].life.is_some());
        if let Some(node) = node {
            self.on_request(node, WORKERS_FROM + number, call, vec![record]);
        }
    }

    /// What became of an end that it told.
    pub(super) fn on_end_told(&mut self, client: usize, call: u64, answer: Option<Committed>) {
        let Some(worker) = self.outside.workers.get_mut(client - WORKERS_FROM) else { return };
        let Some(held) = worker.held.as_mut().filter(|held| held.ending.is_some_and(|(own, _)| own == call)) else {
            return;
        };
        match answer.and_then(|committed| committed.outcomes.each.into_iter().next()) {
            // Told in time: it is the end of the attempt.
            Some(Outcome::LeaseEnded(_)) => {
                self.history.executions[held.execution].outcome = Some(held.outcome);
                worker.held = None;
            }
            Some(Outcome::Refused(_)) => worker.held = None,
            _ => held.ending = None,
        }
    }

    fn on_beaten(&mut self, number: usize, call: u64, answer: &BeatAnswer) {
        let now = self.now;
        let Some(held) = self.outside.workers[number].held.as_mut().filter(|held| held.beat.0 == call) else { return };
        if held.done_at <= now {
            return;
        }
        match answer {
            BeatAnswer::Held { cancel, .. } => {
                *self.mix.entry("lease: renewed").or_default() += 1;
                held.until = held.until.max(held.beat.1 + LEASE_MS).min(held.stop_at);
                if *cancel {
                    (held.done_at, held.how, held.outcome) = (now, LeaseOutcome::Released, AttemptOutcome::Cancelled);
                }
            }
            // It is told to stop: another may begin.
            BeatAnswer::Over => held.until = held.until.min(now),
            BeatAnswer::Busy => {}
        }
    }

    /// What a core says to an external worker.
    pub(super) fn tell_outside(&mut self, id: NodeId, ticket: Ticket, told: Result<Granted, Rejection>) {
        self.answer_outside(id, ticket, Word::Granted(told.ok()));
    }
}
