//! The node: one `relais` process, with its clock, its data directory, its identity and its edges.

pub mod backend;
pub mod cli;
pub mod clock;
pub mod config;
pub mod datadir;
pub mod drill;
pub mod figures;
pub mod guarantees;
pub mod hooks;
pub mod http;
pub mod hub;
pub mod identity;
pub mod machine;
pub mod membership;
pub mod net;
pub mod program;
pub mod pulse;
pub mod run;
pub mod seed;
mod veil;
