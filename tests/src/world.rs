//! The world: a whole cluster in one value, driven by one seed. Real cores (ledger, dispatcher's core,
//! election, worker's core); everything around them is a model: clocks, network, disks, the replicated
//! log, processes of jobs, clients, and the shells that in a node join cores and IO.
//!
//! ```text
//!            seed ─► plan ─► faults ──┐
//!   clients ─► edge ─► desk (Core) ─► log ─► Ledger on each node ─► events ─► desk ─► orders ─► bench (Worker)
//!                        ▲  beats, questions, votes: Election ┘                                  │
//!                        └───────────────────────────── reports ◄─── processes ◄─────────────────┘
//! ```
//!
//! A run has three parts: faults under load, the heal, and a time in which all must come right. The same
//! seed is the same run, event for event. It judges nothing: it fills a [`History`] for the checkers.
//!
//! The log is purged and sends snapshots, voters change through joint sets, a journal that lost a synced
//! tail is put aside, and reads that promise to be fresh are checked to be so.
//!
//! There are other kinds of worlds ([`Profile`]): a pair, which forks its journal and heals, with the rule
//! and the merge of the product; one that aims at leases; and the journals alone, in any order of events.
//! Not modelled: output of jobs, gossip, the wire.

mod arrays;
mod beginning;
mod bench;
mod client;
mod courier;
mod crons;
mod desk;
pub(crate) mod dice;
mod disk;
mod edge;
mod event;
mod every;
mod fault;
mod finish;
mod journal;
mod keeper;
mod leases;
mod log;
mod mix;
mod net;
mod node;
mod operator;
mod outside;
mod pair;
mod plan;
mod power;
mod profile;
mod raft;
mod reads;
mod room;
mod schedule;
mod shared;
mod shell;
mod stop;
mod sweep;
mod tally;
mod trace;
mod wishes;

pub use mix::FEATURES;
pub use pair::PairCounts;
pub use profile::Profile;
pub use sweep::{Report, Swept, fingerprint, one_seed, replay, search, sweep, write_trace};
pub use tally::{KindTally, RunTally, Tally};

use crate::checkers::Violation;
use crate::history::History;
use beginning::beginning;
use client::Client;
use dice::Dice;
use event::{Event, Inside, Message};
use fault::{FaultKind, Struck};
use log::Log;
use net::{Fate, Net};
use node::Node;
use pair::Pair;
use plan::Plan;
use relais_dispatcher::core::Ticket;
use relais_protocol::ids::{NodeId, Reign};
use relais_protocol::schedule::ScheduleSet;
use relais_protocol::time::UnixMs;
use std::collections::BTreeMap;
use trace::Trace;
use wishes::Wishes;

/// How often a healed world looks whether it is done, in ms.
const LOOK_MS: u64 = 250;
/// Events of a run that goes as it should: ten times those of a usual one.
const EVENTS_MAX: u64 = 400_000;

/// What was refused for its reign.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RefusedCounts {
    pub(crate) orders: u64,
    pub(crate) reports: u64,
}

/// A whole cluster.
pub(crate) struct World {
    plan: Plan,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    dice: Dice,
    net_dice: Dice,
    ids: Vec<NodeId>,
    nodes: Vec<Node>,
    net: Net,
    clients: Vec<Client>,
    history: History,
    trace: Trace,
    faults: BTreeMap<FaultKind, u32>,
    struck: BTreeMap<usize, Struck>,
    refused: RefusedCounts,
    /// The reign of each report that is not yet answered.
    reports: BTreeMap<(NodeId, Ticket), Reign>,
    calls: u64,
    /// What all jobs that clients want done take, in ms of a slot.
    work_ms: u64,
    /// The last entry whose application was written down.
    watched: u64,
    snapshots: u64,
    voter_changes: u64,
    broken: Vec<Violation>,
    /// What only a world of two nodes has.
    pair: Option<Box<Pair>>,
    schedules: Vec<ScheduleSet>,
    arrays: Vec<arrays::Wanted>,
    outside: outside::Outside,
    operator: operator::Operator,
    mix: mix::Mix,
}

impl World {
    fn new(profile: Profile, seed: u64, told: bool) -> Self {
        let mut dice = profile.dice(seed);
        let plan = profile.plan(&mut dice.part());
        let pair = (profile == Profile::Pair).then(|| Box::new(Pair::new(&plan)));
        let ids: Vec<NodeId> = (1..=plan.nodes).map(NodeId).collect();
        let beginning = beginning(&plan);
        let wishes = Wishes::of_seed(profile, seed, plan.nodes);
        let nodes = ids.iter().map(|id| {
            let mut node = Node::new(*id, plan.slots[id.0 as usize - 1], dice.range(0, 400) as i64 - 200);
            if id.0 <= plan.founders {
                node.disk.log.term = 1;
                node.disk.log.log = Log::beginning(beginning.clone());
            }
            node
        });
        let nodes = nodes.collect();
        let clients = (0..plan.clients).map(|_| Client::new(dice.part(), plan.submits)).collect();
        let mut world = Self {
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            net_dice: dice.part(),
            dice,
            ids,
            nodes,
            net: Net::new(),
            clients,
            history: History::default(),
            trace: Trace::new(told),
            faults: BTreeMap::new(),
            struck: BTreeMap::new(),
            refused: RefusedCounts::default(),
            reports: BTreeMap::new(),
            calls: 0,
            work_ms: 0,
            watched: 0,
            snapshots: 0,
            voter_changes: 0,
            broken: Vec::new(),
            arrays: wishes.arrays,
            schedules: wishes.schedules,
            operator: wishes.operator,
            mix: mix::Mix::new(),
            outside: outside::Outside::new(plan.outside, &mut profile.dice(!seed)),
            pair,
            plan,
        };
        world.trace.say(0, 0, || format!("{:#?}", world.plan));
        world.set_out();
        world
    }

    /// Puts the first events into the queue.
    fn set_out(&mut self) {
        for node in self.ids.clone() {
            let delay = self.dice.range(0, 300);
            let joins_at = self.plan.joins.get(&node).copied();
            self.at(joins_at.unwrap_or(delay), if joins_at.is_some() { Event::Join(node) } else { Event::Boot(node) });
        }
        for number in 0..self.clients.len() {
            self.at(500 + 50 * number as u64, Event::Client(number));
        }
        for (number, fault) in self.plan.faults.clone().into_iter().enumerate() {
            self.at(fault.at, Event::Begin(number));
            self.at(fault.until, Event::End(number));
        }
        self.at(self.plan.heal_at, Event::Heal);
        self.begin_outside();
        if !self.schedules.is_empty() || !self.arrays.is_empty() || !self.operator.is_away() {
            self.at(600, Event::Schedules);
        }
    }

    /// Runs to the end.
    fn run(&mut self) {
        let mut look_at = 0;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            let (kind, node) = event.kind();
            self.trace.event(at, kind, node);
            self.happen(event);
            if self.trace.events() == EVENTS_MAX {
                self.broken(
                    "bounds",
                    format!("more than {EVENTS_MAX} events by {at} ms: something goes round in circles"),
                );
                // Time may stand still in it.
                break;
            }
            if self.now >= look_at {
                look_at = self.now + LOOK_MS;
                if self.is_over() || !self.broken.is_empty() {
                    break;
                }
            }
        }
        self.write_finals();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Inside(id, run, inside) => {
                if self.node(id).life.as_deref().is_some_and(|life| life.run == run) {
                    self.on_inside(id, inside);
                }
            }
            Event::Deliver(from, to, message) => {
                if self.node(to).life.is_some() {
                    self.on_inside(to, Inside::Arrive(from, message));
                }
            }
            Event::ProcessEnds(node, job, fence, version) => self.on_process_ends(node, job, fence, version),
            Event::SpawnerLease(node, until) => self.on_spawner_lease(node, until),
            Event::Client(number) => self.on_client(number),
            Event::Told(client, call, answer) => self.told(client, call, answer),
            Event::Outside(worker, call, word) => self.on_outside(worker, call, word),
            Event::Begin(number) => self.begin_fault(number),
            Event::End(number) => self.end_fault(number),
            Event::Boot(node) => self.boot(node),
            Event::Join(node) => {
                *self.faults.entry(FaultKind::Join).or_default() += 1;
                self.boot(node);
            }
            Event::Schedules => self.on_schedules(),
            Event::Heal => {
                self.trace.say(self.now, 0, || "HEAL".to_owned());
                self.heal();
                self.begin_recovery();
            }
        }
    }

    fn on_inside(&mut self, id: NodeId, inside: Inside) {
        if self.node(id).paused {
            self.node(id).backlog.push(inside);
            return;
        }
        match inside {
            Inside::Tick(timer) => self.tick(id, timer),
            Inside::Arrive(from, message) => self.arrive(id, from, message),
            Inside::Synced(upto) => self.on_synced(id, upto),
            Inside::Late(call) => {
                self.on_orders_answer(id, call, false);
                self.on_report_answer(id, call, None);
                self.on_propose_answer(id, call, None);
            }
            Inside::Closed(of) => self.on_closed(id, of),
            Inside::Ended(job, fence) => self.on_ended(id, job, fence),
            Inside::Orphaned(number) => self.on_orphaned(id, number),
            Inside::EdgeAgain(call) => self.on_edge_again(id, call),
            Inside::Unhold => self.dispatch(id, relais_dispatcher::core::Input::Hold(false)),
            Inside::Leave => self.leave(id),
            Inside::Exit => self.exit(id),
            Inside::Pair(step) => self.on_pair_step(id, step),
        }
    }

    fn arrive(&mut self, id: NodeId, from: NodeId, message: Message) {
        use relais_dispatcher::election::Input;
        use relais_protocol::message::OrdersAnswer;
        match message {
            Message::Beat(beat) => self.on_beat(id, beat),
            Message::Ask(question) => self.elect(id, Input::Asked(question)),
            Message::Answer(answer) => self.elect(id, Input::Answered(answer)),
            Message::Raft(from, to, message) => self.on_raft(id, from, to, *message),
            Message::StandNow => self.elect(id, Input::StandNow),
            Message::Orders(call, orders) => self.on_orders(id, from, call, orders),
            Message::OrdersAnswer(call, answer) => self.on_orders_answer(id, call, answer == OrdersAnswer::Accepted),
            Message::Report(call, report) => self.on_report(id, from, call, report),
            Message::ReportAnswer(call, answer) => self.on_report_answer(id, call, Some(answer)),
            Message::Propose(call, records) => self.on_propose(id, from, call, records),
            Message::ProposeAnswer(call, committed) => {
                self.on_chunk_answer(id, call, committed.as_ref());
                self.on_propose_answer(id, call, committed);
            }
            Message::Pair(message) => self.on_pair_message(id, from, message),
            Message::Outside(worker, call, word) => self.on_word(id, from, worker, call, word),
            Message::ReadIndex(call) => self.on_read_index(id, from, call),
            Message::ReadIndexAnswer(call, index) => self.on_read_index_answer(id, call, index),
        }
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now.max(1) + delay, self.sequence), event);
    }

    /// Something to happen inside the run that a node's process is in now.
    fn inside(&mut self, id: NodeId, delay: u64, inside: Inside) {
        if let Some(run) = self.node(id).life.as_deref().map(|life| life.run) {
            self.at(delay, Event::Inside(id, run, inside));
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        match self.net.fate(&mut self.net_dice, from, to, message.is_datagram()) {
            Fate::Arrives(delay, twice) => {
                if let Some(twice) = twice {
                    self.at(twice, Event::Deliver(from, to, message.clone()));
                }
                self.at(delay, Event::Deliver(from, to, message));
            }
            Fate::Held => self.net.held.push((from, to, message)),
            Fate::Lost => {}
        }
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize - 1]
    }

    /// The wall clock as it is right.
    fn node_wall(&self) -> UnixMs {
        node::wall(self.now, 0)
    }

    fn new_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// Who holds the role, by its own account, in the highest reign.
    fn dispatcher(&self) -> Option<NodeId> {
        let leading = self.nodes.iter().filter_map(|node| {
            let life = node.life.as_deref().filter(|life| life.election.leads())?;
            Some((life.election.reign(), node.id))
        });
        leading.max().map(|(_, id)| id)
    }
}
