//! Who is refused, and that both sides are named.

use super::rig::{Cluster, LIMIT, Node, eventually};
use crate::net::hello::Hello;
use crate::net::*;
use relais_protocol::ids::{ClusterId, NodeId};
use std::sync::Arc;

const DAY_MS: i64 = 86_400_000;

/// Lets `low` dial `high`, waits until both have counted the refusal, and checks that nobody is connected.
async fn both_refuse(low: &Node, high: &Node, by_dialler: Refusal, by_dialled: Refusal) {
    low.net.set_peers(vec![high.peer()]);
    eventually("the dialler is told", || low.refused(by_dialler) > 0).await;
    eventually("the dialled one counts it", || high.refused(by_dialled) > 0).await;
    assert!(low.net.connected().is_empty() && high.net.connected().is_empty());
    assert!(high.seen.changes.lock().is_empty() && low.seen.changes.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ca_is_refused() {
    let (ours, theirs) = (Cluster::new(1), Cluster::new(1));
    both_refuse(&ours.node(1), &theirs.node(2), Refusal::WrongCa, Refusal::WrongCa).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused_on_either_side() {
    let cluster = Cluster::new(1);
    let expired = |node| Node::start(cluster.config(cluster.identity_at(node, -40 * DAY_MS, 30)));
    both_refuse(&expired(1), &cluster.node(2), Refusal::Expired, Refusal::Expired).await;
    both_refuse(&cluster.node(1), &expired(2), Refusal::Expired, Refusal::Expired).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_node_id_is_refused() {
    let cluster = Cluster::new(1);
    let (low, high) = (cluster.node(1), cluster.node(2));
    low.net.set_peers(vec![Peer { node: NodeId(3), addr: high.net.local_addr(), near: true }]);
    eventually("the dialler sees the wrong name", || low.refused(Refusal::OtherNode) > 0).await;
    assert!(low.net.connected().is_empty() && high.net.connected().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_the_certificate_does_not_bear_is_refused() {
    let cluster = Cluster::new(1);
    let node = cluster.node(2);
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    for (claim, refusal) in [
        (Hello { node: NodeId(7), ..claim_of(&cluster, 1) }, Refusal::OtherNode),
        (Hello { cluster: ClusterId(9).to_string(), ..claim_of(&cluster, 1) }, Refusal::OtherCluster),
        (Hello { versions: VersionRange { min: 7, max: 9 }, ..claim_of(&cluster, 1) }, Refusal::Version),
    ] {
        let identity = cluster.identity(1);
        let tls = transport::client(tls::client(&identity, &cluster.clock).unwrap());
        let name = tls::name_of(cluster.id, node.id);
        let connection = endpoint.connect_with(tls, node.net.local_addr(), &name).unwrap().await.unwrap();
        let refused = hello::ask(&connection, &claim).await.unwrap_err();
        assert_eq!(refused.refusal, refusal, "{refused}");
        assert!(refused.reason.contains("(n1,") && refused.reason.contains("(n2,"), "{refused}");
        connection.closed().await;
    }
    assert!(node.net.connected().is_empty());
}

fn claim_of(cluster: &Cluster, node: u32) -> Hello {
    super::super::hello_of(&cluster.config(cluster.identity(node)), "127.0.0.1:1".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_too_far_apart_are_refused_with_both_named() {
    let cluster = Cluster::new(1);
    let mut newer = cluster.config(cluster.identity(2));
    newer.versions = VersionRange { min: 3, max: 4 };
    newer.software = "0.9.0".to_owned();
    both_refuse(&cluster.node(1), &Node::start(newer.clone()), Refusal::Version, Refusal::Version).await;
    let own = claim_of(&cluster, 1);
    let theirs = super::super::hello_of(&newer, newer.listen);
    let refused = own.check(&theirs, (cluster.id, NodeId(2)), newer.listen).unwrap_err().to_string();
    assert!(
        refused.contains("relais 0.1.0, protocol 1-2") && refused.contains("relais 0.9.0, protocol 3-4"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbouring_versions_agree_on_the_lower_one() {
    let cluster = Cluster::new(1);
    let mut newer = cluster.config(cluster.identity(2));
    newer.versions = VersionRange { min: 2, max: 3 };
    let (old, new) = (cluster.node(1), Node::start(newer));
    old.net.set_peers(vec![new.peer()]);
    eventually("connected", || old.net.connected() == [new.id] && new.net.connected() == [old.id]).await;
    assert_eq!(old.net.peer(new.id).unwrap().version, 2);
    assert_eq!(new.net.peer(old.id).unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_nobody_is_a_peer() {
    let cluster = Cluster::new(1);
    let node = cluster.node(2);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cluster.ca.certificate().clone()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN_PEER.to_vec()];
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let client = transport::client(config.try_into().unwrap());
    let name = tls::name_of(cluster.id, node.id);
    let connection = endpoint.connect_with(client, node.net.local_addr(), &name).unwrap().await.unwrap();
    let refused = tokio::time::timeout(LIMIT, hello::ask(&connection, &claim_of(&cluster, 1))).await.unwrap();
    assert!(refused.is_err());
    eventually("it is counted", || node.refused(Refusal::NoCertificate) == 1).await;
    assert!(node.net.connected().is_empty() && node.seen.changes.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_an_error_with_a_next_step() {
    let cluster = Cluster::new(1);
    let node = cluster.node(1);
    let mut config = cluster.config(cluster.identity(2));
    config.listen = node.net.local_addr();
    let error = Net::start(config, node.seen.clone()).err().unwrap().to_string();
    assert!(error.contains("--listen") && error.contains(&node.net.local_addr().to_string()), "{error}");
}
