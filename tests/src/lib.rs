//! Tests of whole clusters: what a run looked like ([`history`]), what must be true of every run
//! ([`checkers`]), a seeded simulator that makes runs out of the pure cores ([`world`]), and real processes
//! ([`cluster`]) with what is between them ([`relay`]), clients that remember what they were told
//! ([`load`]), and all that may go wrong with them ([`faults`]). Beside them stand a model of election and
//! fencing that is looked at in every state ([`model`]), the real journal under a simulated clock ([`replicas`]),
//! all that reads bytes from outside ([`fuzz`]), and clients that mean no good ([`siege`]).
//!
//! The checkers know nothing of the simulator: real processes fill the same history.

pub mod bad_input;
pub mod checkers;
pub mod cluster;
pub mod disk;
pub mod faults;
pub mod fuzz;
pub mod history;
pub mod load;
pub mod model;
pub mod relay;
pub mod replicas;
pub mod siege;
pub mod world;
