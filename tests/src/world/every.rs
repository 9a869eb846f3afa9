//! Groups of one job for each node that matches: some seeds have a few, for all nodes, for those of a zone, and for
//! those that bear a label which somebody gives and takes away meanwhile. They are asked for as arrays are.
//!
//! What they are is drawn from dice of their own: the other seeds are what they were without them.

use super::arrays::Wanted;
use super::bench::Script;
use super::dice::Dice;
use super::room::{TIER, TOP, ZONE, zone};
use relais_protocol::group::GroupSize;
use relais_protocol::ids::NodeId;
use relais_protocol::spec::{Concurrency, JobOptions, Labels, Requires, RetryPolicy};

/// Of all seeds, in how many there are some.
const SEEDS_PERCENT: u64 = 35;
/// Tells these dice from those of the rest.
const OWN_DICE: u64 = 0xe7e2_90de_5eed_0001;

/// Those of a seed.
pub(super) fn of_seed(seed: u64) -> Vec<Wanted> {
    let mut dice = Dice::new(seed.rotate_left(31) ^ OWN_DICE);
    if !dice.chance(SEEDS_PERCENT) {
        return Vec::new();
    }
    let count = dice.range(1, 3);
    (0..count).map(|_| any_wanted(&mut dice)).collect()
}

fn any_wanted(dice: &mut Dice) -> Wanted {
    let label = match dice.range(0, 3) {
        0 => None,
        1 => Some((ZONE, zone(NodeId(1)))),
        _ => Some((TIER, TOP)),
    };
    let labels: Labels = label.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let retry = RetryPolicy { max_attempts: 3, initial_interval_ms: 100, max_lost: 20, ..RetryPolicy::default() };
    let mut options =
        JobOptions { retry, requires: Requires { labels, ..Requires::default() }, ..JobOptions::default() };
    let fails = if dice.chance(20) { dice.range(1, 3) } else { 0 };
    let mut script = Script { ms: dice.range(5, 900), fails, lag: 5, ..Script::default() };
    // One node after the other, as an upgrade is done: such a group goes on for long after its first members ended.
    if dice.chance(35) {
        script = Script { ms: dice.range(1_500, 3_500), fails: 0, ..script };
        options.concurrency = Some(Concurrency { key: format!("rolling-{}", dice.next()), limit: 1 });
    }
    let window = dice.range(1, 4) as u32;
    let cancel_after = dice.chance(10).then(|| dice.range(0, 3_000));
    Wanted::group(dice, (script, options), GroupSize::EveryNode, window, cancel_after)
}
