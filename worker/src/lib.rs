//! The worker: it runs what it is ordered to, for as long as its lease lasts, and says how it ended until
//! somebody has written that down.
//!
//! [`core`] decides and does no IO; what talks to processes and disks stands beside it.

pub mod core;
