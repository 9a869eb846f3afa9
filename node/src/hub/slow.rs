//! When a dispatcher's disk is so much slower than another voter's that the role had better move. Pure: the
//! store's counters and the others' figures go in, a node comes out.
//!
//! It never plays ping-pong: the other must be several times faster by its own account, the difference must
//! last, and who gave the role away for this reason does not do so again for a long while.

use relais_protocol::ids::NodeId;
use relais_protocol::time::Mono;

/// A sync that takes less is not slow, whatever the others' take.
const SLOW_US: u64 = 50_000;
/// The other's must be so many times faster.
const TIMES: u64 = 4;
/// Slow samples in a row, a second apart, before anything is done. One without a sync counts neither way.
const SAMPLES: u32 = 10;
/// After a decision there is none for so long.
const HOLD_OFF_MS: u64 = 300_000;

/// Watches the syncs of one node.
#[derive(Debug, Default)]
pub(super) struct SlowDisk {
    seen: (u64, u64),
    slow: u32,
    quiet_until: Mono,
}

impl SlowDisk {
    /// The mean of the syncs since the last call, in µs; `None` if there were none. Both counts only grow.
    pub(super) fn sample(&mut self, syncs: u64, total_us: u64) -> Option<u64> {
        let (syncs_before, us_before) = std::mem::replace(&mut self.seen, (syncs, total_us));
        total_us.saturating_sub(us_before).checked_div(syncs.saturating_sub(syncs_before))
    }

    /// The voter that the role should go to, if it should. `own` is the sample of the last second; `others` are
    /// voters that could take the role, with the times of their syncs (0: not known).
    pub(super) fn faster(
        &mut self,
        now: Mono,
        leads: bool,
        own: Option<u64>,
        others: &[(NodeId, u64)],
    ) -> Option<NodeId> {
        if !leads {
            self.slow = 0;
            return None;
        }
        let own = own?;
        let fastest = others.iter().filter(|(_, us)| *us > 0).min_by_key(|(_, us)| *us).copied();
        let Some((node, _)) = fastest.filter(|(_, us)| own >= SLOW_US && us.saturating_mul(TIMES) <= own) else {
            self.slow = 0;
            return None;
        };
        self.slow += 1;
        if self.slow < SAMPLES || now < self.quiet_until {
            return None;
        }
        self.slow = 0;
        self.quiet_until = now.plus(HOLD_OFF_MS);
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: [(NodeId, u64); 3] = [(NodeId(2), 2_000), (NodeId(3), 1_000), (NodeId(4), 0)];

    fn seconds(disk: &mut SlowDisk, from: u64, count: u64, own: Option<u64>) -> Vec<NodeId> {
        (from..from + count).filter_map(|s| disk.faster(Mono(s * 1_000), true, own, &OTHERS)).collect()
    }

    #[test]
    fn a_lasting_difference_moves_the_role_once_to_the_fastest() {
        let mut disk = SlowDisk::default();
        assert_eq!(seconds(&mut disk, 0, 9, Some(200_000)), []);
        assert_eq!(seconds(&mut disk, 9, 5, None), [], "a second without a sync says nothing");
        assert_eq!(seconds(&mut disk, 14, 1, Some(200_000)), [NodeId(3)]);
        assert_eq!(seconds(&mut disk, 15, 280, Some(200_000)), [], "the hold-off");
    }

    #[test]
    fn a_short_stall_a_small_difference_or_no_role_move_nothing() {
        let mut disk = SlowDisk::default();
        for start in 0..10 {
            assert_eq!(seconds(&mut disk, start * 10, 9, Some(200_000)), []);
            assert_eq!(seconds(&mut disk, start * 10 + 9, 1, Some(3_000)), []);
        }
        assert_eq!(seconds(&mut disk, 100, 50, Some(49_000)), []);
        let none = (0..50).filter_map(|s| disk.faster(Mono(s), true, Some(200_000), &[(NodeId(2), 60_000)])).count();
        assert_eq!(none, 0);
        let idle = (0..50).filter_map(|s| disk.faster(Mono(s), false, Some(200_000), &OTHERS)).count();
        assert_eq!(idle, 0);
    }

    #[test]
    fn a_sample_is_the_mean_since_the_last() {
        let mut disk = SlowDisk::default();
        assert_eq!(disk.sample(0, 0), None);
        assert_eq!(disk.sample(4, 800), Some(200));
        assert_eq!(disk.sample(4, 800), None);
        assert_eq!(disk.sample(5, 1_800), Some(1_000));
    }
}
