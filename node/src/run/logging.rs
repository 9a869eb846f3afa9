//! Log lines: to standard error, as text or JSON, by `RELAIS_LOG`.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What is logged when `RELAIS_LOG` says nothing: openraft tells of each vote at `info`.
const DEFAULT: &str = "info,openraft=error,sled=warn,quinn=warn,foca=warn,actix_server=warn";

/// Begins to log. A second call in one process changes nothing.
pub(super) fn init(format: LogFormat) {
    let filter = std::env::var("RELAIS_LOG").ok().and_then(|text| EnvFilter::try_new(text).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(DEFAULT));
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // Tests start several nodes in one process; the first one's format serves all.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
