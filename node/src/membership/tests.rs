//! Memberships joined by a network in memory, with a clock that is stepped.

mod rows;
mod wire;

use super::*;
use std::collections::BTreeMap;

const PACKET_WITH_ENVELOPE_MAX: usize = 1_200 - 16;

/// A cluster, its network and its time.
struct World {
    now: Mono,
    nodes: BTreeMap<NodeId, Membership>,
    flying: BTreeMap<(Mono, u64), (NodeId, NodeId, Vec<u8>)>,
    news: Vec<(Mono, NodeId, Effect)>,
    /// Links are cut between nodes of different parity.
    split: bool,
    loss_percent: u64,
    chance: SplitMix,
    sent: u64,
}

fn vitals(running: u32) -> Vitals {
    Vitals {
        incarnation: Incarnation(0),
        role: RoleHint::Worker,
        ready: true,
        slots: 8,
        running,
        cpu_percent: 12.5,
        memory_available_bytes: 1 << 30,
        net_in_bytes_per_second: 10,
        net_out_bytes_per_second: 20,
        journal_index: 42,
        last_log: relais_protocol::message::LogPosition { term: 3, index: 42 },
        version: "0.1.0".to_owned(),
        journal: 1,
        limits: LimitVitals { disk_free_bytes: 1 << 40, closed: false, files_short: true, sync_us: 300 },
    }
}

impl World {
    fn new(nodes: u32, loss_percent: u64, seed: u64) -> Self {
        let mut world = Self {
            now: Mono(1_000),
            nodes: BTreeMap::new(),
            flying: BTreeMap::new(),
            news: Vec::new(),
            split: false,
            loss_percent,
            chance: SplitMix::new(seed),
            sent: 0,
        };
        for node in (1..=nodes).map(NodeId) {
            world.start(node, Incarnation(100), nodes);
        }
        world
    }

    fn start(&mut self, node: NodeId, incarnation: Incarnation, nodes: u32) {
        let seed = self.chance.draw();
        self.nodes.insert(node, Membership::new(Identity { node, incarnation }, seed));
        self.input(node, Input::Announce((1..=nodes).map(NodeId).collect()));
        self.input(node, Input::Vitals(vitals(node.0)));
    }

    fn input(&mut self, node: NodeId, input: Input) {
        let Some(member) = self.nodes.get_mut(&node) else { return };
        for effect in member.handle(self.now, input) {
            match effect {
                Effect::Send { to, bytes } => {
                    assert!(bytes.len() <= PACKET_WITH_ENVELOPE_MAX, "{} bytes", bytes.len());
                    self.send(node, to, bytes);
                }
                effect => self.news.push((self.now, node, effect)),
            }
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        self.sent += 1;
        let cut = self.split && from.0 % 2 != to.0 % 2;
        if cut || self.chance.draw() % 100 < self.loss_percent {
            return;
        }
        let at = self.now.plus(1 + self.chance.draw() % 20);
        self.flying.insert((at, self.sent), (from, to, bytes));
    }

    /// Does what comes next, unless that is after `end`.
    fn step(&mut self, end: Mono) -> bool {
        let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
        let wake = self.nodes.iter().filter_map(|(node, m)| Some((m.next_deadline()?, *node))).min();
        let next = arrival.into_iter().chain(wake.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|at| *at <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            let ((_, _), (from, to, bytes)) = self.flying.pop_first().expect("an arrival");
            self.input(to, Input::Datagram { from, bytes });
        } else if let Some((_, node)) = wake {
            self.input(node, Input::Tick);
        }
        true
    }

    fn run(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        while self.step(end) {}
    }

    /// Runs until the condition holds and says after how many milliseconds that was.
    fn until(&mut self, limit_ms: u64, what: &str, holds: impl Fn(&Self) -> bool) -> u64 {
        let start = self.now;
        while !holds(self) {
            assert!(self.step(start.plus(limit_ms)), "not within {limit_ms} ms: {what}");
        }
        self.now.since(start)
    }

    fn rows(&self, node: NodeId) -> Vec<Member> {
        self.nodes[&node].members(self.now)
    }

    /// Whether each node that runs sees each other one alive, in its present run.
    fn all_see_all(&self) -> bool {
        self.nodes.keys().all(|&viewer| {
            let rows = self.rows(viewer);
            let others = self.nodes.iter().filter(|(node, _)| **node != viewer);
            others.into_iter().all(|(node, other)| {
                let wanted = (*node, other.me.incarnation, MemberState::Alive);
                rows.iter().any(|row| (row.node, row.incarnation, row.state) == wanted)
            })
        })
    }

    /// Whether each node that runs has these figures of each other one.
    fn all_have_vitals(&self) -> bool {
        self.nodes.keys().all(|&viewer| {
            let rows = self.rows(viewer);
            rows.len() + 1 == self.nodes.len()
                && rows.iter().all(|row| row.vitals.as_ref().is_some_and(|v| v.running == row.node.0))
        })
    }

    /// Whether all others say this of a node.
    fn all_say(&self, node: NodeId, state: MemberState) -> bool {
        let others = self.nodes.keys().filter(|viewer| **viewer != node);
        others.into_iter().all(|&viewer| {
            let rows = self.rows(viewer);
            rows.iter().any(|row| row.node == node && row.state == state)
        })
    }

    fn told(&self, viewer: NodeId, effect: &Effect) -> bool {
        self.news.iter().any(|(_, node, told)| *node == viewer && told == effect)
    }
}
