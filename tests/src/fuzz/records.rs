//! Values of the house codec: batches of records and the messages between nodes. A batch is applied as well.

use super::Came;
use relais_dispatcher::ledger::Ledger;
use relais_dispatcher::rows::MemoryRows;
use relais_node::hub::{JoinReply, JoinRequest};
use relais_protocol::codec;
use relais_protocol::ids::{ClusterId, Incarnation, Index, NodeId};
use relais_protocol::message::{
    CALL_BYTES_MAX, CONTROL_BYTES_MAX, Call, Control, ControlAnswer, Orders, OrdersAnswer, Reply, Report, ReportAnswer,
};
use relais_protocol::record::{BATCH_DECODE_CAP, Batch, NodeFacts, Outcomes, RULES, Record};
use relais_protocol::time::UnixMs;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The first byte says what the rest is.
pub(super) fn take(bytes: &[u8]) -> Came {
    let Some((kind, rest)) = bytes.split_first() else { return Came::Refused };
    Came::from(match kind % 11 {
        0 => batch(rest),
        1 => same_again::<Control>(rest, CONTROL_BYTES_MAX),
        2 => same_again::<ControlAnswer>(rest, CONTROL_BYTES_MAX),
        3 => same_again::<Orders>(rest, CALL_BYTES_MAX),
        4 => same_again::<OrdersAnswer>(rest, CALL_BYTES_MAX),
        5 => same_again::<Report>(rest, CALL_BYTES_MAX),
        6 => same_again::<ReportAnswer>(rest, CALL_BYTES_MAX),
        7 => same_again::<Call>(rest, CALL_BYTES_MAX),
        8 => same_again::<Reply>(rest, CALL_BYTES_MAX),
        9 => same_again::<Outcomes>(rest, CALL_BYTES_MAX),
        _ => same_again::<JoinRequest>(rest, CONTROL_BYTES_MAX) || same_again::<JoinReply>(rest, CONTROL_BYTES_MAX),
    })
}

/// Reads a value, writes it, and reads that: the second writing is the same as the first. Whether it could
/// be read.
fn same_again<T: Serialize + DeserializeOwned>(bytes: &[u8], cap: usize) -> bool {
    let Ok(value) = codec::decode::<T>(codec::FORMAT, bytes, cap) else { return false };
    let written = codec::encode(codec::FORMAT, &value);
    let again: T = codec::decode(codec::FORMAT, &written, cap).expect("what was written is read");
    assert_eq!(codec::encode(codec::FORMAT, &again), written, "written otherwise the second time");
    true
}

/// Applied twice to equal ledgers it comes to the same, in whose reign ever it was proposed.
fn batch(bytes: &[u8]) -> bool {
    if !same_again::<Batch>(bytes, BATCH_DECODE_CAP) {
        return false;
    }
    let Ok(mut batch) = codec::decode::<Batch>(codec::FORMAT, bytes, BATCH_DECODE_CAP) else { return false };
    let (mut one, mut other) = (ledger(), ledger());
    let effects = [one.apply(Index(2), bytes), other.apply(Index(2), bytes)];
    assert_eq!(effects[0].outcomes, effects[1].outcomes);
    (batch.generation, batch.epoch) = (one.reign().generation, one.reign().epoch);
    let effects = [one.apply_batch(Index(3), batch.clone()), other.apply_batch(Index(3), batch)];
    assert_eq!(effects[0].outcomes, effects[1].outcomes);
    assert_eq!(one.drain_changes(), other.drain_changes());
    true
}

/// One with a dispatcher and a worker.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(Arc::new(MemoryRows::default()));
    let facts = NodeFacts { name: "n1".to_owned(), slots: 2, ..NodeFacts::default() };
    let first = vec![
        Record::Found { cluster: ClusterId(9), name: "n1".to_owned() },
        Record::Promote { node: NodeId(1), incarnation: Incarnation(1) },
    ];
    for (index, records) in
        [first, vec![Record::NodeUp { node: NodeId(1), incarnation: Incarnation(1), facts: Box::new(facts) }]]
            .into_iter()
            .enumerate()
    {
        let reign = ledger.reign();
        let batch =
            Batch { rules: RULES, generation: reign.generation, epoch: reign.epoch, stamp: UnixMs(1_000), records };
        drop(ledger.apply_batch(Index(index as u64), batch));
    }
    ledger
}
