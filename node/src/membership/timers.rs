//! What the gossip library hands out while it is stepped: datagrams, and timers kept in the order of
//! their deadlines. Nothing here waits or reads a clock.

use super::peer::Peer;
use foca::{Notification, Timer};
use relais_protocol::ids::NodeId;
use relais_protocol::time::Mono;
use std::collections::BTreeMap;
use std::time::Duration;

/// Timers by deadline; those of one deadline in the order in which they were set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeMap<(Mono, u64), Timer<Peer>>,
    set: u64,
}

impl Timers {
    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<Mono> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the earliest timer if it is due.
    pub(super) fn due(&mut self, now: Mono) -> Option<Timer<Peer>> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    fn set(&mut self, at: Mono, timer: Timer<Peer>) {
        self.set += 1;
        self.queue.insert((at, self.set), timer);
    }
}

/// The outside world of one step.
pub(super) struct Step<'a> {
    /// The time of the step.
    pub(super) now: Mono,
    /// Where timers go.
    pub(super) timers: &'a mut Timers,
    /// Datagrams to send.
    pub(super) sends: Vec<(NodeId, Vec<u8>)>,
    /// Whether this node had to come back from a wrong verdict.
    pub(super) rejoined: bool,
}

impl foca::Runtime<Peer> for Step<'_> {
    fn notify(&mut self, notification: Notification<'_, Peer>) {
        // Members are compared before and after a step, since no notification tells of a suspicion.
        if matches!(notification, Notification::Rejoin(_)) {
            self.rejoined = true;
        }
    }

    fn send_to(&mut self, to: Peer, data: &[u8]) {
        self.sends.push((to.node, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Peer>, after: Duration) {
        let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.timers.set(self.now.plus(ms), event);
    }
}
