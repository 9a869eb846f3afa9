//! The relay does what its rules say, and no more.

use super::{Relay, Rule};
use crate::cluster::wait::until;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::time::Instant;

struct Pair {
    relay: Relay,
    sockets: [UdpSocket; 2],
    fronts: [SocketAddr; 2],
}

fn pair() -> Pair {
    let relay = Relay::start();
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    for socket in &sockets {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    let fronts = [0, 1].map(|number| relay.front(number, sockets[number].local_addr().unwrap()));
    Pair { relay, sockets, fronts }
}

impl Pair {
    fn send(&self, from: usize, text: &str) {
        self.sockets[from].send_to(text.as_bytes(), self.fronts[1 - from]).unwrap();
    }

    /// What arrives next, and whether it comes from the other's front.
    fn receive(&self, at: usize) -> String {
        let mut buffer = [0; 100];
        let (length, source) = self.sockets[at].recv_from(&mut buffer).unwrap();
        assert_eq!(source, self.fronts[1 - at]);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

#[test]
fn each_is_seen_at_its_front() {
    let pair = pair();
    pair.send(0, "to b");
    assert_eq!(pair.receive(1), "to b");
    pair.send(1, "to a");
    assert_eq!(pair.receive(0), "to a");
}

#[test]
fn what_is_held_arrives_later_in_its_order() {
    let pair = pair();
    pair.relay.set((0, 1), Rule::hold());
    pair.send(0, "1");
    pair.send(0, "2");
    until("two held packets", Duration::from_secs(5), || (pair.relay.held((0, 1)) == 2).then_some(()));
    pair.send(1, "the other way is open");
    assert_eq!(pair.receive(0), "the other way is open");
    assert_eq!(pair.relay.release((0, 1)), 2);
    pair.send(0, "3");
    assert_eq!([pair.receive(1), pair.receive(1), pair.receive(1)], ["1", "2", "3"]);
}

#[test]
fn packets_are_delayed_doubled_and_lost() {
    let pair = pair();
    let delay = Duration::from_millis(80);
    pair.relay.set((0, 1), Rule { double: 1.0, ..Rule::delay(delay) });
    let sent = Instant::now();
    pair.send(0, "late");
    assert_eq!([pair.receive(1), pair.receive(1)], ["late", "late"]);
    assert!(sent.elapsed() >= delay);
    pair.relay.set((0, 1), Rule::cut());
    pair.send(0, "lost");
    until("the lost packet", Duration::from_secs(5), || (pair.relay.passed((0, 1)) == 2).then_some(()));
    pair.relay.set((0, 1), Rule::pass());
    pair.send(0, "next");
    assert_eq!(pair.receive(1), "next");
}

#[test]
fn a_stranger_is_passed_through_and_answered() {
    let pair = pair();
    pair.relay.set_around(1, Rule::cut());
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stranger.send_to(b"hello", pair.fronts[1]).unwrap();
    let mut buffer = [0; 100];
    let (length, source) = pair.sockets[1].recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"hello");
    pair.sockets[1].send_to(b"welcome", source).unwrap();
    let (length, source) = stranger.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], source), (&b"welcome"[..], pair.fronts[1]));
}
