//! The network: what becomes of a message between two nodes. Datagrams are lost; what travels in a stream
//! comes late instead, unless the way is cut. A node reaches itself always.

use super::dice::Dice;
use super::event::Message;
use relais_protocol::ids::NodeId;

/// Nodes have ids below this.
const IDS: usize = 8;

/// One way between two nodes, in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Faults that cut it.
    pub(super) cuts: u32,
    /// Faults that hold back what travels on it.
    pub(super) holds: u32,
    /// Percent of datagrams lost; streams stutter.
    pub(super) loss: u64,
    /// Percent of messages that come twice.
    pub(super) twice: u64,
    /// Shortest and longest way, in ms.
    pub(super) delay: (u64, u64),
}

/// A way without a fault.
pub(super) const CLEAR: Way = Way { cuts: 0, holds: 0, loss: 0, twice: 0, delay: (1, 3) };

/// What becomes of a message.
pub(super) enum Fate {
    /// It arrives after each of these times, in ms.
    Arrives(u64, Option<u64>),
    /// It waits for its way to be let go.
    Held,
    /// Nobody hears of it.
    Lost,
}

/// All ways.
pub(super) struct Net {
    ways: [[Way; IDS]; IDS],
    /// What is held back.
    pub(super) held: Vec<(NodeId, NodeId, Message)>,
}

impl Net {
    pub(super) fn new() -> Self {
        Self { ways: [[CLEAR; IDS]; IDS], held: Vec::new() }
    }

    pub(super) fn way(&mut self, from: NodeId, to: NodeId) -> &mut Way {
        &mut self.ways[from.0 as usize][to.0 as usize]
    }

    /// Whether neither direction between two nodes is cut.
    pub(super) fn is_open(&self, a: NodeId, b: NodeId) -> bool {
        let cuts = |from: NodeId, to: NodeId| self.ways[from.0 as usize][to.0 as usize].cuts;
        cuts(a, b) + cuts(b, a) == 0
    }

    /// All is well again; what was held back stays so until it is let go.
    pub(super) fn heal(&mut self) {
        self.ways = [[CLEAR; IDS]; IDS];
    }

    /// What was held back on ways that are free now.
    pub(super) fn let_go(&mut self) -> Vec<(NodeId, NodeId, Message)> {
        let ways = self.ways;
        let is_free = |from: NodeId, to: NodeId| ways[from.0 as usize][to.0 as usize].holds == 0;
        let (free, held) = std::mem::take(&mut self.held).into_iter().partition(|(from, to, _)| is_free(*from, *to));
        self.held = held;
        free
    }

    pub(super) fn fate(&mut self, dice: &mut Dice, from: NodeId, to: NodeId, datagram: bool) -> Fate {
        if from == to {
            return Fate::Arrives(0, None);
        }
        let way = *self.way(from, to);
        if way.cuts > 0 {
            return Fate::Lost;
        }
        if way.holds > 0 && !datagram {
            return Fate::Held;
        }
        let mut delay = dice.range(way.delay.0, way.delay.1);
        if dice.chance(way.loss) {
            if datagram {
                return Fate::Lost;
            }
            delay += dice.range(30, 250);
        }
        let twice = dice.chance(way.twice).then(|| delay + dice.range(0, 200));
        Fate::Arrives(delay, twice)
    }
}
