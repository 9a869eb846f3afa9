//! The API over real HTTP, in front of a real ledger that applies each batch at once.

mod access;
mod batch;
mod bulk;
mod cluster;
mod graph;
mod groups;
mod jobs;
mod leases;
mod listing;
mod logs;
mod queues;
mod reads;
pub(in crate::http) mod rig;
mod room;
mod schedules;
mod settings;
mod story;
mod tokens;

/// The smallest job.
const NOOP: &str = r#"{"kind":"noop","payload":{}}"#;
