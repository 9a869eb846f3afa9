//! Log lines: to standard error, as text or JSON, by `RELAIS_LOG`.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What is logged when `RELAIS_LOG` says nothing.
const DEFAULT: &str = "info";
/// Libraries that tell of each heartbeat, of each try at a peer that is down, or of each stranger who sends nonsense;
/// `RELAIS_LOG` can name them.
const QUIET: [&str; 6] =
    ["openraft=off", "sled=warn", "quinn=warn", "foca=warn", "actix_server=warn", "actix_http=off"];

/// Begins to log. A second call in one process changes nothing.
pub(super) fn init(format: LogFormat) {
    let wished = std::env::var("RELAIS_LOG").unwrap_or_else(|_| DEFAULT.to_owned());
    let quiet = QUIET.into_iter().filter(|quiet| !wished.contains(quiet.split('=').next().unwrap_or_default()));
    let all: Vec<&str> = quiet.chain([wished.as_str()]).collect();
    let filter = EnvFilter::try_new(all.join(",")).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // Tests start several nodes in one process; the first one's format serves all.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
