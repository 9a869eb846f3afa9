//! The faults: what each does when it begins, and what it takes back when it ends.

use super::World;
use super::event::Event;
use super::net::CLEAR;
use super::node::Node;
use super::plan::FaultPlan;
use relais_dispatcher::election::Input as ElectionInput;
use relais_protocol::ids::NodeId;
use relais_protocol::record::Record;
use relais_protocol::schedule::Missed;

/// By how much a wall clock goes wrong, in ms.
const FAR_MS: i64 = 3_600_000;
const NEAR_MS: i64 = 2_500;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    CrashDispatcher,
    CrashNode,
    CrashTwo,
    CrashAll,
    QuickRestart,
    PauseDispatcher,
    PauseNode,
    CutDispatcher,
    CutNode,
    Split,
    OneWayFromDispatcher,
    OneWayToDispatcher,
    OneWay,
    Bridge,
    Flapping,
    Loss,
    Delay,
    Twice,
    Reorder,
    HoldDispatcher,
    HoldWay,
    SlowDiskDispatcher,
    SlowDisk,
    ClockJump,
    ClockJumpDispatcher,
    FalseEvidence,
    FalseSilence,
    Drain,
    Handover,
    CrashLeader,
    LostTail,
    FlippedBit,
    DiskError,
    DiskFull,
    Stop,
    Join,
    CrashInChange,
}

use FaultKind::*;

impl FaultKind {
    /// Those that come by themselves. A join, and a crash while voters change, are part of the plan of the cluster.
    pub(super) const ALL: [Self; 35] = [
        CrashDispatcher,
        CrashNode,
        CrashTwo,
        CrashAll,
        QuickRestart,
        PauseDispatcher,
        PauseNode,
        CutDispatcher,
        CutNode,
        Split,
        OneWayFromDispatcher,
        OneWayToDispatcher,
        OneWay,
        Bridge,
        Flapping,
        Loss,
        Delay,
        Twice,
        Reorder,
        HoldDispatcher,
        HoldWay,
        SlowDiskDispatcher,
        SlowDisk,
        ClockJump,
        ClockJumpDispatcher,
        FalseEvidence,
        FalseSilence,
        Drain,
        Handover,
        CrashLeader,
        LostTail,
        FlippedBit,
        DiskError,
        DiskFull,
        Stop,
    ];

    /// As reports write it.
    pub(super) fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }

    /// Shortest and longest time that it lasts.
    pub(super) fn lasts_ms(self) -> (u64, u64) {
        match self {
            QuickRestart => (50, 150),
            Flapping => (200, 1_500),
            PauseDispatcher | PauseNode => (100, 10_000),
            FalseEvidence | Handover => (1, 1),
            Stop => (2_500, 6_000),
            FalseSilence => (450, 1_500),
            HoldDispatcher | HoldWay => (200, 5_000),
            _ => (100, 6_000),
        }
    }

    /// How often it comes, once it comes.
    pub(super) fn times(self) -> u32 {
        match self {
            Flapping => 4,
            Stop => 2,
            FalseEvidence => 3,
            _ => 1,
        }
    }
}

/// What a fault has done, to be taken back.
#[derive(Default)]
pub(super) struct Struck {
    cut: Vec<(NodeId, NodeId)>,
    held: Vec<(NodeId, NodeId)>,
    down: Vec<NodeId>,
    paused: Vec<NodeId>,
    slow: Vec<NodeId>,
    drained: Vec<NodeId>,
    full: Vec<NodeId>,
    noisy: bool,
}

impl Struck {
    /// These nodes are down, and are started again.
    pub(super) fn down(nodes: &[NodeId]) -> Self {
        Self { down: nodes.to_vec(), ..Self::default() }
    }

    /// The disk of this node is slow.
    pub(super) fn slow(node: NodeId) -> Self {
        Self { slow: vec![node], ..Self::default() }
    }

    /// The disk of this node is full.
    pub(super) fn full(node: NodeId) -> Self {
        Self { full: vec![node], ..Self::default() }
    }
}

impl World {
    pub(super) fn begin_fault(&mut self, number: usize) {
        let plan = self.plan.faults[number];
        let dispatcher = self.dispatcher().unwrap_or(plan.node);
        self.trace.say(self.now, 0, || format!("FAULT {} ({plan:?}) dispatcher {dispatcher}", plan.kind.name()));
        if matches!(plan.kind, LostTail | FlippedBit) && !self.may_damage(plan.node) {
            return;
        }
        *self.faults.entry(plan.kind).or_default() += 1;
        let struck = match plan.kind {
            CrashDispatcher | QuickRestart => self.strike_down(&[dispatcher]),
            CrashNode => self.strike_down(&[plan.node]),
            CrashTwo => self.strike_down(&[dispatcher, plan.node]),
            CrashAll => self.strike_down(&self.ids.clone()),
            PauseDispatcher => self.pause(dispatcher),
            PauseNode => self.pause(plan.node),
            CutDispatcher | CutNode | Split | OneWayFromDispatcher | OneWayToDispatcher | OneWay | Bridge
            | Flapping | FalseSilence => self.cut(plan, dispatcher),
            HoldDispatcher | HoldWay => self.hold(plan, dispatcher),
            Loss | Delay | Twice | Reorder => self.make_noisy(plan),
            SlowDiskDispatcher => self.slow_down(dispatcher, plan.strength),
            SlowDisk => self.slow_down(plan.node, plan.strength),
            ClockJump => self.jump(plan.node, plan.strength),
            ClockJumpDispatcher => self.jump(dispatcher, plan.strength),
            FalseEvidence => self.believe_gone(plan.node, dispatcher),
            Drain => self.drain(plan.node, true),
            Handover => self.hand_over(dispatcher),
            CrashLeader => self.strike_down(&[self.leader().unwrap_or(dispatcher)]),
            LostTail | FlippedBit => self.damage(plan),
            DiskError => self.fail_sync(plan.node),
            DiskFull => self.fill_disk(plan.node),
            Stop => self.stop(plan.node),
            Join | CrashInChange => Struck::default(),
        };
        self.struck.insert(number, struck);
    }

    pub(super) fn end_fault(&mut self, number: usize) {
        let Some(struck) = self.struck.remove(&number) else { return };
        self.trace.say(self.now, 0, || format!("fault {} is over", self.plan.faults[number].kind.name()));
        for (from, to) in struck.cut {
            self.net.way(from, to).cuts -= 1;
        }
        for (from, to) in struck.held {
            self.net.way(from, to).holds -= 1;
        }
        if struck.noisy {
            for (from, to) in self.pairs() {
                let way = self.net.way(from, to);
                *way = super::net::Way { cuts: way.cuts, holds: way.holds, ..CLEAR };
            }
        }
        self.let_go();
        for node in struck.down {
            self.node(node).sync_fails = false;
            self.boot(node);
        }
        for node in struck.paused {
            self.resume(node);
        }
        for node in struck.slow {
            self.speed_up(node);
        }
        for node in struck.drained {
            self.drain(node, false);
        }
        for node in struck.full {
            self.make_room(node);
        }
    }

    /// Everything that still lasts ends, and the wall clocks are right again.
    pub(super) fn heal(&mut self) {
        for number in self.struck.keys().copied().collect::<Vec<_>>() {
            self.end_fault(number);
        }
        self.net.heal();
        self.let_go();
        for node in self.ids.clone() {
            self.node(node).skew = 0;
            self.node(node).sync_fails = false;
            self.make_room(node);
            self.resume(node);
            self.boot(node);
            self.drain(node, false);
        }
    }

    /// Whether a fault that lasts will start this node when it ends.
    pub(super) fn is_to_be_started(&self, node: NodeId) -> bool {
        self.struck.values().any(|struck| struck.down.contains(&node))
    }

    fn let_go(&mut self) {
        for (from, to, message) in self.net.let_go() {
            let delay = self.net_dice.range(0, 20);
            self.at(delay, Event::Deliver(from, to, message));
        }
    }

    fn pairs(&self) -> Vec<(NodeId, NodeId)> {
        let all = &self.ids;
        all.iter().flat_map(|a| all.iter().map(|b| (*a, *b))).filter(|(a, b)| a != b).collect()
    }

    pub(super) fn strike_down(&mut self, nodes: &[NodeId]) -> Struck {
        for node in nodes {
            self.crash(*node);
        }
        Struck::down(nodes)
    }

    fn pause(&mut self, node: NodeId) -> Struck {
        self.node(node).paused = self.node(node).life.is_some();
        Struck { paused: vec![node], ..Struck::default() }
    }

    fn cut(&mut self, plan: FaultPlan, dispatcher: NodeId) -> Struck {
        let (half, node) = (self.plan.nodes / 2, plan.node);
        let far = |id: NodeId| (id.0 + plan.strength as u32) % self.plan.nodes < half;
        let bridge = NodeId(self.plan.nodes);
        let mut cut = self.pairs();
        cut.retain(|(from, to)| match plan.kind {
            CutDispatcher => *from == dispatcher || *to == dispatcher,
            CutNode | Flapping => *from == node || *to == node,
            Split => far(*from) != far(*to),
            Bridge => *from != bridge && *to != bridge && far(*from) != far(*to),
            OneWayFromDispatcher => *from == dispatcher && (plan.strength > 50 || *to == node),
            OneWayToDispatcher => *to == dispatcher && (plan.strength > 50 || *from == node),
            FalseSilence => *from == dispatcher && *to == node,
            _ => *from == node && *to == plan.other,
        });
        for (from, to) in &cut {
            self.net.way(*from, *to).cuts += 1;
        }
        Struck { cut, ..Struck::default() }
    }

    fn hold(&mut self, plan: FaultPlan, dispatcher: NodeId) -> Struck {
        let from = if plan.kind == HoldDispatcher { dispatcher } else { plan.node };
        let held: Vec<_> =
            self.pairs().into_iter().filter(|(a, b)| *a == from && (plan.strength > 30 || *b == plan.other)).collect();
        for (from, to) in &held {
            self.net.way(*from, *to).holds += 1;
        }
        Struck { held, ..Struck::default() }
    }

    fn make_noisy(&mut self, plan: FaultPlan) -> Struck {
        for (from, to) in self.pairs() {
            let way = self.net.way(from, to);
            match plan.kind {
                Loss => way.loss = plan.strength / 2,
                Delay => way.delay = (plan.strength, plan.strength + 30),
                Twice => way.twice = plan.strength,
                _ => way.delay = (0, plan.strength * 4),
            }
        }
        Struck { noisy: true, ..Struck::default() }
    }

    /// The wall clock goes wrong, by seconds or by an hour; it stays so. While one is off by an hour, no other
    /// one goes so far where a schedule makes up for what it missed: two wrong clocks of three are believed, and
    /// an hour of slots is more work than there is time for.
    fn jump(&mut self, node: NodeId, strength: u64) -> Struck {
        let is_far = |other: &Node| other.id != node && other.skew.unsigned_abs() > FAR_MS.unsigned_abs() / 2;
        let makes_up = self.schedules.iter().any(|set| set.schedule.missed == Missed::All);
        let far = if makes_up && self.nodes.iter().any(is_far) { NEAR_MS } else { FAR_MS };
        let by = [far, -far, NEAR_MS, -NEAR_MS][strength as usize % 4];
        self.node(node).skew += by;
        Struck::default()
    }

    /// A probe says of a living dispatcher that it is gone.
    fn believe_gone(&mut self, node: NodeId, dispatcher: NodeId) -> Struck {
        if node != dispatcher && self.node(node).turns() {
            // It is one voter's mistake: what that voter heard before does not make it more.
            self.elect(node, ElectionInput::Gone(dispatcher));
        }
        Struck::default()
    }

    fn drain(&mut self, node: NodeId, on: bool) -> Struck {
        self.ask_somewhere(vec![Record::Drain { node, on }]);
        Struck { drained: if on { vec![node] } else { Vec::new() }, ..Struck::default() }
    }
}
