//! Gossip at work: datagrams in and out, figures sampled and spread. Evidence for people and placement;
//! never the source of liveness.

use super::Hub;
use crate::machine::Gauge;
use crate::membership::{Effect, Identity, Input, Member, Membership, RoleHint, Vitals};
use bytes::Bytes;
use parking_lot::Mutex;
use relais_protocol::codec;
use relais_protocol::ids::{Incarnation, NodeId};
use relais_protocol::message::{Datagram, LogPosition};
use std::sync::Arc;
use std::time::Duration;

/// How often figures are sampled and spread.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How often the membership looks at the clock.
const TICK_EVERY: Duration = Duration::from_millis(100);

/// This node's membership, and its own figures.
pub struct Gossip {
    membership: Mutex<Membership>,
    own: Mutex<Option<Vitals>>,
}

impl Gossip {
    /// A membership of one.
    #[must_use]
    pub fn new(node: NodeId, incarnation: Incarnation, seed: u64) -> Self {
        Self { membership: Mutex::new(Membership::new(Identity { node, incarnation }, seed)), own: Mutex::new(None) }
    }
}

impl Hub {
    /// Turns the membership until the node is gone.
    pub async fn run_gossip(self: Arc<Self>) {
        let mut gauge = Gauge::new();
        let mut sampled = tokio::time::Instant::now() - SAMPLE_EVERY;
        loop {
            self.rest(TICK_EVERY).await;
            if sampled.elapsed() >= SAMPLE_EVERY {
                sampled = tokio::time::Instant::now();
                let connected = self.net().map(|net| net.connected()).unwrap_or_default();
                self.gossip_input(Input::Announce(connected));
                match gauge.sample(self.clock.mono()) {
                    Ok(figures) => {
                        let vitals = self.own_vitals(&figures);
                        *self.gossip.own.lock() = Some(vitals.clone());
                        self.gossip_input(Input::Vitals(vitals));
                    }
                    Err(error) => tracing::debug!(%error, "the machine's figures can't be read"),
                }
            }
            self.gossip_input(Input::Tick);
        }
    }

    fn own_vitals(&self, figures: &crate::machine::Figures) -> Vitals {
        let facts = self.facts.read();
        let view = self.pulse.view();
        let status = self.journal().map(|journal| journal.status().borrow().clone()).unwrap_or_default();
        Vitals {
            incarnation: self.me.incarnation,
            role: if view.leads { RoleHint::Dispatcher } else { RoleHint::Worker },
            ready: self.limited.read().is_none(),
            slots: facts.slots,
            running: u32::try_from(self.bench.state().running).unwrap_or(u32::MAX),
            cpu_percent: figures.cpu_percent,
            memory_available_bytes: figures.memory_available_bytes,
            net_in_bytes_per_second: figures.net_in_bytes_per_second,
            net_out_bytes_per_second: figures.net_out_bytes_per_second,
            journal_index: status.applied.unwrap_or_default().0,
            last_log: status.last_log.map(|at| LogPosition { term: at.term, index: at.index }).unwrap_or_default(),
            version: facts.version.clone(),
            journal: self.raft().journal(),
            limits: self.limits.vitals(),
        }
    }

    pub(super) fn on_gossip(&self, from: NodeId, bytes: Vec<u8>) {
        self.gossip_input(Input::Datagram { from, bytes });
    }

    fn gossip_input(&self, input: Input) {
        let effects = self.gossip.membership.lock().handle(self.clock.mono(), input);
        for effect in effects {
            match effect {
                Effect::Send { to, bytes } => self.send_gossip(to, bytes),
                Effect::Suspect(node, _) => tracing::debug!(%node, "gossip suspects a node"),
                Effect::Down(node, _) => tracing::debug!(%node, "gossip gave a node up"),
                Effect::Up(..) | Effect::Recovered(..) | Effect::Rejoined => {}
            }
        }
    }

    fn send_gossip(&self, to: NodeId, bytes: Vec<u8>) {
        let Some(net) = self.net() else { return };
        // Between voters a broken link is to be noticed.
        let between = self.go_between(net, to).filter(|_| self.pulse.view().looks_on());
        let (by, datagram) = match between {
            Some(by) => (by, Datagram::Passed { from: self.me.node, to, bytes }),
            None => (to, Datagram::Gossip(bytes)),
        };
        net.send_datagram(by, Bytes::from(codec::encode(codec::FORMAT, &datagram)));
    }

    /// What gossip knows of the others.
    pub(super) fn members(&self) -> Vec<Member> {
        self.gossip.membership.lock().members(self.clock.mono())
    }

    /// This node's own figures, as last sampled.
    pub(super) fn own_figures(&self) -> Option<Vitals> {
        self.gossip.own.lock().clone()
    }
}
