//! Progress: once faults have stopped there is a dispatcher within 5 s, and every runnable job ends.

use crate::history::History;

/// How long a healed cluster may be without a dispatcher, in ms.
const DISPATCHER_WITHIN_MS: u64 = 5_000;
/// How much of what is stuck is named.
const TOLD_MAX: usize = 8;

/// A cluster that did not recover, and in what.
#[must_use]
pub fn check(history: &History) -> Vec<String> {
    let Some(recovery) = &history.recovery else { return Vec::new() };
    let mut seen = Vec::new();
    match recovery.dispatcher {
        None => seen.push("there was no dispatcher after the last fault".to_owned()),
        Some(at) if at.0 > recovery.healed.0 + DISPATCHER_WITHIN_MS => {
            seen.push(format!("there was no dispatcher for {} ms after the last fault", at.0 - recovery.healed.0));
        }
        Some(_) => {}
    }
    if let Some(at) = recovery.gave_up {
        let waited = at.0 - recovery.healed.0;
        let told = recovery.stuck.iter().take(TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
        let more = recovery.stuck.len().saturating_sub(TOLD_MAX);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        seen.push(format!("after {waited} ms without a fault: {told}{more}"));
    }
    seen
}
