//! Requests that a node without a ledger passes on: it has just joined, or begins its journal anew. It picks
//! who answers; what is answered is the HTTP API's own affair. A node without a ledger passes nothing on for
//! another one, so that no request goes in circles.

use super::Hub;
use super::calls::{HELD, PAUSE};
use crate::backend::NotFresh;
use futures::future::BoxFuture;
use relais_protocol::ids::NodeId;
use relais_protocol::message::{Call, Reply};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The longest wait that a read may ask for, and the time for its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(610);

/// An answer: status, content type, body.
pub(super) type Passed = (u16, String, Vec<u8>);
/// Answers a request (method, target, body) as the HTTP API of this node would.
pub type Front = Box<dyn Fn(String, String, Vec<u8>) -> BoxFuture<'static, Passed> + Send + Sync>;

impl Hub {
    /// The HTTP API is there.
    pub fn set_front(&self, front: Front) {
        let _ = self.front.set(front);
    }

    /// Has another node answer a request: the dispatcher, or whoever can. A node that has just started is
    /// connected to none yet, so the request is held a while.
    pub(super) async fn pass_on_anywhere(
        self: Arc<Self>,
        method: String,
        target: String,
        body: Vec<u8>,
    ) -> Result<Passed, NotFresh> {
        let call = Call::Http { method, target, body };
        let deadline = Instant::now() + HELD;
        loop {
            for node in self.others() {
                if let Some(Reply::Http { status, content_type, body }) = self.call(node, &call, ANSWER_LIMIT).await {
                    return Ok((status, content_type, body));
                }
            }
            if Instant::now() >= deadline {
                return Err(NotFresh(self.why_no_dispatcher()));
            }
            sleep(PAUSE).await;
        }
    }

    /// All other nodes that are known here, the dispatcher first.
    fn others(&self) -> Vec<NodeId> {
        let dispatcher = self.pulse.view().dispatcher;
        let known: Vec<NodeId> = self.addresses.read().keys().copied().collect();
        let rest = known.into_iter().filter(|node| Some(*node) != dispatcher);
        dispatcher.into_iter().chain(rest).filter(|node| *node != self.me.node).collect()
    }

    /// Answers what another node passed on.
    pub(super) async fn answer_here(&self, method: String, target: String, body: Vec<u8>) -> Reply {
        let front = self.front.get().filter(|_| self.ledger_is_here());
        let Some(front) = front else { return Reply::Failed("this node has no ledger either".to_owned()) };
        let (status, content_type, body) = front(method, target, body).await;
        Reply::Http { status, content_type, body }
    }
}
