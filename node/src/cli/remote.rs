//! The options all client commands share: which cluster, who asks, how to answer.

use super::address::Address;
use super::client::{Client, Secret};
use super::failure::Failure;
use super::screen::{Format, Screen};
use relais_protocol::time::parse_duration_ms;
use std::path::PathBuf;
use std::time::Duration;

const TOKEN_VARIABLE: &str = "RELAIS_TOKEN";

/// Which cluster to talk to, and how to show what it says.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cluster and output")]
pub(crate) struct Remote {
    /// Addresses of nodes, tried in turn
    #[arg(
        long,
        env = "RELAIS_ADDR",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        global = true,
        default_value = "127.0.0.1:7700"
    )]
    pub(crate) addr: Vec<Address>,
    /// File with the API token (else RELAIS_TOKEN holds it)
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// How to answer; json is the API's answer unchanged
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t, global = true)]
    pub(crate) output: Format,
    /// How long to go on trying while no dispatcher or no node answers
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, global = true)]
    pub(crate) retry_for: Duration,
}

impl Remote {
    /// The client for these options.
    ///
    /// # Errors
    /// When the token can't be read or can't be one.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::new(self.addr.clone(), self.token()?, self.retry_for)
    }

    /// A client of one node alone, that asks it once.
    ///
    /// # Errors
    /// As [`Remote::client`].
    pub(crate) fn client_of(&self, node: Address) -> Result<Client, Failure> {
        Client::new(vec![node], self.token()?, Duration::ZERO)
    }

    /// How to show things, on the process's own terminal.
    pub(crate) fn screen(&self) -> Screen {
        Screen::of_process(self.output)
    }

    fn token(&self) -> Result<Option<Secret>, Failure> {
        let (text, origin) = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Failure::Usage(format!(
                        "can't read the token file {}: {error}; give --token-file a readable file",
                        path.display()
                    ))
                })?;
                (text, path.display().to_string())
            }
            None => (std::env::var(TOKEN_VARIABLE).unwrap_or_default(), TOKEN_VARIABLE.to_owned()),
        };
        match text.trim() {
            "" if self.token_file.is_some() => {
                Err(Failure::Usage(format!("{origin} is empty; it must hold an API token")))
            }
            "" => Ok(None),
            token => Secret::new(token).map(Some).ok_or_else(|| {
                Failure::Usage(format!("{origin} holds no API token; `relais token create --role submit` makes one"))
            }),
        }
    }
}

/// A clap parser of durations like `90s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration_ms(text).map(Duration::from_millis)
}
