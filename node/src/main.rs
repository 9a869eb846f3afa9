//! The `relais` program, without any handlers.

use relais_node::program::Program;
use std::process::ExitCode;

fn main() -> ExitCode {
    Program::new().main()
}
