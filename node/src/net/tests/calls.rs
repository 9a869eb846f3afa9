//! Calls and streams: many at once, dropped, failing, too long.

use super::rig::{Cluster, LIMIT, eventually};
use crate::net::hello;
use crate::net::*;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use relais_protocol::ids::NodeId;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_share_one_stream() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(2).await;
    let (net, to) = (nodes[0].net.clone(), nodes[1].id);
    for purpose in [Purpose::Journal, Purpose::Control] {
        let began = tokio::time::Instant::now();
        let calls = futures::stream::iter(0..10_000u64).map(|n| {
            let request = Bytes::copy_from_slice(&n.to_be_bytes());
            let call = net.call(to, purpose, request.clone(), LIMIT);
            async move { call.await.unwrap() == request }
        });
        let right = calls.buffer_unordered(256).filter(|right| futures::future::ready(*right)).count().await;
        assert_eq!(right, 10_000);
        println!("{purpose:?}: {:.0} calls/s, 256 at once", 10_000.0 / began.elapsed().as_secs_f64());
        let began = tokio::time::Instant::now();
        for _ in 0..500 {
            nodes[0].echo(&nodes[1], purpose, "x").await.unwrap();
        }
        println!("{purpose:?}: {:?} a call, one at a time (path {:?})", began.elapsed() / 500, net.rtt(to).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_calls_break_nothing() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(2).await;
    let to = nodes[1].id;
    for purpose in [Purpose::Orders, Purpose::Output] {
        for n in 0..300u64 {
            let request = Bytes::from(vec![7; 40_000]);
            let call = nodes[0].net.call(to, purpose, request, LIMIT);
            let _ = tokio::time::timeout(Duration::from_micros(n * 7 % 900), call).await;
        }
        let hanging = nodes[0].net.call(to, purpose, Bytes::from_static(b"hang"), Duration::from_millis(50)).await;
        assert_eq!(hanging, Err(CallError::TimedOut(50)));
        assert_eq!(nodes[0].echo(&nodes[1], purpose, "fine").await.unwrap(), "fine");
    }
    assert!(nodes[0].seen.losses(to).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_handler_is_told_and_a_panicking_one_too() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(2).await;
    for purpose in [Purpose::Journal, Purpose::Control] {
        assert_eq!(nodes[0].echo(&nodes[1], purpose, "fail").await, Err(CallError::Refused("as told".into())));
        let panicked = nodes[0].echo(&nodes[1], purpose, "panic").await.unwrap_err();
        assert!(panicked.to_string().contains("panicked"), "{panicked}");
        let flooded = nodes[0].echo(&nodes[1], purpose, "flood").await.unwrap_err();
        assert!(flooded.to_string().contains("over the limit"), "{flooded}");
        assert_eq!(nodes[0].echo(&nodes[1], purpose, "fine").await.unwrap(), "fine");
    }
    eventually("datagrams arrive after one whose handler panicked", || {
        nodes[0].net.send_datagram(nodes[1].id, Bytes::from_static(b"panic"));
        nodes[0].net.send_datagram(nodes[1].id, Bytes::from_static(b"fine"));
        !nodes[1].seen.datagrams.lock().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_flight_end_when_the_peer_is_gone() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(2).await;
    let calls: FuturesUnordered<_> = [Purpose::Journal, Purpose::Api]
        .into_iter()
        .map(|purpose| nodes[0].net.call(nodes[1].id, purpose, Bytes::from_static(b"hang"), LIMIT))
        .collect();
    let ends = tokio::spawn(calls.collect::<Vec<_>>());
    eventually("both calls are there", || *nodes[1].seen.calls.lock() == 2).await;
    nodes[1].net.close().await;
    for end in ends.await.unwrap() {
        assert!(matches!(end, Err(CallError::Lost(_))), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_the_cap_is_not_sent() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(2).await;
    for purpose in Purpose::ALL {
        let max = purpose.frame_bytes_max();
        let whole = Bytes::from(vec![1; max]);
        let answer = nodes[0].net.call(nodes[1].id, purpose, whole.clone(), LIMIT).await.unwrap();
        assert!(answer == whole, "{purpose:?} carries its cap");
        let over = nodes[0].net.call(nodes[1].id, purpose, Bytes::from(vec![1; max + 1]), LIMIT).await;
        assert!(matches!(over, Err(CallError::TooBig(_))), "{purpose:?}");
    }
    assert_eq!(*nodes[1].seen.calls.lock(), Purpose::ALL.len());
    assert!(!nodes[0].net.send_datagram(nodes[1].id, Bytes::from(vec![0; DATAGRAM_BYTES_MAX + 1])));
    assert!(nodes[0].net.send_datagram(nodes[1].id, Bytes::from(vec![0; DATAGRAM_BYTES_MAX])));
    eventually("the longest datagram arrives", || {
        nodes[1].seen.datagrams.lock().iter().any(|(_, bytes)| bytes.len() == DATAGRAM_BYTES_MAX)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_length_ends_its_stream_and_no_more() {
    let cluster = Cluster::new(1);
    let node = cluster.node(2);
    // A node of the cluster that does not keep to the protocol, made of the parts beneath `Net`.
    let identity = cluster.identity(1);
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let tls = transport::client(tls::client(&identity, &cluster.clock).unwrap());
    let name = tls::name_of(cluster.id, node.id);
    let connection = endpoint.connect_with(tls, node.net.local_addr(), &name).unwrap().await.unwrap();
    let own = super::super::hello_of(&cluster.config(identity), "127.0.0.1:1".parse().unwrap());
    hello::ask(&connection, &own).await.unwrap();
    for kind in 1..=2u8 {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&[Purpose::Control as u8, kind, 0xff, 0xff, 0xff, 0xff, 0]).await.unwrap();
        assert!(recv.read_to_end(1_000).await.map_or(true, |answer| answer.is_empty()));
    }
    for junk in [[99, 1], [1, 99], [0, 0]] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&junk).await.unwrap();
        assert!(recv.read_to_end(1_000).await.map_or(true, |answer| answer.is_empty()));
    }
    assert_eq!(*node.seen.calls.lock(), 0);
    assert_eq!(node.net.connected(), [NodeId(1)], "the connection stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn framed_streams_carry_frames_until_one_side_finishes() {
    let cluster = Cluster::new(1);
    let nodes = cluster.connected(2).await;
    let (mut send, mut recv) = nodes[0].net.open(nodes[1].id, Purpose::Output).await.unwrap();
    for size in [0usize, 1, 1_000, 1 << 20] {
        let frame = Bytes::from(vec![5; size]);
        send.send(frame.clone()).await.unwrap();
        assert!(recv.next().await.unwrap().unwrap() == frame);
    }
    let over = send.send(Bytes::from(vec![0; (1 << 20) + 1])).await;
    assert!(matches!(over, Err(FrameError::TooBig { .. })));
    send.finish();
    assert_eq!(recv.next().await.unwrap(), None);
    assert!(matches!(nodes[0].net.open(NodeId(9), Purpose::Output).await, Err(CallError::NotConnected(_))));
}
