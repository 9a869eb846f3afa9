//! The `relais` program, without any handlers.

use relais_node::program::Program;
use std::process::ExitCode;

/// A fifth of a busy node's time went into the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Program::new().main()
}
