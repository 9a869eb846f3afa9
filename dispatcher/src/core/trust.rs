//! Whether the wall clock can be gone by. The shell compares it with the others' every second and tells; in
//! between, a clock that was set is noticed here, by its going apart from the monotonic one.
//!
//! A wrong clock fires no schedule, and its time is not stamped into anything: the ledger's time never goes
//! back, so a stamp an hour ahead would leave it an hour ahead for good.

use super::{Core, Now};
use crate::ledger::Ledger;
use relais_protocol::time::UnixMs;

/// What a wall clock may gain or lose on the monotonic one between two comparisons, in ms.
const SLACK_MS: u64 = 1_000;

/// What a comparison of wall clocks says of the one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockWord {
    /// Nobody was compared with yet.
    Unknown,
    /// It was right, read together with the monotonic clock as given here.
    Right(Now),
    /// It is off the median of the voters.
    Wrong,
}

/// What is known of the wall clock. Where nobody ever compares it, it is believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust(Option<ClockWord>);

impl Trust {
    /// Nothing is known; `compared` says whether that is going to change.
    pub(super) fn new(compared: bool) -> Self {
        Self(compared.then_some(ClockWord::Unknown))
    }

    /// A comparison was made, or is going to be.
    pub(super) fn hear(&mut self, word: ClockWord) {
        self.0 = Some(word);
    }

    /// Whether it can be gone by, to fire schedules and to stamp: only where it is known to be right. A node that
    /// has just started with a wrong clock can have the role before it was compared.
    pub(super) fn holds(&self, now: Now) -> bool {
        match self.0 {
            None => true,
            Some(ClockWord::Right(then)) => goes_along(then, now),
            Some(ClockWord::Unknown | ClockWord::Wrong) => false,
        }
    }
}

impl Core {
    /// The time for a batch: the wall clock, but never behind the ledger's own time. That one never goes
    /// back; so where the wall clock did, by an hour perhaps, the stamps go on from the ledger's time at the
    /// pace of the monotonic clock, and nothing that waits has to wait for the wall clock to come up. They go on
    /// so, too, while the wall clock is not known to be right, where it is compared at all.
    pub(super) fn stamp(&mut self, now: Now, ledger: &Ledger) -> UnixMs {
        if crate::planted::is_planted("stamp-of-the-wall-clock") {
            return now.unix;
        }
        let mut flown = self.flow.0.plus(now.mono.since(self.flow.1));
        if ledger.now() > flown {
            self.flow = (ledger.now(), now.mono);
            flown = ledger.now();
        }
        // Where there is no time yet, any clock will do. Before its reign a node can't tell: the ledger of one
        // that has just started stands at zero until its log is applied, so its `Promote` brings no time along.
        let is_first = ledger.now() == UnixMs(0) && self.reign.is_some();
        if self.trust.holds(now) || is_first {
            return now.unix.max(flown);
        }
        if ledger.now() == UnixMs(0) { UnixMs(0) } else { flown }
    }
}

/// Whether both clocks have gone on alike.
fn goes_along(then: Now, now: Now) -> bool {
    then.unix.plus(now.mono.since(then.mono)).0.abs_diff(now.unix.0) <= SLACK_MS
}
