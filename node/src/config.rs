//! What a node is started with: one checked value out of defaults, file, environment and flags.
//!
//! ```text
//! defaults < TOML file (--config) < environment (RELAIS_*) < flags ──► Layer ──check──► StartConfig
//! ```
//!
//! Everything arrives as text with the place it came from, and is parsed once, here: nothing behind
//! [`StartConfig`] checks it again. This module reads the named file and the environment it is handed; it
//! opens no socket, resolves no name and creates no folder.

mod address;
mod check;
mod environment;
mod file;
mod layer;
mod names;
mod shown;

pub use address::{HostPort, NotAnAddress};
pub use check::ConfigError;
pub use file::FileError;
pub use layer::{Given, Layer, Origin};
pub(crate) use names::check_label;
pub use names::{LABELS_MAX, NodeName, NotALabel, NotAName, parse_label};
pub use shown::{DEFAULT as ORIGIN_DEFAULT, Shown};

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The most slots a node may offer.
pub const SLOTS_MAX: u32 = 100_000;

/// The label that names what fails together with this node (a rack, a power line, a zone).
pub const FAILURE_DOMAIN_LABEL: &str = "failure_domain";

/// All that one node needs to know to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartConfig {
    /// The node's name, unique in its cluster.
    pub name: NodeName,
    /// Whether somebody chose the name. A name taken from the host gives way to the one in the data
    /// directory; a chosen one that differs from it is an error of the operator.
    pub name_given: bool,
    /// The folder that holds all of the node's state. Need not exist yet.
    pub data_dir: PathBuf,
    /// Where the HTTP API listens.
    pub http: SocketAddr,
    /// Where QUIC listens (UDP).
    pub listen: SocketAddr,
    /// The QUIC address told to other nodes; `None`: the one that routes to the join address.
    pub advertise: Option<HostPort>,
    /// The URL told to people and clients, without a trailing slash; `None`: made from `http`.
    pub advertise_http: Option<String>,
    /// How many jobs run here at once, 0 to [`SLOTS_MAX`]; `None`: as follows from cores and memory.
    pub slots: Option<u32>,
    /// Thousandths of a core that jobs may ask for; `None`: as many as the machine has.
    pub cpu_millis: Option<u32>,
    /// Bytes of memory that jobs may ask for; `None`: as much as the machine has.
    pub memory_bytes: Option<u64>,
    /// At most [`LABELS_MAX`] labels, that jobs may require; [`FAILURE_DOMAIN_LABEL`] is one of them.
    pub labels: BTreeMap<String, String>,
    /// Vote and store the journal, but run no jobs and never dispatch.
    pub witness: bool,
    /// The cluster to join when the data directory has no state yet.
    pub join: Option<JoinTarget>,
    /// With less free disk space than this, in bytes, the journal takes no more entries; 0: never mind.
    pub min_free: u64,
    /// Serve HTTP on other addresses than loopback even though there is no API token.
    pub insecure_http: bool,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// The node ends when its standard input does. `cli::start` watches that already and sends the
    /// process a SIGTERM; it is here so that the node can say why it ends.
    pub exit_with_stdin: bool,
}

/// Where and with what secret a new node joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTarget {
    /// The QUIC address of any node of the cluster.
    pub addr: HostPort,
    /// The token a node of the cluster gave out.
    pub token: JoinToken,
}

/// A join token as text, `rl1.…`. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken(String);

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl StartConfig {
    /// Reads all layers and checks the sum of them.
    ///
    /// `file` is the value of `--config`; `environment` are the variables of the process; `flags` is the
    /// uppermost layer; `host_name` gives the name when nothing else does.
    ///
    /// # Errors
    /// When the file can't be read or has an unknown key, or any value is not what it must be.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Layer,
        host_name: &str,
    ) -> Result<Self, ConfigError> {
        check::check(gathered(file, environment, flags)?, host_name)
    }

    /// The settings that [`StartConfig::load`] would start with, each with where it comes from.
    ///
    /// # Errors
    /// As [`StartConfig::load`].
    pub fn explain(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        host_name: &str,
    ) -> Result<Vec<Shown>, ConfigError> {
        let all = gathered(file, environment, Layer::default())?;
        Ok(shown::rows(&all, &check::check(all.clone(), host_name)?))
    }

    /// Checks the text of a config file by itself, as if it were at `path` and there were no other layer.
    ///
    /// # Errors
    /// As [`StartConfig::load`].
    pub fn of_file(path: &Path, text: &str, host_name: &str) -> Result<Self, ConfigError> {
        check::check(file::parse(path, text)?, host_name)
    }

    /// What fails together with this node, if it was told.
    #[must_use]
    pub fn failure_domain(&self) -> Option<&str> {
        self.labels.get(FAILURE_DOMAIN_LABEL).map(String::as_str)
    }
}

/// All layers, the upper laid over the lower.
fn gathered(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: Layer,
) -> Result<Layer, ConfigError> {
    let mut all = match file {
        Some(path) => file::read(path)?,
        None => Layer::default(),
    };
    all.put_over(environment::layer(environment)?);
    all.put_over(flags);
    Ok(all)
}

impl JoinToken {
    /// Takes a text that looks like a join token; whether it is a good one, the cluster says.
    ///
    /// # Errors
    /// With what it is instead, when it does not start with `rl1.`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("rlt_") {
            return Err("is an API token, not a join token; `relais token create` makes a join token");
        }
        let body = text.strip_prefix("rl1.").ok_or("is no join token (rl1.…); `relais token create` makes one")?;
        let clean = body.bytes().all(|b| b.is_ascii_graphic());
        if body.is_empty() || !clean {
            return Err("is a damaged join token; copy it whole, or make one with `relais token create`");
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself. Never to be logged.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(…)")
    }
}

#[cfg(test)]
mod tests;
