//! From text to [`StartConfig`]: each setting parsed once, each complaint naming value, origin and remedy.

use super::address::{self, HostPort};
use super::file::FileError;
use super::layer::{Given, Layer, Origin};
use super::names::{LABELS_MAX, NodeName, check_label};
use super::{JoinTarget, JoinToken, LogFormat, SLOTS_MAX, StartConfig};
use relais_protocol::size;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

const HTTP_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7700);
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7800);
const MIN_FREE_DEFAULT: u64 = 64 << 20;
const DATA_DIR_DEFAULT: &str = "./relais-data";

/// Why a node can't be started with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value is not what it must be.
    #[error("{setting} `{value}` ({origin}) {reason}")]
    Value {
        /// The setting.
        setting: &'static str,
        /// What was given for it; never a secret.
        value: String,
        /// Where.
        origin: Origin,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Values that are right each by itself do not go together.
    #[error("{0}")]
    Together(String),
}

impl ConfigError {
    /// A value given by `flag` that is not what it must be.
    #[must_use]
    pub fn of_flag(setting: &'static str, value: &str, flag: &'static str, reason: &dyn fmt::Display) -> Self {
        Self::bad(setting, value, Origin::Flag(flag), &reason.to_string())
    }

    pub(super) fn bad(setting: &'static str, value: &str, origin: Origin, reason: &str) -> Self {
        Self::Value { setting, value: value.to_owned(), origin, reason: reason.to_owned() }
    }
}

/// Checks the sum of all layers.
pub(super) fn check(all: Layer, host_name: &str) -> Result<StartConfig, ConfigError> {
    let name_given = all.name.is_some();
    let name = parsed("name", all.name, |text| text.parse::<NodeName>().map_err(|e| e.to_string()))?;
    let witness = switch("witness", all.witness)?;
    let listen_address = |text: &str| address::parse_listen(text).map_err(|e| e.to_string());
    let http = parsed("http", all.http, listen_address)?.unwrap_or(HTTP_DEFAULT);
    let listen = parsed("listen", all.listen, listen_address)?.unwrap_or(LISTEN_DEFAULT);
    for (given, flag) in [(&all.slots, "--slots"), (&all.cpu, "--cpu"), (&all.memory, "--memory")] {
        if witness && given.is_some() {
            return Err(ConfigError::Together(format!("a witness runs no jobs; leave {flag} out, or --witness")));
        }
    }
    let data_dir = parsed("data_dir", all.data_dir, |text| match text {
        "" => Err("is empty; name a folder".to_owned()),
        _ => Ok(PathBuf::from(text)),
    })?;
    Ok(StartConfig {
        name: name.unwrap_or_else(|| NodeName::of_host(host_name)),
        name_given,
        data_dir: data_dir.unwrap_or_else(|| PathBuf::from(DATA_DIR_DEFAULT)),
        http,
        listen,
        advertise: parsed("advertise", all.advertise, advertised)?,
        advertise_http: parsed("advertise_http", all.advertise_http, advertised_url)?,
        slots: parsed("slots", all.slots, slots)?,
        cpu_millis: parsed("cpu", all.cpu, size::parse_cores)?,
        memory_bytes: parsed("memory", all.memory, size::parse_bytes)?,
        labels: labels(all.labels)?,
        witness,
        join: join(all.join, all.token)?,
        min_free: parsed("min_free", all.min_free, size::parse_bytes)?.unwrap_or(MIN_FREE_DEFAULT),
        insecure_http: switch("insecure_http", all.insecure_http)?,
        log_format: parsed("log_format", all.log_format, log_format)?.unwrap_or_default(),
        exit_with_stdin: switch("exit_with_stdin", all.exit_with_stdin)?,
    })
}

fn parsed<T>(
    setting: &'static str,
    given: Option<Given>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    given
        .map(|Given { text, origin }| {
            parse(&text).map_err(|reason| ConfigError::Value { setting, value: text.clone(), origin, reason })
        })
        .transpose()
}

fn switch(setting: &'static str, given: Option<Given>) -> Result<bool, ConfigError> {
    let on = parsed(setting, given, |text| match text {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("is neither `true` nor `false`".to_owned()),
    })?;
    Ok(on.unwrap_or(false))
}

fn slots(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(n) if n <= SLOTS_MAX => Ok(n),
        _ => Err(format!("is no number from 0 to {SLOTS_MAX}")),
    }
}

fn advertised(text: &str) -> Result<HostPort, String> {
    let address: HostPort = text.parse().map_err(|e: address::NotAnAddress| e.to_string())?;
    let unspecified = address.host().parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if unspecified {
        return Err("is no address that another node could reach; give the one of this machine".to_owned());
    }
    Ok(address)
}

fn advertised_url(text: &str) -> Result<String, String> {
    let sound = reqwest::Url::parse(text)
        .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host() && url.query().is_none());
    if !sound {
        return Err("is no URL; write http://HOST:PORT".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is neither `text` nor `json`".to_owned()),
    }
}

fn labels(given: BTreeMap<String, Given>) -> Result<BTreeMap<String, String>, ConfigError> {
    if given.len() > LABELS_MAX {
        let reason = format!("{} labels are given, and a node has at most {LABELS_MAX}; take some out", given.len());
        return Err(ConfigError::Together(reason));
    }
    let checked = given.into_iter().map(|(key, Given { text, origin })| {
        check_label(&key, &text)
            .map_err(|e| ConfigError::bad("label", &format!("{key}={text}"), origin, &e.to_string()))?;
        Ok((key, text))
    });
    checked.collect()
}

fn join(address: Option<Given>, token: Option<Given>) -> Result<Option<JoinTarget>, ConfigError> {
    let together = |text: &str| Err(ConfigError::Together(text.to_owned()));
    match (address, token) {
        (None, None) => Ok(None),
        (Some(_), None) => together(
            "--join needs the cluster's join token; make one there with `relais token create` and give it with --token",
        ),
        (None, Some(_)) => together("a join token needs --join ADDR, the QUIC address of a node of the cluster"),
        (Some(address), Some(token)) => {
            let addr = parsed("join", Some(address), advertised)?;
            let secret =
                JoinToken::parse(&token.text).map_err(|reason| ConfigError::bad("token", "…", token.origin, reason))?;
            Ok(addr.map(|addr| JoinTarget { addr, token: secret }))
        }
    }
}
