//! Nodes find each other, lose each other, and find each other again.

use super::rig::{Cluster, LIMIT, Node, eventually, introduce, relay};
use crate::identity::Identity;
use crate::net::*;
use relais_protocol::ids::{Incarnation, NodeId};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_talk_in_all_directions_over_one_connection_each() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(3).await;
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.id != from.id) {
            for purpose in Purpose::ALL {
                assert_eq!(from.echo(to, purpose, "hello").await.unwrap(), "hello", "{purpose:?}");
            }
            eventually("a datagram arrives", || {
                assert!(from.net.send_datagram(to.id, Bytes::from_static(b"beat")));
                to.seen.datagrams.lock().contains(&(from.id, Bytes::from_static(b"beat")))
            })
            .await;
        }
        let detail = from.net.peer(nodes[usize::from(from.id == NodeId(1))].id).unwrap();
        assert_eq!((detail.version, detail.software.as_str(), detail.loss), (2, "0.1.0", None));
        assert_eq!(detail.http.as_deref(), Some("http://127.0.0.1:7700"));
        assert_eq!(from.net.counters().connected, 2);
    }
    // Whoever dialled, in the end nobody was told of a loss.
    for node in &nodes {
        assert!(node.seen.changes.lock().iter().all(|(_, connected, _)| *connected));
        assert_eq!(node.net.counters().losses, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_higher_id_dials_too_when_it_alone_knows_the_other() {
    let cluster = Cluster::new(1);
    let (low, high) = (cluster.node(1), cluster.node(2));
    high.net.set_peers(vec![low.peer()]);
    eventually("they are connected", || low.net.connected() == [high.id] && high.net.connected() == [low.id]).await;
    assert_eq!(low.echo(&high, Purpose::Api, "x").await.unwrap(), "x");
}

/// Dials `to` from `from` although a connection stands, as happens when both dial at once.
async fn dial_once_more(cluster: &Cluster, from: &Node, identity: &Identity, to: &Node) -> Result<(), String> {
    let shared = from.net.inner.shared.clone();
    let tls = transport::client(tls::client(identity, &cluster.clock).unwrap());
    let (addr, peer, name) = (to.net.local_addr(), to.id, tls::name_of(cluster.id, to.id));
    let dialling = shared.net_runtime.clone().spawn(async move {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connection = endpoint.connect_with(tls, addr, &name).unwrap().await.unwrap();
        dial::introduce(&shared, peer, &connection).await.map_err(|error| error.to_string())
    });
    dialling.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_connections_the_lower_ids_stays_and_no_call_is_lost() {
    let cluster = Cluster::new(1);
    let (of_low, of_high) = (cluster.identity(1), cluster.identity(2));
    let (low, high) = (Node::start(cluster.config(of_low.clone())), Node::start(cluster.config(of_high.clone())));
    high.net.set_peers(vec![low.peer()]);
    eventually("the higher one got through", || low.net.connected() == [high.id] && high.net.connected() == [low.id])
        .await;
    let dialled_by = |node: &Node, peer: &Node| node.net.inner.shared.link(peer.id).map(|link| link.dialled_by);
    assert_eq!((dialled_by(&low, &high), dialled_by(&high, &low)), (Some(high.id), Some(high.id)));
    let slow = low.net.call(high.id, Purpose::Journal, Bytes::from_static(b"slow"), LIMIT);
    let slow = tokio::spawn(slow);
    eventually("the call is under way", || *high.seen.calls.lock() == 1).await;
    dial_once_more(&cluster, &low, &of_low, &high).await.unwrap();
    assert_eq!((dialled_by(&low, &high), dialled_by(&high, &low)), (Some(low.id), Some(low.id)));
    // What ran on the old connection ends well; nobody was told of any loss.
    assert_eq!(slow.await.unwrap().unwrap(), "slow");
    let refused = dial_once_more(&cluster, &high, &of_high, &low).await.unwrap_err();
    assert!(refused.contains("better connection"), "{refused}");
    assert_eq!((dialled_by(&low, &high), dialled_by(&high, &low)), (Some(low.id), Some(low.id)));
    assert_eq!(low.echo(&high, Purpose::Journal, "x").await.unwrap(), "x");
    assert_eq!(low.seen.changes.lock().len() + high.seen.changes.lock().len(), 2, "one connect each, no loss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_and_lossy_way_is_no_silence() {
    let cluster = Cluster::new(1);
    let (low, high) = (cluster.node(1), cluster.node(2));
    let way = relay(high.net.local_addr(), Duration::from_millis(100), 5).await;
    low.net.set_peers(vec![Peer { node: high.id, addr: way, near: true }]);
    eventually("connected", || low.net.connected() == [high.id] && high.net.connected() == [low.id]).await;
    let began = tokio::time::Instant::now();
    for n in 1..=3 {
        let append = Bytes::from(vec![n; 50_000]);
        assert!(low.net.call(high.id, Purpose::Journal, append.clone(), LIMIT).await.unwrap() == append);
        low.net.send_datagram(high.id, Bytes::from_static(b"beat"));
    }
    println!("3 appends of 50 kB over 200 ms and 20 % loss: {:?}", began.elapsed());
    assert!(low.net.rtt(high.id).unwrap() >= Duration::from_millis(190));
    assert!(low.seen.losses(high.id).is_empty() && high.seen.losses(low.id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_connection_is_replaced_though_the_first_try_fails() {
    let cluster = Cluster::new(1);
    let of_high = cluster.identity(2);
    let (low, high) = (cluster.node(1), Node::start(cluster.config(of_high.clone())));
    low.net.set_peers(vec![Peer { near: false, ..high.peer() }]);
    eventually("connected", || low.net.connected() == [high.id] && high.net.connected() == [low.id]).await;
    let dial = || low.net.inner.shared.link(high.id).map(|link| link.dial);
    let far = dial();
    // Somebody who can show who it is, and hangs up.
    let config = transport::server(tls::server(&of_high, &cluster.clock).unwrap());
    let curt = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = curt.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = curt.accept().await {
            if let Ok(connection) = incoming.await {
                connection.close(VarInt::from_u32(link::CLOSE_REFUSED), b"not now");
            }
        }
    });
    let refused = || low.net.counters().refused.values().sum::<u64>();
    low.net.set_peers(vec![Peer { addr, ..high.peer() }]);
    eventually("a try has failed", || refused() > 0).await;
    assert_eq!(dial(), far, "the far one stands");
    low.net.set_peers(vec![high.peer()]);
    eventually("a near one takes its place", || dial() > far).await;
    assert!(low.seen.losses(high.id).is_empty() && high.seen.losses(low.id).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_is_noticed_at_once() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(2).await;
    let began = tokio::time::Instant::now();
    nodes[1].net.close().await;
    eventually("the goodbye is heard", || nodes[0].seen.losses(nodes[1].id) == [Loss::Goodbye]).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let late = nodes[0].echo(&nodes[1], Purpose::Journal, "x").await;
    assert_eq!(late, Err(CallError::NotConnected(nodes[1].id)));
    assert!(!nodes[0].net.send_datagram(nodes[1].id, Bytes::from_static(b"x")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_identity_is_refused_and_the_first_one_stays() {
    let cluster = Cluster::new(1);
    let (judge, identity) = (cluster.node(3), cluster.identity(1));
    let mut config = cluster.config(identity);
    config.incarnation = Incarnation(5);
    let original = Node::start(config.clone());
    original.net.set_peers(vec![judge.peer()]);
    eventually("connected", || judge.net.connected() == [original.id]).await;
    // Also a higher one, as of a copy that was started by force.
    for incarnation in [4, 5, 6] {
        config.incarnation = Incarnation(incarnation);
        let copy = Node::start(config.clone());
        copy.net.set_peers(vec![judge.peer()]);
        eventually("the copy is told", || copy.refused(Refusal::Copied) > 0).await;
        eventually("its node is told by whom", || copy.seen.copied.lock().first() == Some(&judge.id)).await;
        eventually("the judge counts it", || judge.refused(Refusal::Copied) > 0).await;
        assert!(copy.net.connected().is_empty());
    }
    assert!(judge.seen.losses(original.id).is_empty() && original.seen.copied.lock().is_empty());
    assert_eq!(judge.echo(&original, Purpose::Election, "who?").await.unwrap(), "who?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_identity_is_let_in_once_the_original_is_silent() {
    let cluster = Cluster::new(1);
    let (judge, identity) = (cluster.node(3), cluster.identity(1));
    let mut config = cluster.config(identity);
    let original = Node::start(config.clone());
    original.net.set_peers(vec![judge.peer()]);
    eventually("connected", || judge.net.connected() == [original.id]).await;
    config.incarnation = Incarnation(2);
    let moved = Node::start(config);
    moved.net.set_peers(vec![judge.peer()]);
    eventually("it is refused while the original answers", || moved.refused(Refusal::Copied) > 0).await;
    assert!(judge.seen.losses(original.id).is_empty());
    original.net.abort().await;
    eventually("it is let in", || judge.net.peer(moved.id).is_some_and(|detail| detail.incarnation == Incarnation(2)))
        .await;
    assert_eq!(judge.echo(&moved, Purpose::Election, "who?").await.unwrap(), "who?");
}

#[tokio::test(flavor = "current_thread")]
async fn a_blocked_main_runtime_delays_no_heartbeat() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(2).await;
    let (net, to) = (nodes[0].net.clone(), nodes[1].id);
    let before = nodes[1].seen.datagrams.lock().len();
    let beating = std::thread::spawn(move || {
        (0..20)
            .filter(|_| {
                std::thread::sleep(Duration::from_millis(100));
                net.send_datagram(to, Bytes::from_static(b"beat"))
            })
            .count()
    });
    // The one thread of the main runtime of both nodes is gone for longer than the idle time-out.
    assert_eq!(beating.join().unwrap(), 20);
    let after = nodes[1].seen.datagrams.lock().len();
    assert!(after - before >= 19, "{} of 20 arrived meanwhile", after - before);
    assert!(nodes.iter().all(|node| node.net.counters().losses == 0));
}

/// Kills node `victim` without a goodbye, starts it again on the same port, and returns how long it took
/// from the restart until both sides were connected.
async fn kill_and_restart(cluster: &Cluster, nodes: &mut [Node; 2], victim: usize, identity: Identity) -> Duration {
    // A restarted node has its old key; only then do its resets count.
    let mut config = cluster.config(identity);
    config.listen = nodes[victim].net.local_addr();
    config.incarnation = Incarnation(2);
    nodes[victim].net.abort().await;
    nodes[victim] = Node::start(config);
    let began = tokio::time::Instant::now();
    introduce(&nodes[..]);
    let (a, b) = (&nodes[0], &nodes[1]);
    let of_victim = nodes[victim].id;
    let other = 1 - victim;
    eventually("the new process is known", || {
        nodes[other].net.peer(of_victim).is_some_and(|detail| detail.incarnation == Incarnation(2))
    })
    .await;
    eventually("both are connected", || a.net.connected() == [b.id] && b.net.connected() == [a.id]).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_back_in_well_under_a_second() {
    let cluster = Cluster::new(1);
    for victim in [0, 1] {
        let identities = [cluster.identity(1), cluster.identity(2)];
        let mut nodes = identities.clone().map(|identity| Node::start(cluster.config(identity)));
        introduce(&nodes);
        eventually("connected", || nodes.iter().all(|node| node.net.connected().len() == 1)).await;
        let took = kill_and_restart(&cluster, &mut nodes, victim, identities[victim].clone()).await;
        println!("node {} was back after {took:?}", victim + 1);
        let survivor = &nodes[1 - victim];
        assert!(!survivor.seen.losses(nodes[victim].id).is_empty(), "the old process is reported gone");
        assert_eq!(survivor.echo(&nodes[victim], Purpose::Journal, "again").await.unwrap(), "again");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_process_answers_for_its_past_with_a_reset() {
    let cluster = Cluster::new(1);
    let (low, high) = (cluster.node(1), cluster.identity(2));
    let mut config = cluster.config(high.clone());
    let first = Node::start(config.clone());
    low.net.set_peers(vec![first.peer()]);
    eventually("connected", || low.net.connected() == [first.id]).await;
    config.listen = first.net.local_addr();
    config.incarnation = Incarnation(2);
    first.net.abort().await;
    let second = Node::start(config);
    let began = tokio::time::Instant::now();
    eventually("the reset is believed", || low.seen.losses(second.id) == [Loss::Restarted]).await;
    // Sooner than the idle time-out: it was the reset, not the silence.
    assert!(began.elapsed() < Duration::from_millis(1_300), "{:?}", began.elapsed());
    eventually("connected again", || low.net.connected() == [second.id]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_noticed_and_a_dropped_peer_is_disconnected() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(3).await;
    nodes[2].net.abort().await;
    eventually("the silence is noticed", || nodes[0].seen.losses(nodes[2].id) == [Loss::Silence]).await;
    assert_eq!(nodes[0].net.connected(), [nodes[1].id]);
    nodes[1].net.set_peers(Vec::new());
    nodes[0].net.set_peers(Vec::new());
    eventually("dropped peers are disconnected", || {
        nodes[0].net.connected().is_empty() && nodes[1].net.connected().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_the_port_harms_nobody() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(2).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = nodes[1].net.local_addr();
    let mut sent = 0usize;
    for round in 0..20_000usize {
        let mut packet: Vec<u8> = (0..75).flat_map(|_| crate::seed::random_u128().to_be_bytes()).collect();
        packet.truncate(1 + crate::seed::random_u64() as usize % packet.len());
        if round % 3 == 0 && packet.len() > 5 {
            // Looks like the first packet of a QUIC connection.
            packet[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        sent += usize::from(socket.send_to(&packet, target).await.is_ok());
    }
    assert!(sent > 10_000);
    assert_eq!(nodes[0].echo(&nodes[1], Purpose::Control, "still here").await.unwrap(), "still here");
    assert!(nodes[0].seen.losses(nodes[1].id).is_empty());
}
