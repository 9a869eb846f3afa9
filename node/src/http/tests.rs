//! The API over real HTTP, in front of a real ledger that applies each batch at once.

mod access;
mod batch;
mod bulk;
mod cluster;
mod graph;
mod groups;
mod jobs;
mod listing;
mod logs;
mod queues;
mod reads;
mod rig;
mod schedules;
mod settings;
mod story;
mod tokens;
