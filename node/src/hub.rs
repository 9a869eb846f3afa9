//! The hub: where the parts of one node meet. It holds them and passes things between them; each decision
//! is made in a part.
//!
//! ```text
//!   HTTP ──Backend──► hub ──► desk (dispatcher actor) ──► journal ──► ledger
//!   QUIC ──Inbound──►  │ ──► bench (worker actor)             │
//!                      │ ──► pulse (election, heartbeats) ◄───┘ applied, status
//! ```

mod actors;
mod audit;
mod backend;
mod calls;
mod clocks;
mod copied;
mod dispatch;
mod drill;
mod gossip;
mod handover;
mod heal;
mod health;
mod history;
mod inbound;
mod joining;
mod keeper;
mod leases;
mod leaving;
mod leftovers;
mod limits;
mod link;
mod lost;
mod members;
mod metrics;
mod notebook;
mod overview;
mod passing;
mod progress;
mod recover;
mod relay;
mod slow;
mod survival;
mod takeover;
mod vitals;
mod work;

pub use backend::HubBackend;
pub use clocks::Clocks;
pub use copied::Copied;
pub use dispatch::DispatchOutlet;
pub use gossip::Gossip;
pub use health::Health;
pub use history::History;
pub use inbound::HubInbound;
pub use joining::{JoinReply, JoinRequest};
pub use keeper::watch_journal;
pub use limits::Limits;
pub use link::JournalLink;
pub use metrics::CommitTimes;
pub use notebook::Notebook;
pub use passing::Front;
pub use work::WorkOutlet;

use crate::clock::Clock;
use crate::datadir::{DataDir, Folders};
use crate::identity::Identity;
use crate::net::Net;
use crate::pulse::Pulse;
use calls::Barrier;
use parking_lot::{Mutex, RwLock};
use relais_dispatcher::actor::Desk;
use relais_dispatcher::journal::{Journal, RaftJournal};
use relais_dispatcher::ledger::Event;
use relais_dispatcher::machine::LedgerMachine;
use relais_protocol::ids::{Incarnation, Index, NodeId, RaftId};
use relais_protocol::record::NodeFacts;
use relais_protocol::time::Mono;
use relais_worker::actor::Bench;
use relais_worker::output::Output;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, broadcast};

/// How much longer the watchers rest on a node that does not vote.
const LOOKING_ON_TIMES: u32 = 10;
/// Applied entries that a slow watcher may be behind before it loses some.
const EVENTS_KEPT: usize = 4_096;

/// Who this node is.
#[derive(Clone, Debug)]
pub struct Me {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// This run of its process.
    pub incarnation: Incarnation,
}

/// Counts of things refused, for people who watch.
#[derive(Debug, Default)]
pub struct HubCounts {
    /// Orders that came from a lower reign.
    pub stale_orders: AtomicU64,
    /// Calls passed on to the dispatcher.
    pub passed_on: AtomicU64,
    /// Replicas compared.
    pub audits: AtomicU64,
    /// Replicas that differed.
    pub disagreements: AtomicU64,
    /// How long entries took from being proposed here to being acknowledged.
    pub commits: CommitTimes,
}

/// One node's parts.
pub struct Hub {
    /// Who this node is.
    pub me: Me,
    /// Which history its journal follows.
    pub history: Arc<History>,
    /// The clock.
    pub clock: Clock,
    /// Where futures run.
    pub engine: Handle,
    /// The ledger.
    pub machine: Arc<LedgerMachine>,
    /// The way to the dispatcher's actor.
    pub desk: Desk,
    /// The way to the worker's actor.
    pub bench: Bench,
    /// The election and the heartbeats.
    pub pulse: Pulse,
    /// What gossip says.
    pub gossip: Gossip,
    /// Captured output.
    pub output: Output,
    /// The data directory. Who locks it waits for the disk: never on a thread that serves others.
    pub dir: Arc<Mutex<DataDir>>,
    /// Whether it was taken for the original by force at this start.
    pub is_moved: bool,
    /// Since when others say that the original lives.
    pub copied: Copied,
    /// Where things lie in it.
    pub folders: Folders,
    /// What is written into it while the node works.
    pub notebook: Notebook,
    /// Certificates and keys.
    pub identity: RwLock<Identity>,
    /// What this node says of itself.
    pub facts: RwLock<NodeFacts>,
    /// Applied entries, for whoever watches.
    pub events: broadcast::Sender<Arc<(Index, Vec<Event>)>>,
    /// Counts for people who watch.
    pub counts: HubCounts,
    /// What is known of the others' wall clocks.
    pub clocks: Clocks,
    /// Why this node is limited, if it is.
    pub limited: RwLock<Option<String>>,
    /// What it may have too little of.
    pub limits: Limits,
    /// Which of its parts are not well.
    pub health: Arc<Health>,
    lost_told: Mutex<Option<String>>,
    net: OnceLock<Net>,
    /// When the transport's thread last had its turn.
    net_turned_ms: Arc<AtomicU64>,
    journal: OnceLock<Arc<RaftJournal>>,
    front: OnceLock<Box<dyn Front>>,
    barrier: Barrier,
    said: progress::Said,
    /// External workers that may wait at the dispatcher at once.
    asking: Semaphore,
    drained: Notify,
    left: Notify,
    leaving: AtomicBool,
    /// A peer that stops by plan is being taken out of the voters.
    unseating: AtomicBool,
    /// Peers that were, each in which run of its process.
    unseated: Mutex<BTreeMap<NodeId, Incarnation>>,
    /// Requests that may be passed on at once.
    passing: Arc<Semaphore>,
    /// What the dispatcher told of the cluster.
    told: overview::Told,
    /// Who forks the journal, or begins it anew: one at a time.
    journal_turn: tokio::sync::Mutex<()>,
    /// Where peers were last known to be.
    addresses: RwLock<BTreeMap<NodeId, (String, SocketAddr)>>,
}

/// What a hub is made of.
pub struct HubParts {
    /// Who this node is.
    pub me: Me,
    /// The clock.
    pub clock: Clock,
    /// Where futures run.
    pub engine: Handle,
    /// The data directory, open.
    pub dir: DataDir,
    /// Certificates and keys.
    pub identity: Identity,
    /// What this node says of itself.
    pub facts: NodeFacts,
    /// Captured output.
    pub output: Output,
    /// Spreads what is random and need not be secret.
    pub seed: u64,
    /// Bytes of disk space below which the journal is closed.
    pub min_free: u64,
}

impl Hub {
    /// A hub without transport and journal, which need it to start.
    ///
    /// # Errors
    /// When the system gives no thread for the notebook.
    pub fn new(parts: HubParts) -> std::io::Result<Arc<Self>> {
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let desk = Desk::default();
        let pulse = Pulse::new(parts.me.node, parts.me.incarnation, parts.clock.clone());
        let sink = Self::sink(parts.me.node, desk.clone(), pulse.clone(), events.clone());
        let known = parts.dir.node().peers.iter().map(|peer| (peer.node, (peer.name.clone(), peer.addr)));
        let (folders, reign) = (parts.dir.folders().clone(), parts.dir.node().reign);
        let addresses = RwLock::new(known.collect());
        let is_moved = parts.dir.is_moved();
        let dir = Arc::new(Mutex::new(parts.dir));
        let notebook = Notebook::open(dir.clone(), folders.clone(), reign)?;
        let machine = LedgerMachine::new(sink);
        machine.count_from(parts.clock.unix());
        Ok(Arc::new(Self {
            gossip: Gossip::new(parts.me.node, parts.me.incarnation, parts.seed),
            addresses,
            me: parts.me,
            history: Arc::default(),
            clock: parts.clock,
            engine: parts.engine,
            machine: Arc::new(machine),
            desk,
            bench: Bench::default(),
            pulse,
            output: parts.output,
            dir,
            is_moved,
            copied: Copied::default(),
            folders,
            notebook,
            identity: RwLock::new(parts.identity),
            facts: RwLock::new(parts.facts),
            events,
            counts: HubCounts::default(),
            clocks: Clocks::default(),
            limited: RwLock::new(None),
            limits: Limits::new(parts.min_free),
            health: Arc::default(),
            lost_told: Mutex::new(None),
            net: OnceLock::new(),
            net_turned_ms: Arc::default(),
            journal: OnceLock::new(),
            front: OnceLock::new(),
            barrier: Barrier::default(),
            said: progress::Said::default(),
            asking: Semaphore::new(leases::ASKING_MAX),
            drained: Notify::new(),
            left: Notify::new(),
            leaving: AtomicBool::new(false),
            unseating: AtomicBool::new(false),
            unseated: Mutex::default(),
            passing: Arc::new(Semaphore::new(passing::PASSED_ON_MAX)),
            told: overview::Told::default(),
            journal_turn: tokio::sync::Mutex::default(),
        }))
    }

    /// Where each applied entry goes: the dispatcher, the election, whoever watches.
    fn sink(
        me: NodeId,
        desk: Desk,
        pulse: Pulse,
        events: broadcast::Sender<Arc<(Index, Vec<Event>)>>,
    ) -> relais_dispatcher::machine::AppliedSink {
        Box::new(move |index, applied| {
            for event in &applied {
                if let Event::Promoted { reign, node, incarnation, .. } = event {
                    pulse.promoted(*reign, *node, *incarnation);
                }
            }
            relais_dispatcher::actor::applied(&desk, me, &applied);
            // Nobody watching is no error.
            let _ = events.send(Arc::new((index, applied)));
        })
    }

    /// The transport has started.
    pub fn set_net(&self, net: Net) {
        let (turned, clock) = (self.net_turned_ms.clone(), self.clock.clone());
        net.watch_turns(move || turned.store(clock.mono().0, Ordering::Relaxed));
        let _ = self.net.set(net);
    }

    /// The journal has started.
    pub fn set_journal(&self, journal: Arc<RaftJournal>) {
        let _ = self.journal.set(journal);
    }

    /// Waits for what a watcher waits between two looks: longer on a node that does not vote, where hardly
    /// anything comes of them.
    pub async fn rest(&self, usual: Duration) {
        let times = if self.pulse.view().looks_on() { LOOKING_ON_TIMES } else { 1 };
        self.turn(usual * times).await;
    }

    /// Waits for the next turn, one `every` so long. Turns are counted from the start of the process, so that all
    /// watchers wake together: a thread that has nothing to do is woken once for all of them.
    pub async fn turn(&self, every: Duration) {
        tokio::time::sleep(until_turn(self.clock.mono(), every)).await;
    }

    /// The transport, once it has started.
    pub fn net(&self) -> Option<&Net> {
        self.net.get()
    }

    /// The journal, once it has started.
    pub fn journal(&self) -> Option<Arc<dyn Journal>> {
        self.journal.get().map(|journal| journal.clone() as Arc<dyn Journal>)
    }

    /// This node's journal, as its peers know it: a fork and a reset make it another one.
    pub fn raft(&self) -> RaftId {
        self.journal.get().map(|journal| journal.status().borrow().id).unwrap_or_default()
    }

    /// A node's address.
    pub fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        self.addresses.read().get(&node).map(|(_, addr)| *addr)
    }

    /// A node's name.
    pub fn name_of(&self, node: NodeId) -> Option<String> {
        if node == self.me.node {
            return Some(self.me.name.clone());
        }
        let row = self.machine.read().node(node).map(|row| row.name.clone());
        row.or_else(|| self.addresses.read().get(&node).map(|(name, _)| name.clone()))
    }
}

/// How long it is until the next turn; one that is nearer than half of `every` was as good as waited for.
fn until_turn(now: Mono, every: Duration) -> Duration {
    let every_ms = (every.as_millis() as u64).max(1);
    let left = every_ms - now.0 % every_ms;
    Duration::from_millis(if left < every_ms / 2 { left + every_ms } else { left })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_at_the_same_times_for_all() {
        let every = Duration::from_millis(250);
        let turns = [0, 1, 125, 126, 249, 250].map(|now| now + until_turn(Mono(now), every).as_millis() as u64);
        assert_eq!(turns, [250, 250, 250, 500, 500, 500]);
        assert_eq!(until_turn(Mono(7), Duration::ZERO), Duration::from_millis(1), "it rests in any case");
    }
}
