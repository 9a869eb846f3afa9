//! One node: a real `relais start` process that can be killed, paused, stopped and started again on the same
//! data directory and the same ports.

use super::binary::program;
use super::http::{Answer, Http};
use super::wait::look_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long one request of a test may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// A node of a test's cluster.
#[derive(Debug)]
pub struct Node {
    /// Its name, `n1` first.
    pub name: String,
    /// Where its API is.
    pub http: SocketAddr,
    /// Where its QUIC socket is.
    pub quic: SocketAddr,
    /// Where others are told to reach it: `quic`, or a relay before it.
    pub advertise: SocketAddr,
    /// Its data directory.
    pub data_dir: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) slots: u32,
    /// Whether it only votes and stores the journal.
    pub witness: bool,
    /// Further variables of its environment.
    pub env: Vec<(String, String)>,
    /// Where to join, with what token, as long as it has no state.
    pub join: Option<(String, String)>,
    /// Its program, if that is not plain `relais`.
    pub program: Option<PathBuf>,
    /// A program to run it under, with its arguments.
    pub under: Vec<String>,
    pub(super) child: Option<Child>,
}

impl Node {
    /// Starts its process, without waiting for anything.
    ///
    /// # Panics
    /// When it runs already, or can't be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        self.child = Some(self.command().spawn().expect("relais can be started"));
    }

    /// The same node with other ports and another data directory, not started: a twin with its identity.
    #[must_use]
    pub fn twin(&self, data_dir: PathBuf) -> Self {
        Self {
            name: self.name.clone(),
            http: super::free_address(),
            quic: super::free_address(),
            advertise: self.advertise,
            data_dir,
            folder: self.folder.clone(),
            slots: self.slots,
            witness: self.witness,
            env: self.env.clone(),
            join: None,
            program: self.program.clone(),
            under: self.under.clone(),
            child: None,
        }
    }

    /// The command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        let own = self.program.clone().unwrap_or_else(program);
        let mut command = match self.under.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(own);
                command
            }
            None => Command::new(own),
        };
        command.args(["start", "--exit-with-stdin", "--name", &self.name]).arg("--data-dir").arg(&self.data_dir);
        command.args(["--http", &self.http.to_string(), "--listen", &self.quic.to_string()]);
        command.args(["--advertise", &self.advertise.to_string()]);
        match self.witness {
            true => command.arg("--witness"),
            false => command.args(["--slots", &self.slots.to_string()]),
        };
        if !self.http.ip().is_loopback() {
            // A network of the test's own, which ends with it.
            command.arg("--insecure-http");
        }
        if let Some((at, token)) = &self.join {
            command.args(["--join", at]).env("RELAIS_JOIN_TOKEN", token);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value))).env("NO_COLOR", "1");
        // A signal for the test's group is not for the nodes: the test says who gets which.
        command.process_group(0).stdin(Stdio::piped()).stdout(self.file("out")).stderr(self.file("log"));
        command
    }

    fn file(&self, kind: &str) -> File {
        let path = self.path(kind);
        OpenOptions::new().create(true).append(true).open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }

    /// What it wrote to standard output, over all its runs.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.path("out")).unwrap_or_default()
    }

    /// What it logged, over all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name)).id()
    }

    /// Sends a signal to its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process id"));
        kill(pid, signal).unwrap_or_else(|error| panic!("{} could not be sent {signal}: {error}", self.name));
    }

    /// Kills it with SIGKILL, as a power switch would.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.reap(Duration::from_secs(10));
    }

    /// Stops it in good order with SIGTERM.
    ///
    /// # Panics
    /// When it takes longer than `limit`.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.reap(limit)
    }

    /// Waits for the end of its process.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub fn reap(&mut self, limit: Duration) -> ExitStatus {
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        let ended = look_for(limit, || child.try_wait().expect("a child can be waited for"));
        ended.unwrap_or_else(|| {
            self.child = Some(child);
            panic!("{} did not end within {limit:?}", self.name)
        })
    }

    /// Whether its process runs.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_none()))
    }

    /// A client of its API.
    #[must_use]
    pub fn client(&self) -> Http {
        Http::new(self.http, REQUEST_LIMIT)
    }

    /// Asks its API once; `None` when no answer came.
    #[must_use]
    pub fn ask(&self, method: &str, target: &str, body: &str) -> Option<Answer> {
        let json = [("Content-Type", "application/json")];
        self.client().send(method, target, if body.is_empty() { &[] } else { &json }, body.as_bytes()).ok()
    }

    /// Reads JSON from it; `None` when no good answer came.
    #[must_use]
    pub fn read(&self, target: &str) -> Option<Value> {
        self.ask("GET", target, "").filter(|answer| answer.status == 200).map(|answer| answer.json())
    }

    /// A figure of its metrics page; `None` when it is not there.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<u64> {
        let page = self.ask("GET", "/metrics", "")?.text();
        let mut rows = page.lines().filter_map(|line| line.split_once(' '));
        rows.find(|(known, _)| *known == name).and_then(|(_, value)| value.parse().ok())
    }

    /// Where its journal is.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.data_dir.join("journal")
    }

    /// The folder of its log file.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
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
