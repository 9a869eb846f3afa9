//! Three nodes, or more, as real processes on loopback, gone with the value. No relay, no faults but signals.

use crate::Failed;
use crate::http::{Answer, Connection, request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// Nodes of a cluster as it begins: those that vote.
pub const VOTERS: usize = 3;
/// Nodes that are started at once when it grows.
const JOIN_AT_ONCE: usize = 10;
/// How long a cluster may take to be whole.
const WHOLE_LIMIT: Duration = Duration::from_secs(120);
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Ports are taken from below the range that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 11_000..31_000;

/// A node.
#[derive(Debug)]
pub struct Node {
    /// `n1`, …
    pub name: String,
    /// Where its API is.
    pub http: SocketAddr,
    quic: SocketAddr,
    slots: u32,
    folder: PathBuf,
    join: Option<(String, String)>,
    child: Option<Child>,
}

/// How all nodes see the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The dispatcher's place in [`Cluster::nodes`].
    pub dispatcher: usize,
    /// The epoch.
    pub epoch: u64,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its nodes, the first at 0. Dropped before the folder.
    pub nodes: Vec<Node>,
    folder: TempDir,
}

/// The program to measure: `RELAIS_BIN`, else the one beside the benchmark.
///
/// # Errors
/// When it is not there, with what to do.
pub fn program() -> Result<PathBuf, Failed> {
    if let Some(named) = std::env::var_os("RELAIS_BIN") {
        return Ok(PathBuf::from(named));
    }
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("relais")).find(|file| file.is_file());
    beside.ok_or_else(|| {
        let own = own.display();
        Failed::NoProgram(format!(
            "the program `relais` is not beside {own}: build it first with `cargo build --release`, or name one in RELAIS_BIN"
        ))
    })
}

/// Looks every 2 ms until there is something to see.
///
/// # Errors
/// When `limit` is over before that.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, Failed> {
    let end = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if Instant::now() >= end {
            return Err(Failed::Late(what.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Cluster {
    /// Starts three nodes, whose data are below `folder`, and waits until they are one cluster of three voters.
    ///
    /// # Errors
    /// When that does not come about.
    pub fn start(folder: &Path, slots: u32) -> Result<Self, Failed> {
        let program = program()?;
        let folder = tempfile::Builder::new().prefix("cluster-").tempdir_in(folder)?;
        let mut cluster = Self { nodes: Vec::new(), folder };
        (0..VOTERS).try_for_each(|_| cluster.add(&program, slots))?;
        cluster.await_whole()?;
        Ok(cluster)
    }

    /// Adds nodes, a few at a time, and waits until all are online.
    ///
    /// # Errors
    /// When that does not come about.
    pub fn grow(&mut self, nodes: usize, slots: u32) -> Result<(), Failed> {
        let program = program()?;
        for from in (0..nodes).step_by(JOIN_AT_ONCE) {
            (from..nodes.min(from + JOIN_AT_ONCE)).try_for_each(|_| self.add(&program, slots))?;
            self.await_whole()?;
        }
        Ok(())
    }

    fn add(&mut self, program: &Path, slots: u32) -> Result<(), Failed> {
        let (name, folder) = (format!("n{}", self.nodes.len() + 1), self.folder.path().to_owned());
        let join = match self.nodes.first() {
            Some(first) => Some(until("the first node's join line", WHOLE_LIMIT, || first.join_line())?),
            None => None,
        };
        let (http, quic) = (free_address()?, free_address()?);
        let mut node = Node { name, http, quic, slots, folder, join, child: None };
        node.start(program)?;
        self.nodes.push(node);
        Ok(())
    }

    /// The nodes that it began with.
    #[must_use]
    pub fn voters(&self) -> &[Node] {
        &self.nodes[..VOTERS]
    }

    /// Sets the slots of some nodes.
    ///
    /// # Errors
    /// When it is refused.
    pub fn set_slots(&self, nodes: std::ops::Range<usize>, slots: u32) -> Result<(), Failed> {
        let set = |node: &Node| {
            self.nodes[0].insist("PATCH", &format!("/v1/nodes/{}", node.name), &format!("{{\"slots\":{slots}}}"))
        };
        self.nodes[nodes].iter().try_for_each(set)
    }

    /// Sets settings of the cluster, given as JSON.
    ///
    /// # Errors
    /// When they are refused.
    pub fn set(&self, settings: &str) -> Result<(), Failed> {
        self.nodes[0].insist("PATCH", "/v1/cluster/settings", settings)
    }

    /// Kills all nodes at once, as a power cut would.
    ///
    /// # Errors
    /// When one does not run.
    pub fn kill_all(&mut self) -> Result<(), Failed> {
        self.nodes.iter().try_for_each(|node| node.signal(Signal::SIGKILL))?;
        Ok(self.nodes.iter_mut().try_for_each(Node::reap)?)
    }

    /// Where the APIs are.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.http).collect()
    }

    /// Waits until all nodes are online, and the voters serve, vote and agree on a dispatcher.
    ///
    /// # Errors
    /// When that takes too long, with the ends of the logs.
    pub fn await_whole(&self) -> Result<Sight, Failed> {
        let whole = until("a whole cluster", WHOLE_LIMIT, || self.agreed());
        whole.map_err(|_| {
            let logs: Vec<String> = self.voters().iter().map(Node::log_end).collect();
            Failed::Late(format!("a whole cluster; the logs end so:\n{}", logs.join("\n")))
        })
    }

    fn agreed(&self) -> Option<Sight> {
        let first = self.sight(&self.nodes[0])?;
        self.voters()[1..].iter().all(|node| self.sight(node) == Some(first)).then_some(first)
    }

    /// How one node sees it, when that is as a whole.
    fn sight(&self, node: &Node) -> Option<Sight> {
        let cluster = node.read("/v1/cluster").ok()?;
        let name = cluster["dispatcher"].as_str()?;
        let dispatcher = self.nodes.iter().position(|node| node.name == name)?;
        let whole = cluster["status"] == "running"
            && cluster["nodes"]["online"] == self.nodes.len()
            && node.figure("relais_journal_voters").ok()? == VOTERS as f64;
        whole.then_some(Sight { dispatcher, epoch: cluster["epoch"].as_u64()? })
    }

    /// The nodes' processes.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.child.as_ref()).map(Child::id).collect()
    }

    /// The sum of a figure over all nodes.
    ///
    /// # Errors
    /// When a node does not answer, or has no such figure.
    pub fn sum(&self, figure: &str) -> Result<f64, Failed> {
        self.nodes.iter().map(|node| node.figure(figure)).sum()
    }

    /// Starts a node again that was killed.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn restart(&mut self, number: usize) -> Result<(), Failed> {
        Ok(self.nodes[number].start(&program()?)?)
    }
}

impl Node {
    fn start(&mut self, program: &Path) -> io::Result<()> {
        let data = self.folder.join(&self.name);
        let mut command = Command::new(program);
        command.args(["start", "--exit-with-stdin", "--name", &self.name]).arg("--data-dir").arg(&data);
        command.args(["--http", &self.http.to_string(), "--listen", &self.quic.to_string()]);
        command.args(["--slots", &self.slots.to_string()]);
        if let Some((at, token)) = self.join.as_ref().filter(|_| !data.exists()) {
            command.args(["--join", at]).env("RELAIS_JOIN_TOKEN", token);
        }
        command.stdin(Stdio::piped()).stdout(self.file("out")?).stderr(self.file("log")?).env("NO_COLOR", "1");
        self.child = Some(command.spawn()?);
        Ok(())
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }

    fn file(&self, kind: &str) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.path(kind))
    }

    fn join_line(&self) -> Option<(String, String)> {
        let output = std::fs::read_to_string(self.path("out")).ok()?;
        // A line that is not whole yet would have half a token.
        let lines = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        let after = |flag| Some((*words.get(words.iter().position(|word| *word == flag)? + 1)?).to_owned());
        Some((after("--join")?, after("--token")?))
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("{}:\n{}", self.name, lines[lines.len().saturating_sub(8)..].join("\n"))
    }

    /// Sends a signal to its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let child = self.child.as_ref().ok_or_else(|| Failed::Answer(format!("{} does not run", self.name)))?;
        let pid = Pid::from_raw(child.id().cast_signed());
        kill(pid, signal).map_err(|error| Failed::Io(error.into()))
    }

    /// Waits for the end of its process, which was killed.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub fn reap(&mut self) -> io::Result<()> {
        self.child.take().map_or(Ok(()), |mut child| child.wait().map(drop))
    }

    /// Opens a connection to its API.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.http, REQUEST_LIMIT)
    }

    /// Asks its API once.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ask(&self, method: &str, target: &str, body: &str) -> Result<Answer, Failed> {
        let headers = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        Ok(self.connect()?.send(&request(method, target, headers, body.as_bytes()))?)
    }

    /// Asks its API once for a change.
    fn insist(&self, method: &str, target: &str, body: &str) -> Result<(), Failed> {
        let answer = self.ask(method, target, body)?;
        if answer.status < 300 {
            return Ok(());
        }
        Err(Failed::Answer(format!("{method} {target} {body} was answered {}: {}", answer.status, answer.text())))
    }

    /// Bytes of the disk that its data take.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn disk_bytes(&self) -> io::Result<u64> {
        used(&self.folder.join(&self.name))
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub fn read(&self, target: &str) -> Result<Value, Failed> {
        let answer = self.ask("GET", target, "")?;
        if answer.status == 200 {
            return Ok(answer.json());
        }
        Err(Failed::Answer(format!("{} answered GET {target} with {}: {}", self.name, answer.status, answer.text())))
    }

    /// A figure of its metrics page.
    ///
    /// # Errors
    /// When it does not answer, or has no such figure.
    pub fn figure(&self, name: &str) -> Result<f64, Failed> {
        let page = self.ask("GET", "/metrics", "")?.text();
        let value = page.lines().filter_map(|line| line.split_once(' ')).find(|(known, _)| *known == name);
        let value = value.and_then(|(_, value)| value.parse().ok());
        value.ok_or_else(|| Failed::Answer(format!("{} has no figure {name}", self.name)))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Bytes that a folder takes, in blocks of the disk.
fn used(folder: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // A file may be gone before it is looked at: a node at work removes some.
        let Ok(meta) = path.symlink_metadata() else { continue };
        sum += if meta.is_dir() { used(&path)? } else { meta.blocks() * 512 };
    }
    Ok(sum)
}

/// A loopback address whose port is free for TCP and UDP, and was not handed out before by this process.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    for _ in PORTS {
        let place = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + u16::try_from(place).unwrap_or(0);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() && UdpSocket::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
