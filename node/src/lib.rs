//! The node: the binary and its edges.

pub mod backend;
pub mod cli;
pub mod config;
pub mod run;
