//! The journal's way to its peers: calls over the transport, under both raft ids.

use super::Hub;
use crate::net::Purpose;
use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use relais_dispatcher::journal::{Link, LinkError};
use relais_protocol::ids::RaftId;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Openraft has its own limits; this one only keeps a call from living for ever.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// Both raft ids stand in front of a request.
const HEAD_BYTES: usize = 16;

/// [`Link`] over the transport.
pub struct JournalLink {
    hub: Weak<Hub>,
}

impl JournalLink {
    /// A link of this hub.
    #[must_use]
    pub fn new(hub: &Arc<Hub>) -> Arc<Self> {
        Arc::new(Self { hub: Arc::downgrade(hub) })
    }
}

impl Link for JournalLink {
    fn call(&self, to: RaftId, request: Bytes) -> BoxFuture<'static, Result<Bytes, LinkError>> {
        let hub = self.hub.upgrade();
        async move {
            let hub = hub.ok_or_else(|| LinkError("the node is stopping".to_owned()))?;
            let net = hub.net().ok_or_else(|| LinkError("the transport has not started".to_owned()))?;
            let answer = net.call(to.node(), Purpose::Journal, framed(hub.raft(), to, &request), CALL_LIMIT).await;
            answer.map_err(|error| LinkError(error.to_string()))
        }
        .boxed()
    }

    fn tell(&self, to: RaftId, request: Bytes) {
        let Some(hub) = self.hub.upgrade() else { return };
        if let Some(net) = hub.net() {
            // Lost, it is made good by whatever the journal says next.
            net.tell(to.node(), Purpose::Journal, framed(hub.raft(), to, &request));
        }
    }
}

/// A request of the journal `from` to the journal `to`.
fn framed(from: RaftId, to: RaftId, request: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(HEAD_BYTES + request.len());
    framed.put_u64(to.0);
    framed.put_u64(from.0);
    framed.put(request);
    framed.freeze()
}

impl Hub {
    /// Answers a peer's journal request; one that is meant for a journal that was put aside is refused.
    pub(super) async fn on_journal_call(
        &self,
        from: relais_protocol::ids::NodeId,
        mut framed: Bytes,
    ) -> Result<Bytes, String> {
        if framed.len() < HEAD_BYTES {
            return Err("a journal request without its raft ids".to_owned());
        }
        let request = framed.split_off(HEAD_BYTES);
        let id = |at: usize| framed[at..at + 8].try_into().map(u64::from_be_bytes).map(RaftId).unwrap_or_default();
        let (to, sender, own) = (id(0), id(8), self.raft());
        if to != own || sender.node() != from {
            return Err(format!("this journal is {own}, the request of {sender} is for {to}"));
        }
        self.pulse.journal_heard(from);
        let journal = self.journal().ok_or_else(|| "the journal has not started".to_owned())?;
        Ok(journal.handle_rpc(sender, request).await)
    }
}
