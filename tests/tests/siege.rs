//! F19 and F20 over HTTP: bytes that mean nothing, requests that are too large, clients that are too slow, and
//! connections that nobody says anything on. They are refused or thrown out, the node neither panics nor grows, and
//! whoever only wants a job done is served all the while, by the same process.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Node, Options, Turn};
use relais_tests::siege::{Bystander, Crowd, Deaf, Memory, head, send};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The memory of the node may grow by so much.
const GROWTH_MIB: f64 = 50.0;
/// Random bytes that are sent.
const CHANCE_BYTES: usize = 100 << 20;
/// Of them on one connection, at most.
const CONNECTION_BYTES: usize = 256 << 10;
/// Clients that say one byte a second.
const SLOW: usize = 1_000;
/// Connections that nobody says anything on.
const IDLE: usize = 10_000;
/// Clients that never read.
const DEAF: usize = 50;
/// By when who is too slow is thrown out: the design's limits are 5 to 15 s, and this machine does other things, too.
const THROWN_OUT_LIMIT: Duration = Duration::from_secs(60);

/// A node is ill-treated while somebody else submits jobs at it; what the attack says of itself is printed with the
/// figures.
fn endures(attack: impl FnOnce(&Node) -> String) {
    let mut cluster = Cluster::start(1, Options::default());
    let node = &cluster.nodes[0];
    let pid = node.pid();
    let calm = Bystander::few(node, 40).median();
    let before = Memory::of(node);
    let bystander = Bystander::at(node);
    let began = Instant::now();
    let what = attack(node);
    let took = began.elapsed();
    let besieged = bystander.end();
    let afterwards = Bystander::few(node, 20);
    let peak = besieged.peak.max(afterwards.peak).expect("somebody looked").mib();
    println!(
        "{what}; took {:.1} s; memory {:.1} MiB before, {peak:.1} at most; {} others served meanwhile; submit p50 \
         {:.1} ms before, {:.1} meanwhile, {:.1} afterwards",
        took.as_secs_f64(),
        before.mib(),
        besieged.took.len(),
        calm.as_secs_f64() * 1e3,
        besieged.median().as_secs_f64() * 1e3,
        afterwards.median().as_secs_f64() * 1e3
    );
    assert!(besieged.refused.is_empty(), "others were not served: {:?}", besieged.refused);
    assert!(!besieged.took.is_empty() && afterwards.refused.is_empty(), "{:?}", afterwards.refused);
    assert!(!node.log().contains("panicked"), "it panicked");
    assert!(peak < before.mib() + GROWTH_MIB, "memory grew from {:.1} to {peak:.1} MiB", before.mib());
    assert_eq!(cluster.nodes[0].pid(), pid);
    assert!(cluster.nodes[0].runs(), "the process is gone");
}

/// Whether who sent nonsense was told so, or thrown out.
fn is_refusal(status: Option<u16>) -> bool {
    status.is_none_or(|status| matches!(status, 400 | 408 | 413 | 431))
}

#[test]
fn a_hundred_megabytes_of_chance_do_nothing() {
    endures(|node| {
        let mut random = StdRng::seed_from_u64(19);
        let mut outcomes = BTreeMap::<Option<u16>, usize>::new();
        let (mut sent, mut count) = (0, 0);
        while sent < CHANCE_BYTES {
            // Nothing but chance; after the head of a request, as its body; in the middle of a head.
            let first = match count % 3 {
                0 => Vec::new(),
                1 => head(node, "POST /v1/jobs", "Content-Type: application/json\r\nContent-Length: 262144\r\n"),
                _ => format!("GET /v1/jobs HTTP/1.1\r\nHost: {}\r\nX-Chance: ", node.http).into_bytes(),
            };
            let pieces = std::iter::repeat_with(|| {
                let mut piece = vec![0; random.random_range(1..32 << 10)];
                random.fill_bytes(&mut piece);
                piece
            });
            let mut left = CONNECTION_BYTES;
            let pieces = pieces.take_while(|piece| {
                let goes_on = left > 0;
                left = left.saturating_sub(piece.len());
                goes_on
            });
            let outcome = send(node.http, std::iter::once(first).chain(pieces));
            assert!(is_refusal(outcome.status), "{outcome:?}");
            sent += outcome.sent;
            *outcomes.entry(outcome.status).or_default() += 1;
            count += 1;
        }
        format!("{} MB of chance on {count} connections: {outcomes:?}", sent / 1_000_000)
    });
}

/// The first message of TLS 1.3, for a server of this name.
fn client_hello(random: &mut StdRng, name: &str) -> Vec<u8> {
    let two = |length: usize| u16::try_from(length).expect("short").to_be_bytes();
    let mut hello = vec![3, 3];
    let mut chance = [0; 64];
    random.fill_bytes(&mut chance);
    hello.extend_from_slice(&chance[..32]);
    hello.push(32);
    hello.extend_from_slice(&chance[32..]);
    hello.extend_from_slice(&[0, 6, 0x13, 1, 0x13, 2, 0x13, 3, 1, 0]);
    let mut extensions = vec![0, 0];
    extensions.extend_from_slice(&two(name.len() + 5));
    extensions.extend_from_slice(&two(name.len() + 3));
    extensions.push(0);
    extensions.extend_from_slice(&two(name.len()));
    extensions.extend_from_slice(name.as_bytes());
    // Versions, groups, and what it can sign with.
    extensions.extend_from_slice(&[0, 43, 0, 3, 2, 3, 4, 0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 4, 3]);
    hello.extend_from_slice(&two(extensions.len()));
    hello.extend_from_slice(&extensions);
    let mut message = vec![22, 3, 1];
    message.extend_from_slice(&two(hello.len() + 4));
    message.extend_from_slice(&[1, 0]);
    message.extend_from_slice(&two(hello.len()));
    message.extend_from_slice(&hello);
    message
}

#[test]
fn who_speaks_tls_to_the_http_port_is_refused() {
    endures(|node| {
        let mut random = StdRng::seed_from_u64(20);
        let mut outcomes = BTreeMap::<Option<u16>, usize>::new();
        for number in 0..400_usize {
            let mut hello = client_hello(&mut random, ["localhost", "relais.example", "x"][number % 3]);
            // Some are in pieces.
            let rest = hello.split_off(if number % 2 == 0 { hello.len() } else { 5 });
            let outcome = send(node.http, [hello, rest]);
            assert!(is_refusal(outcome.status), "{outcome:?}");
            *outcomes.entry(outcome.status).or_default() += 1;
        }
        format!("TLS on the HTTP port: {outcomes:?}")
    });
}

/// Requests that are too large in some way, each with what it may be answered.
fn too_large(node: &Node) -> Vec<(&'static str, Vec<Vec<u8>>, &'static [u16])> {
    let json = "Content-Type: application/json\r\n";
    let post = |target: &str, more: &str| head(node, &format!("POST {target}"), &format!("{json}{more}"));
    let sized = |target: &str, body: &str| {
        vec![post(target, &format!("Content-Length: {}\r\n", body.len())), body.as_bytes().to_vec()]
    };
    let deep = |open: &str, levels: usize, close: &str| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    let spec = |inner: &str| format!(r#"{{"kind": "exec", "payload": {inner}}}"#);
    let chunk = || [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let endless = |first: Vec<u8>| std::iter::once(first).chain((0..1_000).map(|_| chunk())).collect();
    let long = |bytes: usize| "x".repeat(bytes);
    let many: String = (0..1_000).map(|number| format!("X-{number}: 1\r\n")).collect();
    let bodies = |count: usize| (0..count).map(|_| vec![b' '; 1 << 20]);
    let promised = |bytes: &str| vec![post("/v1/jobs", &format!("Content-Length: {bytes}\r\n"))];
    let batch = format!("[{}]", vec![r#"{"kind":"noop","payload":{}}"#; 10_001].join(","));
    vec![
        ("a body of 100 MB", promised("104857600").into_iter().chain(bodies(100)).collect(), &[413]),
        ("a promise of 16 EiB", promised("18446744073709551615"), &[400, 413]),
        ("a length that is none", promised("-1"), &[400]),
        ("two lengths", promised("5\r\nContent-Length: 6"), &[400]),
        ("a length and chunks", promised("5\r\nTransfer-Encoding: chunked"), &[400]),
        ("a batch of 17 MB", sized("/v1/jobs:batch", &" ".repeat(17 << 20)), &[413]),
        ("a batch of 10,001", sized("/v1/jobs:batch", &batch), &[400, 413]),
        ("chunks without end", endless(post("/v1/jobs", "Transfer-Encoding: chunked\r\n")), &[413]),
        ("chunks without end in a batch", endless(post("/v1/jobs:batch", "Transfer-Encoding: chunked\r\n")), &[413]),
        (
            "one endless chunk",
            vec![post("/v1/jobs", "Transfer-Encoding: chunked\r\n"), b"FFFFFFFFFFFFFFFFF\r\n".to_vec()],
            &[400, 413],
        ),
        ("a target of 200 kB", vec![head(node, &format!("GET /v1/jobs?name={}", long(200_000)), "")], &[414, 431]),
        ("a header of 200 kB", vec![head(node, "GET /v1/jobs", &format!("X-Long: {}\r\n", long(200_000)))], &[431]),
        ("a thousand headers", vec![head(node, "GET /v1/jobs", &many)], &[400, 431]),
        (
            "a name without end",
            endless(format!("GET /v1/jobs HTTP/1.1\r\n{}", long(1 << 20)).into_bytes()),
            &[400, 431],
        ),
        ("a deep payload", sized("/v1/jobs", &spec(&deep("[", 100_000, "]"))), &[400]),
        ("a deep object", sized("/v1/jobs", &spec(&deep("{\"a\":", 100_000, "}"))), &[400]),
        ("a deep body", sized("/v1/jobs", &deep("[", 500_000, "]")), &[400]),
        ("a deep body that breaks off", sized("/v1/jobs", &"{\"kind\":".repeat(100_000)), &[400]),
        ("deep settings", sized("/v1/cluster:handover", &deep("[", 30_000, "]")), &[400]),
        // Its one job is refused; the batch is answered.
        ("a deep batch", sized("/v1/jobs:batch", &deep("[", 1_000_000, "]")), &[200, 400]),
    ]
}

#[test]
fn what_is_too_large_is_refused_and_not_kept() {
    endures(|node| {
        let mut told = Vec::new();
        for _ in 0..3 {
            told.clear();
            for (what, pieces, allowed) in too_large(node) {
                let outcome = send(node.http, pieces);
                // Who is still sending when it is refused may see only that the connection is over.
                let good = outcome.status.map_or(outcome.ended, |status| allowed.contains(&status));
                assert!(good, "{what}: {outcome:?}, expected {allowed:?}");
                told.push(format!("{what} {}", outcome.status.map_or("cut".to_owned(), |status| status.to_string())));
            }
        }
        told.join(", ")
    });
}

/// A batch with one deep job: only that one is refused.
#[test]
fn a_deep_job_spoils_only_itself() {
    let cluster = Cluster::start(1, Options::default());
    let deep = format!(r#"{{"kind":"exec","payload":{}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let good = r#"{"kind":"noop","payload":{}}"#;
    for (kind, body) in [
        ("application/json", format!("[{good},{deep},{good}]")),
        ("application/x-ndjson", [good, &deep, good].join("\n")),
    ] {
        let headers = [("Content-Type", kind)];
        let answer = cluster.nodes[0].client().send("POST", "/v1/jobs:batch", &headers, body.as_bytes());
        let answer = answer.expect("an answer");
        let statuses: Vec<u64> = match answer.json()["results"].as_array() {
            Some(results) => results.iter().filter_map(|result| result["status"].as_u64()).collect(),
            None => panic!("{kind}: {} {}", answer.status, answer.text()),
        };
        assert_eq!(statuses, [201, 400, 201], "{kind}: {}", answer.text());
    }
}

fn slow(node: &Node, count: usize, what: &str, first: &[u8], then: &[u8]) -> String {
    let began = Instant::now();
    let mut crowd = Crowd::enter(node.http, count, first).expect("connections");
    crowd.dribble(then, THROWN_OUT_LIMIT);
    assert_eq!(crowd.open(), 0, "{what}: after {THROWN_OUT_LIMIT:?} not all were thrown out: {:?}", crowd.ends);
    format!("{count} {what} ended after {:.1} s, by status: {:?}", began.elapsed().as_secs_f64(), crowd.ends)
}

#[test]
fn a_thousand_slow_heads_are_thrown_out() {
    let _turn = Turn::beside();
    endures(|node| {
        let first = format!("GET /v1/jobs HTTP/1.1\r\nHost: {}\r\nX-Slow: ", node.http);
        slow(node, SLOW, "slow heads", first.as_bytes(), b"x")
    });
}

#[test]
fn a_thousand_slow_second_heads_are_thrown_out() {
    let _turn = Turn::beside();
    endures(|node| {
        let mut first = head(node, "GET /livez", "");
        first.extend_from_slice(b"GET /livez HTTP/1.1\r\nX-Slow: ");
        slow(node, SLOW, "slow second heads", &first, b"x")
    });
}

#[test]
fn a_thousand_slow_bodies_are_thrown_out() {
    let _turn = Turn::beside();
    endures(|node| {
        let first = head(node, "POST /v1/jobs", "Content-Type: application/json\r\nContent-Length: 5000\r\n");
        slow(node, SLOW, "slow bodies", &first, b" ")
    });
}

/// Bodies that are all but there: what is kept of them together has a limit, too.
#[test]
fn many_large_bodies_at_once_wait_for_room() {
    endures(|node| {
        let mut first =
            head(node, "POST /v1/jobs:batch", "Content-Type: application/json\r\nContent-Length: 16000000\r\n");
        first.resize(first.len() + (640 << 10), b' ');
        slow(node, 100, "large bodies that stop coming", &first, b" ")
    });
}

/// Answers that nobody takes: the node gives the connections up, and what it held for them.
#[test]
fn who_never_reads_is_thrown_out() {
    endures(|node| {
        let open = || node.figure("process_open_fds").expect("a figure");
        let calm = open();
        let asked = head(node, "GET /v1/openapi.json", "").repeat(16);
        let deaf = Deaf::enter(node.http, DEAF, &asked, 3).expect("connections");
        let most = open();
        assert!(most >= calm + DEAF as u64, "they are open: {calm}, {most}");
        let began = Instant::now();
        until("the connections to be given up", THROWN_OUT_LIMIT, || (open() < calm + DEAF as u64 / 10).then_some(()));
        drop(deaf);
        format!("{DEAF} who never read were given up after {:.1} s", began.elapsed().as_secs_f64())
    });
}

/// Requests without end, sent ahead of their answers.
#[test]
fn who_asks_ahead_without_end_is_thrown_out() {
    endures(|node| {
        let open = || node.figure("process_open_fds").expect("a figure");
        let calm = open();
        let asked = head(node, "GET /livez", "").repeat(100);
        let deaf = Deaf::enter(node.http, DEAF, &asked, 100).expect("connections");
        until("the connections to be given up", THROWN_OUT_LIMIT, || (open() < calm + DEAF as u64 / 10).then_some(()));
        drop(deaf);
        format!("{DEAF} who sent up to 10,000 requests at once were given up")
    });
}

#[test]
fn ten_thousand_idle_connections_are_thrown_out() {
    endures(|node| {
        let began = Instant::now();
        let mut crowd = match Crowd::enter(node.http, IDLE, b"") {
            Ok(crowd) => crowd,
            Err(error) => {
                println!("SKIPPED: {IDLE} connections can't be held open here: {error}");
                return "no idle connections".to_owned();
            }
        };
        let open = node.figure("process_open_fds");
        crowd.wait(THROWN_OUT_LIMIT);
        assert_eq!(crowd.open(), 0, "after {THROWN_OUT_LIMIT:?} not all were thrown out: {:?}", crowd.ends);
        let took = began.elapsed().as_secs_f64();
        format!("{IDLE} idle connections ({open:?} files open) ended after {took:.1} s, by status: {:?}", crowd.ends)
    });
}
