//! The connections that stand, at most one in use per peer, and which of two stays.
//!
//! Both sides decide alike from what both know: a newer incarnation of the peer's process beats an older
//! one; of two connections dialled by the same process the later one; of two dialled from both sides at
//! once the one that the lower node id dialled. The loser is retired, not cut: new traffic goes over the
//! winner, what runs on the loser has a moment to end. Two processes with one identity (a copied data
//! directory) are never both connected: the first one stays, for as long as it answers. So a newer
//! incarnation displaces an older one only from the same address, which two living processes can't share;
//! from another one it waits until the older one has been silent for the idle time-out.

use super::counters::count;
use super::hello::{Hello, HelloError};
use super::inbound::{Loss, PeerDetail};
use super::mux::Mux;
use super::purpose::Purpose;
use super::refusal::Refusal;
use super::shared::Shared;
use parking_lot::Mutex;
use quinn::{Connection, ConnectionError, VarInt};
use relais_protocol::ids::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Application close codes on the wire.
pub(super) const CLOSE_GOODBYE: u32 = 1;
pub(super) const CLOSE_DUPLICATE: u32 = 2;
pub(super) const CLOSE_REFUSED: u32 = 3;
pub(super) const CLOSE_DONE: u32 = 4;
pub(super) const CLOSE_BUSY: u32 = 5;

/// How long a connection that lost against a better one may finish what it carries.
const RETIRED_FOR: Duration = Duration::from_secs(3);

/// A connection with a peer whose hello was checked.
pub(super) struct Link {
    pub(super) peer: NodeId,
    pub(super) connection: Connection,
    pub(super) detail: PeerDetail,
    pub(super) dialled_by: NodeId,
    /// The peer's process, and the count of the connection among those of the process that dialled it.
    pub(super) run: u64,
    pub(super) dial: u64,
    muxes: Mutex<BTreeMap<Purpose, Arc<Mux>>>,
}

impl Link {
    /// A connection with who said `theirs`, dialled by `dialler` as its `dial`th.
    pub(super) fn new(
        connection: Connection,
        theirs: &Hello,
        detail: PeerDetail,
        (dialled_by, dial): (NodeId, u64),
    ) -> Arc<Self> {
        Arc::new(Self {
            peer: theirs.node,
            connection,
            detail,
            dialled_by,
            run: theirs.run,
            dial,
            muxes: Mutex::default(),
        })
    }

    /// The long-lived call stream for `purpose`, opened at first use and again after it broke.
    pub(super) fn mux(&self, purpose: Purpose, shared: &Shared) -> Arc<Mux> {
        let mut muxes = self.muxes.lock();
        match muxes.get(&purpose) {
            Some(mux) if !mux.is_over() => mux.clone(),
            _ => {
                let mux = Mux::open(self.connection.clone(), purpose, &shared.net_runtime);
                muxes.insert(purpose, mux.clone());
                mux
            }
        }
    }

    fn is_over(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// Whether this one is to be used although `old` stands.
    fn against(&self, old: &Self) -> Result<(), Refusal> {
        let (new_run, old_run) = (self.detail.incarnation, old.detail.incarnation);
        let is_moved = self.detail.remote != old.detail.remote;
        if new_run > old_run && !is_moved {
            return Ok(());
        }
        if new_run != old_run || self.run != old.run {
            return Err(Refusal::Copied);
        }
        let later =
            if self.dialled_by == old.dialled_by { self.dial > old.dial } else { self.dialled_by < old.dialled_by };
        if later { Ok(()) } else { Err(Refusal::Duplicate) }
    }
}

/// Puts `link` to use, unless one stands that must stay; then the caller closes `link`.
/// Called on the transport's thread only, which makes the reports to the node come in order.
pub(super) fn adopt(shared: &Arc<Shared>, link: &Arc<Link>) -> Result<(), HelloError> {
    let old = {
        let mut links = shared.links.write();
        if let Some(old) = links.get(&link.peer)
            && !old.is_over()
            && let Err(refusal) = link.against(old)
        {
            return Err(refused(refusal, link, old));
        }
        links.insert(link.peer, link.clone())
    };
    super::transport::widen(&link.connection);
    count(&shared.counting.connects, 1);
    let same_process =
        old.as_ref().is_some_and(|old| old.detail.incarnation == link.detail.incarnation && !old.is_over());
    if let Some(old) = old {
        if !same_process {
            let loss = old.connection.close_reason().map_or(Loss::Restarted, |e| loss_of(&e));
            report_gone(shared, &old, loss);
        }
        retire(old, same_process);
    }
    if !same_process {
        tracing::info!(peer = %link.peer, name = %link.detail.name, remote = %link.detail.remote, "connected");
        shared.tell(|node| node.peer_changed(link.peer, true, link.detail.clone()));
    }
    shared.links_changed();
    tokio::spawn(read_datagrams(shared.clone(), link.clone()));
    tokio::spawn(super::serve::accept_streams(shared.clone(), link.clone()));
    tokio::spawn(watch(shared.clone(), link.clone()));
    Ok(())
}

fn refused(refusal: Refusal, new: &Link, old: &Link) -> HelloError {
    let reason = match refusal {
        Refusal::Copied => format!(
            "another process with the identity of node {} ({}) is connected from {}, this one comes from {}; was a data \
             directory copied? stop one of them for good; once the first one is silent, this one is let in",
            new.peer, new.detail.name, old.detail.remote, new.detail.remote
        ),
        _ => "a better connection stands".to_owned(),
    };
    HelloError { refusal, reason }
}

fn retire(old: Arc<Link>, gently: bool) {
    if old.is_over() {
        return;
    }
    tokio::spawn(async move {
        if gently {
            let _ = tokio::time::timeout(RETIRED_FOR, old.connection.closed()).await;
        }
        old.connection.close(VarInt::from_u32(CLOSE_DUPLICATE), b"a better connection stands");
    });
}

/// Waits for the end of a connection, and reports it if the connection was in use until then.
async fn watch(shared: Arc<Shared>, link: Arc<Link>) {
    let error = link.connection.closed().await;
    let stats = link.connection.stats();
    count(&shared.counting.bytes_in, stats.udp_rx.bytes);
    count(&shared.counting.bytes_out, stats.udp_tx.bytes);
    let was_in_use = {
        let mut links = shared.links.write();
        let in_use = links.get(&link.peer).is_some_and(|current| Arc::ptr_eq(current, &link));
        if in_use {
            links.remove(&link.peer);
        }
        in_use
    };
    if was_in_use {
        report_gone(&shared, &link, loss_of(&error));
        shared.links_changed();
    }
}

fn report_gone(shared: &Shared, link: &Link, loss: Loss) {
    count(&shared.counting.losses, 1);
    tracing::info!(peer = %link.peer, name = %link.detail.name, ?loss, "disconnected");
    let detail = PeerDetail { loss: Some(loss), ..link.detail.clone() };
    shared.tell(|node| node.peer_changed(link.peer, false, detail));
}

fn loss_of(error: &ConnectionError) -> Loss {
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code == VarInt::from_u32(CLOSE_GOODBYE) => {
            Loss::Goodbye
        }
        ConnectionError::Reset => Loss::Restarted,
        ConnectionError::TimedOut => Loss::Silence,
        ConnectionError::LocallyClosed => Loss::ByUs,
        other => Loss::Other(other.to_string()),
    }
}

async fn read_datagrams(shared: Arc<Shared>, link: Arc<Link>) {
    while let Ok(bytes) = link.connection.read_datagram().await {
        count(&shared.counting.datagrams_in, 1);
        shared.tell(|node| node.datagram(link.peer, bytes));
    }
}
