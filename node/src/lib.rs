//! The node: one `relais` process, with its clock, its data directory, its identity and its edges.

pub mod clock;
pub mod datadir;
pub mod identity;
pub mod net;
pub mod seed;
