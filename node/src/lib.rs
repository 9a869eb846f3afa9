//! The node: the binary and its edges.

pub mod backend;
