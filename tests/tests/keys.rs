//! F25, an idempotency key replayed: with the same body, with another one, across a failover, and by a hundred at once
//! while the dispatcher dies. It is one job, and another body is refused. Beside it, what unique keys do with a
//! conflict. (A hundred submits with one body are in `queues.rs`.)

use relais_tests::cluster::http::{Answer, Http};
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Node, Options};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a part of a test may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
const CLIENTS: usize = 100;

fn send(http: SocketAddr, target: &str, key: &str, body: &str) -> Option<Answer> {
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
    Http::new(http, Duration::from_secs(5)).send("POST", target, &headers, body.as_bytes()).ok()
}

fn keyed(node: &Node, key: &str, body: &str) -> (u16, Value) {
    let answer = send(node.http, "/v1/jobs", key, body).expect("an answer");
    (answer.status, answer.json())
}

/// A keyed job, as each node answers for it: the same body in whatever words, and other bodies.
fn check_replays(cluster: &Cluster, key: &str, id: &str, same: &[&str], other: &[&str]) {
    for node in &cluster.nodes {
        for body in same {
            let (status, answer) = keyed(node, key, body);
            let told = (status, &answer["id"], &answer["deduplicated"]);
            assert_eq!(told, (200, &json!(id), &json!(true)), "{}: {body}: {answer}", node.name);
        }
        for body in other {
            let (status, problem) = keyed(node, key, body);
            assert_eq!((status, &problem["type"]), (422, &json!("urn:relais:problem:key-reused")), "{body}: {problem}");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(id)), "{problem}");
        }
    }
}

#[test]
fn f25_a_key_is_one_job_before_and_after_a_failover() {
    let mut cluster = Cluster::start(3, Options::labelled(3, 8));
    let gate = cluster.gate("keyed");
    let there = cluster.only_on(cluster.others(cluster.dispatcher().0)[0]);
    let long = json!({"kind": "exec", "payload": gate.payload("exit 0"), "requires": there}).to_string();
    let with_default = json!({"kind": "exec", "priority": 50, "payload": gate.payload("exit 0"), "requires": there,
        "idempotency_key": "long"});
    let with_default = format!("  {with_default}\n");
    let other = json!({"kind": "exec", "payload": gate.payload("exit 1"), "requires": there}).to_string();
    let prior = json!({"kind": "exec", "priority": 51, "payload": gate.payload("exit 0"), "requires": there});
    let prior = prior.to_string();
    let short = json!({"kind": "noop", "payload": {}}).to_string();

    let first = send(cluster.nodes[0].http, "/v1/jobs", "long", &long).expect("an answer");
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!((first.status, &first.json()["deduplicated"]), (201, &json!(false)));
    assert_eq!(first.header("location"), Some(format!("/v1/jobs/{id}").as_str()));
    let (status, ended) = keyed(&cluster.nodes[1], "short", &short);
    assert_eq!(status, 201, "{ended}");
    let ended = ended["id"].as_str().expect("an id").to_owned();
    let batch = format!("[{short},{short}]");
    let results = send(cluster.nodes[2].http, "/v1/jobs:batch", "many", &batch).expect("an answer").json();
    let items: Vec<String> =
        (0..2).map(|item: usize| results["results"][item]["id"].as_str().expect("an id").to_owned()).collect();
    assert_ne!(items[0], items[1], "each item has a key of its own");
    cluster.await_state(&ended, "succeeded");
    cluster.await_state(&id, "running");

    let all_hold = |cluster: &Cluster| {
        check_replays(cluster, "long", &id, &[&long, &with_default], &[&other, &prior, &short]);
        check_replays(cluster, "short", &ended, &[&short], &[&long]);
        check_replays(cluster, "many/1", &items[1], &[&short], &[&long]);
        let again = send(cluster.nodes[0].http, "/v1/jobs:batch", "many", &batch).expect("an answer").json();
        let ids: Vec<&Value> = (0..2).map(|item: usize| &again["results"][item]["id"]).collect();
        assert_eq!(ids, [&json!(items[0]), &json!(items[1])], "{again}");
        assert_eq!(cluster.nodes[0].jobs().len(), 4, "no replay made a job");
    };
    all_hold(&cluster);
    cluster.fail_over();
    all_hold(&cluster);
    gate.open();
    cluster.await_state(&id, "succeeded");
    cluster.fail_over();
    all_hold(&cluster);
}

#[test]
fn f25_of_two_bodies_under_one_key_one_wins_though_the_dispatcher_dies() {
    let mut cluster = Cluster::start(3, Options::default());
    let nodes: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.http).collect();
    let answered = Arc::new(AtomicUsize::new(0));
    let client = |number: usize| {
        let (nodes, answered) = (nodes.clone(), answered.clone());
        let body = json!({"kind": "noop", "payload": {}, "name": format!("body-{}", number % 2)}).to_string();
        std::thread::spawn(move || {
            let mut turn = number;
            until("an answer to a submit", LIMIT, || {
                turn += 1;
                let answer = send(nodes[turn % nodes.len()], "/v1/jobs", "contested", &body)?;
                if answer.status >= 500 {
                    return None;
                }
                answered.fetch_add(1, Ordering::AcqRel);
                Some((number % 2, answer.status, answer.json()["id"].as_str().map(str::to_owned)))
            })
        })
    };
    let (dispatcher, epoch) = cluster.dispatcher();
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    until("some answers", LIMIT, || (answered.load(Ordering::Acquire) >= 5).then_some(()));
    cluster.nodes[dispatcher].kill();
    let _ = cluster.successor(dispatcher, epoch);
    cluster.nodes[dispatcher].start();
    let told: Vec<_> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
    cluster.await_whole();
    let jobs = cluster.nodes[0].jobs();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let ids: BTreeSet<&String> = told.iter().filter_map(|(.., id)| id.as_ref()).collect();
    assert_eq!(ids, BTreeSet::from([&jobs[0].id]));
    let winner = usize::from(jobs[0].name.as_deref() == Some("body-1"));
    for (body, status, _) in &told {
        let expected: &[u16] = if *body == winner { &[200, 201] } else { &[422] };
        assert!(expected.contains(status), "body {body} was answered {status}, and body {winner} has won");
    }
    let made = told.iter().filter(|(_, status, _)| *status == 201).count();
    println!("{CLIENTS} submits of two bodies under one key: {made} were told that they made the job");
    assert!(made <= 1, "{made} were told that they made it");
}

#[test]
fn unique_keys_reject_return_and_outlast_their_job_through_a_failover() {
    let mut cluster = Cluster::start(3, Options::default());
    let spec = |key: &str, more: Value, sleep: &str| {
        let mut unique = json!({"key": key});
        unique.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
        json!({"kind": "noop", "payload": {"sleep": sleep}, "unique": unique, "retry": {"max_lost": 100}})
    };
    let held = cluster.nodes[0].submit(&spec("held", json!({}), "10m"));
    let window = cluster.nodes[1].submit(&spec("window", json!({"for": "1h"}), "0s"));
    let brief = cluster.nodes[2].submit(&spec("brief", json!({}), "0s"));
    cluster.await_state(&window, "succeeded");
    cluster.await_state(&brief, "succeeded");
    for round in 0..2 {
        for node in &cluster.nodes {
            let refused =
                node.ask("POST", "/v1/jobs", &spec("held", json!({"on_conflict": "reject"}), "1s").to_string());
            let refused = refused.expect("an answer");
            assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (409, &json!("/unique/key")));
            for (key, id) in [("held", &held), ("window", &window)] {
                let same = node.ask("POST", "/v1/jobs", &spec(key, json!({"for": "1h"}), "2s").to_string());
                let same = same.expect("an answer");
                let told = (same.status, same.json()["id"].clone(), same.json()["deduplicated"].clone());
                assert_eq!(told, (200, json!(id), json!(true)), "{}", node.name);
            }
        }
        assert_eq!(cluster.nodes[0].jobs().len(), 3, "a conflict made a job");
        if round == 0 {
            cluster.fail_over();
        }
    }
    // Held only until its job had ended: it is free.
    let next = cluster.nodes[1].submit(&spec("brief", json!({"on_conflict": "reject"}), "0s"));
    assert_ne!(next, brief);
}
