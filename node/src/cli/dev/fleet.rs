//! All processes of dev: started, told of, started again, stopped.
//!
//! A node that was killed, or failed after the cluster was up, is started again after a second; one that
//! ends well was told to and stays down; one that fails again and again at once stays down too. Before the
//! cluster is up, a node that ends by itself ends dev: its settings are wrong, and trying again won't help.

use super::bring_up::Joining;
use super::child::{Child, Exit};
use super::plan::{Entry, NodePlan, Plan};
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until, timeout_at};

const RESTART_PAUSE: Duration = Duration::from_secs(1);
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// A node that lives less long than this has failed at once.
const LIFE_SHORT: Duration = Duration::from_secs(5);
const SHORT_LIVES_MAX: u32 = 5;
/// Settings of a node that dev gives by flags, and must not be mixed with those of dev's own environment.
const OWN_VARIABLES: [&str; 9] = [
    "RELAIS_NAME",
    "RELAIS_DATA_DIR",
    "RELAIS_HTTP",
    "RELAIS_LISTEN",
    "RELAIS_ADVERTISE",
    "RELAIS_ADVERTISE_HTTP",
    "RELAIS_WITNESS",
    "RELAIS_JOIN",
    "RELAIS_JOIN_TOKEN",
];

/// The processes.
pub(crate) struct Fleet {
    program: PathBuf,
    plan: Plan,
    screen: Screen,
    berths: Vec<Berth>,
    joining: Option<Joining>,
    up: bool,
    exits: UnboundedReceiver<Exit>,
    exits_in: UnboundedSender<Exit>,
}

/// The place of one node.
#[derive(Default)]
struct Berth {
    child: Option<Child>,
    began: Option<Instant>,
    /// When to start it again.
    due: Option<Instant>,
    short_lives: u32,
}

/// Whether there is anything left to look after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is.
    Going,
    /// No process runs, and none will be started.
    NobodyLeft,
}

impl Fleet {
    /// A fleet of `program`s, none of them started yet.
    pub(crate) fn new(program: PathBuf, plan: Plan, screen: Screen) -> Self {
        let (exits_in, exits) = unbounded_channel();
        let berths = plan.nodes.iter().map(|_| Berth::default()).collect();
        Self { program, plan, screen, berths, joining: None, up: false, exits, exits_in }
    }

    /// What it is a fleet of.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// From now on a node that fails is started again.
    pub(crate) fn is_up(&mut self) {
        self.up = true;
    }

    /// Starts the nodes that need no token.
    pub(crate) fn start_first(&mut self) -> Result<(), Failure> {
        self.start_where(|node| node.entry != Entry::Joins)
    }

    /// Starts those that do.
    pub(crate) fn start_joiners(&mut self, joining: Option<Joining>) -> Result<(), Failure> {
        self.joining = joining;
        self.start_where(|node| node.entry == Entry::Joins)
    }

    fn start_where(&mut self, chosen: impl Fn(&NodePlan) -> bool) -> Result<(), Failure> {
        for at in 0..self.plan.nodes.len() {
            if chosen(&self.plan.nodes[at]) {
                self.start(at)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, at: usize) -> Result<(), Failure> {
        let command = self.command(at);
        let prefix = prefix(self.screen, at, &self.plan.nodes[at].name);
        let child = Child::start(command, at, &prefix, self.exits_in.clone()).map_err(|error| {
            Failure::Local(format!("can't start {}: {error}; is the program still there?", self.program.display()))
        })?;
        let berth = &mut self.berths[at];
        berth.child = Some(child);
        berth.began = Some(Instant::now());
        berth.due = None;
        Ok(())
    }

    fn command(&self, at: usize) -> Command {
        let node = &self.plan.nodes[at];
        let mut command = Command::new(&self.program);
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        command.args(["start", "--exit-with-stdin", "--name", &node.name]).arg("--data-dir").arg(&node.data_dir);
        command.args(["--http", &node.http.to_string()]);
        command.args(["--listen", &node.quic.to_string(), "--advertise", &node.quic.to_string()]);
        if let Some(slots) = self.plan.slots {
            command.args(["--slots", &slots.to_string()]);
        }
        if let Some(joining) = self.joining.as_ref().filter(|_| !node.has_state()) {
            // The token by the environment: whoever lists processes sees their arguments.
            command.args(["--join", &joining.address]).env("RELAIS_JOIN_TOKEN", &joining.token);
        }
        command
    }

    /// Waits for the next end or start of a process, and deals with it.
    ///
    /// # Errors
    /// When a node ended by itself before the cluster was up, or can't be started again.
    pub(crate) async fn next(&mut self) -> Result<Next, Failure> {
        let due = self.berths.iter().filter_map(|berth| berth.due).min();
        let restart = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let exit = tokio::select! {
            exit = self.exits.recv() => exit,
            () = restart => None,
        };
        match exit {
            Some(exit) => self.ended(&exit)?,
            None => self.start_due()?,
        }
        let anyone = self.berths.iter().any(|berth| berth.child.is_some() || berth.due.is_some());
        let more_to_come = !self.up && self.plan.joiners() > 0 && self.joining.is_none();
        Ok(if anyone || more_to_come { Next::Going } else { Next::NobodyLeft })
    }

    fn start_due(&mut self) -> Result<(), Failure> {
        for at in 0..self.berths.len() {
            if self.berths[at].due.is_some_and(|due| due <= Instant::now()) {
                self.start(at)?;
                eprintln!("dev: {} is started again", self.plan.nodes[at].name);
            }
        }
        Ok(())
    }

    fn ended(&mut self, exit: &Exit) -> Result<(), Failure> {
        let name = &self.plan.nodes[exit.node].name;
        let berth = &mut self.berths[exit.node];
        berth.child = None;
        let short = berth.began.is_some_and(|began| began.elapsed() < LIFE_SHORT);
        berth.short_lives = if short { berth.short_lives + 1 } else { 0 };
        let how = format!("{name} (pid {}) {}", exit.pid, exit.how());
        let code = exit.status.code();
        if let (Some(code), false) = (code, self.up) {
            let why = exit.last_lines.last().map_or("without a word", String::as_str);
            return Err(Failure::Local(format!(
                "{name} ended with exit code {code} before the cluster was up: {why}; correct that and start again"
            )));
        }
        if code == Some(0) {
            eprintln!("dev: {how}: it was told to stop, and stays down");
        } else if berth.short_lives >= SHORT_LIVES_MAX {
            eprintln!("dev: {how}, {SHORT_LIVES_MAX} times at once, and stays down; its last lines:");
            tell_last(exit);
        } else {
            eprintln!("dev: {how} and is started again in {} s; its last lines:", RESTART_PAUSE.as_secs());
            tell_last(exit);
            berth.due = Some(Instant::now() + RESTART_PAUSE);
        }
        Ok(())
    }

    /// Stops all: SIGTERM, ten seconds, SIGKILL; at once when `hurry` returns.
    pub(crate) async fn stop(&mut self, hurry: impl Future<Output = ()>) {
        for berth in self.berths.iter_mut() {
            berth.due = None;
            if let Some(child) = &berth.child {
                child.signal(Signal::SIGTERM);
            }
        }
        if self.running() > 0 {
            self.screen.note("dev: stopping all nodes; Ctrl-C again stops them the hard way");
        }
        let deadline = Instant::now() + STOP_LIMIT;
        tokio::select! {
            () = self.all_ended(deadline) => {}
            () = hurry => {}
        }
        for (berth, node) in self.berths.iter().zip(&self.plan.nodes) {
            if let Some(child) = &berth.child {
                eprintln!("dev: {} (pid {}) did not stop in time, and is killed", node.name, child.pid);
                child.signal(Signal::SIGKILL);
            }
        }
        self.all_ended(Instant::now() + STOP_LIMIT).await;
    }

    async fn all_ended(&mut self, deadline: Instant) {
        while self.running() > 0 {
            match timeout_at(deadline, self.exits.recv()).await {
                Ok(Some(exit)) => self.berths[exit.node].child = None,
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn running(&self) -> usize {
        self.berths.iter().filter(|berth| berth.child.is_some()).count()
    }
}

fn tell_last(exit: &Exit) {
    for line in &exit.last_lines {
        eprintln!("dev:   {line}");
    }
}

fn prefix(screen: Screen, at: usize, name: &str) -> String {
    if screen.colour && screen.error_terminal {
        // Cyan, yellow, green, magenta, blue, red, in turn.
        let colour = [36, 33, 32, 35, 34, 31][at % 6];
        format!("\x1b[{colour}m{name} |\x1b[0m ")
    } else {
        format!("{name} | ")
    }
}

#[cfg(test)]
mod tests;
