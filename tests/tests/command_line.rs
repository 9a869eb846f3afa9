//! The command line on a real cluster, as people and scripts use it: exit codes, live output from another node, wrong
//! input, `doctor` and `top`.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use relais_tests::cluster::http::Http;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options, binary, free_address};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// A cluster whose dispatcher is one node, and the address of another.
fn cluster() -> (Cluster, usize, String) {
    let cluster = Cluster::start(3, Options::labelled(3, 4));
    let (dispatcher, _) = cluster.dispatcher();
    let other = cluster.others(dispatcher)[0];
    let address = cluster.nodes[other].http.to_string();
    (cluster, dispatcher, address)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn relais(address: &str, args: &[&str]) -> Output {
    let mut command = Command::new(binary::program());
    command.args(args).env("RELAIS_ADDR", address).env_remove("RELAIS_TOKEN").stdin(Stdio::null());
    command.output().expect("the binary runs")
}

#[test]
fn wait_exits_as_the_job_did() {
    let (_cluster, _, address) = cluster();
    let table: [(&[&str], i32); 5] = [
        (&["submit", "--wait", "--", "sh", "-c", "exit 7"], 7),
        (&["submit", "--wait", "--", "true"], 0),
        (&["submit", "--follow", "--", "sh", "-c", "echo out; exit 9"], 9),
        (&["submit", "--wait", "--", "sh", "-c", "kill -9 $$"], 137),
        (&["submit", "--wait", "--timeout", "200ms", "--", "sleep", "60"], 5),
    ];
    for (args, code) in table {
        let output = relais(&address, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn output_is_followed_from_another_node_as_it_comes() {
    let (cluster, dispatcher, address) = cluster();
    let gate = cluster.folder().join("go on");
    let script = format!("echo first; while ! [ -e '{}' ]; do sleep 0.02; done; echo second", gate.display());
    // It runs on the dispatcher's node, and is followed at another.
    let place = format!("node={}", cluster.nodes[dispatcher].name);
    let mut command = Command::new(binary::program());
    command.args(["submit", "--follow", "--require", &place, "--", "sh", "-c", &script]).env("RELAIS_ADDR", &address);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    let mut first = next();
    if first != "first" {
        // Without a terminal the id comes before the output.
        first = next();
    }
    assert_eq!(first, "first", "the first line comes while the job still runs");
    std::fs::write(&gate, "").expect("the gate opens");
    assert_eq!(next(), "second");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn what_is_wrong_is_told_with_a_next_step() {
    let (_cluster, _, address) = cluster();
    let table: [(&str, &[&str], i32, &str); 12] = [
        (&address, &["job", "0196ffff"], 1, "`relais jobs`"),
        (&address, &["job", "not-an-id"], 2, "give an id"),
        (&address, &["submit", "--queue", "Not A Queue", "--", "true"], 1, "correct the request"),
        (&address, &["submit", "--priority", "101", "--", "true"], 2, "0..=100"),
        (&address, &["submit", "-f", "/nowhere/job.json"], 2, "/nowhere/job.json"),
        (&address, &["queues", "set", "q", "concurency=4"], 2, "a queue has concurrency"),
        (&address, &["cluster", "handover", "--to", "nobody"], 1, "nobody"),
        (&address, &["node", "drain", "nobody"], 1, "`relais nodes`"),
        (&address, &["schedules", "rm", "nothing"], 1, "`relais schedules`"),
        (&address, &["token", "create", "--role", "boss"], 2, "possible values"),
        (&address, &["config", "show", "--config", "/nowhere.toml"], 2, "readable TOML file"),
        ("127.0.0.1:1", &["jobs", "--retry-for", "100ms"], 69, "start one with `relais dev`"),
    ];
    for (address, args, code, step) in table {
        let output = relais(address, args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(step), "{args:?} does not say `{step}`: {said}");
        assert!(output.stdout.is_empty(), "{args:?}: an error is no output: {}", text(&output.stdout));
    }
}

fn findings(address: &str) -> (Option<i32>, Vec<Value>) {
    let output = relais(address, &["doctor", "-o", "json", "--data-dir", "/nowhere"]);
    let body: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| {
        panic!("{why}: {} {}", text(&output.stdout), text(&output.stderr));
    });
    (output.status.code(), body["findings"].as_array().expect("findings").clone())
}

fn level<'a>(findings: &'a [Value], what: &str) -> Option<&'a str> {
    findings
        .iter()
        .filter(|finding| finding["what"] == what)
        .filter_map(|finding| finding["level"].as_str())
        .next_back()
}

#[test]
fn doctor_finds_the_node_that_is_down_and_the_queue_that_is_paused() {
    let (mut cluster, dispatcher, address) = cluster();
    let (code, well) = findings(&address);
    assert_eq!(code, Some(0), "{well:#?}");
    for what in ["cluster", "dispatcher", "queues", "versions", "clocks"] {
        assert_eq!(level(&well, what), Some("ok"), "{what}: {well:#?}");
    }
    assert!(relais(&address, &["queues", "pause", "default"]).status.success());
    assert!(relais(&address, &["submit", "--", "true"]).status.success());
    let name = cluster.nodes[dispatcher].name.clone();
    cluster.nodes[dispatcher].kill();
    let sick = until("a doctor who sees it", LIMIT, || {
        let (code, found) = findings(&address);
        let down = level(&found, &format!("node {name}")) == Some("wrong");
        (code == Some(1) && down && level(&found, "dispatcher") == Some("ok")).then_some(found)
    });
    assert_eq!(level(&sick, "queue default"), Some("warning"), "{sick:#?}");
    let mut wrong = sick.iter().filter(|finding| finding["level"] != "ok");
    assert!(wrong.all(|finding| finding["next_step"].as_str().is_some_and(|next| !next.is_empty())), "{sick:#?}");
}

#[test]
fn top_shows_one_picture_without_a_terminal() {
    let (cluster, _, address) = cluster();
    let gate = cluster.gate("top");
    let id = cluster.submit_all(&[serde_json::json!({"kind": "exec", "payload": gate.payload("true")})]).remove(0);
    cluster.await_state(&id, "running");
    let picture = until("a picture with the job", LIMIT, || {
        let output = relais(&address, &["top"]);
        let picture = text(&output.stdout);
        (output.status.success() && picture.contains(&id)).then_some(picture)
    });
    for node in &cluster.nodes {
        assert!(picture.lines().any(|line| line.starts_with(&node.name)), "{picture}");
    }
    assert!(!picture.contains('\x1b'), "no steering of a terminal that is none: {picture:?}");
    gate.open();
    cluster.await_state(&id, "succeeded");
}

#[test]
fn ctrl_c_leaves_the_job_and_names_it() {
    let (cluster, _, address) = cluster();
    let gate = cluster.gate("left");
    let body = serde_json::json!({"kind": "exec", "payload": gate.payload("true")}).to_string();
    let file = cluster.folder().join("job.json");
    std::fs::write(&file, body).expect("a file");
    let mut command = Command::new(binary::program());
    command.args(["submit", "--wait", "-f"]).arg(&file).env("RELAIS_ADDR", &address);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut id = String::new();
    BufReader::new(child.stdout.as_mut().expect("an output")).read_line(&mut id).expect("its id");
    let id = id.trim().to_owned();
    cluster.await_state(&id, "running");
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), Signal::SIGINT).expect("it is there");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&format!("relais wait {id}")), "{}", text(&output.stderr));
    gate.open();
    cluster.await_state(&id, "succeeded");
}

#[test]
fn a_good_config_file_is_explained_and_a_wrong_key_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("relais.toml");
    std::fs::write(&file, "slots = 3\n").expect("a file");
    let path = file.to_str().expect("text");
    let shown = relais("127.0.0.1:1", &["config", "show", "--origin", "--config", path, "-o", "jsonl"]);
    let slots = text(&shown.stdout).lines().find(|line| line.contains("\"slots\"")).map(str::to_owned);
    assert!(slots.as_deref().is_some_and(|line| line.contains("relais.toml line 1")), "{slots:?}");
    std::fs::write(&file, "slotz = 3\n").expect("a file");
    let refused = relais("127.0.0.1:1", &["config", "show", "--config", path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("line 1: unknown field `slotz`"), "{}", text(&refused.stderr));
}

/// The first token is made while `dev` still looks whether its nodes are there: it has none, and goes on without.
#[test]
fn dev_goes_on_when_a_token_is_made_while_it_comes_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = |port: u16| format!("127.0.0.1:{port}");
    // Four in a row: two nodes, each with a port for HTTP and one for QUIC.
    let [http, _, quic, _] = until("ports in a row", LIMIT, || {
        let ports = [(); 4].map(|()| free_address().port());
        ports.windows(2).all(|pair| pair[0] + 1 == pair[1]).then_some(ports)
    });
    let mut dev = Command::new(binary::program());
    dev.args(["dev", "--nodes", "2", "--http", &first(http), "--listen", &first(quic), "--data-dir"]);
    dev.arg(folder.path().join("data")).env_remove("RELAIS_TOKEN").stdin(Stdio::null());
    let mut dev = dev.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let ask = |port: u16, method: &str, target: &str, body: &str| {
        let json = [("Content-Type", "application/json")];
        let addr = first(port).parse().expect("an address");
        Http::new(addr, LIMIT).send(method, target, if body.is_empty() { &[] } else { &json }, body.as_bytes()).ok()
    };
    until("the second node", LIMIT, || ask(http + 1, "GET", "/livez", "").filter(|answer| answer.status == 200));
    let made = until("a token", LIMIT, || {
        ask(http, "POST", "/v1/tokens", r#"{"role": "admin"}"#).filter(|answer| answer.status == 201)
    });
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    let mut lines = BufReader::new(dev.stdout.take().expect("an output")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Ctrl-C stops all nodes")), "it ended before it was up");
    let bearer = format!("Bearer {token}");
    let nodes = Http::new(first(http).parse().expect("an address"), LIMIT)
        .send("GET", "/v1/nodes", &[("Authorization", &bearer)], b"")
        .expect("the nodes go on");
    assert_eq!(nodes.json()["nodes"].as_array().map(Vec::len), Some(2), "{}", nodes.text());
    assert!(dev.try_wait().expect("a child can be waited for").is_none(), "dev goes on");
    kill(Pid::from_raw(i32::try_from(dev.id()).expect("a pid")), Signal::SIGINT).expect("it can be told to end");
    assert!(dev.wait().expect("its end").success());
}
