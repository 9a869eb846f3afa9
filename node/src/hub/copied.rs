//! A data directory that was taken for the original by force, while the original still runs: others then say
//! so, for as long as the original answers them. This process must end, since two of them would vote twice
//! under one id. It refuses to end for a moment's doubt: an original that has just died is missed only after
//! the idle time-out.

use super::Hub;
use parking_lot::Mutex;
use relais_protocol::ids::NodeId;
use relais_protocol::time::Mono;

/// An original that answers for so long after this node was told lives, in ms.
const LIVES_MS: u64 = 4_000;
/// Not told again for so long, it is told anew, in ms.
const FORGOTTEN_MS: u64 = 2_500;

/// Since when others say that the original lives.
#[derive(Debug, Default)]
pub struct Copied(Mutex<Option<Span>>);

#[derive(Clone, Copy, Debug)]
struct Span {
    since: Mono,
    last: Mono,
}

impl Copied {
    /// Takes note that somebody said so; whether it has been said for long enough.
    fn told(&self, now: Mono) -> bool {
        let mut span = self.0.lock();
        let since = span.filter(|span| now.since(span.last) < FORGOTTEN_MS).map_or(now, |span| span.since);
        *span = Some(Span { since, last: now });
        now.since(since) >= LIVES_MS
    }
}

impl Hub {
    /// `by` says that another process with this node's identity is connected. Only who was started as a moved
    /// copy gives way; the original, told the same by who met the copy first, stays.
    pub(super) fn told_copied(&self, by: NodeId, reason: &str) {
        let view = self.pulse.view();
        // Between two nodes that only work an end goes unnoticed for longer: voters judge.
        let is_judge = !view.looks_on() || view.voters.contains(&by);
        if !self.is_moved || !is_judge || !self.copied.told(self.clock.mono()) {
            return;
        }
        let name = self.name_of(by).unwrap_or_else(|| by.to_string());
        crate::run::refuse_copy(&format!(
            "the original of the data directory {} still runs, says node `{name}` ({reason}); stop the original for \
             good first, or use an empty --data-dir and join as a new node",
            self.folders.path().display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_original_lives_when_it_is_said_so_again_and_again() {
        let copied = Copied::default();
        let told = |at: u64| copied.told(Mono(at));
        assert!(!told(0) && !told(1_000) && !told(3_000), "it may have died just now");
        assert!(told(4_500));
        assert!(!told(9_000), "that was another time");
        assert!(!told(11_000) && told(13_000));
    }
}
