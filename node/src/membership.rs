//! Who is there: SWIM gossip, as a value that is stepped.
//!
//! ```text
//! transport ── Datagram ──►┌────────────┐── Send ──► transport
//! clock ────── Tick ──────►│ Membership │── Up, Suspect, Recovered, Down ──► node table, election's hints
//! node ─ Announce, Vitals ►└────────────┘
//! ```
//!
//! It reads no clock, opens no socket and draws no randomness but its seed's. Its word is evidence, never
//! a verdict: the election counts heartbeats, and the dispatcher counts leases. It neither knows addresses
//! nor admits anyone; the transport finds a node by its id and has proven who the sender is.
//!
//! Each gossip packet is at most 1,120 bytes. A dead node is suspected after about a second and down
//! about three seconds later; one that says goodbye is down at once. With many nodes all that takes longer, so
//! that what a node has to do does not grow with their number.

mod member;
mod peer;
mod random;
mod tempo;
mod timers;
mod vitals;
mod wire;

#[cfg(test)]
mod tests;

pub use member::{Identity, Member, MemberState};
pub use vitals::{LimitVitals, RoleHint, Vitals};

use foca::{Foca, Message};
use peer::Peer;
use random::SplitMix;
use relais_protocol::ids::{Incarnation, NodeId};
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, BTreeSet};
use tempo::{ALONE_AFTER_MS, GOODBYES, GREET_EVERY_MS, GREET_FIRST, GREET_ROUND, REJOIN_EVERY_MS};
use tempo::{VITALS_EVERY_MS, VITALS_PER_MEMBER_MS};
use timers::{Step, Timers};
use vitals::{Board, Relay, Telling};
use wire::{Packet, Wire};

/// What happens to the membership.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A gossip datagram came in.
    Datagram {
        /// Its sender, as the transport has proven it.
        from: NodeId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// [`Membership::next_deadline`] has come. Too early or too often does no harm.
    Tick,
    /// These nodes exist: greet them now, and again while they are not up.
    Announce(Vec<NodeId>),
    /// These nodes are no longer part of the cluster: greet and list them no more.
    Forget(Vec<NodeId>),
    /// My own figures; told to the others within about a second.
    Vitals(Vitals),
    /// Say goodbye. Nothing has any effect after it.
    Leave,
}

/// What the caller is to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send these bytes as one gossip datagram; losing it is allowed.
    Send {
        /// To whom.
        to: NodeId,
        /// At most 1,120 bytes.
        bytes: Vec<u8>,
    },
    /// A node is there: for the first time, or again, or in a newer run of its process.
    Up(NodeId, Incarnation),
    /// A node did not answer; it has seconds to refute that.
    Suspect(NodeId, Incarnation),
    /// A suspected node has refuted it.
    Recovered(NodeId, Incarnation),
    /// A run of a node is over, or nobody can reach it.
    Down(NodeId, Incarnation),
    /// The others had given this node up, and it has come back to them.
    Rejoined,
}

/// The gossip of one node.
pub struct Membership {
    me: Identity,
    foca: Foca<Peer, Wire, SplitMix, Relay>,
    timers: Timers,
    board: Board,
    /// Nodes of the cluster but this one, whether they were ever up or not.
    known: BTreeSet<NodeId>,
    /// What the caller was last told of each.
    told: BTreeMap<NodeId, (Incarnation, MemberState)>,
    /// Where the next round of greetings goes on.
    greeted: NodeId,
    greet_at: Option<Mono>,
    mine: Option<Vitals>,
    sequence: u64,
    vitals_at: Option<Mono>,
    heard_at: Option<Mono>,
    rejoined_at: Option<Mono>,
    is_wide: bool,
    left: bool,
    refused: u64,
}

impl Membership {
    /// A node that knows nobody yet. One seed always makes the same choices.
    #[must_use]
    pub fn new(me: Identity, seed: u64) -> Self {
        let peer = Peer { node: me.node, incarnation: me.incarnation, life: 0 };
        let rng = SplitMix::new(seed);
        Self {
            me,
            foca: Foca::with_custom_broadcast(peer, tempo::config(false), rng, Wire, Relay::new(me.node)),
            timers: Timers::default(),
            board: Board::default(),
            known: BTreeSet::new(),
            told: BTreeMap::new(),
            greeted: me.node,
            greet_at: None,
            mine: None,
            sequence: 0,
            vitals_at: None,
            heard_at: None,
            rejoined_at: None,
            is_wide: false,
            left: false,
            refused: 0,
        }
    }

    /// Takes one input and says what follows from it. It never fails: what is malformed is counted, see
    /// [`Self::refused`], and changes nothing.
    pub fn handle(&mut self, now: Mono, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.left {
            return effects;
        }
        match input {
            Input::Datagram { from, bytes } => self.receive(now, from, &bytes, &mut effects),
            Input::Tick => self.tick(now, &mut effects),
            Input::Announce(nodes) => {
                self.known.extend(nodes.into_iter().filter(|node| *node != self.me.node));
                self.greet(now, GREET_FIRST, &mut effects);
            }
            Input::Forget(nodes) => nodes.iter().for_each(|node| self.forget(*node)),
            Input::Vitals(vitals) => {
                self.mine = Some(vitals);
                self.vitals_at.get_or_insert(now);
                self.tick(now, &mut effects);
            }
            Input::Leave => self.leave(now, &mut effects),
        }
        self.tell_changes(&mut effects);
        effects
    }

    /// When [`Input::Tick`] is due next; `None`: not before another input.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.left {
            return None;
        }
        [self.timers.first(), self.greet_at, self.vitals_at].into_iter().flatten().min()
    }

    /// All members but this node, by id. One that has been down for an hour is no longer among them.
    #[must_use]
    pub fn members(&self, now: Mono) -> Vec<Member> {
        let known = self.told.iter().filter(|(node, _)| self.known.contains(node));
        known
            .map(|(&node, &(incarnation, state))| Member {
                node,
                incarnation,
                state,
                vitals: self.board.vitals(node, incarnation).cloned(),
                heard_ms: self.board.heard(node).map(|at| now.since(at)),
            })
            .collect()
    }

    /// How many datagrams were refused: malformed, or not from whom or for whom they say.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn receive(&mut self, now: Mono, from: NodeId, bytes: &[u8], effects: &mut Vec<Effect>) {
        let addressed = |packet: &Packet| {
            let Packet { header, .. } = packet;
            header.src.node == from && from != self.me.node && header.dst.node == self.me.node
        };
        let Some(packet) = wire::inspect(bytes).ok().filter(addressed) else {
            self.refused += 1;
            return;
        };
        let verdict = packet.header.message == Message::TurnUndead;
        if verdict && self.rejoined_at.is_some_and(|at| now.since(at) < REJOIN_EVERY_MS) {
            return;
        }
        self.heard_at = Some(now);
        self.board.hear(from, now);
        for telling in packet.tellings {
            if telling.node != self.me.node {
                self.board.keep(telling, now);
            }
        }
        self.step(now, effects, |foca, step| foca.handle_data(bytes, step));
    }

    fn tick(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.due(now) {
            self.step(now, effects, |foca, step| foca.handle_timer(timer, step));
        }
        if self.vitals_at.is_some_and(|at| at <= now) {
            self.tell_vitals(now);
        }
        if self.greet_at.is_some_and(|at| at <= now) {
            self.greet(now, GREET_ROUND, effects);
        }
    }

    /// Puts the own figures into the backlog that the next packets carry.
    fn tell_vitals(&mut self, now: Mono) {
        let Some(vitals) = self.mine.clone() else {
            self.vitals_at = None;
            return;
        };
        self.sequence += 1;
        let telling = Telling::new(self.me.node, self.sequence, Vitals { incarnation: self.me.incarnation, ..vitals });
        if let Err(error) = self.foca.add_broadcast(&telling.to_bytes()) {
            tracing::debug!(%error, "own figures are not told");
        }
        let members = self.foca.num_members() as u64;
        self.keep_tempo(members);
        self.vitals_at = Some(now.plus(VITALS_EVERY_MS.max(members * VITALS_PER_MEMBER_MS)));
    }

    /// Slower among many, faster again among few.
    fn keep_tempo(&mut self, members: u64) {
        let is_wide = tempo::is_wide(members, self.is_wide);
        if std::mem::replace(&mut self.is_wide, is_wide) != is_wide
            && let Err(error) = self.foca.set_config(tempo::config(is_wide))
        {
            tracing::warn!(%error, is_wide, "the gossip keeps its pace");
        }
    }

    /// Greets the next few nodes that are not up; if nobody is heard, those believed to be up as well.
    fn greet(&mut self, now: Mono, limit: usize, effects: &mut Vec<Effect>) {
        let alone = self.heard_at.is_none_or(|at| now.since(at) >= ALONE_AFTER_MS);
        let up = |node: &NodeId| self.told.get(node).is_some_and(|(_, state)| *state != MemberState::Down);
        let after = self.known.iter().filter(|node| **node > self.greeted);
        let around = after.chain(self.known.iter().filter(|node| **node <= self.greeted));
        let chosen: Vec<NodeId> = around.filter(|node| alone || !up(node)).take(limit).copied().collect();
        for node in chosen {
            self.greeted = node;
            self.step(now, effects, |foca, step| foca.announce(Peer::stranger(node), step));
        }
        self.greet_at = (!self.known.is_empty()).then(|| now.plus(GREET_EVERY_MS));
    }

    fn forget(&mut self, node: NodeId) {
        self.known.remove(&node);
        self.board.forget(node);
    }

    fn leave(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        self.step(now, effects, |foca, step| foca.leave_cluster(step));
        for _ in 1..GOODBYES {
            self.step(now, effects, |foca, step| foca.gossip(step));
        }
        self.left = true;
    }

    /// Steps the library and turns what it hands out into effects.
    fn step(
        &mut self,
        now: Mono,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Foca<Peer, Wire, SplitMix, Relay>, &mut Step<'_>) -> Result<(), foca::Error>,
    ) {
        let mut step = Step { now, timers: &mut self.timers, sends: Vec::new(), rejoined: false };
        if let Err(error) = act(&mut self.foca, &mut step) {
            tracing::debug!(%error, "a step of the gossip failed");
        }
        effects.extend(step.sends.into_iter().map(|(to, bytes)| Effect::Send { to, bytes }));
        if step.rejoined {
            self.rejoined_at = Some(now);
            effects.push(Effect::Rejoined);
            // The others learn of the new life by a message of it. Gossip is not answered, a greeting is:
            // so greet even those that look up, until one answers.
            self.heard_at = None;
            self.greet_at = Some(now);
        }
    }

    /// Compares the members with what was last told, and tells the difference by node id.
    fn tell_changes(&mut self, effects: &mut Vec<Effect>) {
        let me = self.me.node;
        let mut changes = Vec::new();
        let mut present = 0;
        for member in self.foca.iter_membership_state().filter(|member| member.id().node != me) {
            present += 1;
            let now = (member.id().incarnation, MemberState::from(member.state()));
            if self.told.get(&member.id().node) != Some(&now) {
                changes.push((member.id().node, now));
            }
        }
        changes.sort_unstable_by_key(|(node, _)| *node);
        for (node, now) in changes {
            let before = self.told.insert(node, now);
            if now.1 != MemberState::Down {
                self.known.insert(node);
            }
            member::tell(node, before, now, effects);
        }
        if present < self.told.len() {
            self.drop_removed();
        }
        if !self.known.is_empty() && self.greet_at.is_none() {
            self.greet_at = self.heard_at.map(|at| at.plus(GREET_EVERY_MS));
        }
    }

    /// The library has let go of nodes that were down for long.
    fn drop_removed(&mut self) {
        let present: BTreeSet<NodeId> = self.foca.iter_membership_state().map(|member| member.id().node).collect();
        let gone: Vec<NodeId> = self.told.keys().filter(|node| !present.contains(node)).copied().collect();
        for node in gone {
            self.told.remove(&node);
            self.board.forget(node);
        }
    }
}
