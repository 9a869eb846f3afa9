//! How every journal of a world begins.

use super::log::{Entry, Load, Members};
use super::plan::Plan;
use relais_protocol::ids::{ClusterId, Epoch, Generation, NodeId, RaftId};
use relais_protocol::record::{Batch, Join, RULES, Record, Token, TokenRole};
use relais_protocol::time::UnixMs;
use std::sync::Arc;

/// The first entries of every journal: the founders vote, the cluster is founded, and all nodes are in it.
pub(super) fn beginning(plan: &Plan) -> Vec<Entry> {
    let voters = (1..=plan.founders).map(|id| RaftId::new(NodeId(id), 1)).collect();
    let token = Token {
        id: 1,
        name: "join".into(),
        role: TokenRole::Join,
        hash: [1; 32],
        created_at: UnixMs(0),
        expires_at: None,
    };
    let mut records =
        vec![Record::Found { cluster: ClusterId(1), name: "n1".into() }, Record::TokenMade(Box::new(token))];
    if plan.tie_break.is_some() {
        records.push(Record::Setting { key: "takeover".into(), value: "tiebreak:10.0.0.9:80".into() });
    }
    records.extend((2..=plan.nodes).map(|id| {
        Record::Join(Box::new(Join { name: format!("n{id}"), secret_hash: [1; 32], key_hash: [id as u8; 32] }))
    }));
    let batch = Batch { rules: RULES, generation: Generation(0), epoch: Epoch(0), stamp: UnixMs(0), records };
    let loads = [Load::Members(Arc::new(Members::new(voters))), Load::Batch(Arc::new(batch))];
    loads.into_iter().map(|load| Entry { term: 1, load }).collect()
}
