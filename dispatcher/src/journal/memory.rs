//! A link in memory, for tests and simulations: journals of one process, with delays and cuts between them.

use super::{Journal, Link, LinkError};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use relais_protocol::ids::RaftId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Connects journals.
#[derive(Default)]
pub struct Switchboard {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    journals: BTreeMap<RaftId, Weak<dyn Journal>>,
    cut: BTreeSet<(RaftId, RaftId)>,
    delay: Duration,
    calls: u64,
    bytes_longest: usize,
}

impl Switchboard {
    /// Nobody connected.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The link of the journal `from`.
    #[must_use]
    pub fn link(self: &Arc<Self>, from: RaftId) -> Arc<dyn Link> {
        Arc::new(MemoryLink { board: self.clone(), from })
    }

    /// `journal` answers for `id` from now on.
    pub fn connect(&self, id: RaftId, journal: &Arc<dyn Journal>) {
        self.state.lock().journals.insert(id, Arc::downgrade(journal));
    }

    /// Nobody answers for `id` from now on.
    pub fn disconnect(&self, id: RaftId) {
        self.state.lock().journals.remove(&id);
    }

    /// Each way takes so long.
    pub fn set_delay(&self, one_way: Duration) {
        self.state.lock().delay = one_way;
    }

    /// Cuts `id` off from all others, or joins it again.
    pub fn set_cut(&self, id: RaftId, is_cut: bool) {
        let mut state = self.state.lock();
        let others: Vec<_> = state.journals.keys().copied().filter(|other| *other != id).collect();
        for other in others {
            for pair in [(id, other), (other, id)] {
                if is_cut {
                    state.cut.insert(pair);
                } else {
                    state.cut.remove(&pair);
                }
            }
        }
    }

    /// How many calls there were, and the bytes of the longest.
    #[must_use]
    pub fn traffic(&self) -> (u64, usize) {
        let state = self.state.lock();
        (state.calls, state.bytes_longest)
    }
}

struct MemoryLink {
    board: Arc<Switchboard>,
    from: RaftId,
}

impl MemoryLink {
    fn is_cut(&self, to: RaftId) -> bool {
        self.board.state.lock().cut.contains(&(self.from, to))
    }
}

impl Link for MemoryLink {
    fn call(&self, to: RaftId, request: Bytes) -> BoxFuture<'static, Result<Bytes, LinkError>> {
        let link = Self { board: self.board.clone(), from: self.from };
        async move {
            let delay = {
                let mut state = link.board.state.lock();
                state.calls += 1;
                state.bytes_longest = state.bytes_longest.max(request.len());
                state.delay
            };
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if link.is_cut(to) {
                return Err(LinkError("cut".to_owned()));
            }
            let journal = link.board.state.lock().journals.get(&to).and_then(Weak::upgrade);
            let Some(journal) = journal else { return Err(LinkError("nobody there".to_owned())) };
            let answer = journal.handle_rpc(link.from, request).await;
            drop(journal);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if link.is_cut(to) { Err(LinkError("cut".to_owned())) } else { Ok(answer) }
        }
        .boxed()
    }
}
