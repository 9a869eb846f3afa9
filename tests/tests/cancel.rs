//! F27, a cancel in bad company: it races the end of its job, it comes while there is no dispatcher, its job is on a
//! node that is gone, and what runs does not want to end. Each time there is one terminal state, what was answered
//! stands, and what was asked for is remembered.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use relais_protocol::time::UnixMs;
use relais_tests::cluster::http::Http;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a part of a test may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
/// Jobs of the race, and clients that share them.
const JOBS: usize = 120;
const CLIENTS: usize = 4;

fn start() -> Cluster {
    Cluster::start(3, Options::labelled(3, 16))
}

fn is_terminal(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "cancelled" | "expired")
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_else(|| panic!("no {field}: {row}")).to_owned()
}

/// What a client was told of one job.
struct Told {
    id: String,
    /// Of the cancel: 200, 202 or 409.
    status: u16,
    /// The first terminal state that it saw.
    ended: String,
}

/// A client that submits, cancels and looks, at all nodes in turn, again and again until it is answered.
struct Client {
    nodes: Vec<SocketAddr>,
    turn: usize,
}

impl Client {
    fn insist(&mut self, method: &str, target: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        until(target, LIMIT, || {
            self.turn += 1;
            let mut http = Http::new(self.nodes[self.turn % self.nodes.len()], Duration::from_secs(5));
            let answer = http.send(method, target, &headers, body.to_string().as_bytes()).ok()?;
            (answer.status < 500).then(|| (answer.status, answer.json()))
        })
    }

    fn race(&mut self, number: usize) -> Told {
        // One in five runs until it is cancelled.
        let sleep = if number % 5 == 1 { "10m".to_owned() } else { format!("{}ms", number * 7 % 40) };
        let mut spec = json!({"kind": "noop", "payload": {"sleep": sleep}, "retry": {"max_lost": 9}});
        if number.is_multiple_of(4) {
            // It races the start, too.
            spec["delay"] =
                if number.is_multiple_of(8) { json!("10m") } else { json!(format!("{}ms", number % 9 * 5)) };
        }
        let (status, job) = self.insist("POST", "/v1/jobs", Some(&format!("race-{number}")), &spec);
        assert!([200, 201].contains(&status), "{job}");
        let id = text(&job, "id");
        let target = format!("/v1/jobs/{id}");
        // Some are cancelled at once, some when they are about to end.
        if number.is_multiple_of(3) && sleep != "10m" {
            let _ = self.insist("GET", &format!("{target}?wait={sleep}"), None, &Value::Null);
        }
        let (status, answer) = self.insist("POST", &format!("{target}:cancel"), None, &json!({"reason": "a race"}));
        assert!([200, 202, 409].contains(&status), "{status} {answer}");
        let ended = until("the end of a job", LIMIT, || {
            let (_, row) = self.insist("GET", &format!("{target}?wait=5s"), None, &Value::Null);
            row["state"].as_str().filter(|state| is_terminal(state)).map(str::to_owned)
        });
        if status == 200 {
            assert_eq!((answer["state"].as_str(), ended.as_str()), (Some("cancelled"), "cancelled"), "{id}");
        }
        Told { id, status, ended }
    }
}

fn time(value: &Value) -> UnixMs {
    UnixMs::parse_rfc3339(value.as_str().expect("a time")).expect("a time")
}

/// What must be true of a job whose cancel was answered.
fn judge(told: &Told, row: &Value) {
    assert_eq!(row["state"], told.ended.as_str(), "it ended otherwise before: {row}");
    assert_eq!((&row["duplicate_executions"], row["endings"].as_array().map(Vec::len)), (&json!(0), Some(0)), "{row}");
    let wish = &row["cancel_requested"];
    if told.status != 409 {
        assert_eq!(wish["reason"], "a race", "confirmed and forgotten: {row}");
        assert!(["cancelled", "succeeded"].contains(&told.ended.as_str()), "{row}");
    }
    let attempts = row["attempts"].as_array().expect("attempts");
    let won = attempts.iter().filter(|one| one["outcome"] == "succeeded").count();
    assert_eq!(won, usize::from(told.ended == "succeeded"), "{row}");
    if !wish.is_null() {
        let late = attempts.iter().find(|one| time(&one["started_at"]) > time(&wish["at"]));
        assert_eq!(late, None, "started after it was cancelled");
    }
}

#[test]
fn f27_a_cancel_races_the_end_of_its_job_while_the_dispatcher_dies() {
    let mut cluster = start();
    let nodes: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.http).collect();
    let done = Arc::new(AtomicUsize::new(0));
    let client = |first: usize| {
        let (mut client, done) = (Client { nodes: nodes.clone(), turn: first }, done.clone());
        std::thread::spawn(move || {
            let each = (first..JOBS).step_by(CLIENTS).map(|number| {
                let told = client.race(number);
                done.fetch_add(1, Ordering::AcqRel);
                told
            });
            each.collect::<Vec<Told>>()
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    until("a part of the race", LIMIT, || (done.load(Ordering::Acquire) >= JOBS / 3).then_some(()));
    cluster.fail_over();
    let told: Vec<Told> = clients.into_iter().flat_map(|client| client.join().expect("a client ends well")).collect();
    cluster.await_all_ended(0, LIMIT);
    for told in &told {
        for node in &cluster.nodes {
            let row = until("the job", LIMIT, || node.read(&format!("/v1/jobs/{}", told.id)));
            judge(told, &row);
        }
    }
    let of = |status: u16, ended: &str| told.iter().filter(|one| one.status == status && one.ended == ended).count();
    println!(
        "{JOBS} cancels: {} at once, {} of a running job that ended cancelled, {} too late for it, {} after the end",
        of(200, "cancelled"),
        of(202, "cancelled"),
        of(202, "succeeded"),
        of(409, "succeeded") + of(409, "cancelled")
    );
    let kinds = [of(200, "cancelled"), of(202, "cancelled"), of(409, "succeeded")];
    assert!(kinds.iter().all(|count| *count > 0), "no race was run");
    assert_eq!(cluster.nodes[0].jobs().len(), JOBS);
}

/// Cancels a job at `node`; the status, and what was answered.
fn cancel(cluster: &Cluster, node: usize, id: &str, reason: &str) -> (u16, Value) {
    let body = json!({"reason": reason}).to_string();
    let answer = cluster.nodes[node].ask("POST", &format!("/v1/jobs/{id}:cancel"), &body).expect("an answer");
    (answer.status, answer.json())
}

#[test]
fn f27_a_cancel_is_remembered_through_a_failover() {
    let mut cluster = start();
    let (hit, epoch) = cluster.dispatcher();
    let others = cluster.others(hit);
    let (gate, never) = (cluster.gate("ends"), cluster.gate("never"));
    let exec =
        |payload: Value, node: usize| json!({"kind": "exec", "payload": payload, "requires": cluster.only_on(node)});
    // At TERM it takes its time, and then says that all is well.
    let at_term = format!("while [ ! -e {} ]; do sleep 0.02; done; exit 0", gate.path());
    let slow = format!("trap '{at_term}' TERM; echo ready; while :; do sleep 0.02; done");
    let slow = json!({"command": ["sh", "-c", slow]});
    let again = json!({"max_attempts": 5, "initial_interval": "10m", "jitter": "none"});
    let retried = json!({"kind": "noop", "payload": {"fail_times": 99}, "retry": again});
    let ids = cluster.submit_all(&[
        exec(slow, others[0]),
        exec(never.payload("exit 0"), hit),
        retried,
        json!({"kind": "noop", "payload": {}, "delay": "1h"}),
        exec(never.payload("exit 0"), others[1]),
    ]);
    let [slow, on_the_dead, retrying, scheduled, untold] = [0, 1, 2, 3, 4].map(|at: usize| &ids[at]);
    cluster.await_row(slow, "ready", |row| row["state"] == "running" && logs(&cluster, slow).contains("ready"));
    cluster.await_state(on_the_dead, "running");
    cluster.await_state(untold, "running");
    cluster.await_state(retrying, "retrying");
    for (id, status) in [(slow, 202), (on_the_dead, 202), (retrying, 200), (scheduled, 200)] {
        assert_eq!(cancel(&cluster, others[0], id, "before").0, status, "{id}");
    }
    assert_eq!(cluster.row(slow)["state"], "running", "not confirmed before it has ended");
    cluster.nodes[hit].kill();
    // While there is nobody to commit it: confirmed once there is, or not at all.
    let (told, answer) = cancel(&cluster, others[1], untold, "meanwhile");
    let (next, after) = cluster.successor(hit, epoch);
    assert!(told == 503 || told == 202, "{told}: {answer}");
    if told == 503 {
        assert_eq!(cancel(&cluster, next, untold, "meanwhile").0, 202);
    }
    let row = cluster.nodes[next].read(&format!("/v1/jobs/{slow}")).expect("the job");
    assert_eq!((&row["state"], &row["cancel_requested"]["reason"]), (&json!("running"), &json!("before")));
    cluster.nodes[hit].start();
    cluster.await_whole();
    gate.open();

    for (id, reason, attempts) in [
        (slow, "before", 1),
        (on_the_dead, "before", 1),
        (retrying, "before", 1),
        (scheduled, "before", 0),
        (untold, "meanwhile", 1),
    ] {
        ended_as_asked(&cluster, id, reason, attempts, after);
    }
}

/// The job is cancelled for `reason`, after so many attempts, none of them of epoch `after` or later, and no later
/// cancel changes that.
fn ended_as_asked(cluster: &Cluster, id: &str, reason: &str, attempts: usize, after: u64) {
    let row = cluster.await_state(id, "cancelled");
    assert_eq!((&row["cancel_requested"]["reason"], &row["error"]["type"]), (&json!(reason), &json!("cancelled")));
    let all = row["attempts"].as_array().expect("attempts");
    assert!(all.len() == attempts && all.iter().all(|one| one["epoch"].as_u64() < Some(after)), "{row}");
    for node in 0..3 {
        let (status, problem) = cancel(cluster, node, id, "again");
        assert_eq!((status, &problem["status"]), (409, &json!(409)), "{problem}");
    }
    assert_eq!(cluster.row(id)["cancel_requested"]["reason"], reason, "what came too late changed it");
}

fn logs(cluster: &Cluster, id: &str) -> String {
    let answer = cluster.nodes[0].ask("GET", &format!("/v1/jobs/{id}/logs?stream=stdout"), "");
    answer.map(|answer| answer.text()).unwrap_or_default()
}

/// The process ids that a job wrote, once there are `count`.
fn pids(file: &Path, count: usize) -> Vec<Pid> {
    until("the process ids", LIMIT, || {
        let text = std::fs::read_to_string(file).ok()?;
        let pids: Vec<Pid> = text.lines().filter_map(|line| line.parse().ok().map(Pid::from_raw)).collect();
        (pids.len() == count).then_some(pids)
    })
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
}

/// A script that leaves children behind, one of which does not listen to TERM, and ends at TERM itself.
fn family(file: &Path) -> Value {
    let deaf = "trap '' TERM; while :; do sleep 0.05; done";
    let script = format!(
        "sh -c \"{deaf}\" & echo $! >> '{0}'; sleep 600 & echo $! >> '{0}'; echo $$ >> '{0}'; while :; do sleep 0.05; done",
        file.display()
    );
    json!({"command": ["sh", "-c", script]})
}

#[test]
fn f27_a_cancel_ends_the_whole_process_group_and_a_call() {
    let mut cluster = start();
    let (hit, _) = cluster.dispatcher();
    let node = cluster.others(hit)[0];
    let file = cluster.folder().join("family");
    let site = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", site.local_addr().expect("its address"));
    let ids = cluster.submit_all(&[
        json!({"kind": "exec", "payload": family(&file), "requires": cluster.only_on(node)}),
        json!({"kind": "http", "payload": {"url": url}, "requires": cluster.only_on(node)}),
    ]);
    let family = pids(&file, 3);
    let (mut call, _) = site.accept().expect("a call");
    call.set_read_timeout(Some(LIMIT)).expect("a limit");
    assert!(family.iter().all(|pid| !is_gone(*pid)));
    for id in &ids {
        cluster.await_state(id, "running");
        assert_eq!(cancel(&cluster, hit, id, "").0, 202);
    }
    cluster.fail_over();
    let rows: Vec<Value> = ids.iter().map(|id| cluster.await_state(id, "cancelled")).collect();
    assert_eq!(rows[0]["attempts"][0]["outcome"], "cancelled", "{}", rows[0]);
    until("the end of all processes of the job", LIMIT, || family.iter().all(|pid| is_gone(*pid)).then_some(()));
    // The request, and then the end of the connection: nobody waits for an answer any more.
    let mut request = Vec::new();
    let _ = call.read_to_end(&mut request);
    assert!(request.starts_with(b"GET / "), "{}", String::from_utf8_lossy(&request));
    assert_eq!(rows[1]["attempts"][0]["outcome"], "cancelled", "{}", rows[1]);
}

#[test]
fn f27_a_cancel_of_a_job_on_a_lost_node_waits_for_its_lease() {
    let cluster = start();
    let (dispatcher, _) = cluster.dispatcher();
    let lost = cluster.others(dispatcher)[0];
    let (file, ended_file) = (cluster.folder().join("lost"), cluster.folder().join("ended"));
    let gate = cluster.gate("away");
    let exec = |payload: Value| json!({"kind": "exec", "payload": payload, "requires": cluster.only_on(lost), "retry": {"max_lost": 9}});
    let ends_unseen = gate.payload(&format!("echo $$ > '{}'; exit 0", ended_file.display()));
    let ids = cluster.submit_all(&[exec(family(&file)), exec(ends_unseen)]);
    let family = pids(&file, 3);
    for id in &ids {
        cluster.await_state(id, "running");
    }
    cluster.nodes[lost].signal(Signal::SIGSTOP);
    for id in &ids {
        let (status, answer) = cancel(&cluster, dispatcher, id, "its node is away");
        assert_eq!((status, &answer["state"]), (202, &json!("running")), "nobody knows yet that it has stopped");
    }
    gate.open();
    let last = pids(&ended_file, 1);
    let other = cluster.others(lost)[0];
    for id in &ids {
        let ended = until("the end of its lease", LIMIT, || {
            cluster.nodes[other].read(&format!("/v1/jobs/{id}")).filter(|row| row["state"] != "running")
        });
        let outcome = &ended["attempts"][0]["outcome"];
        assert_eq!((&ended["state"], outcome), (&json!("cancelled"), &json!("lost")), "{ended}");
    }
    // One of them has ended well meanwhile, and its node has that to tell when it is back.
    cluster.nodes[lost].signal(Signal::SIGCONT);
    until("the end of all processes", LIMIT, || family.iter().chain(&last).all(|pid| is_gone(*pid)).then_some(()));
    cluster.await_whole();
    // Reports go out in order: what was to be told of the first two is told when a third one has ended there.
    let third = cluster.submit_all(&[exec(json!({"command": ["true"]}))]);
    cluster.await_state(&third[0], "succeeded");
    for (node, id) in cluster.nodes.iter().flat_map(|node| ids.iter().map(move |id| (node, id))) {
        let row = until("the job", LIMIT, || node.read(&format!("/v1/jobs/{id}")));
        assert_eq!((&row["state"], row["attempts"].as_array().map(Vec::len)), (&json!("cancelled"), Some(1)), "{row}");
        assert_eq!(row["cancel_requested"]["reason"], "its node is away");
    }
}

#[test]
fn f27_a_cancel_is_remembered_though_all_nodes_die() {
    let mut cluster = start();
    // It does not listen to TERM, so that nothing is confirmed before all is dark.
    let deaf = json!({"command": ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.02; done"]});
    let exec = |node: usize| json!({"kind": "exec", "payload": deaf, "requires": cluster.only_on(node)});
    let ids = cluster.submit_all(&[exec(0), exec(1), exec(2)]);
    for id in &ids {
        cluster.await_row(id, "ready", |row| row["state"] == "running" && logs(&cluster, id).contains("ready"));
    }
    for id in &ids {
        assert_eq!(cancel(&cluster, 0, id, "before the night").0, 202);
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.await_whole();
    for id in &ids {
        let row = cluster.await_state(id, "cancelled");
        assert_eq!(row["attempts"].as_array().map(Vec::len), Some(1), "run again: {row}");
        assert_eq!(row["cancel_requested"]["reason"], "before the night");
    }
}
