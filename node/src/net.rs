//! How nodes talk: QUIC, one connection per pair of nodes, mutual TLS always.
//!
//! ```text
//!   any runtime            transport's own thread               main runtime
//!  ┌──────────────┐       ┌────────────────────────┐          ┌─────────────────┐
//!  │ Net::call    │──────►│ quinn drivers, dialling│─ spawn ─►│ Inbound::call   │
//!  │ ::datagram   │       │ accepting, hello, mux  │          │ Inbound::join   │
//!  │ ::open       │◄──────│                        │─ direct─►│ (::datagram,    │
//!  └──────────────┘       └────────────────────────┘          │  quick)         │
//!                                                             └─────────────────┘
//! ```
//!
//! Everything that keeps a connection alive runs on a thread of its own, so that heavy work elsewhere
//! delays no heartbeat. It reconnects by itself and says so ([`Inbound::peer_changed`]); it decides
//! nothing about who is a member, who leads, or what a silence means: membership and election do.
//! It never retries a call, and has no connection to its own node.

mod accept;
mod call;
mod congestion;
mod counters;
mod cut;
mod dial;
mod frame;
mod hello;
mod inbound;
mod join;
mod link;
mod mux;
mod probe;
mod purpose;
mod refusal;
mod serve;
mod shared;
mod tls;
mod transport;

pub use call::CallError;
pub use counters::NetCounters;
pub use frame::{FrameError, FrameReceiver, FrameSender, frames_in};
pub use inbound::{Inbound, Loss, Peer, PeerDetail, VersionRange};
pub use join::{JOIN_ANSWER_BYTES_MAX, JOIN_REQUEST_BYTES_MAX, JoinAnswer, JoinError, join};
pub use probe::{ClosedPortProbe, Probe};
pub use purpose::Purpose;
pub use refusal::Refusal;
pub use tls::TlsError;

use crate::clock::Clock;
use crate::identity::Identity;
use bytes::Bytes;
use counters::count;
use cut::{Cut, Socket};
use dial::Dialler;
use futures::future::{BoxFuture, FutureExt};
use hello::Hello;
use link::CLOSE_GOODBYE;
use quinn::{Endpoint, TokioRuntime, VarInt};
use refusal::RefusalLog;
use relais_protocol::ids::{Incarnation, NodeId};
use shared::Shared;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// The longest datagram, in bytes: what fits into the smallest packet that every QUIC path carries.
pub const DATAGRAM_BYTES_MAX: usize = 1_150;

/// How long a closing node waits for its goodbyes to leave.
const GOODBYE_LIMIT: Duration = Duration::from_millis(500);

/// What the transport needs to know.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// The UDP address to listen at; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The addresses to tell peers; empty: the one it listens at.
    pub advertise: Vec<SocketAddr>,
    /// The URL of this node's HTTP API to tell peers.
    pub http: Option<String>,
    /// Certificates and key; they say which node of which cluster this is.
    pub identity: Identity,
    /// This node's name.
    pub name: String,
    /// Which run of this node's process this is.
    pub incarnation: Incarnation,
    /// The version of this software.
    pub software: String,
    /// The protocol versions it speaks.
    pub versions: VersionRange,
    /// The clock for certificates and logs.
    pub clock: Clock,
    /// Where [`Inbound`]'s futures run.
    pub main_runtime: Handle,
}

/// Why the transport could not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The address is taken or not ours.
    #[error("cannot listen at UDP {addr}: {source}; free the port, or choose another with --listen")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The identity is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No thread, or no runtime.
    #[error("cannot start the transport's thread: {0}")]
    Thread(io::Error),
}

/// A handle on the transport; cheap to clone. The transport ends by [`Net::close`], or with its last handle.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    cut: Cut,
    peers: watch::Sender<Vec<Peer>>,
    closing: watch::Sender<Ending>,
    /// Closes when the transport's thread has ended.
    ended: watch::Receiver<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Not at all.
    No,
    /// With a goodbye to all peers.
    Goodbye,
    /// Without a word.
    Abrupt,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closing.send_if_modified(|ending| std::mem::replace(ending, Ending::Goodbye) == Ending::No);
    }
}

impl Net {
    /// Starts the transport on a thread of its own.
    ///
    /// # Errors
    /// See [`NetError`].
    pub fn start(config: NetConfig, inbound: Arc<dyn Inbound>) -> Result<Self, NetError> {
        let listen_error = |source| NetError::Listen { addr: config.listen, source };
        let socket = UdpSocket::bind(config.listen).map_err(listen_error)?;
        let local_addr = socket.local_addr().map_err(listen_error)?;
        let server = transport::server(tls::server(&config.identity, &config.clock)?);
        let client = transport::client(tls::client(&config.identity, &config.clock)?);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(NetError::Thread)?;
        let cut = Cut::default();
        let endpoint = {
            let _within = runtime.enter();
            let settings = transport::endpoint(&config.identity.key);
            let socket = Socket::wrap(socket, cut.clone()).map_err(listen_error)?;
            Endpoint::new_with_abstract_socket(settings, Some(server), socket, Arc::new(TokioRuntime))
                .map_err(listen_error)?
        };
        let refusals = RefusalLog::new(config.clock.clone());
        let shared = Shared::new(
            hello_of(&config, local_addr),
            inbound,
            refusals,
            config.main_runtime,
            runtime.handle().clone(),
        );
        let shared = Arc::new(shared);
        let (tls_far, cluster) = (transport::far(&client), config.identity.cluster);
        let dialler = Dialler { shared: shared.clone(), endpoint, tls: client, tls_far, cluster };
        let (peers, wanted) = watch::channel(Vec::new());
        let (closing, close) = watch::channel(Ending::No);
        let (running, ended) = watch::channel(());
        std::thread::Builder::new()
            .name("relais-net".to_owned())
            .spawn(move || {
                run(runtime, dialler, wanted, close);
                drop(running);
            })
            .map_err(NetError::Thread)?;
        Ok(Self { inner: Arc::new(Inner { shared, local_addr, cut, peers, closing, ended }) })
    }

    /// The address it listens at.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// Says which nodes to stay connected with, and where they are dialled. A node that was in the list and
    /// is no longer is disconnected. Nodes that were never in it may connect to us all the same.
    pub fn set_peers(&self, peers: Vec<Peer>) {
        self.inner.peers.send_if_modified(|now| {
            let changed = *now != peers;
            *now = peers;
            changed
        });
    }

    /// Cuts this node off from all others, or lets it back: for rehearsals. Packets are dropped both ways and
    /// nobody is told. Whether that changed anything.
    pub fn cut_off(&self, cut: bool) -> bool {
        self.inner.cut.set(cut)
    }

    /// Sends a datagram, best effort; the oldest unsent ones make room. `false`: not connected, or longer
    /// than [`DATAGRAM_BYTES_MAX`].
    pub fn send_datagram(&self, to: NodeId, bytes: Bytes) -> bool {
        let shared = &self.inner.shared;
        let sent = bytes.len() <= DATAGRAM_BYTES_MAX
            && shared.link(to).is_some_and(|link| link.connection.send_datagram(bytes).is_ok());
        count(if sent { &shared.counting.datagrams_out } else { &shared.counting.datagrams_unsent }, 1);
        sent
    }

    /// Has `turned` called on the transport's thread once a second, as long as that turns.
    pub fn watch_turns(&self, turned: impl Fn() + Send + 'static) {
        self.inner.shared.net_runtime.spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            loop {
                tick.tick().await;
                turned();
            }
        });
    }

    /// Tasks that were handed to the transport's thread and have not begun.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.inner.shared.net_runtime.metrics().global_queue_depth()
    }

    /// Asks a peer; fails at once when it is not connected. The future may be dropped at any time; it needs
    /// a tokio runtime with timers to run on.
    pub fn call(
        &self,
        to: NodeId,
        purpose: Purpose,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let shared = self.inner.shared.clone();
        count(&shared.counting.calls_out, 1);
        async move {
            let link = shared.link(to).ok_or(CallError::NotConnected(to))?;
            let answer = tokio::time::timeout(timeout, call::call(shared, link, purpose, request)).await;
            answer.unwrap_or_else(|_| Err(CallError::TimedOut(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))))
        }
        .boxed()
    }

    /// Asks a peer and lets go of its answer, by the stream that calls of a long-lived purpose share. `false`: not
    /// connected, too long, or too much waits already.
    pub fn tell(&self, to: NodeId, purpose: Purpose, request: Bytes) -> bool {
        let shared = &self.inner.shared;
        count(&shared.counting.calls_out, 1);
        shared.link(to).is_some_and(|link| call::tell(shared, &link, purpose, request))
    }

    /// Opens a framed stream to a peer, which gets it by [`Inbound::stream`].
    ///
    /// # Errors
    /// If the peer is not connected, or the connection breaks.
    pub async fn open(&self, to: NodeId, purpose: Purpose) -> Result<(FrameSender, FrameReceiver), CallError> {
        let link = self.inner.shared.link(to).ok_or(CallError::NotConnected(to))?;
        call::open(&link, purpose).await
    }

    /// The peers that are connected now, in order. A connection that has ended is none from that moment on, not
    /// when its end is told.
    #[must_use]
    pub fn connected(&self) -> Vec<NodeId> {
        let links = self.inner.shared.links.read();
        links.iter().filter(|(_, link)| link.connection.close_reason().is_none()).map(|(node, _)| *node).collect()
    }

    /// Whether this peer is connected now.
    #[must_use]
    pub fn is_connected(&self, node: NodeId) -> bool {
        self.inner.shared.link(node).is_some_and(|link| link.connection.close_reason().is_none())
    }

    /// What a connected peer said of itself.
    #[must_use]
    pub fn peer(&self, node: NodeId) -> Option<PeerDetail> {
        self.inner.shared.link(node).map(|link| link.detail.clone())
    }

    /// The round trip to a connected peer, as last estimated.
    #[must_use]
    pub fn rtt(&self, node: NodeId) -> Option<Duration> {
        self.inner.shared.link(node).map(|link| link.connection.rtt())
    }

    /// The transport's counters.
    #[must_use]
    pub fn counters(&self) -> NetCounters {
        let shared = &self.inner.shared;
        let mut counters = shared.counting.read(shared.refusals.counts());
        let links: Vec<_> = shared.links.read().values().cloned().collect();
        counters.connected = links.len();
        for link in links {
            let stats = link.connection.stats();
            counters.bytes_in += stats.udp_rx.bytes;
            counters.bytes_out += stats.udp_tx.bytes;
        }
        counters
    }

    /// Says goodbye to all peers and ends the transport. Its port is free again when this is done and the
    /// streams that somebody may still hold are dropped.
    pub async fn close(&self) {
        self.end(Ending::Goodbye).await;
    }

    /// Ends the transport without a word to anybody, as a crash would. For tests.
    pub async fn abort(&self) {
        self.end(Ending::Abrupt).await;
    }

    async fn end(&self, ending: Ending) {
        self.inner.closing.send_replace(ending);
        let mut ended = self.inner.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

fn hello_of(config: &NetConfig, local_addr: SocketAddr) -> Hello {
    let advertise = if config.advertise.is_empty() { vec![local_addr] } else { config.advertise.clone() };
    Hello {
        cluster: config.identity.cluster.to_string(),
        node: config.identity.node,
        name: config.name.clone(),
        incarnation: config.incarnation,
        software: config.software.clone(),
        versions: config.versions,
        advertise,
        http: config.http.clone(),
        run: crate::seed::random_u64(),
        dial: 0,
    }
}

/// The transport's thread, from start to end.
fn run(runtime: Runtime, dialler: Dialler, peers: watch::Receiver<Vec<Peer>>, mut closing: watch::Receiver<Ending>) {
    let shared = dialler.shared.clone();
    runtime.block_on(async {
        let endpoint = dialler.endpoint.clone();
        let accepting = tokio::spawn(accept::accept_connections(dialler.shared.clone(), endpoint.clone()));
        let dialling = tokio::spawn(dial::follow_peers(dialler, peers));
        let ending = closing.wait_for(|ending| *ending != Ending::No).await.map(|ending| *ending);
        dialling.abort();
        accepting.abort();
        if !matches!(ending, Ok(Ending::Abrupt)) {
            endpoint.close(VarInt::from_u32(CLOSE_GOODBYE), b"goodbye");
            let _ = tokio::time::timeout(GOODBYE_LIMIT, endpoint.wait_idle()).await;
        }
    });
    // What holds on to the socket goes: tasks, and the connections that the handles can see.
    runtime.shutdown_timeout(GOODBYE_LIMIT);
    shared.links.write().clear();
}

#[cfg(test)]
mod tests;
