//! Workers that are no nodes, on real clusters: leases that outlive the dispatcher, end once and run out; limits
//! that count them; and the workers of the examples, in Python and in bash.

use relais_protocol::time::UnixMs;
use relais_tests::cluster::http::{Answer, Http};
use relais_tests::cluster::job::Job;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options, Turn};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long a part of a test may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

fn post(at: SocketAddr, target: &str, body: &Value) -> Option<Answer> {
    let headers = [("Content-Type", "application/json")];
    Http::new(at, Duration::from_secs(60)).send("POST", target, &headers, body.to_string().as_bytes()).ok()
}

/// Says it at any of the nodes until one answers it.
fn insist(nodes: &[SocketAddr], target: &str, body: &Value) -> Answer {
    until(target, LIMIT, || nodes.iter().find_map(|at| post(*at, target, body).filter(|answer| answer.status < 500)))
}

fn lease(nodes: &[SocketAddr], body: &Value) -> Vec<Value> {
    let answer = insist(nodes, "/v1/leases", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_array().expect("leases").clone()
}

fn say(nodes: &[SocketAddr], lease: &Value, verb: &str, body: &Value) -> Answer {
    insist(nodes, &format!("/v1/leases/{}:{verb}", lease["lease_id"].as_str().expect("a lease id")), body)
}

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.nodes.iter().map(|node| node.http).collect()
}

fn external(queue: &str, payload: &Value) -> Value {
    json!({"kind": "external", "payload": payload, "queue": queue, "retry": {"max_lost": 100}})
}

fn submit_all(cluster: &Cluster, specs: &[Value]) -> Vec<String> {
    let answer = insist(&addresses(cluster), "/v1/jobs:batch", &Value::from(specs.to_vec())).json();
    let results = answer["results"].as_array().expect("results");
    results.iter().map(|result| result["id"].as_str().expect("an id").to_owned()).collect()
}

fn job(cluster: &Cluster, id: &str) -> Value {
    cluster.until("a job", |cluster| {
        cluster.running().iter().find_map(|node| cluster.nodes[*node].read(&format!("/v1/jobs/{id}")))
    })
}

fn fail_over(cluster: &mut Cluster) {
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let _ = cluster.successor(old, epoch);
    cluster.nodes[old].start();
    cluster.await_whole();
}

#[test]
fn leases_outlive_the_dispatcher_end_once_and_run_out() {
    let _turn = Turn::beside();
    let mut cluster = Cluster::start(3, Options::default());
    let ids = submit_all(&cluster, &[json!(1), json!(2), json!(3)].map(|n| external("jobs", &n)));
    let all = addresses(&cluster);
    let leases = lease(&all[1..], &json!({"max": 3, "lease": "6s", "worker": "w1", "queues": ["jobs"]}));
    assert_eq!(leases.len(), 3);
    assert_eq!(leases.iter().map(|one| one["job"]["id"].as_str().unwrap()).collect::<Vec<_>>(), ids, "by their turn");
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let left: Vec<SocketAddr> = cluster.others(old).into_iter().map(|node| all[node]).collect();
    // The first is renewed, the second done, the third forgotten: none of them knows of the failover.
    let beaten = say(&left, &leases[0], "heartbeat", &json!({"progress": "half"}));
    assert_eq!((beaten.status, &beaten.json()["cancel_requested"]), (200, &json!(false)), "{}", beaten.text());
    assert_eq!(say(&left[..1], &leases[1], "complete", &json!({"result": 2})).json()["state"], "succeeded");
    assert_eq!(say(&left[1..], &leases[1], "complete", &json!({"result": 2})).status, 200, "told again at another");
    assert_eq!(say(&left, &leases[1], "complete", &json!({"result": 3})).status, 409);
    let _ = cluster.successor(old, epoch);
    cluster.nodes[old].start();
    // The third comes back when its lease is over; the first does not, as long as it is renewed.
    let again = until("the lost job to be granted again", LIMIT, || {
        assert_eq!(say(&all, &leases[0], "heartbeat", &json!({})).status, 200, "its lease is renewed");
        lease(&all, &json!({"wait": "500ms", "max": 3, "worker": "w2"})).pop()
    });
    assert_eq!(again["job"]["id"], leases[2]["job"]["id"]);
    assert!(again["fence"].as_u64() > leases[2]["fence"].as_u64(), "{again}");
    for (verb, body) in [("heartbeat", json!({})), ("complete", json!({"result": 0})), ("fail", json!({}))] {
        let refused = say(&all, &leases[2], verb, &body);
        assert_eq!(refused.status, 409, "{verb}: {}", refused.text());
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
    let first = format!("/v1/jobs/{}", leases[0]["job"]["id"].as_str().unwrap());
    cluster.until("its progress to be shown by all nodes", |cluster| {
        assert_eq!(say(&all, &leases[0], "heartbeat", &json!({"progress": "half"})).status, 200);
        (0..3).all(|node| cluster.nodes[node].read(&first).is_some_and(|job| job["progress"] == "half")).then_some(())
    });
    assert_eq!(say(&all, &again, "complete", &json!({"result": 3})).json()["state"], "succeeded");
    assert_eq!(say(&all, &leases[0], "complete", &json!({"result": 1})).json()["state"], "succeeded");
    cluster.await_whole();
    for (id, attempts) in ids.iter().zip([vec!["succeeded"], vec!["succeeded"], vec!["lost", "succeeded"]]) {
        let job = job(&cluster, id);
        let outcomes: Vec<_> = job["attempts"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
        assert_eq!(outcomes, attempts, "{job}");
        assert_eq!(job["result"], job["payload"], "each result once, of the attempt that stands");
    }
}

#[test]
fn who_waits_is_granted_what_comes_and_who_is_gone_is_granted_nothing() {
    let cluster = Cluster::start(3, Options::default());
    let all = addresses(&cluster);
    let wish = json!({"wait": "60s", "queues": ["late"], "lease": "60s"});
    // Three clients go away while they wait, one at each node.
    for at in &all {
        let gone = Http::new(*at, Duration::from_millis(300)).send(
            "POST",
            "/v1/leases",
            &[("Content-Type", "application/json")],
            wish.to_string().as_bytes(),
        );
        assert!(gone.is_err(), "nothing is there yet");
    }
    let waits = std::thread::spawn({
        let (all, wish) = (all.clone(), wish);
        move || lease(&all[2..], &wish)
    });
    let id = submit_all(&cluster, &[external("late", &json!({}))]).remove(0);
    let leases = waits.join().expect("an answer");
    assert_eq!(leases.len(), 1, "the one who waits has it");
    assert_eq!(leases[0]["job"]["id"], id.as_str());
    assert_eq!(say(&all, &leases[0], "complete", &json!({})).status, 200);
    let job = job(&cluster, &id);
    // One whose connection was closed a moment before may have been granted it first: it gave it back at once.
    assert!(job["attempts"].as_array().unwrap().iter().all(|one| one["outcome"] != "lost"), "{job}");
}

/// How many attempts ran at once at most, as the record has it.
fn most_at_once(jobs: &[Job]) -> i64 {
    let mut steps: Vec<(UnixMs, i64)> = Vec::new();
    for attempt in jobs.iter().flat_map(|job| &job.attempts) {
        steps.push((attempt.started_at, 1));
        steps.extend(attempt.finished_at.map(|at| (at, -1)));
    }
    steps.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, step) in steps {
        now += step;
        most = most.max(now);
    }
    most
}

#[test]
fn a_limit_of_four_holds_over_external_jobs_and_a_failover() {
    const JOBS: usize = 300;
    let _turn = Turn::beside();
    let mut cluster = Cluster::start(3, Options::default());
    let put = cluster.nodes[0].ask("PUT", "/v1/queues/few", &json!({"concurrency": 4}).to_string());
    assert_eq!(put.expect("an answer").status, 200);
    submit_all(&cluster, &vec![external("few", &json!({})); JOBS]);
    let (done, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..6)
        .map(|number| {
            let (mut all, done, over) = (addresses(&cluster), done.clone(), over.clone());
            all.rotate_left(number % 3);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let wish = json!({"queues": ["few"], "max": 3, "wait": "500ms", "worker": format!("w{number}")});
                    for one in lease(&all, &wish) {
                        let ended = say(&all, &one, "complete", &json!({"result": number}));
                        assert!(matches!(ended.status, 200 | 409), "{}", ended.text());
                        done.fetch_add(usize::from(ended.status == 200), Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    until("a part of the jobs to be done", LIMIT, || (done.load(Ordering::Relaxed) > JOBS / 4).then_some(()));
    fail_over(&mut cluster);
    cluster.await_all_ended(0, LIMIT);
    over.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(|worker| worker.join().expect("a worker"));
    let jobs = cluster.nodes[0].jobs();
    assert!(jobs.len() == JOBS && jobs.iter().all(|job| job.state == "succeeded"), "all end well");
    let attempts: usize = jobs.iter().map(|job| job.attempts.len()).sum();
    println!("{JOBS} jobs in {attempts} attempts, {} at once at most", most_at_once(&jobs));
    assert_eq!(most_at_once(&jobs), 4, "the limit is used, and never exceeded");
}

/// A program that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // With all that it started: a shell's heartbeats would outlive it. It may have ended by itself.
        let group = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/examples").join(name)
}

fn has(program: &str) -> bool {
    let told = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    told.is_ok_and(|status| status.success())
}

/// Starts a worker of the examples, and whether it could be.
fn worker(cluster: &Cluster, interpreter: &str, file: &str, queue: &str, command: &[&str]) -> Ended {
    let nodes: Vec<String> = addresses(cluster).iter().map(|at| format!("http://{at}")).collect();
    let mut call = Command::new(interpreter);
    call.arg(example(file)).args([&nodes.join(","), queue]).args(command).env("NO_PROXY", "*").env("no_proxy", "*");
    Ended(call.process_group(0).stdin(Stdio::null()).spawn().expect("a worker can be started"))
}

#[test]
fn the_workers_of_the_examples_do_their_jobs_across_a_failover() {
    const JOBS: i64 = 24;
    let _turn = Turn::beside();
    let mut cluster = Cluster::start(3, Options::default());
    let mut queues = Vec::new();
    let mut workers = Vec::new();
    if has("python3") {
        queues.push("python");
        workers.push(worker(&cluster, "python3", "worker.py", "python", &[]));
    } else {
        println!("SKIPPED: there is no python3 to run worker.py");
    }
    if has("curl") && has("bash") {
        queues.push("bash");
        // Its result is the payload that it was given.
        let echo = ["sed", "-E", r#"s/.*"payload":(\{[^}]*\}).*/\1/"#];
        workers.push(worker(&cluster, "bash", "worker.sh", "bash", &echo));
    } else {
        println!("SKIPPED: there is no bash or no curl to run worker.sh");
    }
    let specs = |from: i64| {
        let payload = |n: i64| json!({"numbers": [n, 1]});
        queues
            .iter()
            .flat_map(|queue| (from..from + JOBS / 2).map(|n| external(queue, &payload(n))))
            .collect::<Vec<_>>()
    };
    let first = submit_all(&cluster, &specs(0));
    until("a part of the jobs to be done", LIMIT, || {
        let counts = cluster.nodes[0].read("/v1/jobs:count")?;
        (queues.is_empty() || counts["groups"]["succeeded"].as_u64()? > 2).then_some(())
    });
    fail_over(&mut cluster);
    let second = submit_all(&cluster, &specs(JOBS / 2));
    cluster.await_all_ended(0, LIMIT);
    for id in first.iter().chain(&second) {
        let job = job(&cluster, id);
        assert_eq!(job["state"], "succeeded", "{job}");
        let numbers = job["payload"]["numbers"].as_array().unwrap();
        let sum: i64 = numbers.iter().filter_map(Value::as_i64).sum();
        let result = if job["queue"] == "python" { json!({ "sum": sum }) } else { job["payload"].clone() };
        assert_eq!(job["result"], result, "{job}");
    }
    let Some(queue) = queues.first() else { return };
    let bad = submit_all(&cluster, &[external(queue, &json!({"numbers": ["x"]}))]).remove(0);
    cluster.await_all_ended(0, LIMIT);
    if *queue == "python" {
        let job = job(&cluster, &bad);
        assert_eq!(job["error"]["type"], "worker", "{job}");
        assert!(job["error"]["message"].as_str().unwrap().starts_with("TypeError: "), "{job}");
    }
    drop(workers);
}
