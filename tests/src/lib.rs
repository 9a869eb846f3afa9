//! Tests of whole clusters: real processes ([`cluster`]), what is between them ([`relay`]), and clients that
//! remember what they were told ([`load`]).

pub mod cluster;
pub mod load;
pub mod relay;
