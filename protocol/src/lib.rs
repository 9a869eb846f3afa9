//! What Relais nodes say to each other and write to the journal.
//!
//! This crate holds names and shapes only: ids, points in time, jobs, records, messages, and the one
//! codec that turns them into bytes. It cannot do IO (its `Cargo.toml` has no runtime, no socket and no
//! store in it); reading a clock, rolling dice and touching a disk belong to `node`.

pub mod codec;
pub mod failover;
pub mod group;
pub mod history;
pub mod ids;
pub mod job;
pub mod lease;
pub mod merge;
pub mod message;
pub mod node;
pub mod notice;
pub mod outcome;
pub mod overview;
pub mod queue;
pub mod record;
pub mod schedule;
pub mod settings;
pub mod size;
pub mod spec;
pub mod time;
pub mod trace;
