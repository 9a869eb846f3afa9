//! Wall clocks, compared: each node asks the others for the time, and tells people whose clock is wrong.
//!
//! ```text
//!   own time at the question ──┐            ┌── theirs
//!                              ▼            ▼
//!   offset = theirs − (own at the question + half of the round trip)
//! ```
//!
//! With three clocks or more, a wrong one is one that is off the median, of the voters' where there are three
//! of them; of two nobody can tell which is wrong, and the other's row says that they differ. Leases and
//! elections count on the monotonic clock. But stamps and schedules go by the wall clock: the dispatcher's core
//! is told after each comparison what to think of it, and a node whose clock is off is limited, so that it
//! hands the role over and is not elected.

use super::Hub;
use crate::net::Purpose;
use bytes::Bytes;
use parking_lot::Mutex;
use relais_dispatcher::core::{ClockWord, Input, Now};
use relais_protocol::codec;
use relais_protocol::ids::NodeId;
use relais_protocol::message::{CONTROL_BYTES_MAX, Control, ControlAnswer};
use relais_protocol::time::{Mono, UnixMs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the others are asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The voters are asked so often, and of the other nodes so many: of many nodes each has its turn.
const OTHERS_AT_ONCE: usize = 4;
/// Who does not vote asks at every so many times only: it judges nobody but itself.
const ONLOOKER_ROUNDS: u64 = 5;
/// How long an answer may take; a slower one says little.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// A clock that is off by more than this is wrong.
const SKEW_MAX_MS: u64 = 2_000;
/// For how long an answer is believed, beside the time until the next turn.
const BELIEVED_MS: u64 = 10_000;
/// How often a wrong clock is logged.
const LOG_EVERY_MS: u64 = 60_000;

/// How a clock was found to be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skew {
    /// How far ahead it is, in ms; negative when it is behind.
    pub(super) ahead_ms: i64,
    /// Whether that is against the median of three clocks or more, or only against the one other.
    pub(super) is_median: bool,
}

/// What is known of the others' clocks.
#[derive(Debug, Default)]
pub struct Clocks {
    /// By node: how far its wall clock is ahead of the monotonic clock here, in ms, and when that was measured.
    /// So it stays true when the wall clock here is set.
    offsets: Mutex<BTreeMap<NodeId, (i64, Mono)>>,
    logged: Mutex<BTreeMap<NodeId, Mono>>,
    /// How long it takes until all have had their turn, in ms.
    turn_ms: AtomicU64,
}

impl Skew {
    fn words(self) -> String {
        let seconds = self.ahead_ms.unsigned_abs() as f64 / 1e3;
        let way = if self.ahead_ms < 0 { "behind" } else { "ahead of" };
        let whom = if self.is_median { "the cluster's median" } else { "the other node's" };
        format!(
            "its clock is {seconds:.1} s {way} {whom}; set it right, by NTP for instance: stamps and schedules go by it"
        )
    }
}

/// Which clocks are wrong, given how far ahead of this node's own each other one is.
fn wrong(me: NodeId, offsets: &BTreeMap<NodeId, i64>, voters: &BTreeSet<NodeId>) -> BTreeMap<NodeId, Skew> {
    let mut all: Vec<(NodeId, i64)> = offsets.iter().map(|(node, ahead)| (*node, *ahead)).collect();
    let is_median = all.len() >= 2;
    if is_median {
        all.push((me, 0));
    }
    let of_voters: Vec<i64> = all.iter().filter(|(node, _)| voters.contains(node)).map(|(_, ahead)| *ahead).collect();
    let of_all = all.iter().map(|(_, ahead)| *ahead).collect();
    let mut sorted = if of_voters.len() >= 3 { of_voters } else { of_all };
    sorted.sort_unstable();
    // Of an even number the lower of the two in the middle: all nodes then agree on it.
    let median = if is_median { sorted[(sorted.len() - 1) / 2] } else { 0 };
    let skews = all.into_iter().map(|(node, ahead)| (node, Skew { ahead_ms: ahead - median, is_median }));
    skews.filter(|(_, skew)| skew.ahead_ms.unsigned_abs() > SKEW_MAX_MS).collect()
}

/// What the dispatcher's core is to think of the clock here; `None` when nothing new can be said. A majority
/// of the voters that all agree with it are enough to call it right, but it takes three to call it wrong.
fn word(me: NodeId, now: Now, offsets: &BTreeMap<NodeId, i64>, voters: &BTreeSet<NodeId>) -> Option<ClockWord> {
    if voters.is_empty() {
        return None;
    }
    if voters.len() < 3 {
        return Some(ClockWord::Right(now));
    }
    let known = offsets.iter().filter(|(node, _)| voters.contains(node));
    let known: BTreeMap<NodeId, i64> = known.map(|(node, ahead)| (*node, *ahead)).collect();
    let compared = known.len() + usize::from(voters.contains(&me));
    if compared * 2 <= voters.len() {
        return None;
    }
    if known.values().all(|ahead| ahead.unsigned_abs() <= SKEW_MAX_MS) {
        return Some(ClockWord::Right(now));
    }
    if compared < 3 {
        return None;
    }
    let is_wrong = wrong(me, &known, voters).contains_key(&me);
    Some(if is_wrong { ClockWord::Wrong } else { ClockWord::Right(now) })
}

/// How far the wall clock is ahead of the monotonic one.
fn lead(now: Now) -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(now.unix.0) - signed(now.mono.0)
}

impl Clocks {
    fn note(&self, node: NodeId, ahead_ms: i64, asked: Now) {
        self.offsets.lock().insert(node, (ahead_ms.saturating_add(lead(asked)), asked.mono));
    }

    /// How far ahead of the clock here the others are.
    fn offsets(&self, now: Now) -> BTreeMap<NodeId, i64> {
        let mut offsets = self.offsets.lock();
        let believed_ms = BELIEVED_MS + self.turn_ms.load(Ordering::Relaxed);
        offsets.retain(|_, (_, at)| now.mono.since(*at) < believed_ms);
        offsets.iter().map(|(node, (ahead, _))| (*node, ahead.saturating_sub(lead(now)))).collect()
    }

    /// Whether a wrong clock is to be logged now.
    fn is_due(&self, node: NodeId, now: Mono) -> bool {
        let mut logged = self.logged.lock();
        let due = logged.get(&node).is_none_or(|at| now.since(*at) >= LOG_EVERY_MS);
        if due {
            logged.insert(node, now);
        }
        due
    }
}

impl Hub {
    /// Compares wall clocks until the node is gone.
    pub async fn compare_clocks(self: Arc<Self>) {
        let mut asked_last = NodeId(0);
        for round in 0u64.. {
            self.turn(ASK_EVERY).await;
            if self.pulse.view().looks_on() && round % ONLOOKER_ROUNDS != 0 {
                continue;
            }
            let began = self.both_clocks();
            let asked = self.next_to_ask(&mut asked_last).into_iter().map(|node| self.ask_time(node));
            futures::future::join_all(asked).await;
            let voters = self.pulse.view().voters.clone();
            // What is said is said of the clock as it was before it was compared.
            if let Some(word) = word(self.me.node, began, &self.clocks.offsets(began), &voters) {
                self.desk.input(Input::Clock(word));
            }
            let now = self.clock.mono();
            for (node, skew) in self.skews() {
                if self.clocks.is_due(node, now) {
                    let name = self.name_of(node).unwrap_or_else(|| node.to_string());
                    tracing::warn!(node = %name, "a wall clock is wrong: {}", skew.words());
                }
            }
        }
    }

    /// All voters that are connected, and those of the others whose turn it is.
    fn next_to_ask(&self, last: &mut NodeId) -> Vec<NodeId> {
        let connected = self.net().map(|net| net.connected()).unwrap_or_default();
        let view = self.pulse.view();
        let (mut chosen, others): (Vec<_>, Vec<_>) = connected.into_iter().partition(|node| view.voters.contains(node));
        let rounds = if view.looks_on() { ONLOOKER_ROUNDS } else { 1 };
        let turns = others.len().div_ceil(OTHERS_AT_ONCE).saturating_sub(1) as u64;
        self.clocks.turn_ms.store(turns * rounds * ASK_EVERY.as_millis() as u64, Ordering::Relaxed);
        chosen.extend(in_turn(&others, last));
        chosen
    }

    async fn ask_time(&self, node: NodeId) {
        let Some(net) = self.net() else { return };
        let request = Bytes::from(codec::encode(codec::FORMAT, &Control::Time));
        let asked = self.both_clocks();
        let Ok(answer) = net.call(node, Purpose::Control, request, ASK_LIMIT).await else { return };
        let now = self.clock.mono();
        if let Ok(ControlAnswer::Time(theirs)) = codec::decode(codec::FORMAT, &answer, CONTROL_BYTES_MAX) {
            self.clocks.note(node, ahead(asked.unix, now.since(asked.mono), theirs), asked);
        }
    }

    fn both_clocks(&self) -> Now {
        Now { mono: self.clock.mono(), unix: self.clock.unix() }
    }

    fn skews(&self) -> BTreeMap<NodeId, Skew> {
        wrong(self.me.node, &self.clocks.offsets(self.both_clocks()), &self.pulse.view().voters)
    }

    /// What is wrong with the clock here, if it is off the median of at least three.
    pub(super) fn own_clock_wrong(&self) -> Option<String> {
        self.skews().remove(&self.me.node).filter(|skew| skew.is_median).map(Skew::words)
    }

    /// What is wrong with each clock, in words.
    pub(super) fn wrong_clocks(&self) -> BTreeMap<NodeId, String> {
        self.skews().into_iter().map(|(node, skew)| (node, skew.words())).collect()
    }
}

/// Those that come after `last`, and after the highest id the lowest; `last` is the last of them then.
fn in_turn(nodes: &[NodeId], last: &mut NodeId) -> Vec<NodeId> {
    let mut sorted = nodes.to_vec();
    sorted.sort_unstable();
    let first = sorted.partition_point(|node| node <= last);
    sorted.rotate_left(first);
    sorted.truncate(OTHERS_AT_ONCE);
    *last = sorted.last().copied().unwrap_or(*last);
    sorted
}

/// How far `theirs` was ahead of `own`, which was read when the question left.
fn ahead(own: UnixMs, round_trip_ms: u64, theirs: UnixMs) -> i64 {
    let own = own.plus(round_trip_ms / 2);
    let apart = i64::try_from(own.0.abs_diff(theirs.0)).unwrap_or(i64::MAX);
    if theirs < own { -apart } else { apart }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(me: u32, offsets: &[(u32, i64)]) -> Vec<(u32, i64)> {
        let offsets = offsets.iter().map(|(node, ahead)| (NodeId(*node), *ahead)).collect();
        wrong(NodeId(me), &offsets, &BTreeSet::new()).into_iter().map(|(node, skew)| (node.0, skew.ahead_ms)).collect()
    }

    #[test]
    fn the_odd_one_out_is_wrong_as_all_see_it() {
        assert_eq!(found(1, &[(2, 5), (3, 3_600_000)]), [(3, 3_599_995)]);
        assert_eq!(found(3, &[(1, -3_600_000), (2, -3_599_995)]), [(3, 3_599_995)]);
        assert_eq!(found(1, &[(2, 2_000), (3, -1_999)]), []);
        assert_eq!(found(1, &[(2, -2_500)]), [(2, -2_500)], "of two, the other one differs");
        assert_eq!(found(1, &[]), []);
    }

    fn at(mono: u64, unix: u64) -> Now {
        Now { mono: Mono(mono), unix: UnixMs(unix) }
    }

    #[test]
    fn of_many_nodes_the_voters_say_what_time_it_is() {
        let offsets = [(2, 0), (3, 0), (4, 9_000), (5, 9_000), (6, 9_000), (7, 9_000)];
        let offsets = offsets.map(|(node, ahead)| (NodeId(node), ahead)).into();
        let wrong = wrong(NodeId(1), &offsets, &[1, 2, 3].map(NodeId).into());
        assert_eq!(wrong.into_keys().collect::<Vec<_>>(), [4, 5, 6, 7].map(NodeId));
    }

    #[test]
    fn the_dispatcher_is_told_only_what_is_known() {
        let now = at(5, 50_000);
        let right = Some(ClockWord::Right(now));
        let told = |voters: &[u32], offsets: &[(u32, i64)]| {
            let offsets = offsets.iter().map(|(node, ahead)| (NodeId(*node), *ahead)).collect();
            word(NodeId(1), now, &offsets, &voters.iter().copied().map(NodeId).collect())
        };
        assert_eq!(told(&[], &[]), None);
        assert_eq!((told(&[1], &[]), told(&[1, 2], &[(2, 9_000)])), (right, right), "of two nobody can tell");
        assert_eq!(told(&[1, 2, 3], &[]), None, "nobody was asked yet");
        assert_eq!(told(&[1, 2, 3], &[(2, 100)]), right);
        assert_eq!(told(&[1, 2, 3], &[(2, 9_000)]), None, "the third will tell");
        assert_eq!(told(&[1, 2, 3], &[(2, 9_000), (3, 8_900)]), Some(ClockWord::Wrong));
        assert_eq!(told(&[1, 2, 3], &[(2, 9_000), (3, 10)]), right);
        assert_eq!(told(&[1, 2, 3], &[(2, 0), (9, 9_000), (8, 9_000)]), right, "only voters are asked");
        assert_eq!(told(&[2, 3, 4], &[(2, 9_000)]), None);
    }

    #[test]
    fn of_many_nodes_each_has_its_turn() {
        let nodes: Vec<NodeId> = [9, 2, 3, 5, 7, 4].map(NodeId).into();
        let mut last = NodeId(0);
        let mut next = || in_turn(&nodes, &mut last).into_iter().map(|node| node.0).collect::<Vec<_>>();
        assert_eq!([next(), next(), next()], [[2, 3, 4, 5], [7, 9, 2, 3], [4, 5, 7, 9]]);
        assert_eq!(in_turn(&[], &mut last), []);
        assert_eq!(in_turn(&nodes[..2], &mut NodeId(9)), [2, 9].map(NodeId));
    }

    #[test]
    fn half_of_the_round_trip_is_allowed_for() {
        assert_eq!(ahead(UnixMs(1_000), 100, UnixMs(1_050)), 0);
        assert_eq!(ahead(UnixMs(1_000), 100, UnixMs(950)), -100);
    }

    #[test]
    fn an_old_answer_is_not_believed_and_a_warning_not_repeated() {
        let clocks = Clocks::default();
        clocks.note(NodeId(2), 9_000, at(0, 50_000));
        assert_eq!(clocks.offsets(at(9_000, 59_000)), BTreeMap::from([(NodeId(2), 9_000)]));
        // The clock here is set meanwhile.
        assert_eq!(clocks.offsets(at(9_000, 69_000)), BTreeMap::from([(NodeId(2), -1_000)]));
        assert_eq!(clocks.offsets(at(10_000, 60_000)).len(), 0);
        assert!(clocks.is_due(NodeId(2), Mono(0)) && !clocks.is_due(NodeId(2), Mono(59_000)));
        assert!(clocks.is_due(NodeId(2), Mono(60_000)));
    }
}
