//! The node: the binary and its edges.

pub mod backend;
pub mod machine;
pub mod membership;
