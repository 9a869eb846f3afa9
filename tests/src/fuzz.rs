//! All that reads bytes from outside, each behind a function that takes any bytes whatever and panics when
//! something does not hold: a value that was read is written and read again the same, and nothing is lost
//! in silence.
//!
//! One body of code serves two: the targets of `cargo fuzz` in `tests/fuzz` call these with what libFuzzer
//! makes up, and `tests/tests/fuzz.rs` with the corpus in the tree and seeded changes of it, on any
//! toolchain. Memory is watched by whoever calls: see [`Target::allocation_max`].

mod config;
mod datagrams;
mod frames;
mod jobs;
mod journal;
mod mutate;
mod records;
mod seeds;

pub use mutate::Mutator;

/// What one input came to: whether the reader took it. Refused is as good, but a target that refuses all of
/// its corpus tests nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was read.
    Taken,
    /// It was refused, as bytes that mean nothing must be.
    Refused,
}

impl From<bool> for Came {
    fn from(taken: bool) -> Self {
        if taken { Self::Taken } else { Self::Refused }
    }
}

/// A reader of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its `cargo fuzz` target, and of its folder in the corpus.
    pub name: &'static str,
    /// Takes any bytes; panics when something does not hold.
    pub take: fn(&[u8]) -> Came,
    /// The most bytes that it may allocate at once, whatever the input says.
    pub allocation_max: usize,
    /// Of a hundred of the plain test's cases, how many are this one's: what opens a database is slow.
    pub share: u32,
    /// Inputs to start from, with a name each.
    pub seeds: fn() -> Vec<(&'static str, Vec<u8>)>,
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "frames", take: frames::take, allocation_max: 1 << 20, share: 22, seeds: seeds::frames },
    Target { name: "datagrams", take: datagrams::take, allocation_max: 1 << 20, share: 22, seeds: seeds::datagrams },
    Target { name: "records", take: records::take, allocation_max: 8 << 20, share: 24, seeds: seeds::records },
    Target { name: "jobs", take: jobs::take, allocation_max: 4 << 20, share: 20, seeds: seeds::jobs },
    Target { name: "config", take: config::take, allocation_max: 1 << 20, share: 11, seeds: seeds::config },
    Target { name: "journal", take: journal::take, allocation_max: 64 << 20, share: 1, seeds: seeds::journal },
];

/// Gives `bytes` to the target called `name`.
///
/// # Panics
/// When something does not hold, or no target has that name.
pub fn take(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("there is no target {name}")).take)(bytes);
}
