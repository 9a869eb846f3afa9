//! The figures that each node tells about itself, and the rule which of two tellings is newer.
//!
//! They are hints for people and for ranking candidates. No lease, no vote and no placement is decided by
//! them alone: the dispatcher's ledger and the heartbeats are there for that.

use super::peer::Peer;
use relais_protocol::codec::{self, CodecError};
use relais_protocol::ids::{Incarnation, NodeId};
use relais_protocol::message::LogPosition;
use relais_protocol::time::Mono;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most bytes of one telling on the wire.
const TELLING_BYTES_MAX: usize = 256;
/// The most bytes of a version string; a longer one is cut.
const VERSION_BYTES_MAX: usize = 48;
/// Of how many nodes figures are kept at most; beyond it new ones are not taken up.
const NODES_MAX: usize = 4096;

/// What a node believes its role to be. Only the journal knows it for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleHint {
    /// It runs jobs.
    Worker,
    /// It hands out the work, and runs jobs.
    Dispatcher,
    /// It votes and stores the journal, and never runs a job.
    Witness,
}

/// A node's own figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vitals {
    /// The run of its process that measured them.
    pub incarnation: Incarnation,
    /// The role that it believes to have.
    pub role: RoleHint,
    /// Whether it is fit to be the dispatcher.
    pub ready: bool,
    /// Its slots.
    pub slots: u32,
    /// Attempts that it runs.
    pub running: u32,
    /// Busy share of all cores, 0 to 100.
    pub cpu_percent: f32,
    /// Memory that programs could still take.
    pub memory_available_bytes: u64,
    /// Received by all interfaces but the loopback.
    pub net_in_bytes_per_second: u64,
    /// Sent by all interfaces but the loopback.
    pub net_out_bytes_per_second: u64,
    /// How far it has applied the journal.
    pub journal_index: u64,
    /// The end of its log.
    pub last_log: LogPosition,
    /// The version of its program, at most 48 bytes.
    pub version: String,
    /// The number of its journal: another one than that of its vote means that it lost the journal.
    pub journal: u32,
    /// What it may have too little of.
    pub limits: LimitVitals,
}

/// What a node may have too little of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitVitals {
    /// Bytes that it may still write to the file system of its data directory.
    pub disk_free_bytes: u64,
    /// Its journal takes no entries, for want of space.
    pub closed: bool,
    /// Nearly all of its file descriptors are in use.
    pub files_short: bool,
    /// How long a sync of its log took on average, in µs; 0: not known.
    pub sync_us: u64,
}

/// Figures as they travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Telling {
    /// Whose they are.
    pub(super) node: NodeId,
    /// Counts up within an incarnation.
    pub(super) sequence: u64,
    /// The figures.
    pub(super) vitals: Vitals,
}

impl Telling {
    /// The telling as bytes, its version string cut to the bound.
    pub(super) fn new(node: NodeId, sequence: u64, mut vitals: Vitals) -> Self {
        let mut end = vitals.version.len().min(VERSION_BYTES_MAX);
        while !vitals.version.is_char_boundary(end) {
            end -= 1;
        }
        vitals.version.truncate(end);
        Self { node, sequence, vitals }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        codec::encode(codec::FORMAT, self)
    }

    /// Reads it back; a share of the cores that is no number or out of range is refused.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        let telling: Self = codec::decode(codec::FORMAT, bytes, TELLING_BYTES_MAX)?;
        if !(0.0..=100.0).contains(&telling.vitals.cpu_percent) {
            return Err(CodecError::Malformed("cpu_percent is not within 0 to 100".to_owned()));
        }
        Ok(telling)
    }

    pub(super) fn key(&self) -> TellingKey {
        TellingKey { node: self.node, incarnation: self.vitals.incarnation, sequence: self.sequence }
    }
}

/// Which telling it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TellingKey {
    node: NodeId,
    incarnation: Incarnation,
    sequence: u64,
}

impl foca::Invalidates for TellingKey {
    fn invalidates(&self, other: &Self) -> bool {
        self.node == other.node && (self.incarnation, self.sequence) >= (other.incarnation, other.sequence)
    }
}

/// The library's side: passes on what is newer than all before, and nothing twice.
#[derive(Debug)]
pub(super) struct Relay {
    me: NodeId,
    newest: BTreeMap<NodeId, (Incarnation, u64)>,
}

impl Relay {
    pub(super) fn new(me: NodeId) -> Self {
        Self { me, newest: BTreeMap::new() }
    }
}

impl foca::BroadcastHandler<Peer> for Relay {
    type Key = TellingKey;
    type Error = CodecError;

    fn receive_item(&mut self, data: &[u8], sender: Option<&Peer>) -> Result<Option<TellingKey>, CodecError> {
        let key = Telling::read(data)?.key();
        let age = (key.incarnation, key.sequence);
        let echo = sender.is_some() && key.node == self.me;
        let known = self.newest.get(&key.node);
        let full = known.is_none() && self.newest.len() >= NODES_MAX;
        if echo || full || known.is_some_and(|newest| *newest >= age) {
            return Ok(None);
        }
        self.newest.insert(key.node, age);
        Ok(Some(key))
    }
}

/// The caller's side: the newest figures of each node, and when it was last heard of.
#[derive(Debug, Default)]
pub(super) struct Board {
    tellings: BTreeMap<NodeId, Telling>,
    heard: BTreeMap<NodeId, Mono>,
}

impl Board {
    /// Notes a sign of life.
    pub(super) fn hear(&mut self, node: NodeId, now: Mono) {
        if self.heard.len() < NODES_MAX || self.heard.contains_key(&node) {
            self.heard.insert(node, now);
        }
    }

    /// Keeps a telling if it is newer; that it is newer is a sign of life too.
    pub(super) fn keep(&mut self, telling: Telling, now: Mono) {
        let node = telling.node;
        let newer = match self.tellings.get(&node) {
            Some(kept) => !foca::Invalidates::invalidates(&kept.key(), &telling.key()),
            None => self.tellings.len() < NODES_MAX,
        };
        if newer {
            self.tellings.insert(node, telling);
            self.hear(node, now);
        }
    }

    /// The figures of a run of a node, not those of an earlier run.
    pub(super) fn vitals(&self, node: NodeId, incarnation: Incarnation) -> Option<&Vitals> {
        self.tellings.get(&node).map(|telling| &telling.vitals).filter(|vitals| vitals.incarnation == incarnation)
    }

    /// When a node was last heard of.
    pub(super) fn heard(&self, node: NodeId) -> Option<Mono> {
        self.heard.get(&node).copied()
    }

    /// Drops all about a node.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.tellings.remove(&node);
        self.heard.remove(&node);
    }
}
