//! Runs faults: as often as asked, each run by itself, a failed one noted and not the end of the others.

use super::calm::Calm;
use super::row::{Row, Tally};
use super::{Fault, find};
use crate::cluster;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::time::Instant;

/// How many times as long a promised time may take in the test run, where other tests run beside.
const STRETCH: u32 = 4;
/// No promised time is held to less than this in the test run.
const STRETCHED_MIN: Duration = Duration::from_secs(5);

/// Faults that are told by comparing times, clocks or disks, or that take from the whole machine what it has few of:
/// in the test run nothing else runs beside them.
const ALONE: [&str; 3] = ["F9", "F14", "F35"];

/// How often a run may be tried on a machine that stands still.
const TRIES: usize = 3;

/// One run of one variant of a fault.
#[derive(Debug)]
pub struct Run {
    /// Which run of the fault it is, from 0.
    pub number: usize,
    /// What it found out so far.
    pub tally: Tally,
    /// Chances taken in it; the same in each run of this number.
    pub random: StdRng,
    strict: bool,
}

impl Run {
    /// The run of a number; `strict` holds the cluster to the times of its design.
    #[must_use]
    pub fn new(number: usize, strict: bool) -> Self {
        Self { number, tally: Tally::default(), random: StdRng::seed_from_u64(number as u64), strict }
    }

    /// A figure, or what came of the run in words.
    pub fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        println!("  {text}");
        self.tally.notes.push(text);
    }

    /// It can't be tried here.
    pub fn skip(&mut self, why: impl Into<String>) {
        let why = why.into();
        println!("SKIPPED: {why}");
        self.tally.skipped = Some(why);
    }

    /// The time that something may take which is promised within `design`.
    #[must_use]
    pub fn bound(&self, design: Duration) -> Duration {
        if self.strict { design } else { (design * STRETCH).max(STRETCHED_MIN) }
    }

    /// Whether this is a run for the table, which has time for more.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.strict
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// One variant, and how it is to be run.
struct Turn<'a> {
    fault: &'a Fault,
    variant: &'static str,
    act: &'a dyn Fn(&mut Run),
    number: usize,
    strict: bool,
}

impl Turn<'_> {
    /// Runs it, and again if it failed on a machine that stood still; what is lost or doubled is never excused.
    fn take(&self, row: &mut Row) {
        for again in (0..TRIES).rev() {
            let calm = Calm::watch();
            let (tally, failure) = self.once();
            let disturbed = calm.end().filter(|_| failure.is_some());
            if let Some(why) = disturbed.filter(|_| again > 0 && tally.lost + tally.duplicates == 0) {
                println!("   AGAIN: it failed, and {why}");
                row.again(tally);
                continue;
            }
            row.add(self.variant, tally, failure);
            return;
        }
    }

    fn once(&self) -> (Tally, Option<String>) {
        let began = Instant::now();
        println!("── {} {}, {} run {}", self.fault.id, self.fault.title, self.variant, self.number + 1);
        let mut run = Run::new(self.number, self.strict);
        let ended = catch_unwind(AssertUnwindSafe(|| (self.act)(&mut run)));
        let failure = ended.err().map(|panic| words(panic.as_ref()));
        let tally = run.tally;
        println!(
            "   {}: acknowledged {}, lost {}, duplicates {}, worst gap {} ms, took {:.1} s",
            failure.as_deref().unwrap_or("as expected"),
            tally.acknowledged,
            tally.lost,
            tally.duplicates,
            tally.unavailable.as_millis(),
            began.elapsed().as_secs_f64()
        );
        (tally, failure)
    }
}

/// Runs a fault for the table: at least `runs` times, its variants in turn, each at least once.
#[must_use]
pub fn row(fault: &Fault, runs: usize) -> Row {
    let mut row = Row::of(fault);
    for number in 0..runs.max(fault.variants.len()) {
        let variant = &fault.variants[number % fault.variants.len()];
        let (variant, act) = (variant.name, &variant.run);
        Turn { fault, variant, act, number, strict: true }.take(&mut row);
    }
    row
}

/// Runs so many rounds of kill -9 in one run.
#[must_use]
pub fn rounds(count: usize) -> Row {
    let mut row = Row::of(&super::rounds::ROW);
    let act = &|run: &mut Run| super::rounds::rounds(run, count);
    Turn { fault: &super::rounds::ROW, variant: "", act, number: 0, strict: true }.take(&mut row);
    row
}

/// Runs the quick variants of a fault for the tests: once each, or `RELAIS_FAULT_RUNS` times.
///
/// # Panics
/// When something is not as expected.
pub fn short(id: &str) {
    let fault = find(id).unwrap_or_else(|| panic!("there is no fault {id}"));
    let runs = std::env::var("RELAIS_FAULT_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let _turn = (!ALONE.contains(&id)).then(cluster::Turn::beside);
    let mut row = Row::of(fault);
    for variant in fault.variants.iter().filter(|variant| variant.quick) {
        for number in 0..runs {
            let (variant, act) = (variant.name, &variant.run);
            Turn { fault, variant, act, number, strict: false }.take(&mut row);
        }
    }
    print!("{}", super::row::table(std::slice::from_ref(&row)));
    assert!(row.is_good(), "{id}: {}", row.failures().join("\n"));
}
