//! A stand-in for a node's HTTP API, and the program run against it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// A job id as the API gives them.
pub(crate) const ID: &str = "01963a0c-7f1e-7abc-8def-0123456789ab";

/// An address where nobody listens, and which no test is ever given.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What to answer.
pub(crate) struct Reply {
    status: u16,
    headers: String,
    body: String,
}

/// A running fake node. It answers until the test ends.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let mut request = Self { method: words.next()?.to_owned(), path: words.next()?.to_owned(), ..Self::default() };
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let Some((key, value)) = line.trim_end().split_once(": ") else { break };
            request.headers.push((key.to_lowercase(), value.to_owned()));
        }
        let length = request.header("content-length").map_or(0, |text| text.parse().expect("a length"));
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        request.body = String::from_utf8(body).expect("text");
        Some(request)
    }
}

impl Reply {
    pub(crate) fn json(status: u16, body: impl ToString) -> Self {
        let headers = "Content-Type: application/json\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\n".to_owned();
        Self { status, headers, body: body.to_string() }
    }

    pub(crate) fn problem(status: u16, title: &str) -> Self {
        Self::json(status, serde_json::json!({"type": "about:blank", "title": title, "status": status}))
    }

    pub(crate) fn text(body: &str) -> Self {
        Self { status: 200, headers: String::new(), body: body.to_owned() }
    }

    /// An answer that breaks off in the middle of its body.
    pub(crate) fn broken() -> Self {
        Self { status: 200, headers: "Content-Length: 500\r\n".to_owned(), body: "half".to_owned() }
    }

    /// An event stream that ends, whatever it holds, by closing the connection.
    pub(crate) fn events(body: &str) -> Self {
        Self { status: 200, headers: "Content-Type: text/event-stream\r\n".to_owned(), body: body.to_owned() }
    }

    pub(crate) fn with(mut self, header: &str) -> Self {
        self.headers += &format!("{header}\r\n");
        self
    }
}

impl Fake {
    /// A node that answers each request by `answer`, which also gets the number of the request (from 0).
    pub(crate) fn new(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (record, answer) = (Arc::clone(&seen), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &record, &*answer));
            }
        });
        Self { address, seen }
    }

    /// What was asked so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no panic").clone()
    }
}

fn serve(stream: TcpStream, record: &Mutex<Vec<Request>>, answer: &dyn Fn(usize, &Request) -> Reply) {
    let mut stream = BufReader::new(stream);
    let Some(request) = Request::read(&mut stream) else { return };
    let number = {
        let mut seen = record.lock().expect("no panic");
        seen.push(request.clone());
        seen.len() - 1
    };
    let reply = answer(number, &request);
    let open_end = reply.headers.contains("event-stream") || reply.headers.contains("Content-Length");
    let length = if open_end { String::new() } else { format!("Content-Length: {}\r\n", reply.body.len()) };
    let head = format!("HTTP/1.1 {} X\r\n{}{length}Connection: close\r\n\r\n", reply.status, reply.headers);
    // The client may be gone by now.
    drop(stream.get_mut().write_all((head + &reply.body).as_bytes()));
}

/// The program with a clean environment, told to talk to `fakes`.
pub(crate) fn relais(fakes: &[&Fake]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
    let addresses: Vec<String> = fakes.iter().map(|fake| fake.address.to_string()).collect();
    for variable in ["RELAIS_TOKEN", "RELAIS_ADDR", "NO_COLOR"] {
        command.env_remove(variable);
    }
    if !addresses.is_empty() {
        command.env("RELAIS_ADDR", addresses.join(","));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// Runs the program with these words.
pub(crate) fn run(fakes: &[&Fake], words: &[&str]) -> Run {
    relais(fakes).args(words).output().expect("the program runs").into()
}

/// A job of state `state`, with further fields laid over.
pub(crate) fn job(state: &str, more: serde_json::Value) -> String {
    let mut job = serde_json::json!({
        "id": ID, "kind": "exec", "queue": "default", "priority": 50, "state": state, "node": "n2", "attempt": 1,
        "payload": {"command": ["sh", "-c", "exit 7"]},
        "created_at": "2026-11-22T09:59:30.000Z", "started_at": "2026-11-22T09:59:50.000Z"
    });
    for (key, value) in more.as_object().expect("an object") {
        job[key] = value.clone();
    }
    job.to_string()
}
