//! What happens to packets on one way between two nodes.

use std::time::Duration;

/// What happens to each packet, in this order: held, dropped, doubled, delayed.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Rule {
    /// Kept until it is let go.
    pub hold: bool,
    /// The share that is lost, from 0 to 1.
    pub drop: f64,
    /// The share that arrives twice, from 0 to 1.
    pub double: f64,
    /// How much later it arrives.
    pub delay: Duration,
    /// How much later still, at random; packets overtake each other.
    pub jitter: Duration,
}

impl Rule {
    /// Packets pass.
    #[must_use]
    pub fn pass() -> Self {
        Self::default()
    }

    /// Packets are lost.
    #[must_use]
    pub fn cut() -> Self {
        Self { drop: 1.0, ..Self::default() }
    }

    /// Packets are kept until they are let go.
    #[must_use]
    pub fn hold() -> Self {
        Self { hold: true, ..Self::default() }
    }

    /// Packets arrive later.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Some packets are lost.
    #[must_use]
    pub fn lossy(share: f64) -> Self {
        Self { drop: share, ..Self::default() }
    }
}
