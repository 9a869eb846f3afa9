//! Why handshakes fail, counted always and logged once a minute per peer and reason.

use crate::clock::Clock;
use parking_lot::Mutex;
use quinn::{ConnectionError, TransportErrorCode};
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Why a handshake came to nothing, on this side or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A node that showed no certificate.
    NoCertificate,
    /// A certificate of another CA.
    WrongCa,
    /// A certificate that is over, or not valid yet.
    Expired,
    /// The certificate bears another node id than was claimed or dialled.
    OtherNode,
    /// A node of another cluster.
    OtherCluster,
    /// No protocol version in common.
    Version,
    /// Another process with the same identity is connected: a copied data directory.
    Copied,
    /// A better connection with the same process stands already.
    Duplicate,
    /// The dialler gave this attempt up, since another one came through.
    GivenUp,
    /// Nobody answered.
    NoAnswer,
    /// Too many at once, or too fast.
    Busy,
    /// Anything else: garbage, time-outs, broken hellos.
    Other,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "no_certificate",
            Self::WrongCa => "wrong_ca",
            Self::Expired => "expired",
            Self::OtherNode => "other_node",
            Self::OtherCluster => "other_cluster",
            Self::Version => "version",
            Self::Copied => "copied",
            Self::Duplicate => "duplicate",
            Self::GivenUp => "given_up",
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Other => "other",
        })
    }
}

impl Refusal {
    /// What a failed QUIC handshake amounts to.
    pub(super) fn of(error: &ConnectionError) -> Self {
        /// TLS alerts travel as QUIC error codes 0x100 to 0x1ff.
        const ALERTS: std::ops::Range<u64> = 0x100..0x200;
        let code = match error {
            ConnectionError::TransportError(e) => u64::from(e.code),
            ConnectionError::ConnectionClosed(e) if e.error_code == TransportErrorCode::APPLICATION_ERROR => {
                return Self::GivenUp;
            }
            ConnectionError::ConnectionClosed(e) => u64::from(e.error_code),
            ConnectionError::ApplicationClosed(_) => return Self::GivenUp,
            ConnectionError::TimedOut => return Self::NoAnswer,
            _ => return Self::Other,
        };
        let text = error.to_string();
        match code {
            code if code == u64::from(TransportErrorCode::CONNECTION_REFUSED) => Self::Busy,
            code if !ALERTS.contains(&code) => Self::Other,
            code if code & 0xff == 45 || text.contains("Expired") || text.contains("NotValidYet") => Self::Expired,
            code if matches!(code & 0xff, 48 | 51) => Self::WrongCa,
            code if code & 0xff == 116 => Self::NoCertificate,
            code if code & 0xff == 42 || text.contains("NotValidForName") => Self::OtherNode,
            _ => Self::Other,
        }
    }
}

const REPEAT_AFTER_MS: u64 = 60_000;
/// Strangers can come from any address; so many are remembered.
const REMEMBERED: usize = 512;

/// Counts refusals, and logs each once a minute per peer.
pub(super) struct RefusalLog {
    clock: Clock,
    counts: Mutex<BTreeMap<Refusal, u64>>,
    logged: Mutex<HashMap<(String, Refusal), Mono>>,
}

impl RefusalLog {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, counts: Mutex::default(), logged: Mutex::default() }
    }

    /// Counts a refusal; `peer` is a node or an address, `reason` names both sides where both are known.
    pub(super) fn note(&self, peer: impl fmt::Display, refusal: Refusal, reason: impl fmt::Display) {
        *self.counts.lock().entry(refusal).or_default() += 1;
        let expected = matches!(refusal, Refusal::Duplicate | Refusal::GivenUp);
        if !expected && self.is_due(peer.to_string(), refusal) {
            tracing::warn!(%peer, reason = %refusal, "no connection: {reason}");
        }
    }

    pub(super) fn counts(&self) -> BTreeMap<Refusal, u64> {
        self.counts.lock().clone()
    }

    fn is_due(&self, peer: String, refusal: Refusal) -> bool {
        let now = self.clock.mono();
        let mut logged = self.logged.lock();
        if logged.len() >= REMEMBERED {
            logged.retain(|_, at| now.since(*at) < REPEAT_AFTER_MS);
        }
        let last = logged.get(&(peer.clone(), refusal)).copied();
        let due = last.map_or(logged.len() < REMEMBERED, |at| now.since(at) >= REPEAT_AFTER_MS);
        if due {
            logged.insert((peer, refusal), now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_counted_always_and_logged_once() {
        let log = RefusalLog::new(Clock::new());
        assert!(log.is_due("a".into(), Refusal::Expired));
        assert!(!log.is_due("a".into(), Refusal::Expired));
        assert!(log.is_due("a".into(), Refusal::WrongCa) && log.is_due("b".into(), Refusal::Expired));
        for stranger in 0..10_000 {
            log.note(stranger, Refusal::Other, "garbage");
        }
        assert_eq!(log.counts()[&Refusal::Other], 10_000);
        assert!(log.logged.lock().len() <= REMEMBERED);
    }
}
