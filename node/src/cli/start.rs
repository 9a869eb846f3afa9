//! `relais start`: this process becomes a node.
//!
//! It gathers the settings and checks them; all else is `run`'s.

use super::failure::Failure;
use crate::config::{ConfigError, Given, Layer, StartConfig, parse_label};
use relais_worker::executor::handler::Handlers;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// After its standard input ended, a node has this long to stop by itself.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Run one node; without --join and without state it starts a cluster
#[derive(clap::Args)]
#[command(after_help = "\
Each setting may also stand in the config file (TOML, keys named like the flags with `_` for `-`, labels as
a table) and in the environment (RELAIS_NAME, RELAIS_SLOTS, RELAIS_LABELS=k=v,…; --token is RELAIS_JOIN_TOKEN).
Flags win over the environment, the environment over the file.

A data directory that was copied or moved to another place is refused. Once its original is stopped for good,
start it there once with RELAIS_ACCEPT_MOVED=1 in the environment; while the original still answers the other
nodes, they refuse the copy and it ends. It must be the folder as the original left it: an older backup lacks
what was acknowledged since, so join as a new node with an empty --data-dir instead.

Examples:
  relais start
  relais start --name n2 --join 10.0.0.5:7800 --token rl1.…
  relais start --name w1 --witness --join 10.0.0.5:7800 --token rl1.…
  relais start --config /etc/relais.toml --label zone=eu --slots 8")]
pub(crate) struct Start {
    /// The node's name [default: the host's name]
    #[arg(long)]
    name: Option<String>,
    /// The folder of the node's state [default: ./relais-data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Where the HTTP API listens [default: 127.0.0.1:7700]
    #[arg(long, value_name = "IP:PORT")]
    http: Option<String>,
    /// Where QUIC listens for other nodes [default: 0.0.0.0:7800]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// The QUIC address told to other nodes [default: the one that routes to the join address]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The URL of the HTTP API told to people
    #[arg(long, value_name = "URL")]
    advertise_http: Option<String>,
    /// How many jobs run here at once [default: one per core, but no more than one per 512 MiB of memory]
    #[arg(long, value_name = "NUMBER")]
    slots: Option<String>,
    /// How many cores jobs that ask for some may have together [default: all of the machine's]
    #[arg(long, value_name = "CORES")]
    cpu: Option<String>,
    /// How much memory jobs that ask for some may have together [default: all of the machine's]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// A label of this node, that jobs may require; failure_domain=… names what fails with it
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Vote and store the journal, but run no jobs and never dispatch: a tiny third for two machines
    #[arg(long)]
    witness: bool,
    /// The QUIC address of a node of the cluster to join
    #[arg(long, value_name = "HOST:PORT")]
    join: Option<String>,
    /// The join token, of `relais token create`
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// With less free disk space than this, the journal here takes no more entries [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    min_free: Option<String>,
    /// Serve HTTP to other machines without any API token: whoever reaches it runs commands here
    #[arg(long)]
    insecure_http: bool,
    /// Log lines as text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End when standard input does
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

impl Start {
    /// Runs the node to its end.
    pub(crate) fn run(self, handlers: Handlers) -> ExitCode {
        let config = match self.checked() {
            Ok(config) => config,
            Err(error) => {
                let failure = Failure::Usage(error.to_string());
                failure.tell();
                return ExitCode::from(failure.exit_code());
            }
        };
        if config.witness {
            crate::run::start_over_frugally();
        }
        if config.exit_with_stdin {
            std::thread::spawn(stop_with_stdin);
        }
        crate::run::run(config, &handlers)
    }

    fn checked(self) -> Result<StartConfig, ConfigError> {
        let file = self.config.clone();
        let host = hostname::get().unwrap_or_default();
        // A variable that is no text is none of ours: theirs are checked as text anyway.
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        StartConfig::load(file.as_deref(), variables, self.layer()?, &host.to_string_lossy())
    }

    fn layer(self) -> Result<Layer, ConfigError> {
        let given = |name, text: Option<String>| text.map(|text| Given::flag(name, text));
        let switch = |name, on: bool| on.then(|| Given::flag(name, "true"));
        let mut layer = Layer {
            name: given("--name", self.name),
            data_dir: given("--data-dir", self.data_dir),
            http: given("--http", self.http),
            listen: given("--listen", self.listen),
            advertise: given("--advertise", self.advertise),
            advertise_http: given("--advertise-http", self.advertise_http),
            slots: given("--slots", self.slots),
            cpu: given("--cpu", self.cpu),
            memory: given("--memory", self.memory),
            labels: Default::default(),
            witness: switch("--witness", self.witness),
            join: given("--join", self.join),
            token: given("--token", self.token),
            min_free: given("--min-free", self.min_free),
            insecure_http: switch("--insecure-http", self.insecure_http),
            log_format: given("--log-format", self.log_format),
            exit_with_stdin: switch("--exit-with-stdin", self.exit_with_stdin),
        };
        for text in &self.label {
            let (key, value) =
                parse_label(text).map_err(|reason| ConfigError::of_flag("label", text, "--label", &reason))?;
            layer.labels.insert(key, Given::flag("--label", value));
        }
        Ok(layer)
    }
}

/// Waits for the end of standard input, which the parent holds open for as long as it lives, and stops this
/// process then: as SIGTERM does, and the hard way when that takes too long.
fn stop_with_stdin() {
    let mut piece = [0u8; 256];
    let mut input = std::io::stdin().lock();
    while matches!(input.read(&mut piece), Ok(n) if n > 0) {}
    // Signalling oneself can't fail in a way that could be told to anyone: the parent is gone.
    let this = nix::unistd::getpid();
    let _ = nix::sys::signal::kill(this, nix::sys::signal::Signal::SIGTERM);
    std::thread::sleep(STOP_LIMIT);
    let _ = nix::sys::signal::kill(this, nix::sys::signal::Signal::SIGKILL);
}
