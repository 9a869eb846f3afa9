//! The journal's way to its peers: calls over the transport, under both raft ids.

use super::Hub;
use crate::net::Purpose;
use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use relais_dispatcher::journal::{JournalStatus, Link, LinkError};
use relais_protocol::ids::{Generation, RaftId};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Openraft has its own limits; this one only keeps a call from living for ever.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// Both raft ids, and the history of who asks, stand in front of a request.
const HEAD_BYTES: usize = 24;

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
            let mut framed = BytesMut::with_capacity(HEAD_BYTES + request.len());
            framed.put_u64(to.0);
            framed.put_u64(hub.raft().0);
            framed.put_u64(hub.history.follows().0);
            framed.put(request);
            let answer = net.call(to.node(), Purpose::Journal, framed.freeze(), CALL_LIMIT).await;
            answer.map_err(|error| LinkError(error.to_string()))
        }
        .boxed()
    }
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
        let (to, sender, history) = (id(0), id(8), Generation(id(16).0));
        let journal = self.journal().ok_or_else(|| "the journal has not started".to_owned())?;
        let own = self.raft();
        if to != own || sender.node() != from {
            return Err(format!("this journal is {own}, the request of {sender} is for {to}"));
        }
        if history > self.history.follows() && is_pristine(&journal.status().borrow()) {
            self.follow_history(history)?;
        }
        let follows = self.history.follows();
        if history != follows {
            return Err(format!("this journal follows history {follows}, the request of {sender} is of {history}"));
        }
        self.pulse.journal_heard(from);
        Ok(journal.handle_rpc(sender, request).await)
    }
}

/// Whether nothing was ever written into a journal: it is free to follow any history.
pub(super) fn is_pristine(status: &JournalStatus) -> bool {
    status.last_log.is_none() && status.applied.is_none() && status.voters.is_empty()
}
