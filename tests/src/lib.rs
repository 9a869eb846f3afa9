//! Tests of whole clusters: what a run looked like ([`history`]), what must be true of every run
//! ([`checkers`]), and a seeded simulator that makes runs out of the pure cores ([`world`]).
//!
//! The checkers know nothing of the simulator: real processes fill the same history.

pub mod checkers;
pub mod history;
pub mod world;
