//! What the transport's thread and its handles share.

use super::counters::Counting;
use super::hello::Hello;
use super::inbound::Inbound;
use super::link::Link;
use super::refusal::RefusalLog;
use parking_lot::RwLock;
use relais_protocol::ids::NodeId;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub(super) struct Shared {
    pub(super) node: NodeId,
    hello: Hello,
    dials: AtomicU64,
    pub(super) inbound: Arc<dyn Inbound>,
    /// The connection in use per peer. Written on the transport's thread only.
    pub(super) links: RwLock<BTreeMap<NodeId, Arc<Link>>>,
    /// Told after each change of `links`.
    changes: watch::Sender<()>,
    pub(super) counting: Counting,
    pub(super) refusals: RefusalLog,
    /// Where the node's own work runs.
    pub(super) main_runtime: Handle,
    /// The transport's thread.
    pub(super) net_runtime: Handle,
}

impl Shared {
    pub(super) fn new(
        hello: Hello,
        inbound: Arc<dyn Inbound>,
        refusals: RefusalLog,
        main_runtime: Handle,
        net_runtime: Handle,
    ) -> Self {
        Self {
            node: hello.node,
            hello,
            dials: AtomicU64::new(0),
            inbound,
            links: RwLock::default(),
            changes: watch::Sender::new(()),
            counting: Counting::default(),
            refusals,
            main_runtime,
            net_runtime,
        }
    }

    /// Tells the node something on this thread. A panic there must not end a task of the transport.
    pub(super) fn tell(&self, handler: impl FnOnce(&dyn Inbound)) {
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| handler(&*self.inbound)));
        if told.is_err() {
            tracing::error!("a handler panicked on the transport's thread");
        }
    }

    /// Our hello for the next connection.
    pub(super) fn hello(&self) -> Hello {
        Hello { dial: self.dials.fetch_add(1, Ordering::Relaxed) + 1, ..self.hello.clone() }
    }

    pub(super) fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        self.links.read().get(&node).cloned()
    }

    pub(super) fn links_changed(&self) {
        self.changes.send_replace(());
    }

    /// Completes once the peer is connected, or once it is not.
    pub(super) async fn until(&self, node: NodeId, connected: bool) {
        let mut changes = self.changes.subscribe();
        while self.links.read().contains_key(&node) != connected {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
