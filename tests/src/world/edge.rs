//! The HTTP edge of a node: it gives a submit its id, passes it on to the dispatcher, and while there is
//! none holds it up to 3 s and sends it again under the same id.

use super::World;
use super::event::{Event, Inside, Message};
use super::outside::WORKERS_FROM;
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::record::{Committed, Outcome, Record, Refusal};
use std::collections::BTreeMap;

/// How long a request is held while nobody takes it, in ms.
const HELD_MS: u64 = 3_000;
/// How long the dispatcher has to answer one try, in ms.
const TRY_MS: u64 = 1_000;
/// Between two tries, in ms.
const AGAIN_MS: u64 = 10;

/// Requests that a node holds.
#[derive(Default)]
pub(super) struct Edge {
    held: BTreeMap<u64, Request>,
    tries: BTreeMap<u64, u64>,
}

struct Request {
    client: usize,
    records: Vec<Record>,
    until: u64,
}

impl Edge {
    /// Who waits here, and for which call.
    pub(super) fn waiting(&self) -> Vec<(usize, u64)> {
        self.held.iter().map(|(call, request)| (request.client, *call)).collect()
    }
}

impl World {
    /// A client's request arrives at a node: the ids that it gives to what is submitted.
    pub(super) fn on_request(&mut self, id: NodeId, client: usize, call: u64, mut records: Vec<Record>) -> Vec<JobId> {
        let now = self.now;
        let wall = self.node(id).wall(now);
        let mut ids = Vec::new();
        for record in &mut records {
            // Whoever gave it an id asks for the same job again.
            if let Record::Submit(submit) = record
                && submit.id == JobId(0)
            {
                submit.id = JobId::v7(wall.0, self.dice.wide());
                ids.push(submit.id);
            }
        }
        let until = now + HELD_MS;
        if let Some(life) = self.node(id).life.as_deref_mut() {
            life.edge.held.insert(call, Request { client, records, until });
        }
        self.inside(id, 0, Inside::EdgeAgain(call));
        ids
    }

    /// Tries a held request, unless a try is under way.
    pub(super) fn on_edge_again(&mut self, id: NodeId, call: u64) {
        let now = self.now;
        let number = self.new_call();
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let Some(request) = life.edge.held.get(&call) else { return };
        if now >= request.until {
            let client = request.client;
            life.edge.held.remove(&call);
            self.tell(client, call, None);
            return;
        }
        let Some(dispatcher) = life.election.heard_dispatcher(life.mono(now)) else {
            self.inside(id, AGAIN_MS, Inside::EdgeAgain(call));
            return;
        };
        let records = request.records.clone();
        life.edge.tries.insert(number, call);
        self.inside(id, TRY_MS, Inside::Late(number));
        self.send(id, dispatcher, Message::Propose(number, records));
    }

    pub(super) fn on_propose_answer(&mut self, id: NodeId, number: u64, committed: Option<Committed>) {
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        let Some(call) = life.edge.tries.remove(&number) else { return };
        let void = Outcome::Refused(Refusal::StaleReign);
        let done = committed.filter(|committed| !committed.outcomes.each.contains(&void));
        match done {
            Some(committed) => {
                if let Some(request) = life.edge.held.remove(&call) {
                    self.tell(request.client, call, Some(committed));
                }
            }
            None => self.inside(id, AGAIN_MS, Inside::EdgeAgain(call)),
        }
    }

    /// Somebody is told what became of what it asked for; whoever asked once does not listen.
    pub(super) fn told(&mut self, client: usize, call: u64, answer: Option<Committed>) {
        match client {
            client if client < self.clients.len() => self.on_told(client, call, answer),
            client if client >= WORKERS_FROM => self.on_end_told(client, call, answer),
            _ => {}
        }
    }

    pub(super) fn tell(&mut self, client: usize, call: u64, answer: Option<Committed>) {
        self.at(0, Event::Told(client, call, answer));
    }
}
