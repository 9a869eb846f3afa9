//! One node, from its checked configuration to its end. Not built in this branch.

use crate::config::StartConfig;
use std::process::ExitCode;

/// Runs one node until it is told to stop.
#[must_use]
pub fn run(_config: StartConfig) -> ExitCode {
    eprintln!("relais: not built in this branch");
    ExitCode::FAILURE
}
