//! Tests of two histories that hear each other.

use super::*;
use relais_protocol::ids::Generation;

/// The survivor of a pair starts again while the other side of the split still dispatches its own, lower
/// history: it does not wait for that one, which gives way only once it hears of this one.
#[test]
fn who_dispatches_a_lower_history_keeps_nobody_from_going_on() {
    let mut survivor = Election::new(ElectionConfig::default(), NodeId(2), 2, Mono(0));
    let lower = Reign { generation: Generation(1), epoch: Epoch(9) };
    let beat = Beat {
        from: NodeId(1),
        incarnation: Incarnation(1),
        reign: lower,
        dispatcher: true,
        goodbye: false,
        voter: true,
        ready: true,
        last_log: LogPosition { term: 4, index: 90 },
        hears: Some(NodeId(1)),
    };
    // It hears of the other before its own journal is open.
    survivor.handle(Mono(10), Input::Beat(beat.clone()));
    let last_log = LogPosition { term: 5, index: 80 };
    let view =
        JournalView { voters: [NodeId(2)].into(), last_log, term: 5, history: Generation(2), ..JournalView::default() };
    survivor.handle(Mono(20), Input::Journal(view));
    let stands = (30..600).step_by(10).any(|now| {
        let heard = survivor.handle(Mono(now), Input::Beat(beat.clone()));
        let ticked = survivor.handle(Mono(now + 5), Input::Tick);
        heard.contains(&Effect::Stand) || ticked.contains(&Effect::Stand)
    });
    assert!(stands, "it waits for who dispatches a lower history");
}
