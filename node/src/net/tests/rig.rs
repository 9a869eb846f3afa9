//! A cluster's CA, nodes of it, and an [`Inbound`] that echoes and remembers.

use crate::clock::Clock;
use crate::identity::{ClusterCa, Identity, NodeKey};
use crate::net::*;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use relais_protocol::ids::{ClusterId, Incarnation, NodeId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;

pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// What arrived at a node.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) datagrams: Mutex<Vec<(NodeId, Bytes)>>,
    pub(super) changes: Mutex<Vec<(NodeId, bool, PeerDetail)>>,
    pub(super) joins: Mutex<Vec<Bytes>>,
    pub(super) calls: Mutex<usize>,
    pub(super) copied: Mutex<Vec<NodeId>>,
}

impl Inbound for Seen {
    fn datagram(&self, from: NodeId, bytes: Bytes) {
        assert!(bytes != "panic", "as told");
        self.datagrams.lock().push((from, bytes));
    }

    fn call(&self, _from: NodeId, _purpose: Purpose, request: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        *self.calls.lock() += 1;
        async move {
            match &request[..] {
                b"fail" => Err("as told".to_owned()),
                b"panic" => panic!("as told"),
                b"hang" => futures::future::pending().await,
                b"slow" => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    Ok(request)
                }
                b"flood" => Ok(Bytes::from(vec![0; 32 << 20])),
                _ => Ok(request),
            }
        }
        .boxed()
    }

    fn stream(&self, _from: NodeId, _purpose: Purpose, mut send: FrameSender, mut recv: FrameReceiver) {
        tokio::spawn(async move {
            while let Ok(Some(frame)) = recv.next().await {
                if send.send(frame).await.is_err() {
                    return;
                }
            }
            send.finish();
        });
    }

    fn told_copied(&self, by: NodeId, _reason: &str) {
        self.copied.lock().push(by);
    }

    fn join(&self, _remote: SocketAddr, request: Bytes) -> BoxFuture<'static, Bytes> {
        self.joins.lock().push(request.clone());
        async move {
            if request == "hang" {
                futures::future::pending::<()>().await;
            }
            Bytes::from([b"welcome ", &request[..]].concat())
        }
        .boxed()
    }

    fn peer_changed(&self, node: NodeId, connected: bool, detail: PeerDetail) {
        self.changes.lock().push((node, connected, detail));
    }
}

impl Seen {
    /// How the connections with `node` ended, in order.
    pub(super) fn losses(&self, node: NodeId) -> Vec<Loss> {
        let changes = self.changes.lock();
        changes.iter().filter(|(of, ..)| *of == node).filter_map(|(.., detail)| detail.loss.clone()).collect()
    }
}

/// A cluster: an id, a CA and a clock.
pub(super) struct Cluster {
    pub(super) id: ClusterId,
    pub(super) ca: ClusterCa,
    pub(super) clock: Clock,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) net: Net,
    pub(super) seen: Arc<Seen>,
}

impl Cluster {
    pub(super) fn new(id: u128) -> Self {
        let clock = Clock::new();
        Self { id: ClusterId(id), ca: ClusterCa::create(ClusterId(id), clock.unix()).unwrap(), clock }
    }

    /// An identity for `node`, valid for `days` from a time `skew_ms` off the present.
    pub(super) fn identity_at(&self, node: u32, skew_ms: i64, days: u32) -> Identity {
        let key = NodeKey::generate().unwrap();
        let now = Clock::skewed(skew_ms, None).unix();
        let certificate = self.ca.admit_own(self.id, NodeId(node), &key, now, days).unwrap();
        let ca = ClusterCa::from_pem(&self.ca.certificate_pem(), None).unwrap();
        Identity::new(ca, certificate, key).unwrap()
    }

    pub(super) fn identity(&self, node: u32) -> Identity {
        self.identity_at(node, 0, 30)
    }

    pub(super) fn config(&self, identity: Identity) -> NetConfig {
        NetConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            advertise: Vec::new(),
            http: Some("http://127.0.0.1:7700".to_owned()),
            name: format!("n{}", identity.node),
            incarnation: Incarnation(1),
            software: "0.1.0".to_owned(),
            versions: VersionRange { min: 1, max: 2 },
            clock: self.clock.clone(),
            main_runtime: Handle::current(),
            identity,
        }
    }

    pub(super) fn node(&self, id: u32) -> Node {
        Node::start(self.config(self.identity(id)))
    }

    /// Nodes 1 to `n`, all connected with each other.
    pub(super) async fn connected(&self, n: u32) -> Vec<Node> {
        let nodes: Vec<Node> = (1..=n).map(|id| self.node(id)).collect();
        introduce(&nodes);
        for node in &nodes {
            let others = nodes.len() - 1;
            eventually("all are connected", || node.net.connected().len() == others).await;
        }
        nodes
    }
}

impl Node {
    pub(super) fn start(config: NetConfig) -> Self {
        let seen = Arc::new(Seen::default());
        let id = config.identity.node;
        Self { id, net: Net::start(config, seen.clone()).unwrap(), seen }
    }

    pub(super) fn peer(&self) -> Peer {
        Peer { node: self.id, addr: self.net.local_addr(), near: true }
    }

    pub(super) async fn echo(&self, to: &Self, purpose: Purpose, text: &'static str) -> Result<Bytes, CallError> {
        self.net.call(to.id, purpose, Bytes::from_static(text.as_bytes()), LIMIT).await
    }

    pub(super) fn refused(&self, refusal: Refusal) -> u64 {
        self.net.counters().refused.get(&refusal).copied().unwrap_or(0)
    }
}

/// Tells each node of all.
pub(super) fn introduce(nodes: &[Node]) {
    let peers: Vec<Peer> = nodes.iter().map(Node::peer).collect();
    for node in nodes {
        node.net.set_peers(peers.clone());
    }
}

/// Waits until `condition` holds.
pub(super) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {LIMIT:?}: {what}");
}

/// A way to `target` that takes `delay` in each direction and drops every `lost`th packet of each, never two in a
/// row: by chance all of a second would be lost once in a while. Returns the address to dial instead.
pub(super) async fn relay(target: SocketAddr, delay: Duration, lost: u64) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let addr = front.local_addr().unwrap();
    tokio::spawn(async move {
        let mut ways = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
        let (mut packet, mut number) = ([0; 2_048], 0);
        while let Ok((n, client)) = front.recv_from(&mut packet).await {
            let way = match ways.get(&client) {
                Some(way) => way.clone(),
                None => {
                    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    tokio::spawn(carry_back(back.clone(), front.clone(), client, delay, lost));
                    ways.insert(client, back.clone());
                    back
                }
            };
            number += 1;
            if number % lost != 0 {
                carry(packet[..n].to_vec(), way, target, delay);
            }
        }
    });
    addr
}

async fn carry_back(back: Arc<UdpSocket>, front: Arc<UdpSocket>, client: SocketAddr, delay: Duration, lost: u64) {
    let (mut packet, mut number) = ([0; 2_048], 0);
    while let Ok((n, _)) = back.recv_from(&mut packet).await {
        number += 1;
        if number % lost != 0 {
            carry(packet[..n].to_vec(), front.clone(), client, delay);
        }
    }
}

fn carry(packet: Vec<u8>, by: Arc<UdpSocket>, to: SocketAddr, delay: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let _ = by.send_to(&packet, to).await;
    });
}
