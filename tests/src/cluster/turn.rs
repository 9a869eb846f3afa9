//! Whose turn it is: clusters of one test process share the machine's few cores. One has them for itself, unless
//! its test has said that it mostly waits: two such run beside one another, never more.
//!
//! Turns are taken in the order in which they are asked for, so that who wants the machine alone gets it.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Clusters that may run beside one another.
const SEATS: usize = 2;

struct Seats {
    free: usize,
    /// The number that the next one draws, and the one whose turn is next.
    drawn: u64,
    served: u64,
}

static STATE: Mutex<Seats> = Mutex::new(Seats { free: SEATS, drawn: 0, served: 0 });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// Whether the test on this thread has a turn, which its clusters need not wait for.
    static SEATED: Cell<bool> = const { Cell::new(false) };
}

/// A turn, until dropped.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Turn {
    seats: usize,
    /// Whether it is the thread's: all clusters that the thread starts are part of it.
    is_threads: bool,
}

impl Turn {
    /// The turn of a test that mostly waits: another such may run beside. For all clusters that this thread starts
    /// until it ends.
    pub fn beside() -> Self {
        let turn = Self::take(1, true);
        SEATED.set(true);
        turn
    }

    /// The turn of a cluster whose test has not said anything: nothing runs beside. `None` where the thread has one.
    pub(super) fn alone() -> Option<Self> {
        (!SEATED.get()).then(|| Self::take(SEATS, false))
    }

    fn take(seats: usize, is_threads: bool) -> Self {
        let mut state = state();
        let number = state.drawn;
        state.drawn += 1;
        while state.served != number || state.free < seats {
            state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.served += 1;
        state.free -= seats;
        CHANGED.notify_all();
        Self { seats, is_threads }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_threads {
            SEATED.set(false);
        }
        state().free += self.seats;
        CHANGED.notify_all();
    }
}

/// A failed test leaves it poisoned; the next one does not care.
fn state() -> MutexGuard<'static, Seats> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn two_that_wait_run_beside_one_another_and_who_is_alone_is_alone() {
        let (waiting, most, alone) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let met = std::sync::Barrier::new(SEATS);
        std::thread::scope(|scope| {
            for _ in 0..2 * SEATS {
                scope.spawn(|| {
                    let _turn = Turn::beside();
                    assert!(Turn::alone().is_none(), "its clusters need no other");
                    most.fetch_max(1 + waiting.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                    assert_eq!(alone.load(Ordering::SeqCst), 0);
                    waiting.fetch_sub(1, Ordering::SeqCst);
                });
                scope.spawn(|| {
                    let _turn = Turn::alone().expect("this thread has none");
                    assert_eq!(alone.fetch_add(1, Ordering::SeqCst), 0);
                    assert_eq!(waiting.load(Ordering::SeqCst), 0);
                    alone.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= SEATS);
        // Both have to be there at once to come past the barrier.
        std::thread::scope(|scope| {
            for _ in 0..SEATS {
                scope.spawn(|| {
                    let _turn = Turn::beside();
                    met.wait();
                });
            }
        });
    }
}
