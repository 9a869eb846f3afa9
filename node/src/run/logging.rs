//! Log lines: to standard error, as text or JSON, by `RELAIS_LOG`.
//!
//! As JSON, each line there is one object with `timestamp`, `level`, `message` and `target` beside what the event tells;
//! panics and last words are such lines, too.

use crate::config::LogFormat;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing_subscriber::EnvFilter;

/// What is logged when `RELAIS_LOG` says nothing.
const DEFAULT: &str = "info";
/// Libraries that tell of each heartbeat, of each try at a peer that is down, or of each stranger who sends nonsense;
/// `RELAIS_LOG` can name them.
const QUIET: [&str; 6] =
    ["openraft=off", "sled=warn", "quinn=warn", "foca=warn", "actix_server=warn", "actix_http=off"];
/// What is logged whatever `RELAIS_LOG` says.
const ALWAYS: &str = "panic=error,last_words=error";

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Begins to log. A second call in one process changes nothing.
pub(super) fn init(format: LogFormat) {
    let wished = std::env::var("RELAIS_LOG").unwrap_or_else(|_| DEFAULT.to_owned());
    let quiet = QUIET.into_iter().filter(|quiet| !wished.contains(quiet.split('=').next().unwrap_or_default()));
    let all: Vec<&str> = quiet.chain([wished.as_str(), ALWAYS]).collect();
    let filter = EnvFilter::try_new(all.join(",")).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // Tests start several nodes in one process; the first one's format serves all.
    match format {
        LogFormat::Text => drop(builder.with_target(false).try_init()),
        LogFormat::Json => {
            if builder.json().flatten_event(true).try_init().is_ok() {
                IS_JSON.store(true, Ordering::Release);
                std::panic::set_hook(Box::new(log_panic));
            }
        }
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("a panic without words");
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    tracing::error!(target: "panic", thread = thread.name(), place, backtrace = trace, "{message}");
}

/// Tells whoever looks at standard error why the process ends, or does not do what it should.
pub(crate) fn last_words(words: &str) {
    if IS_JSON.load(Ordering::Acquire) {
        tracing::error!(target: "last_words", "{words}");
    } else {
        eprintln!("relais: {words}");
    }
}
