//! Who does which job when.
//!
//! ```text
//!   reports, submits ──► dispatcher actor ──batch──► journal ──committed──► ledger.apply
//!                              ▲                                              │
//!                              └───────────── events (started, ended…) ◄──────┘
//! ```
//!
//! The [`ledger`] is a pure state machine: applying a batch is the only thing that changes it, and it is
//! the same function on every replica. **Placement is part of it.** Which waiting job goes to which free
//! slot follows from the ledger alone (lines, limits, node table), so no record says "assigned": one entry
//! both takes jobs in and places them, an entry of reports both frees slots and fills them again, every
//! limit holds across a failover by construction, and each replica can explain why a job waits. The price
//! is that a change of the placement rules is a change of format; hence `rules` in each batch.
//!
//! This crate opens no socket and reads no clock. The journal's store is the one part that does IO.

pub mod actor;
pub mod core;
pub mod cron;
pub mod election;
pub mod journal;
pub mod ledger;
pub mod machine;
pub mod planted;
pub mod rows;
pub mod takeover;
