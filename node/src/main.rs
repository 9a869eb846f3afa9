//! The `relais` program: tells the entries of its own child processes from the command line's, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    match first.as_deref().and_then(|word| word.to_str()) {
        Some("__spawner") => relais_worker::spawner::main(),
        Some(relais_node::drill::RISE) => relais_node::drill::rise(),
        Some(relais_node::drill::WAKE) => relais_node::drill::wake(),
        _ => relais_node::cli::main(),
    }
}
