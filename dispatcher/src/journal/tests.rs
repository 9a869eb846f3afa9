//! The journal under test: openraft's own suite, clusters over a link in memory, damaged stores.

mod changes;
mod cluster;
mod damage;
mod fixture;
mod fork;
mod inspect;
mod load;
mod rows;
mod suite;
