//! The transport over real QUIC on loopback: several nodes in one process, each with its own endpoint.

mod calls;
mod joining;
mod peers;
mod refusals;
mod rig;
