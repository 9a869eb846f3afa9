//! F19, QUIC: bytes that mean nothing, or break off in the middle of meaning something.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::{Node, Options};
use rand::{Rng, RngCore};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Random bytes that are sent.
const BYTES: usize = 100 << 20;
/// The largest packet that is sent, and the size that a first packet of QUIC has at least.
const PACKET_BYTES: usize = 1_200;
/// Packets in a row, between which the receiver gets a moment.
const BURST: usize = 32;
/// The resident memory of the node may grow by so much.
const GROWTH_KIB: u64 = 50 << 10;
/// Handshakes that break off.
const HANDSHAKES: usize = 2_000;

/// Garbage on the QUIC port.
pub(super) const F19: Fault = Fault {
    id: "F19",
    title: "100 MB of garbage on the QUIC port",
    variants: &[Variant::quick("random bytes", random_bytes), Variant::quick("cut handshakes", cut_handshakes)],
};

/// A field of `/proc/PID/status` in KiB.
fn memory_kib(node: &Node, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("its status");
    let line = status.lines().find(|line| line.starts_with(field)).expect("a field of its status");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// Sends what `make` makes, from ports of its own, until `bytes` are sent; how many were.
fn flood(target: SocketAddr, bytes: usize, mut make: impl FnMut(&mut Vec<u8>)) -> usize {
    let mut packet = Vec::with_capacity(PACKET_BYTES);
    let mut sent = 0;
    while sent < bytes {
        let socket = UdpSocket::bind((target.ip(), 0)).expect("a UDP port");
        for _ in 0..BURST {
            packet.clear();
            make(&mut packet);
            // A full buffer drops packets; that is the receiver's right.
            sent += socket.send_to(&packet, target).unwrap_or(packet.len());
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    sent
}

/// A node is flooded under load: it must neither panic nor grow, and nothing may be lost.
fn endures(run: &mut Run, attack: impl FnOnce(&mut Run, &Scene, usize) -> String) {
    let mut scene = Scene::start(3, Options::default());
    scene.await_acknowledged(300);
    let (dispatcher, epoch) = scene.cluster.dispatcher();
    let hit = if run.number % 2 == 0 { dispatcher } else { scene.cluster.others(dispatcher)[0] };
    let blow = scene.blow(hit, |_| ());
    let before = memory_kib(&scene.cluster.nodes[hit], "VmRSS");
    let what = attack(run, &scene, hit);
    let (peak, after) =
        (memory_kib(&scene.cluster.nodes[hit], "VmHWM"), memory_kib(&scene.cluster.nodes[hit], "VmRSS"));
    scene.await_acknowledged(50);
    let whole = scene.cluster.await_whole();
    scene.hit(&blow);
    scene.heal();
    assert!(scene.cluster.nodes[hit].runs(), "the process is gone");
    let panics = scene.cluster.nodes.iter().filter(|node| node.log().contains("panicked")).count();
    assert_eq!(panics, 0, "a node panicked");
    let mib = |kib: u64| kib >> 10;
    run.note(format!(
        "{what} at n{}: memory {} MiB before, {} after, {} at most; epoch {epoch} became {}",
        hit + 1,
        mib(before),
        mib(after),
        mib(peak),
        whole.epoch
    ));
    scene.close(run);
    assert!(peak < before + GROWTH_KIB, "memory grew from {} to {} MiB", mib(before), mib(peak));
}

/// Half of it pure chance, half of it with the head of a first QUIC packet before chance.
fn random_bytes(run: &mut Run) {
    endures(run, |run, scene, hit| {
        let random = &mut run.random;
        let sent = flood(scene.cluster.nodes[hit].quic, BYTES, |packet| {
            let length = random.random_range(1..=PACKET_BYTES);
            packet.resize(length, 0);
            random.fill_bytes(packet);
            if random.random() {
                packet.resize(PACKET_BYTES, 0x5a);
                // Long header, first packet; version 1; an id of eight bytes.
                let first = 0xc0 | packet[0] & 0x0f;
                packet[..6].copy_from_slice(&[first, 0, 0, 0, 1, 8]);
            }
        });
        format!("{} MB of chance", sent / 1_000_000)
    });
}

/// The first packets of a real handshake, taken from a node that wants to join.
fn first_packets(scene: &Scene) -> Vec<Vec<u8>> {
    let trap = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
    trap.set_read_timeout(Some(Duration::from_secs(2))).expect("a time-out");
    let mut node = scene.cluster.plan(7);
    let (_, token) = scene.cluster.join_line().expect("a token");
    node.join = Some((trap.local_addr().expect("an address").to_string(), token));
    node.start();
    let mut buffer = [0; 2_000];
    let mut packets = Vec::new();
    while packets.len() < 3 {
        let (length, _) = trap.recv_from(&mut buffer).expect("the first packets of a handshake");
        packets.push(buffer[..length].to_vec());
    }
    node.kill();
    packets
}

/// Handshakes that begin and go no further, and such whose first packets are cut or changed.
fn cut_handshakes(run: &mut Run) {
    endures(run, |run, scene, hit| {
        let packets = first_packets(scene);
        let target = scene.cluster.nodes[hit].quic;
        let mut count = 0;
        let random = &mut run.random;
        flood(target, HANDSHAKES * PACKET_BYTES, |packet| {
            packet.extend_from_slice(&packets[count % packets.len()]);
            match count % 4 {
                0 => {}
                1 => packet.truncate(random.random_range(1..packet.len())),
                2 => {
                    let place = random.random_range(0..packet.len());
                    packet[place] ^= 1 << random.random_range(0..8);
                }
                _ => random.fill_bytes(&mut packet[60..]),
            }
            count += 1;
        });
        format!("{count} broken handshakes")
    });
}
