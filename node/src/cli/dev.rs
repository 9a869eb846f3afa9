//! `relais dev`: a whole cluster of real processes on this machine.
//!
//! ```text
//! plan ──► ports free? ──► processes: with state, or the founder ──► join token ──► the others
//!                              │ one dies: told, started again           │
//!                              └──────────── until Ctrl-C ◄──────── all running: shown
//! ```
//!
//! The nodes are this same program, run as `relais start`; dev knows no more of them than anybody who reads
//! their exit codes and asks their HTTP API. They hold the other end of a pipe to dev and stop when it
//! breaks: however dev ends, they do not outlive it.

mod bring_up;
mod child;
mod fleet;
mod plan;
mod ports;

use super::failure::Failure;
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::table::Table;
use bring_up::Up;
use fleet::{Fleet, Next};
use plan::Plan;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Run a cluster of real processes on this machine, to try things out
#[derive(clap::Args)]
#[command(after_help = "\
The nodes are called n1, n2, …; their HTTP ports count up from --http, their QUIC ports from --listen. State is
kept in the data directory: the next `relais dev` goes on with the same cluster. Ctrl-C stops all nodes.

Examples:
  relais dev
  relais dev --nodes 1 --slots 8
  relais dev --http 127.0.0.1:8700 --listen 127.0.0.1:8800 --data-dir /tmp/other")]
pub(crate) struct Dev {
    /// How many nodes [default: 3, or as many as the data directory holds]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: Option<u16>,
    /// The first node's HTTP address
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7700")]
    http: SocketAddr,
    /// The first node's QUIC address
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7800")]
    listen: SocketAddr,
    /// The folder of the nodes' state
    #[arg(long, value_name = "FOLDER", default_value = "./relais-data")]
    data_dir: PathBuf,
    /// How many jobs each node runs at once [default: one per CPU]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    slots: Option<u32>,
    /// File with an API token, if the cluster asks for one (else RELAIS_TOKEN holds it)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The signals that end dev.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Dev {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::Local(format!("can't tell where this program is: {error}; start it by its path"))
        })?;
        let plan = Plan::make(self.nodes, self.http, self.listen, &self.data_dir, self.slots)?;
        ports::check(&plan)?;
        let screen = Screen::of_process(Format::Table);
        let remote = Remote {
            addr: plan.nodes.iter().filter_map(|node| node.http.to_string().parse().ok()).collect(),
            token_file: self.token_file,
            output: Format::Table,
            retry_for: bring_up::LIMIT,
        };
        let mut stop = Stop::listen()?;
        let mut fleet = Fleet::new(program, plan, screen);
        let end = live(&mut fleet, &remote, screen, &mut stop).await;
        fleet.stop(stop.asked()).await;
        end.map(|()| 0)
    }
}

/// Brings the cluster up and keeps it so, until a signal comes or nothing is left to keep.
async fn live(fleet: &mut Fleet, remote: &Remote, screen: Screen, stop: &mut Stop) -> Result<(), Failure> {
    fleet.start_first()?;
    let mut up = Some(Box::pin(bring_up::token(remote.clone(), fleet.plan().joiners() > 0)));
    let mut all = None;
    loop {
        tokio::select! {
            () = stop.asked() => return Ok(()),
            next = fleet.next() => match next? {
                Next::Going => {}
                Next::NobodyLeft => {
                    return Err(Failure::Local("all nodes have ended; their last lines say why".to_owned()));
                }
            },
            token = async { up.as_mut().expect("guarded").await }, if up.is_some() => {
                up = None;
                fleet.start_joiners(token?)?;
                all = Some(Box::pin(bring_up::running(remote.clone(), fleet.plan().nodes.len())));
            }
            shown = async { all.as_mut().expect("guarded").await }, if all.is_some() => {
                all = None;
                fleet.is_up();
                show(screen, fleet.plan(), &shown?)?;
            }
        }
    }
}

fn show(screen: Screen, plan: &Plan, up: &Up) -> Result<(), Failure> {
    screen.line(&up.sentence)?;
    let mut table = Table::new(screen, &["NAME", "ROLE", "PID", "URL"]);
    for node in &plan.nodes {
        let row = up.nodes.iter().find(|row| row.name == node.name);
        let role = row.map_or("-", |row| row.role.as_str());
        let pid = row.and_then(|row| row.pid).map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        table.row([node.name.as_str(), role, &pid, &format!("http://{}", node.http)]);
    }
    table.print()?;
    let last = plan.nodes.last().expect("a plan has a node").http;
    let addresses: Vec<String> = plan.nodes.iter().map(|node| node.http.to_string()).collect();
    screen.line(&format!(
        "\nTry:\n  curl -s http://{last}/v1/jobs -H 'Content-Type: application/json' \\\n    \
         -d '{{\"kind\":\"exec\",\"payload\":{{\"command\":[\"echo\",\"hello\"]}}}}'\n  \
         export RELAIS_ADDR={}\n  relais submit --follow -- echo hello\nCtrl-C stops all nodes.",
        addresses.join(",")
    ))
}

impl Stop {
    fn listen() -> Result<Self, Failure> {
        let of = |kind| {
            signal(kind).map_err(|error| {
                Failure::Local(format!("can't listen to signals: {error}; raise the limit on open files"))
            })
        };
        Ok(Self {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
            hang_up: of(SignalKind::hangup())?,
        })
    }

    /// Returns when one of them comes.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
