//! The worker: it runs what it is ordered to, for as long as its lease lasts, and says how it ended until
//! somebody has written that down.
//!
//! [`core`] decides and does no IO; the [`actor`] is a thin shell around it. [`executor`] runs attempts,
//! [`spawner`] is the small process that starts and ends their processes, [`output`] keeps what they say.

pub mod actor;
pub mod core;
pub mod executor;
pub mod output;
mod planted;
pub mod spawner;
