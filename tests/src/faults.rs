//! The faults that Relais must survive, each against real processes, each judged by the same checkers.
//!
//! ```text
//!   FAULTS ── Fault "F7" ── Variant "alone", "1|1|1" …  ── fn(&mut Run)
//!                                                           │ Scene: cluster + load + watch + marks
//!                                                           │ blow, wait, heal
//!                                                           ▼ Scene::close: checkers, tally, assertions
//!   table (program `faults`) ◄── Row ◄── run::rows ◄── Tally, or the panic of what was not as expected
//! ```
//!
//! Two ways to run them, both need the program `relais` beside (see [`crate::cluster::binary`]):
//! - `cargo test --release -p relais-tests --test faults`: one test a fault, one short run of each quick
//!   variant (`RELAIS_FAULT_RUNS=5` for more);
//! - `cargo run --release -p relais-tests --bin faults -- [F7 F8 …] [--runs 5]`: the table, at least that
//!   many runs a fault, its variants in turn; the program exits with 1 if a row fails. With `--rounds 300`
//!   instead: so many rounds of kill -9 of a random node or two, in one run.
//!
//! # How to add a fault
//! 1. A file in `faults/` (by noun: `kill.rs`, `partition.rs`), with one function `fn(&mut Run)` a variant.
//!    It makes a [`Scene`] (a cluster under the usual load), does harm, declares each node that it hit with
//!    [`Scene::hit`], waits for conditions, and ends with [`Scene::close`], which stops the load, waits until
//!    all jobs are over, runs all checkers, fills the tally and panics with what is wrong. What else the
//!    table of faults expects is an `assert!` of the function itself; [`Run::note`] adds a figure to the row.
//!    What can't be tried here (no root, no such kernel feature) is `run.skip("why")` and a return.
//! 2. A `pub const F7: Fault` in that file, and its name in [`FAULTS`].
//! 3. A `#[test]` in `tests/faults.rs` that calls [`run::short`]; `every_fault_has_a_test` fails without it.
//!
//! A time that the design promises is asked for with [`Run::bound`]: as it is in the table, stretched in the
//! test run, where other tests have the machine too. A run that fails while the machine itself stands still
//! (no thread runs for 250 ms, a sync takes a second) is made again, twice at most, and the row says so; what
//! is lost or doubled is never excused.

mod broken;
mod cable;
mod calm;
mod certificate;
mod clock;
pub mod damage;
mod format;
mod garbage;
mod kill;
mod limits;
mod lossy;
mod marks;
mod pair;
mod partition;
mod pause;
mod power;
mod record;
mod rolling;
mod rounds;
mod row;
pub mod run;
mod scene;
mod slow;
mod space;
mod twice;
mod watch;

pub use row::{Row, Tally, table};
pub use run::Run;
pub use scene::{Blow, Closed, Scene};

/// Something that breaks, and what is expected of it.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its number in the table of faults, like `F7`.
    pub id: &'static str,
    /// What breaks.
    pub title: &'static str,
    /// The ways in which it breaks; at least one.
    pub variants: &'static [Variant],
}

/// One way in which something breaks.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Its name in the row.
    pub name: &'static str,
    /// Whether the test run has time for it; the table always has.
    pub quick: bool,
    /// Does it once; panics when what is expected does not come about.
    pub run: fn(&mut Run),
}

impl Variant {
    /// One that the test run tries too.
    #[must_use]
    pub const fn quick(name: &'static str, run: fn(&mut Run)) -> Self {
        Self { name, quick: true, run }
    }

    /// One that only the table tries.
    #[must_use]
    pub const fn long(name: &'static str, run: fn(&mut Run)) -> Self {
        Self { name, quick: false, run }
    }
}

/// All faults, in the order of the table.
pub const FAULTS: &[Fault] = &[
    kill::F1,
    kill::F2,
    kill::F3,
    pause::F4,
    pause::F5,
    twice::F6,
    partition::F7,
    lossy::F8,
    clock::F9,
    space::F10,
    broken::F11,
    damage::F12,
    damage::F13,
    slow::F14,
    power::F15,
    rolling::F16,
    pair::F33,
    pair::F34,
    certificate::F18,
    garbage::F19,
    limits::F35,
    format::F36,
    rounds::ROW,
];

/// The fault of this number, upper or lower case.
#[must_use]
pub fn find(id: &str) -> Option<&'static Fault> {
    FAULTS.iter().find(|fault| fault.id.eq_ignore_ascii_case(id))
}
