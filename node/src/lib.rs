//! The `relais` node: command line, configuration and composition.

pub mod cli;
pub mod config;
pub mod run;
