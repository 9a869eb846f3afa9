//! The `relais` program: tells the spawner's entry from the command line's, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    match first.as_deref().and_then(|word| word.to_str()) {
        Some("__spawner") => relais_worker::spawner::main(),
        _ => relais_node::cli::main(),
    }
}
