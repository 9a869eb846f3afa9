//! One node, from its checked configuration to its end: the composition root. Here and nowhere else are the
//! parts made and put together.
//!
//! ```text
//!   data directory ► identity (found, join or load) ► transport ► journal ► actors ► pulse ► HTTP
//! ```

mod engine;
mod facts;
mod front;
mod frugal;
mod identity;
mod logging;
mod start;
mod stop;
mod ward;
mod worker;

pub(crate) use frugal::start_over_frugally;
pub(crate) use logging::last_words;

use crate::config::StartConfig;
use engine::Engine;
use relais_worker::executor::handler::Handlers;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// Exit code of a start that is refused.
const EXIT_FAILURE: i32 = 1;
/// Exit code when stable storage failed.
const EXIT_STORAGE: i32 = 74;
/// Exit code when a part could not be kept running.
const EXIT_SOFTWARE: i32 = 70;

/// Why a node did not start: cause and next step.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartFailed(pub String);

impl StartFailed {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Runs one node until it is told to stop. It offers the kinds of `handlers` beside those that every node has.
#[must_use]
pub fn run(config: StartConfig, handlers: &Handlers) -> ExitCode {
    logging::init(config.log_format);
    // Somebody else in this process may have installed it: it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let system = actix_rt::System::new();
    let ended = match Engine::start().and_then(|engine| Ok((engine, bench(handlers)?))) {
        Ok((engine, bench)) => {
            let offer = bench.as_ref().map(|bench| worker::Offer { handlers, runtime: bench.handle() });
            let ended = system.block_on(async {
                let node = start::start(config, offer, &engine).await?;
                stop::run_until_told(node).await;
                Ok(())
            });
            bench.into_iter().for_each(Runtime::shutdown_background);
            engine.end();
            ended
        }
        Err(failed) => Err(failed),
    };
    match ended {
        Ok(()) => {
            crate::drill::start_again_if_asked();
            ExitCode::SUCCESS
        }
        Err(StartFailed(reason)) => {
            last_words(&reason);
            ExitCode::FAILURE
        }
    }
}

/// The threads of handlers, if there are any handlers.
fn bench(handlers: &Handlers) -> Result<Option<Runtime>, StartFailed> {
    if handlers.is_empty() {
        return Ok(None);
    }
    let built = Builder::new_multi_thread().thread_name("relais-handler").enable_all().build();
    built.map(Some).map_err(|error| StartFailed(format!("cannot start threads for handlers: {error}")))
}

/// Ends the process because stable storage failed: nothing may be acknowledged any more.
pub fn fail_stop(reason: &str) -> ! {
    tracing::error!(reason, "stops: stable storage failed");
    last_words(&format!("stops because stable storage failed: {reason}; mend the disk and start again"));
    std::process::exit(EXIT_STORAGE);
}

/// Ends the process because its data directory is a copy whose original lives.
pub(crate) fn refuse_copy(reason: &str) -> ! {
    tracing::error!(reason, "stops: its data directory is a copy");
    last_words(reason);
    std::process::exit(EXIT_FAILURE);
}

/// Ends the process because a part can't be kept running.
fn give_up(reason: &str) -> ! {
    tracing::error!(reason, "stops");
    last_words(&format!("stops: {reason}"));
    std::process::exit(EXIT_SOFTWARE);
}
