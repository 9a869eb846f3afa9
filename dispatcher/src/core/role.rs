//! Tests of the role: its begin and its end come by different ways, and in either order.

use super::*;
use crate::rows::MemoryRows;
use relais_protocol::ids::{Epoch, Generation};
use std::sync::Arc;

fn reign(epoch: u64) -> Reign {
    Reign { generation: Generation(0), epoch: Epoch(epoch) }
}

#[test]
fn the_late_end_of_an_old_reign_does_not_end_a_newer_one() {
    let ledger = Ledger::new(Arc::new(MemoryRows::default()));
    let mut core = Core::new(CoreConfig::default(), NodeId(1), Incarnation(1));
    let now = Now { mono: Mono(1), unix: UnixMs(1) };
    let promoted = |epoch, node| Event::Promoted {
        reign: reign(epoch),
        node: NodeId(node),
        incarnation: Incarnation(1),
        before: None,
    };
    // A slow disk lets three of them be applied at once; the election looks at them one after the other.
    let events = vec![promoted(3, 1), promoted(4, 2), promoted(5, 1)];
    core.handle(now, &ledger, Input::Applied(events));
    assert_eq!(core.reign(), Some(reign(5)));
    core.handle(now, &ledger, Input::Deposed(reign(4)));
    assert_eq!(core.reign(), Some(reign(5)), "that was the end of the third");
    core.handle(now, &ledger, Input::Deposed(reign(5)));
    assert_eq!(core.reign(), None);
}
