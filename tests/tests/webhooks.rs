//! Webhooks on a real cluster: each end is told to its receiver, signed, also when the dispatcher is killed before
//! anybody has taken the message in; and a receiver that never answers holds up nobody.

use relais_node::hooks::SigningKey;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const SECRET: &str = "whsec_c2VjcmV0";

/// A message as it came in.
#[derive(Clone, Debug)]
struct Message {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Takes messages in. `/later` is refused until it is open, `/gone` always, `/never` is not answered at all.
struct Receiver {
    addr: SocketAddr,
    open: Arc<AtomicBool>,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its address");
        let receiver = Self { addr, open: Arc::default(), messages: Arc::default() };
        let (open, messages) = (receiver.open.clone(), receiver.messages.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (open, messages) = (open.clone(), messages.clone());
                std::thread::spawn(move || serve(&stream, &open, &messages));
            }
        });
        receiver
    }

    fn job(&self, path: &str, payload: &Value) -> Value {
        let url = format!("http://{}{path}", self.addr);
        json!({"kind": "noop", "payload": payload, "notify": {"webhook": {"url": url, "secret": SECRET}}})
    }

    fn of(&self, path: &str) -> Vec<Message> {
        let messages = self.messages.lock().expect("no panic");
        messages.iter().filter(|message| message.path == path).cloned().collect()
    }
}

fn serve(stream: &TcpStream, open: &AtomicBool, messages: &Mutex<Vec<Message>>) {
    let mut reader = BufReader::new(stream);
    while let Some(message) = read(&mut reader) {
        let path = message.path.clone();
        messages.lock().expect("no panic").push(message);
        let status = match path.as_str() {
            "/never" => {
                let _ = reader.read(&mut [0]);
                return;
            }
            "/gone" => "410 Gone",
            "/later" if !open.load(Ordering::SeqCst) => "503 Service Unavailable",
            _ => "204 No Content",
        };
        let mut stream = stream;
        if write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Message> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Message { path, headers, body: String::from_utf8(body).ok()? })
}

/// Which job's end a message tells of; its signature, its id and its type must be right.
fn told(message: &Message) -> String {
    let header = |name: &str| message.headers.get(name).map_or("", String::as_str);
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp").parse().expect("seconds"));
    let key = SigningKey::of(SECRET).expect("a key");
    assert_eq!(header("webhook-signature"), key.sign(id, timestamp, &message.body));
    let body: Value = serde_json::from_str(&message.body).expect("JSON");
    let job = body["data"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(id, format!("{job}.0"));
    assert_eq!(body["type"], format!("job.{}", body["data"]["state"].as_str().expect("a state")));
    assert!(!message.body.contains(SECRET), "the secret is in the message");
    job
}

fn notice(cluster: &Cluster, node: usize, job: &str) -> Option<Value> {
    Some(cluster.nodes[node].read(&format!("/v1/jobs/{job}"))?["notify"]["webhook"].clone())
}

#[test]
fn each_end_is_told_though_the_dispatcher_dies_before_anybody_listens() {
    let receiver = Receiver::start();
    let mut cluster = Cluster::start(3, Options::default());
    cluster.await_whole();
    // A receiver that never answers comes first, with more messages than go to one host at once.
    let never = Receiver::start();
    for _ in 0..20 {
        let _ = cluster.nodes[0].submit(&never.job("/never", &json!({})));
    }
    let good = cluster.nodes[0].submit(&receiver.job("/now", &json!({})));
    let failed = cluster.nodes[1].submit(&receiver.job("/now", &json!({"fail_times": 1})));
    let gone = cluster.nodes[1].submit(&receiver.job("/gone", &json!({})));
    let later: BTreeSet<String> =
        (0..20).map(|number| cluster.nodes[number % 3].submit(&receiver.job("/later", &json!({})))).collect();
    cluster.until("what is taken in at once", |_| {
        let jobs: BTreeSet<String> = receiver.of("/now").iter().map(told).collect();
        (jobs == BTreeSet::from([good.clone(), failed.clone()])).then_some(())
    });
    cluster.until("what comes of it to be known to all nodes", |cluster| {
        (0..3)
            .all(|node| notice(cluster, node, &good).is_some_and(|notice| notice["state"] == "delivered"))
            .then_some(())
    });
    cluster.until("a 410 to be final", |cluster| {
        let notice = notice(cluster, 2, &gone)?;
        (notice["state"] == "given_up" && notice["error"].as_str()?.contains("410")).then_some(())
    });
    assert_eq!(receiver.of("/gone").len(), 1);

    cluster.until("each of the others to be refused once", |_| (receiver.of("/later").len() >= 20).then_some(()));
    let (hit, epoch) = cluster.dispatcher();
    cluster.nodes[hit].kill();
    let _ = cluster.successor(hit, epoch);
    receiver.open.store(true, Ordering::SeqCst);
    let alive = (hit + 1) % 3;
    cluster.until("all of them to be delivered", |cluster| {
        let is_told = |job: &String| notice(cluster, alive, job).is_some_and(|notice| notice["state"] == "delivered");
        later.iter().all(is_told).then_some(())
    });
    assert_eq!(receiver.of("/later").iter().map(told).collect::<BTreeSet<_>>(), later);
    let shown = cluster.nodes[alive].ask("GET", &format!("/v1/jobs/{good}"), "").expect("an answer").text();
    assert!(!shown.contains(SECRET), "{shown}");
}
