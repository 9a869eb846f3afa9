//! The node: the binary and its edges.

pub mod backend;
pub mod cli;
pub mod clock;
pub mod config;
pub mod datadir;
pub mod http;
pub mod identity;
pub mod net;
pub mod run;
pub mod seed;
