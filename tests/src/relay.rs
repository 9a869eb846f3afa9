//! A UDP relay between the nodes of a cluster: the network's faults, made by us.
//!
//! ```text
//!            front of a                 front of b
//!   node a ──(to b)──────────────────────► ○ ─┐
//!     ▲                 ○ ◄────────────────────┼── sent on from the front of a: b sees a's advertised address
//!     └── b's answers ──┘                      └──► node b
//! ```
//!
//! Each node advertises its front. A packet that a sends to the front of b is sent on to b from the front of
//! a, so that each node is seen at its advertised address by all. What comes from no node (somebody who
//! joins) is passed through by a socket of its own and never disturbed. It looks into no packet.

mod rule;
mod wire;

pub use rule::Rule;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::Wire;

/// The relay of one cluster. It ends with its value.
#[derive(Debug)]
pub struct Relay {
    wire: Arc<Wire>,
}

/// A way from one node to another.
pub type Way = (usize, usize);

/// What was sent, from where to where: the front that it leaves by, and the address.
#[derive(Debug)]
struct Packet {
    from: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Packet {
    fn go(&self) {
        // A node that is down has a closed port; the network would not tell either.
        let _ = self.from.send_to(&self.bytes, self.to);
    }
}

#[derive(Debug, Default)]
struct State {
    /// By number of the node: its front, and its own address.
    nodes: HashMap<usize, (Arc<UdpSocket>, SocketAddr)>,
    rules: HashMap<Way, Rule>,
    held: HashMap<Way, Vec<Packet>>,
    passed: HashMap<Way, u64>,
}

impl Relay {
    /// A relay without nodes.
    #[must_use]
    pub fn start() -> Self {
        Self { wire: Wire::start() }
    }

    /// Makes a front for a node; the address to advertise.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn front(&self, number: usize, node: SocketAddr) -> SocketAddr {
        self.wire.add(number, node)
    }

    /// Sets what happens to packets on a way, from now on.
    pub fn set(&self, way: Way, rule: Rule) {
        self.state().rules.insert(way, rule);
    }

    /// Sets the rule of all ways between the nodes that there are.
    pub fn set_all(&self, rule: Rule) {
        let numbers: Vec<usize> = self.state().nodes.keys().copied().collect();
        for from in &numbers {
            for to in numbers.iter().filter(|to| *to != from) {
                self.set((*from, *to), rule);
            }
        }
    }

    /// Sets the rule of all ways from and to a node.
    pub fn set_around(&self, node: usize, rule: Rule) {
        let others: Vec<usize> = self.state().nodes.keys().copied().filter(|other| *other != node).collect();
        for other in others {
            self.set((node, other), rule);
            self.set((other, node), rule);
        }
    }

    /// Lets go what is held on a way, in its order, and holds nothing more there. How many packets it was.
    pub fn release(&self, way: Way) -> usize {
        let held = {
            let mut state = self.state();
            state.rules.remove(&way);
            state.held.remove(&way).unwrap_or_default()
        };
        held.iter().for_each(Packet::go);
        held.len()
    }

    /// How many packets are held on a way.
    #[must_use]
    pub fn held(&self, way: Way) -> usize {
        self.state().held.get(&way).map_or(0, Vec::len)
    }

    /// How many packets came to a way, whatever became of them.
    #[must_use]
    pub fn passed(&self, way: Way) -> u64 {
        self.state().passed.get(&way).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.wire.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.wire.end();
    }
}

#[cfg(test)]
mod tests;
