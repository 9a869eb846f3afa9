//! Does the work: slots and leases, the spawner process, executors and captured output.

pub mod executor;
pub mod output;
pub mod spawner;
