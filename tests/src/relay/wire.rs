//! The relay's sockets and threads: one thread a socket, one for packets that wait for their time.

use super::{Packet, Rule, State, Way, lock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// How often a thread that hears nothing looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
const PACKET_BYTES_MAX: usize = 65_535;

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) state: Mutex<State>,
    /// Packets by the time at which they are due, and a number that keeps them apart.
    late: Mutex<BTreeMap<(Instant, u64), Packet>>,
    more: Condvar,
    ended: AtomicBool,
}

impl Wire {
    pub(super) fn start() -> Arc<Self> {
        let wire = Arc::new(Self {
            state: Mutex::default(),
            late: Mutex::default(),
            more: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let own = wire.clone();
        thread::spawn(move || own.send_late());
        wire
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.more.notify_all();
    }

    pub(super) fn add(self: &Arc<Self>, number: usize, node: SocketAddr) -> SocketAddr {
        let front = socket();
        let addr = front.local_addr().expect("a bound socket has an address");
        lock(&self.state).nodes.insert(number, (front.clone(), node));
        let wire = self.clone();
        thread::spawn(move || wire.serve(number, &front, node));
        addr
    }

    /// Takes what arrives at the front of `number`, whose node is at `node`.
    fn serve(self: Arc<Self>, number: usize, front: &Arc<UdpSocket>, node: SocketAddr) {
        let mut random = StdRng::seed_from_u64(number as u64);
        let mut strangers: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let mut count = 0u64;
        while let Some((length, source)) = self.receive(front, &mut buffer) {
            let bytes = buffer[..length].to_vec();
            count += 1;
            match self.sender(source) {
                Some((from, socket)) => {
                    let packet = Packet { from: socket, to: node, bytes };
                    self.treat((from, number), packet, (number as u64) << 48 | count << 1, &mut random);
                }
                None => {
                    let through = strangers.entry(source).or_insert_with(|| self.pass_through(front.clone(), source));
                    Packet { from: through.clone(), to: node, bytes }.go();
                }
            }
        }
    }

    /// The next packet; `None` at the end.
    fn receive(&self, socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        while !self.ended.load(Ordering::Acquire) {
            if let Ok(received) = socket.recv_from(buffer) {
                return Some(received);
            }
        }
        None
    }

    /// Which node is at `source`, and its front.
    fn sender(&self, source: SocketAddr) -> Option<(usize, Arc<UdpSocket>)> {
        let state = lock(&self.state);
        let (number, (front, _)) = state.nodes.iter().find(|(_, (_, node))| *node == source)?;
        Some((*number, front.clone()))
    }

    /// A socket that stands for somebody who is no node: what comes back to it goes to him, from `front`.
    fn pass_through(self: &Arc<Self>, front: Arc<UdpSocket>, stranger: SocketAddr) -> Arc<UdpSocket> {
        let through = socket();
        let (wire, own) = (self.clone(), through.clone());
        thread::spawn(move || {
            let mut buffer = vec![0; PACKET_BYTES_MAX];
            while let Some((length, _)) = wire.receive(&own, &mut buffer) {
                // As for a node: nobody hears of a packet that could not be sent.
                let _ = front.send_to(&buffer[..length], stranger);
            }
        });
        through
    }

    fn treat(&self, way: Way, packet: Packet, number: u64, random: &mut StdRng) {
        let rule = {
            let mut state = lock(&self.state);
            *state.passed.entry(way).or_default() += 1;
            let rule = state.rules.get(&way).copied().unwrap_or_default();
            if rule.hold {
                state.held.entry(way).or_default().push(packet);
                return;
            }
            rule
        };
        if random.random::<f64>() < rule.drop {
            return;
        }
        if random.random::<f64>() < rule.double {
            let copy = Packet { from: packet.from.clone(), to: packet.to, bytes: packet.bytes.clone() };
            self.send(rule, copy, number | 1, random);
        }
        self.send(rule, packet, number, random);
    }

    fn send(&self, rule: Rule, packet: Packet, number: u64, random: &mut StdRng) {
        let delay = rule.delay + rule.jitter.mul_f64(random.random());
        if delay.is_zero() {
            packet.go();
            return;
        }
        lock(&self.late).insert((Instant::now() + delay, number), packet);
        self.more.notify_one();
    }

    fn send_late(&self) {
        let mut late = lock(&self.late);
        while !self.ended.load(Ordering::Acquire) {
            let now = Instant::now();
            while let Some(first) = late.first_entry().filter(|first| first.key().0 <= now) {
                first.remove().go();
            }
            let pause = late.keys().next().map_or(LOOK, |(due, _)| due.duration_since(now).min(LOOK));
            let (next, _) = self.more.wait_timeout(late, pause).unwrap_or_else(std::sync::PoisonError::into_inner);
            late = next;
        }
    }
}

fn socket() -> Arc<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a UDP port");
    socket.set_read_timeout(Some(LOOK)).expect("a time-out can be set");
    Arc::new(socket)
}
