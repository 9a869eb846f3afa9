//! What the node does with what arrives from other nodes: the one trait between transport and the rest.

use super::frame::{FrameReceiver, FrameSender};
use super::purpose::Purpose;
use bytes::Bytes;
use futures::future::BoxFuture;
use relais_protocol::ids::{Incarnation, NodeId};
use std::net::SocketAddr;

/// A node to stay connected with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id; its certificate must bear it.
    pub node: NodeId,
    /// The address that it advertises.
    pub addr: SocketAddr,
    /// Whether its silence must be noticed soon. Where nothing hangs on it, a connection costs next to nothing.
    pub near: bool,
}

/// The protocol versions that a node speaks, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct VersionRange {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl VersionRange {
    /// The newest version that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let (newest, oldest) = (self.max.min(other.max), self.min.max(other.min));
        (newest >= oldest).then_some(newest)
    }
}

/// What a peer said of itself in the handshake; its node id and cluster were checked against its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerDetail {
    /// Its name.
    pub name: String,
    /// Which run of its process this is.
    pub incarnation: Incarnation,
    /// The version of its software.
    pub software: String,
    /// The protocol versions it speaks.
    pub versions: VersionRange,
    /// The version that both speak and that this connection uses.
    pub version: u16,
    /// The addresses that it advertises to nodes.
    pub advertise: Vec<SocketAddr>,
    /// The URL of its HTTP API, if it advertises one.
    pub http: Option<String>,
    /// The address that this connection comes from or goes to.
    pub remote: SocketAddr,
    /// Why the connection ended; `None` while it stands.
    pub loss: Option<Loss>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The peer closed it in an orderly way: its process is stopping.
    Goodbye,
    /// The peer's address answers, but does not know the connection: its process was restarted.
    Restarted,
    /// Nothing was heard for the idle time-out.
    Silence,
    /// This node ended it.
    ByUs,
    /// Anything else.
    Other(String),
}

/// What the node does with what arrives. Methods that return no future are called on the transport's own
/// thread: they must return at once and never block. Futures run on the main runtime, but for short calls about the
/// journal, orders and records: these are polled on the transport's thread, too.
pub trait Inbound: Send + Sync + 'static {
    /// A datagram: heartbeat or gossip.
    fn datagram(&self, from: NodeId, bytes: Bytes);

    /// A request; the answer, or a reason that the caller is told, goes back.
    fn call(&self, from: NodeId, purpose: Purpose, request: Bytes) -> BoxFuture<'static, Result<Bytes, String>>;

    /// A peer opened a framed stream.
    fn stream(&self, from: NodeId, purpose: Purpose, send: FrameSender, recv: FrameReceiver);

    /// Somebody without a certificate asks to join (≤ 16 KiB, answer ≤ 64 KiB, 5 s in all).
    fn join(&self, remote: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes>;

    /// The peer `by` refuses this process: it has another one with this node's identity for the node.
    fn told_copied(&self, by: NodeId, reason: &str);

    /// A peer is connected now, or no longer. A restarted peer is first reported gone.
    fn peer_changed(&self, node: NodeId, connected: bool, detail: PeerDetail);
}
