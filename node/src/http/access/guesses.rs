//! How often an address showed a wrong token lately. A bounded table: an attacker with many addresses
//! costs no memory, only the oldest rows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Wrong tokens an address may show in a window before it is told to wait.
const WRONG_MAX: u32 = 10;
/// The window.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered.
const ADDRESSES_MAX: usize = 4_096;

/// The table.
#[derive(Default)]
pub(in crate::http) struct Guesses {
    rows: HashMap<IpAddr, Row>,
    logged_at: Option<Instant>,
    unlogged: u32,
}

struct Row {
    since: Instant,
    wrong: u32,
}

/// What follows one wrong token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Seconds that the address must wait, when it has shown too many.
    pub(super) retry_after_s: Option<u64>,
    /// Wrong tokens to be logged now; at most one line a minute, however many come.
    pub(super) to_log: Option<u32>,
}

impl Guesses {
    /// Counts a wrong token of `peer`.
    pub(super) fn wrong(&mut self, peer: IpAddr, now: Instant) -> Verdict {
        self.make_room(peer, now);
        let row = self.rows.entry(peer).or_insert(Row { since: now, wrong: 0 });
        if now.duration_since(row.since) >= WINDOW {
            *row = Row { since: now, wrong: 0 };
        }
        row.wrong = row.wrong.saturating_add(1);
        let left = WINDOW.saturating_sub(now.duration_since(row.since));
        let retry_after_s = (row.wrong > WRONG_MAX).then(|| left.as_secs() + 1);
        Verdict { retry_after_s, to_log: self.log_due(now) }
    }

    fn log_due(&mut self, now: Instant) -> Option<u32> {
        self.unlogged = self.unlogged.saturating_add(1);
        if self.logged_at.is_some_and(|at| now.duration_since(at) < WINDOW) {
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }

    fn make_room(&mut self, peer: IpAddr, now: Instant) {
        if self.rows.len() < ADDRESSES_MAX || self.rows.contains_key(&peer) {
            return;
        }
        self.rows.retain(|_, row| now.duration_since(row.since) < WINDOW);
        if self.rows.len() >= ADDRESSES_MAX
            && let Some(oldest) = self.rows.iter().min_by_key(|(_, row)| row.since).map(|(peer, _)| *peer)
        {
            self.rows.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn ten_a_minute_then_wait() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..10 {
            assert_eq!(guesses.wrong(one, start).retry_after_s, None);
        }
        assert_eq!(guesses.wrong(one, start), Verdict { retry_after_s: Some(61), to_log: None });
        assert_eq!(guesses.wrong(other, start).retry_after_s, None);
        let later = guesses.wrong(one, start + WINDOW);
        assert_eq!(later, Verdict { retry_after_s: None, to_log: Some(12) });
    }

    #[tokio::test]
    async fn the_table_is_bounded() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..ADDRESSES_MAX as u32 + 50 {
            guesses.wrong(Ipv4Addr::from(n).into(), now + Duration::from_micros(n.into()));
        }
        assert_eq!(guesses.rows.len(), ADDRESSES_MAX);
    }
}
