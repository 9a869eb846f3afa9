//! How fast the gossip goes. Tuned for seconds and for 1 to some hundred nodes: among many it goes slower, since
//! what is told by all to all costs each node more, the more there are.

use super::wire::PACKET_BYTES_MAX;
use foca::{Config, PeriodicParams};
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// How often nodes that are known and not up are greeted again, in milliseconds.
pub(super) const GREET_EVERY_MS: u64 = 2_000;
/// How many are greeted in such a round.
pub(super) const GREET_ROUND: usize = 3;
/// How many are greeted at once when the caller names them; gossip brings the rest.
pub(super) const GREET_FIRST: usize = 5;
/// Having heard nobody for so long, a node greets those that it believes to be up, too.
pub(super) const ALONE_AFTER_MS: u64 = 3_000;
/// The least time between two tellings of one's own figures.
pub(super) const VITALS_EVERY_MS: u64 = 1_000;
/// What each member adds to that time, so that the traffic of a large cluster does not grow squared.
pub(super) const VITALS_PER_MEMBER_MS: u64 = 80;
/// The least time between two returns from a verdict of being down. Two processes under one id would
/// else declare each other down at the speed of the network.
pub(super) const REJOIN_EVERY_MS: u64 = 500;
/// How often a goodbye is told, each time to three members, since a datagram can be lost.
pub(super) const GOODBYES: usize = 3;

/// From so many members on the gossip goes slower, and below the second number fast again.
const WIDE: u64 = 16;
const NARROW: u64 = 12;

/// Whether so many members are many; `was` says what they were before.
pub(super) fn is_wide(members: u64, was: bool) -> bool {
    members >= if was { NARROW } else { WIDE }
}

/// The settings of the library, among many members or among few.
pub(super) fn config(is_wide: bool) -> Config {
    // A suspicion, and its refutation, take a few rounds to come to all.
    let (probe_ms, gossip_ms, down_after_ms) = if is_wide { (6_000, 4_000, 20_000) } else { (600, 300, 2_500) };
    let every =
        |ms, members| Some(PeriodicParams { frequency: Duration::from_millis(ms), num_members: count(members) });
    Config {
        probe_period: Duration::from_millis(probe_ms),
        probe_rtt: Duration::from_millis(probe_ms / 3),
        num_indirect_probes: count(3),
        max_transmissions: NonZeroU8::new(8).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: Duration::from_millis(down_after_ms),
        remove_down_after: Some(Duration::from_secs(3_600)),
        max_packet_size: count(PACKET_BYTES_MAX),
        notify_down_members: true,
        periodic_announce: every(15_000, 1),
        // Greetings are our own: the library greets nobody while it believes itself alone.
        periodic_announce_to_down_members: None,
        periodic_gossip: every(gossip_ms, 3),
    }
}

fn count(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}
