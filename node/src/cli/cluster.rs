//! `relais cluster`: how the cluster stands, and who dispatches.

mod recover;
mod failovers;
mod settings;

use super::client::{Call, Client};
use super::failure::{Failure, one_line};
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::table::Table;
use super::view;
use serde_json::{Value, json};

/// Show the cluster's status, hand the dispatcher's role over, list failovers, change settings
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais cluster status
  relais cluster handover --to n2
  relais cluster failovers
  relais cluster set voters=5 replace_after=2m
  relais cluster recover --lost n2")]
pub(crate) struct Cluster {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    remote: Remote,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show status, dispatcher, what the cluster would survive, and who would succeed
    #[command(after_help = "Example:\n  relais cluster status -o json")]
    Status,
    /// Move the dispatcher's role to another node without a gap
    #[command(after_help = "Examples:\n  relais cluster handover\n  relais cluster handover --to n2")]
    Handover {
        /// The node to move it to; without it, the first in the succession
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
    },
    /// List the changes of the dispatcher, with how long no submit was taken
    #[command(after_help = "Example:\n  relais cluster failovers -o jsonl")]
    Failovers,
    /// Change settings of the cluster; without any, show them
    #[command(after_help = "\
Examples:
  relais cluster set voters=5 replace_after=2m
  relais cluster set takeover=tiebreak:10.0.0.1:22
  relais cluster set takeover=off
  relais cluster set")]
    Set {
        /// The settings, of `relais cluster settings`
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Go on without voters that are lost for good, when they were the majority
    #[command(after_help = "\
Examples:
  relais cluster recover --lost n2
  relais cluster recover --lost n2,n3 --yes")]
    Recover {
        /// The voters that are lost for good
        #[arg(long, value_name = "NODE", value_delimiter = ',', required = true)]
        lost: Vec<String>,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Show the settings of the cluster
    #[command(after_help = "Example:\n  relais cluster settings -o json")]
    Settings,
}

impl Cluster {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        match self.command {
            Command::Status => status(screen, &client).await?,
            Command::Handover { to } => handover(screen, &client, to).await?,
            Command::Failovers => failovers::run(screen, &client).await?,
            Command::Set { settings } => settings::run(screen, &client, &settings).await?,
            Command::Recover { lost, yes } => recover::run(screen, &client, &lost, yes).await?,
            Command::Settings => settings::run(screen, &client, &[]).await?,
        }
        Ok(0)
    }
}

async fn status(screen: Screen, client: &Client) -> Result<(), Failure> {
    let answer = client.call(&Call::read("/v1/cluster")).await?;
    let cluster: view::Cluster = match screen.format {
        Format::Json => return screen.json(&answer),
        Format::Jsonl => return screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet | Format::Table => answer.json()?,
    };
    if screen.format == Format::Quiet {
        return screen.line(&one_line(&cluster.status));
    }
    let mut table = Table::of_pairs(screen);
    table.pair("cluster", cluster.name.as_deref().unwrap_or(&cluster.id));
    table.pair("status", &cluster.status);
    table.pair("reason", cluster.reason.as_deref().unwrap_or_default());
    table.pair("mode", &cluster.mode);
    table.pair("dispatcher", cluster.dispatcher.as_deref().unwrap_or("none"));
    table.pair("epoch", &number(cluster.epoch));
    table.pair("generation", &number(cluster.generation));
    table.pair("nodes online", &format!("{} of {}", cluster.nodes.online, cluster.nodes.registered));
    table.pair("high availability", if cluster.high_availability { "yes" } else { "no" });
    table.pair("survives", cluster.survives.as_deref().unwrap_or_default());
    for (place, heir) in cluster.succession.iter().enumerate() {
        table.pair(if place == 0 { "succession" } else { " " }, &format!("{}. {}", place + 1, successor(heir)));
    }
    table.print()
}

/// A row of the succession: a name alone, a name and why (or why not), or an object of them.
fn successor(row: &Value) -> String {
    if let [Value::String(name), Value::String(why)] = row.as_array().map(Vec::as_slice).unwrap_or_default() {
        return format!("{name}: {why}");
    }
    if let Some(name) = row.as_str() {
        return name.to_owned();
    }
    let text = |key: &str| row.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = text("name").or(text("node")).unwrap_or("?");
    let ready = row.get("ready").and_then(Value::as_bool);
    let why = text("why").or(text("why_not")).or(text("reason"));
    match (ready, why) {
        (Some(false), Some(why)) => format!("{name}: not ready, {why}"),
        (Some(false), None) => format!("{name}: not ready"),
        (_, Some(why)) => format!("{name}: {why}"),
        (_, None) => name.to_owned(),
    }
}

async fn handover(screen: Screen, client: &Client, to: Option<String>) -> Result<(), Failure> {
    let body = match &to {
        Some(name) => json!({ "to": name }),
        None => json!({}),
    };
    let answer = client.call(&Call::post("/v1/cluster:handover", body.to_string())).await?;
    match screen.format {
        Format::Json => return screen.json(&answer),
        Format::Jsonl => return screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet | Format::Table => {}
    }
    let cluster: view::Cluster = client.call(&Call::read("/v1/cluster")).await?.json()?;
    let name = one_line(cluster.dispatcher.as_deref().unwrap_or("nobody yet"));
    if screen.format == Format::Quiet {
        return screen.line(&name);
    }
    screen.line(&format!("the dispatcher is {name}, epoch {}", number(cluster.epoch)))
}

/// A number, or a dash where there is none.
fn number(n: Option<u64>) -> String {
    n.map_or_else(|| "-".to_owned(), |n| n.to_string())
}
