//! A cluster of real processes on loopback, made in a moment and gone with its value.
//!
//! ```text
//!   Cluster ── Node n1, n2, n3 … ── `relais start` ── HTTP, QUIC
//!      └────── Relay (if asked for): each node advertises a port of it
//! ```
//!
//! It waits for conditions, each with a deadline, and never for time to pass. One cluster runs at a time in
//! a test program, for two would measure each other; tests that mostly wait take a [`Turn`] beside one another.
//! What the nodes logged is printed when a test fails.

mod act;
pub mod binary;
pub mod http;
pub mod job;
pub mod late;
mod node;
pub mod pair;
mod ports;
pub mod schedule;
mod turn;
pub mod wait;

pub use act::Gate;
pub use node::Node;
pub use ports::free_address;
pub use turn::Turn;

use crate::relay::Relay;
use relais_node::clock::Clock;
use relais_protocol::time::UnixMs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use wait::until;

/// How long a cluster may take to be whole.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);
/// Lines of each log that a failed test shows.
const LINES_SHOWN: usize = 60;

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Slots of each node.
    pub slots: u32,
    /// Whether a relay is between the nodes.
    pub relay: bool,
    /// Further variables, by number of the node (0 is `n1`).
    pub env: Vec<(usize, &'static str, String)>,
    /// Data directories of nodes that do not have theirs in the cluster's folder, by number of the node.
    pub data_dirs: Vec<(usize, PathBuf)>,
    /// Programs of nodes that are not plain `relais`, by number of the node.
    pub programs: Vec<(usize, PathBuf)>,
    /// Where the nodes are, by number; those without a place are on loopback.
    pub places: Vec<Place>,
}

/// Where a node is, if not on loopback.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where its API is.
    pub http: SocketAddr,
    /// Where its QUIC socket is.
    pub quic: SocketAddr,
    /// A program to run it under, with its arguments.
    pub under: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slots: 8,
            relay: false,
            env: Vec::new(),
            data_dirs: Vec::new(),
            programs: Vec::new(),
            places: Vec::new(),
        }
    }
}

/// How one node sees the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// `running`, …
    pub status: String,
    /// The dispatcher's number here (0 is `n1`).
    pub dispatcher: Option<usize>,
    /// The epoch.
    pub epoch: u64,
    /// Nodes that serve.
    pub online: u64,
    /// Voters, as its journal knows them; 0 when it can't be asked.
    pub voters: u64,
}

/// A running cluster.
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// What is between them, if it was asked for.
    pub relay: Option<Relay>,
    options: Options,
    clock: Clock,
    folder: TempDir,
    _turn: Option<Turn>,
}

impl Cluster {
    /// Starts a cluster of `count` nodes and waits until it is whole.
    ///
    /// # Panics
    /// When it does not become whole in time.
    #[must_use]
    pub fn start(count: usize, options: Options) -> Self {
        let mut cluster = Self::first(options);
        for number in 1..count {
            cluster.add(number);
        }
        cluster.await_whole();
        cluster
    }

    /// Starts the first node and waits until others can join.
    fn first(options: Options) -> Self {
        let turn = Turn::alone();
        let folder = tempfile::Builder::new().prefix("relais-test-").tempdir().expect("a folder");
        let relay = options.relay.then(Relay::start);
        let clock = Clock::new();
        let mut cluster = Self { nodes: Vec::new(), relay, options, clock, folder, _turn: turn };
        cluster.add(0);
        cluster
    }

    /// Adds a node, starts it and, of the first, waits until others can join.
    fn add(&mut self, number: usize) {
        let mut node = self.plan(number);
        node.start();
        self.nodes.push(node);
        if number == 0 {
            self.until("the first node's join line", |cluster| cluster.join_line());
        }
    }

    /// A node that is not started yet, and not one of [`Cluster::nodes`].
    #[must_use]
    pub fn plan(&self, number: usize) -> Node {
        let name = format!("n{}", number + 1);
        let place = self.options.places.get(number);
        let quic = place.map_or_else(free_address, |place| place.quic);
        let elsewhere = self.options.data_dirs.iter().find(|(of, _)| *of == number).map(|(_, dir)| dir.clone());
        let env = self.options.env.iter().filter(|(of, ..)| *of == number);
        Node {
            http: place.map_or_else(free_address, |place| place.http),
            advertise: self.relay.as_ref().map_or(quic, |relay| relay.front(number, quic)),
            quic,
            data_dir: elsewhere.unwrap_or_else(|| self.folder.path().join(&name)),
            folder: self.folder.path().to_owned(),
            slots: self.options.slots,
            witness: false,
            env: env.map(|(_, name, value)| ((*name).to_owned(), value.clone())).collect(),
            join: self.join_line(),
            program: self.options.programs.iter().find(|(of, _)| *of == number).map(|(_, file)| file.clone()),
            under: place.map(|place| place.under.clone()).unwrap_or_default(),
            child: None,
            name,
        }
    }

    /// The address and the token that the first node printed.
    #[must_use]
    pub fn join_line(&self) -> Option<(String, String)> {
        let output = self.nodes.first()?.output();
        let mut words = output.lines().find(|line| line.contains("--token"))?.split_whitespace();
        let mut after = |flag: &str| words.by_ref().skip_while(|word| *word != flag).nth(1).map(str::to_owned);
        Some((after("--join")?, after("--token")?))
    }

    /// The folder of all nodes' folders.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The wall clock.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.clock.unix()
    }

    /// How a node sees the cluster; `None` when it does not answer.
    #[must_use]
    pub fn sight(&self, number: usize) -> Option<Sight> {
        let node = &self.nodes[number];
        let cluster = node.read("/v1/cluster")?;
        let name = cluster["dispatcher"].as_str();
        Some(Sight {
            status: cluster["status"].as_str()?.to_owned(),
            dispatcher: name.and_then(|name| self.nodes.iter().position(|node| node.name == name)),
            epoch: cluster["epoch"].as_u64()?,
            online: cluster["nodes"]["online"].as_u64()?,
            voters: node.figure("relais_journal_voters").unwrap_or(0),
        })
    }

    /// How all of `numbers` see the cluster, when they agree that there is a dispatcher.
    #[must_use]
    pub fn agreed(&self, numbers: &[usize]) -> Option<Sight> {
        let mut sights = numbers.iter().map(|number| self.sight(*number));
        let first = sights.next()??;
        let same = sights
            .all(|sight| sight.is_some_and(|sight| sight.epoch == first.epoch && sight.dispatcher == first.dispatcher));
        (same && first.dispatcher.is_some()).then_some(first)
    }

    /// Waits until all nodes serve, vote (up to three of them) and agree.
    ///
    /// # Panics
    /// When that does not come about in time.
    pub fn await_whole(&self) -> Sight {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        let count = all.len() as u64;
        let enough = count.min(3);
        // A node that is no voter can't be asked for the journal's voters.
        let whole = |sight: &Sight| {
            let votes = sight.voters == 0 || sight.voters >= enough;
            sight.status == "running" && sight.online == count && votes
        };
        self.until("a whole cluster", |cluster| {
            let sights: Option<Vec<Sight>> = all.iter().map(|number| cluster.sight(*number)).collect();
            let sights = sights.filter(|sights| sights.iter().all(whole))?;
            let voters = sights.iter().filter(|sight| sight.voters > 0).count() as u64;
            (voters >= enough).then(|| cluster.agreed(&all)).flatten()
        })
    }

    /// The dispatcher, as all of `numbers` see it, and its epoch.
    ///
    /// # Panics
    /// When they do not agree in time.
    #[must_use]
    pub fn dispatcher_of(&self, numbers: &[usize]) -> (usize, u64) {
        self.until("a dispatcher that all agree on", |cluster| {
            let sight = cluster.agreed(numbers)?;
            Some((sight.dispatcher?, sight.epoch))
        })
    }

    /// The dispatcher, as all nodes see it, and its epoch.
    ///
    /// # Panics
    /// When they do not agree in time.
    #[must_use]
    pub fn dispatcher(&self) -> (usize, u64) {
        self.dispatcher_of(&(0..self.nodes.len()).collect::<Vec<_>>())
    }

    /// Who follows `old`, the dispatcher of `epoch`, as all others see it, and the new epoch.
    ///
    /// # Panics
    /// When they do not agree on another one in time.
    #[must_use]
    pub fn successor(&self, old: usize, epoch: u64) -> (usize, u64) {
        self.until("another dispatcher that all others agree on", |cluster| {
            let sight = cluster.agreed(&cluster.others(old)).filter(|sight| sight.epoch > epoch)?;
            sight.dispatcher.filter(|node| *node != old).map(|node| (node, sight.epoch))
        })
    }

    /// The numbers of the nodes that were started and not ended by the test.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|number| self.nodes[*number].child.is_some()).collect()
    }

    /// All numbers but one.
    #[must_use]
    pub fn others(&self, than: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|number| *number != than).collect()
    }

    /// Waits until `look` sees something.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        until(what, WHOLE_LIMIT, || look(self))
    }

    fn show_logs(&self) {
        for number in 0..self.nodes.len() {
            let cluster = self.nodes[number].read("/v1/cluster");
            eprintln!("{}: {:?} {}", self.nodes[number].name, self.sight(number), cluster.unwrap_or_default());
        }
        for node in &self.nodes {
            eprintln!("──── {} (pid {:?}) ────", node.name, node.child.as_ref().map(std::process::Child::id));
            let log = node.log();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" RPCError ")).collect();
            for line in lines.iter().skip(lines.len().saturating_sub(LINES_SHOWN)) {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        self.nodes.clear();
    }
}
