//! Joining: the CA is checked before the secret is sent, and strangers get no more than that.

use super::rig::{Cluster, Node, eventually};
use crate::identity::{ClusterCa, Identity, NodeKey};
use crate::net::*;
use relais_protocol::ids::NodeId;

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_that_knows_the_ca_is_answered() {
    let cluster = Cluster::new(5);
    let node = cluster.node(1);
    let joined =
        join(node.net.local_addr(), cluster.ca.sha256(), Bytes::from_static(b"secret"), &cluster.clock).await.unwrap();
    assert_eq!(joined.answer, "welcome secret");
    assert_eq!((joined.cluster, joined.server), (cluster.id, NodeId(1)));
    assert_eq!(joined.ca, cluster.ca.certificate().to_vec());
    assert_eq!(*node.seen.joins.lock(), [Bytes::from_static(b"secret")]);
    assert!(node.seen.changes.lock().is_empty(), "who joins is no peer yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_ca_never_sees_the_secret() {
    let (cluster, other) = (Cluster::new(5), Cluster::new(5));
    let node = cluster.node(1);
    let refused = join(node.net.local_addr(), other.ca.sha256(), Bytes::from_static(b"secret"), &cluster.clock).await;
    assert!(matches!(refused, Err(JoinError::WrongCa(_))), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("nothing secret was sent"));
    // Refused within TLS: the server is told by an alert.
    eventually("the server saw the handshake fail", || node.refused(Refusal::WrongCa) > 0).await;
    assert!(node.seen.joins.lock().is_empty());
    assert_eq!(node.net.counters().joins, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shows_the_ca_without_being_of_it_never_sees_the_secret() {
    let (cluster, impostor) = (Cluster::new(5), Cluster::new(5));
    // The CA's certificate is no secret: an impostor can show it behind a certificate of its own making.
    let stolen = ClusterCa::from_pem(&cluster.ca.certificate_pem(), None).unwrap();
    let key = NodeKey::generate().unwrap();
    let certificate = impostor.ca.admit_own(cluster.id, NodeId(1), &key, impostor.clock.unix(), 30).unwrap();
    let node = Node::start(impostor.config(Identity::new(stolen, certificate, key).unwrap()));
    let refused = join(node.net.local_addr(), cluster.ca.sha256(), Bytes::from_static(b"secret"), &cluster.clock).await;
    assert!(matches!(refused, Err(JoinError::WrongCa(_))), "{refused:?}");
    assert!(node.seen.joins.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_server_never_sees_the_secret() {
    let cluster = Cluster::new(5);
    let node = Node::start(cluster.config(cluster.identity_at(1, -40 * 86_400_000, 30)));
    let refused = join(node.net.local_addr(), cluster.ca.sha256(), Bytes::from_static(b"secret"), &cluster.clock).await;
    assert!(matches!(refused, Err(JoinError::NotValidNow(_))), "{refused:?}");
    assert!(node.seen.joins.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_so() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let refused = join(socket.local_addr().unwrap(), [0; 32], Bytes::new(), &Cluster::new(1).clock).await.unwrap_err();
    assert!(matches!(refused, JoinError::Unreachable { .. }), "{refused}");
    let refused =
        join(socket.local_addr().unwrap(), [0; 32], Bytes::from(vec![0; 16_385]), &Cluster::new(1).clock).await;
    assert!(matches!(refused, Err(JoinError::TooBig(16_385))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_too_many_handshakes_under_way_is_busy() {
    let cluster = Cluster::new(5);
    let config = transport::server(tls::server(&cluster.identity(1), &cluster.clock).unwrap());
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            incoming.refuse();
        }
    });
    let refused = join(addr, cluster.ca.sha256(), Bytes::from_static(b"secret"), &cluster.clock).await;
    assert!(matches!(refused, Err(JoinError::Busy(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_little_room_and_little_time() {
    let cluster = Cluster::new(5);
    let node = cluster.node(1);
    let addr = node.net.local_addr();
    let stranger = |endpoint: Endpoint| {
        let config = transport::client(tls::joiner(cluster.ca.sha256(), &cluster.clock).unwrap());
        async move { endpoint.connect_with(config, addr, "join.relais").unwrap().await.unwrap() }
    };
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    // A request over the limit: cut off without being handed over.
    let connection = stranger(endpoint.clone()).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    let _ = send.write_all(&vec![0; 17 * 1024]).await;
    let _ = send.finish();
    connection.closed().await;
    assert!(node.seen.joins.lock().is_empty());
    // One that never finishes its request, and one whose answer never comes: out of time.
    let slow = stranger(endpoint.clone()).await;
    let (mut send, _recv) = slow.open_bi().await.unwrap();
    send.write_all(b"sec").await.unwrap();
    let hung = join(addr, cluster.ca.sha256(), Bytes::from_static(b"hang"), &cluster.clock).await;
    assert!(matches!(hung, Err(JoinError::TimedOut(_) | JoinError::Cut { .. })), "{hung:?}");
    slow.closed().await;
    // Too many in a short time are turned away, and the node says why.
    let mut turned_away = false;
    for _ in 0..30 {
        let again = join(addr, cluster.ca.sha256(), Bytes::from_static(b"x"), &cluster.clock).await;
        turned_away |= matches!(again, Err(JoinError::Busy(_)));
    }
    assert!(turned_away && node.refused(Refusal::Busy) > 0);
}
