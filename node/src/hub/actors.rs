//! How the node's actors and threads are: what waits for each, when it last had its turn, how often it was started
//! again. Read where they keep it anyway; nobody is asked, so one that hangs can't hold up the answer.

use super::Hub;
use crate::backend::ActorState;
use relais_protocol::ids::NodeId;
use relais_protocol::message::{Call, Reply};
use relais_protocol::time::Mono;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long another node may take to say it: it may be the one that hangs.
const ACTORS_LIMIT: Duration = Duration::from_millis(500);

impl Hub {
    /// All of them, always in this order.
    pub(super) fn actors(&self) -> Vec<ActorState> {
        let now = self.clock.mono();
        let turned = |at: Mono| Some(now.since(at));
        let actor = |name: &str, depth: u64, idle_ms: Option<u64>| ActorState {
            name: name.to_owned(),
            depth,
            idle_ms,
            restarts: self.health.restarts(name),
            ailing: self.health.of(name),
        };
        let desk = Mono(self.desk.state().turned_ms.load(Ordering::Relaxed));
        let mut actors = vec![
            actor("dispatcher", self.desk.depth() as u64, turned(desk)),
            actor("worker", self.bench.depth() as u64, turned(self.bench.state().turned_at)),
            actor("election", self.pulse.depth() as u64, turned(self.pulse.turned_at())),
            actor("notebook", self.notebook.depth(), None),
        ];
        if let Some(net) = self.net() {
            let turned_at = Mono(self.net_turned_ms.load(Ordering::Relaxed));
            actors.push(actor("net", net.depth() as u64, turned(turned_at)));
        }
        if let Some(journal) = self.journal() {
            let status = journal.status().borrow().clone();
            let next = |index: Option<u64>| index.map_or(0, |index| index + 1);
            let last = next(status.last_log.map(|at| at.index));
            actors.push(actor("journal", last.saturating_sub(next(status.applied.map(|at| at.0))), None));
        }
        actors
    }

    /// Those of any node; `None` when it does not answer.
    pub(super) async fn actors_of(self: Arc<Self>, node: NodeId) -> Option<Vec<ActorState>> {
        if node == self.me.node {
            return Some(self.actors());
        }
        match self.call(node, &Call::Vitals, ACTORS_LIMIT).await? {
            Reply::Vitals(text) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }

    /// The answer to another node that asks.
    pub(super) fn actors_here(&self) -> Reply {
        match serde_json::to_string(&self.actors()) {
            Ok(text) => Reply::Vitals(text),
            Err(error) => Reply::Failed(error.to_string()),
        }
    }
}
