//! Five hundred clients follow `/v1/events` of one node while ten thousand jobs run. Each sees every event once, also
//! one that goes away in the middle and comes back with the last id that it saw; who takes nothing loses its
//! connection and misses nothing when it comes back; and the memory of the node grows by what the jobs need, not by
//! what the clients do.

use nix::sys::socket::{setsockopt, sockopt};
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Node, Options};
use relais_tests::siege::Memory;
use serde_json::json;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::time::Instant;

const CLIENTS: usize = 500;
/// Of them, each so many-th goes away again and again.
const RESTLESS_EVERY: usize = 10;
/// Events after which it does.
const RESTLESS_AFTER: usize = 3_000;
/// Clients that take nothing until all is over.
const DEAF: usize = 5;
const JOBS: usize = 10_000;
const BATCH: usize = 1_000;
/// The memory of the node may grow by so much more than it does without clients.
const GROWTH_MIB: f64 = 50.0;
const LIMIT: Duration = Duration::from_secs(300);

/// The place of an event in the journal, as its id says.
type Place = (u64, u64, u64);

fn place(text: &str) -> Option<Place> {
    let mut numbers = text.trim().split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// What a client saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    events: usize,
    /// Of all ids in their order.
    digest: u64,
}

/// A client: it reads what comes after `from`, up to the place that is told when all is over.
struct Follower {
    addr: SocketAddr,
    from: Place,
    end: Arc<OnceLock<Place>>,
    last: String,
    seen: Seen,
    hasher: DefaultHasher,
    visits: usize,
}

impl Follower {
    fn new(addr: SocketAddr, from: &str, end: &Arc<OnceLock<Place>>) -> Self {
        let start = place(from).expect("an id");
        let (last, seen) = (from.to_owned(), Seen::default());
        Self { addr, from: start, end: end.clone(), last, seen, hasher: DefaultHasher::new(), visits: 0 }
    }

    /// Connects and asks for what followed the last event that it saw.
    fn connect(&mut self, window: Option<usize>) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).expect("a connection");
        if let Some(bytes) = window {
            setsockopt(&stream, sockopt::RcvBuf, &bytes).expect("a small window");
        }
        let asked = format!(
            "GET /v1/events HTTP/1.1\r\nHost: {}\r\nLast-Event-ID: {}\r\nConnection: close\r\n\r\n",
            self.addr, self.last
        );
        stream.write_all(asked.as_bytes()).expect("it is asked");
        self.visits += 1;
        stream
    }

    /// Reads until it saw the end, or `most` events; whether it is at the end.
    fn read(&mut self, stream: TcpStream, most: usize, joined: impl FnOnce()) -> bool {
        // Long enough for a comment that says that all is well.
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        let mut reader = BufReader::with_capacity(32 << 10, stream);
        let mut joined = Some(joined);
        let (mut line, mut events) = (Vec::new(), 0);
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                return false;
            }
            if let Some(joined) = joined.take_if(|_| line.starts_with(b"retry:")) {
                joined();
            }
            assert!(!line.starts_with(b"event: reset"), "all is kept for who comes back");
            if let Some(id) = line.strip_prefix(b"id: ") {
                let text = std::str::from_utf8(id).expect("text");
                let at = place(text).expect("an id");
                assert!(at > self.from, "{at:?} came twice, after {:?}", self.from);
                self.from = at;
                text.trim().clone_into(&mut self.last);
                self.hasher.write(text.trim().as_bytes());
                self.seen.events += 1;
                events += 1;
            }
            // The event itself is whole with an empty line.
            let is_whole = line == b"\n" || line == b"\r\n";
            if is_whole && self.is_at_end() {
                return true;
            }
            if is_whole && events >= most {
                return false;
            }
        }
    }

    fn is_at_end(&self) -> bool {
        self.end.get().is_some_and(|end| self.from >= *end)
    }

    fn done(mut self) -> (Seen, usize) {
        self.seen.digest = self.hasher.finish();
        (self.seen, self.visits)
    }

    /// Follows until the end; comes back after each so many events, and whenever the stream ends.
    fn follow(mut self, most: usize, joined: &AtomicUsize) -> (Seen, usize) {
        let mut first = true;
        while !self.is_at_end() || first {
            let stream = self.connect(None);
            let counted = std::mem::replace(&mut first, false);
            self.read(stream, most, || {
                joined.fetch_add(usize::from(counted), Ordering::Relaxed);
            });
        }
        self.done()
    }
}

/// The newest event of a node.
fn newest(node: &Node) -> String {
    let events = node.ask("GET", "/v1/events?follow=false", "").expect("events").text();
    let id = events.lines().rev().find_map(|line| line.strip_prefix("id: "));
    id.unwrap_or_else(|| panic!("no event yet: {events}")).to_owned()
}

/// Runs all jobs; the most memory that the node had meanwhile, and how long it took.
fn run(cluster: &Cluster) -> (Memory, Duration) {
    let node = &cluster.nodes[0];
    let began = Instant::now();
    let spec = json!({"kind": "noop", "payload": {}});
    let over = Arc::new(AtomicBool::new(false));
    let (flag, pid) = (over.clone(), node.pid());
    let watch = thread::spawn(move || {
        let mut peak = Memory::of_pid(pid);
        while !flag.load(Ordering::Relaxed) {
            peak = peak.max(Memory::of_pid(pid));
            thread::sleep(Duration::from_millis(10));
        }
        peak
    });
    for _ in 0..JOBS / BATCH {
        let _ = cluster.submit_all(&vec![spec.clone(); BATCH]);
    }
    cluster.await_all_ended(0, LIMIT);
    over.store(true, Ordering::Relaxed);
    (watch.join().expect("it watched").expect("the node runs"), began.elapsed())
}

#[test]
fn five_hundred_clients_see_everything_and_cost_little() {
    let cluster = Cluster::start(1, Options { slots: 64, ..Options::default() });
    let node = &cluster.nodes[0];
    let _ = node.submit(&json!({"kind": "noop", "payload": {}}));
    let before = Memory::of(node);
    let (alone, alone_took) = run(&cluster);
    let from = newest(node);
    let calm = Memory::of(node);

    let (end, joined) = (Arc::new(OnceLock::new()), Arc::new(AtomicUsize::new(0)));
    let follow = |number: usize| -> JoinHandle<(Seen, usize)> {
        let follower = Follower::new(node.http, &from, &end);
        let (joined, restless) = (joined.clone(), number % RESTLESS_EVERY == 0);
        let most = if restless { RESTLESS_AFTER + number } else { usize::MAX };
        thread::Builder::new().stack_size(256 << 10).spawn(move || follower.follow(most, &joined)).expect("a thread")
    };
    let clients: Vec<_> = (0..CLIENTS).map(follow).collect();
    until("all clients to follow", LIMIT, || (joined.load(Ordering::Relaxed) == CLIENTS).then_some(()));
    let mut deaf: Vec<Follower> = (0..DEAF).map(|_| Follower::new(node.http, &from, &end)).collect();
    let held: Vec<TcpStream> = deaf.iter_mut().map(|one| one.connect(Some(4_096))).collect();

    let (crowded, took) = run(&cluster);
    let last = newest(node);
    end.set(place(&last).expect("an id")).expect("set once");
    // Something more must happen for who had seen all of it before the end was told.
    let _ = node.submit(&json!({"kind": "noop", "payload": {}, "delay": "1h"}));
    let seen: Vec<(Seen, usize)> = clients.into_iter().map(|client| client.join().expect("it followed")).collect();

    // What the node had for who takes nothing is given up, and nothing is missed by who comes back.
    let files = || node.figure("process_open_fds").expect("a figure");
    let begun = Instant::now();
    let with_deaf = files();
    until("connections of who takes nothing to be given up", LIMIT, || {
        (files() + DEAF as u64 <= with_deaf).then_some(())
    });
    println!("who takes nothing was given up {:.1} s after the end", begun.elapsed().as_secs_f64());
    let after = Memory::of(node);
    for (mut one, stream) in deaf.into_iter().zip(held) {
        assert!(!one.read(stream, usize::MAX, || ()), "it was cut off before the end");
        let (again, _) = one.follow(usize::MAX, &joined);
        assert!(again.events >= 3 * JOBS, "{again:?}");
    }

    let visits: usize = seen.iter().map(|(_, visits)| visits).sum();
    let events = seen.iter().map(|(seen, _)| seen.events).max().unwrap_or_default();
    println!(
        "{CLIENTS} clients in {visits} connections saw {events} events of {JOBS} jobs, in {:.1} s ({:.1} s without them)",
        took.as_secs_f64(),
        alone_took.as_secs_f64()
    );
    println!(
        "anonymous memory: {:.1} MiB at first, {:.1} at most with {JOBS} jobs and no client, {:.1} then, {:.1} at most \
         with {JOBS} more and {CLIENTS} clients, {:.1} when they were gone",
        before.mib(),
        alone.mib(),
        calm.mib(),
        crowded.mib(),
        after.mib()
    );
    assert!(events >= 3 * JOBS, "at least three events of each job: {events}");
    compare(&seen, events);
    assert!(visits > CLIENTS + CLIENTS / RESTLESS_EVERY, "some went away and came back: {visits}");
    let jobs_need = (alone.mib() - before.mib()).max(0.0);
    let grew = crowded.mib() - calm.mib() - jobs_need;
    println!("grown by {grew:.1} MiB more than by the jobs alone");
    assert!(grew < GROWTH_MIB, "memory grew by {grew:.1} MiB more than without clients");
}

/// Each client may have seen the event beyond the end, or not; up to there all saw the same.
fn compare(seen: &[(Seen, usize)], events: usize) {
    for (number, (one, _)) in seen.iter().enumerate() {
        assert!(one.events + 2 >= events, "client {number} saw {} events of {events}", one.events);
    }
    let mut same = std::collections::BTreeMap::<usize, u64>::new();
    for (number, (one, _)) in seen.iter().enumerate() {
        let digest = *same.entry(one.events).or_insert(one.digest);
        assert_eq!(digest, one.digest, "client {number} saw other events than one that saw as many");
    }
}
