//! Waiting for a condition, with a deadline. Nothing here sleeps for a fixed time and hopes.

use std::time::Duration;
use tokio::time::Instant;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until there is something to see; `None` when the deadline is over before that.
pub fn look_for<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `look` sees something.
///
/// # Panics
/// When it does not within the limit.
pub fn until<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    look_for(limit, look).unwrap_or_else(|| panic!("waited {limit:?} in vain for: {what}"))
}

/// Checks for `time` that something stays as it is.
///
/// # Panics
/// With what `wrong` returns, as soon as it returns something.
pub fn stays(what: &str, time: Duration, mut wrong: impl FnMut() -> Option<String>) {
    if let Some(seen) = look_for(time, &mut wrong) {
        panic!("{what}: {seen}");
    }
}
