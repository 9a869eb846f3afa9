//! `relais drill`: rehearses a failure on a live cluster that agrees to it, while clients of its own submit,
//! and says what they saw. It fails when something was lost or doubled, or the gap was longer than allowed.
//!
//! ```text
//!   clients ──jobs with keys──► all nodes in turn          what each saw ─► report
//!   strikes ──POST …:drill────► the node that is struck ─► waits until the cluster is whole again
//! ```
//!
//! It submits `noop` jobs with a label of its own and leaves them: they are the proof.

mod clients;
mod report;
mod strikes;

use super::client::{Call, Client};
use super::failure::Failure;
use super::remote::{self, Remote};
use super::view;
use clients::Clients;
use report::Report;
use std::time::Duration;
use strikes::Strikes;

/// What is rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// The dispatcher's process ends as by kill -9, and rises again
    Kill,
    /// The dispatcher's process stands still as by SIGSTOP, and goes on
    Pause,
    /// The dispatcher is cut off from all other nodes
    Cut,
    /// The role is handed over to another node
    Handover,
    /// All nodes are restarted in good order, one after the other
    Rolling,
}

/// Rehearse a failure: strike a node while clients submit, and print what they saw
#[derive(clap::Args)]
#[command(after_help = "\
The cluster must agree first: `relais cluster set drill=on`.

Examples:
  relais drill kill
  relais drill pause --for 10s --rounds 5 --max-gap 1s
  relais drill cut --node n2
  relais drill rolling --yes -o json")]
pub(crate) struct Drill {
    /// What to rehearse
    #[arg(value_enum)]
    kind: Kind,
    /// The node to strike; without it, whoever is the dispatcher
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// How long the node is down, still or cut off
    #[arg(long = "for", value_name = "DURATION", default_value = "5s", value_parser = remote::duration)]
    lasts: Duration,
    /// How often
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Clients that submit meanwhile
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    clients: u16,
    /// The longest time without an acknowledged submit that is still good
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = remote::duration)]
    max_gap: Duration,
    /// Don't ask before it begins
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Drill {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        if self.kind == Kind::Rolling && self.node.is_some() {
            return Err(Failure::Usage("`rolling` restarts every node; leave --node out".to_owned()));
        }
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        let cluster = agreed(&client).await?;
        let plan = self.plan();
        if !self.yes && !screen.asks(&format!("{plan} on cluster {}; go on?", cluster.id))? {
            return Err(Failure::Usage("not begun; give --yes to begin without being asked".to_owned()));
        }
        let strikes = Strikes::new(&client, self.kind, self.node.clone(), self.lasts, screen);
        let nodes = strikes.nodes().await?;
        let clients = Clients::start(&self.remote, &nodes, self.clients)?;
        let struck = clients.beside(strikes.rounds(self.rounds)).await;
        let seen = clients.finish().await;
        let report = Report::new(&client, struck?, seen, self.max_gap).await?;
        report.print(screen)?;
        Ok(u8::from(!report.is_good()))
    }

    fn plan(&self) -> String {
        let lasts = relais_protocol::time::duration_text(u64::try_from(self.lasts.as_millis()).unwrap_or(u64::MAX));
        let whom = self.node.as_deref().unwrap_or("the dispatcher");
        match self.kind {
            Kind::Kill => format!("kills {whom} {} times, {lasts} each", self.rounds),
            Kind::Pause => format!("stops {whom} {} times, {lasts} each", self.rounds),
            Kind::Cut => format!("cuts {whom} off {} times, {lasts} each", self.rounds),
            Kind::Handover => format!("moves the dispatcher's role {} times", self.rounds),
            Kind::Rolling => format!("restarts every node {} times", self.rounds),
        }
    }
}

/// The cluster, if it agrees to be struck and would survive it.
async fn agreed(client: &Client) -> Result<view::Cluster, Failure> {
    let settings: serde_json::Value = client.call(&Call::read("/v1/cluster/settings")).await?.json()?;
    let agrees = settings.get("drill").is_some_and(|on| on == "on" || on == true);
    if !agrees {
        return Err(Failure::Local(
            "this cluster does not agree to rehearsals; `relais cluster set drill=on` lets it".to_owned(),
        ));
    }
    let cluster: view::Cluster = client.call(&Call::read("/v1/cluster")).await?.json()?;
    if cluster.status != "running" {
        let why = cluster.reason.as_deref().unwrap_or_default();
        return Err(Failure::Local(format!(
            "the cluster is `{}` already ({why}); a rehearsal begins with a healthy one, `relais cluster status` says more",
            cluster.status
        )));
    }
    Ok(cluster)
}
