//! Questions and gossip between two nodes that only work. They hold no link to each other: in a cluster of many
//! workers the links of all to all would cost more than the jobs. A voter, which is linked to everybody, passes
//! them on. It passes on what people ask for and gossip; the journal, orders, reports and the election are
//! between nodes that are linked, and nothing is passed on twice.

use super::Hub;
use crate::net::{CallError, Net, Purpose};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use relais_protocol::ids::NodeId;
use std::time::Duration;

/// In front of a question that is passed on: for whom, of which purpose, and how many ms its answer may take.
const HEAD_BYTES: usize = 4 + 1 + 4;

impl Hub {
    /// Asks a node, through another one if there is no link to it.
    pub(super) async fn reach(
        &self,
        to: NodeId,
        purpose: Purpose,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        let net = self.net().ok_or(CallError::NotConnected(to))?;
        let Some(by) = self.go_between(&net, to).filter(|_| is_passed_on(purpose)) else {
            return net.call(to, purpose, request, limit).await;
        };
        let mut framed = BytesMut::with_capacity(HEAD_BYTES + request.len());
        framed.put_u32(to.0);
        framed.put_u8(purpose as u8);
        framed.put_u32(u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
        framed.put(request);
        net.call(by, Purpose::Relay, framed.freeze(), limit).await
    }

    /// Which voter passes on to `to`; nobody if it is linked. A new voter, too, is not linked to all at once.
    pub(super) fn go_between(&self, net: &Net, to: NodeId) -> Option<NodeId> {
        if net.is_connected(to) {
            return None;
        }
        let view = self.pulse.view();
        let voters = view.voters.iter().copied().filter(|node| *node != to && *node != self.me.node);
        let linked: Vec<NodeId> = voters.filter(|node| net.is_connected(*node)).collect();
        // The same way each time, and each voter has a part of them.
        linked.get(to.0 as usize % linked.len().max(1)).copied()
    }

    /// Passes a question on.
    pub(super) async fn on_relay(&self, mut framed: Bytes) -> Result<Bytes, String> {
        if framed.len() < HEAD_BYTES {
            return Err("a question to be passed on, without its head".to_owned());
        }
        let (to, purpose, limit) = (NodeId(framed.get_u32()), framed.get_u8(), framed.get_u32());
        let purpose = Purpose::from_byte(purpose).filter(|purpose| is_passed_on(*purpose));
        let purpose = purpose.ok_or_else(|| "this is not passed on".to_owned())?;
        let net = self.net().ok_or_else(|| "the transport has not started".to_owned())?;
        let answer = net.call(to, purpose, framed, Duration::from_millis(u64::from(limit))).await;
        answer.map_err(|error| error.to_string())
    }

    /// Passes gossip on, as it came.
    pub(super) fn pass_datagram(&self, to: NodeId, datagram: Bytes) {
        if let Some(net) = self.net() {
            net.send_datagram(to, datagram);
        }
    }
}

fn is_passed_on(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Api | Purpose::Output)
}
