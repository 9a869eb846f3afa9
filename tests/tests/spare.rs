//! Nodes that keep no journal, in a cluster of real processes: of six nodes three vote, two follow, and one only works.
//! It is asked what every node is asked, and takes the place of one that followed and is gone.

use relais_tests::cluster::http::Answer;
use relais_tests::cluster::{Cluster, Options, Turn};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const NODES: usize = 6;

/// What `at` says of its journal, once it is ready.
fn journal(cluster: &Cluster, at: usize) -> Option<String> {
    let parts = cluster.nodes[at].read("/readyz?verbose")?;
    let part = parts["parts"].as_array()?.iter().find(|part| part["name"] == "journal")?.clone();
    (part["healthy"] == true).then(|| part["detail"].as_str().unwrap_or_default().to_owned())
}

/// The one of `among` that keeps no journal, once all others do.
fn spare(cluster: &Cluster, among: &[usize]) -> usize {
    cluster.until("one node without a journal", |cluster| {
        let told: Option<Vec<_>> = among.iter().map(|at| Some((*at, journal(cluster, *at)?))).collect();
        let spare: Vec<usize> =
            told?.into_iter().filter(|(_, what)| what.contains("keeps none")).map(|(at, _)| at).collect();
        (spare.len() == 1).then(|| spare[0])
    })
}

fn six() -> (Cluster, usize) {
    let cluster = Cluster::start(NODES, Options::labelled(NODES, 4));
    cluster.insist("PATCH", "/v1/cluster/settings", &json!({"voters": 3, "replace_after": "2s"}));
    let spare = spare(&cluster, &(0..NODES).collect::<Vec<_>>());
    (cluster, spare)
}

fn voters(cluster: &Cluster, at: usize) -> BTreeSet<usize> {
    let nodes = cluster.nodes[at].read("/v1/nodes").expect("the nodes");
    let voting = nodes["nodes"].as_array().expect("rows").iter().filter(|row| row["voter"] == true);
    let number = |row: &Value| cluster.nodes.iter().position(|node| row["name"] == node.name.as_str()).expect("known");
    voting.map(number).collect()
}

/// What `target` of `at` sends, as it comes: head, and body in pieces.
fn follow(cluster: &Cluster, at: usize, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(cluster.nodes[at].http).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    stream
}

fn post(cluster: &Cluster, at: usize, target: &str, body: &Value) -> Answer {
    cluster.nodes[at].ask("POST", target, &body.to_string()).expect("an answer")
}

#[test]
fn it_is_asked_like_any_other() {
    let _turn = Turn::beside();
    let (cluster, spare) = six();
    assert_eq!(cluster.nodes[spare].read("/v1/nodes").expect("nodes")["nodes"].as_array().map(Vec::len), Some(NODES));

    let noop = json!({"kind": "noop", "payload": {}, "idempotency_key": "one"});
    let made = post(&cluster, spare, "/v1/jobs", &noop);
    assert_eq!((made.status, &made.json()["kind"], &made.json()["deduplicated"]), (201, &json!("noop"), &json!(false)));
    assert_eq!(made.json()["durability"], "majority");
    assert_eq!(made.header("location"), Some(format!("/v1/jobs/{}", made.json()["id"].as_str().unwrap()).as_str()));
    let again = post(&cluster, spare, "/v1/jobs?wait=10s", &noop);
    assert_eq!(
        (again.status, &again.json()["id"], &again.json()["state"]),
        (200, &made.json()["id"], &json!("succeeded"))
    );

    let batch = post(&cluster, spare, "/v1/jobs:batch", &json!([{"kind": "noop", "payload": {}}, {"kind": 5}]));
    let results = batch.json()["results"].clone();
    assert_eq!(
        (batch.status, &results[0]["status"], &results[1]["status"]),
        (200, &json!(201), &json!(400)),
        "{results}"
    );

    let wrong = post(&cluster, spare, "/v1/jobs", &json!({"kind": "noop", "payload": {}, "queue": 7}));
    assert_eq!((wrong.status, &wrong.json()["errors"][0]["pointer"]), (400, &json!("/queue")));
    let group = post(&cluster, spare, "/v1/jobs", &json!({"kind": "noop", "payload": {}, "array": {"count": 5}}));
    let group = group.json()["group"].as_str().expect("a group").to_owned();
    cluster.until("the end of the group", |cluster| {
        (cluster.nodes[spare].read(&format!("/v1/groups/{group}"))?["ended"] == 5).then_some(())
    });
    let missing = cluster.nodes[spare].ask("GET", "/v1/jobs/0190aaaaaaaa", "").expect("an answer");
    assert_eq!(missing.status, 404);
    let listed = cluster.nodes[spare].ask("GET", "/v1/jobs?limit=1", "").expect("an answer");
    assert_eq!(listed.json()["jobs"].as_array().map(Vec::len), Some(1));
    assert!(listed.header("etag").is_some() && listed.header("relais-node") == Some(&cluster.nodes[spare].name));
}

#[test]
fn what_is_followed_is_followed_through_it_and_a_cancel_arrives() {
    let _turn = Turn::beside();
    let (cluster, spare) = six();
    let gate = cluster.gate("followed");
    let mut events = follow(&cluster, spare, "/v1/events");
    let spec = json!({"kind": "exec", "payload": gate.payload("echo done"), "requires": cluster.only_on(spare)});
    let id = cluster.nodes[spare].submit(&spec);
    cluster.await_state(&id, "running");
    let mut output = follow(&cluster, spare, &format!("/v1/jobs/{id}/logs?follow=true&stream=stdout"));
    gate.open();
    let mut text = String::new();
    output.read_to_string(&mut text).expect("the output to its end");
    assert!(
        text.starts_with("HTTP/1.1 200") && text.contains(r#""text":"done\n""#) && text.contains("event: end"),
        "{text}"
    );
    cluster.await_state(&id, "succeeded");
    text.clear();
    cluster.until("the event of its end", |_| {
        let mut buffer = [0; 4096];
        let read = events.read(&mut buffer).ok()?;
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        (text.contains(&id) && text.contains("succeeded")).then_some(())
    });

    let sleeper = json!({"kind": "noop", "payload": {"sleep": "10m"}, "requires": cluster.only_on(spare)});
    let id = cluster.nodes[spare].submit(&sleeper);
    cluster.await_state(&id, "running");
    let cancelled = post(&cluster, spare, &format!("/v1/jobs/{id}:cancel"), &json!({"reason": "enough"}));
    assert!([200, 202].contains(&cancelled.status), "{}", cancelled.text());
    cluster.await_state(&id, "cancelled");
}

#[test]
fn it_serves_through_a_failover_and_knows_who_may() {
    let _turn = Turn::beside();
    let (mut cluster, spare) = six();
    let (old, epoch) = cluster.dispatcher();
    let before: Vec<String> =
        (0..20).map(|_| cluster.nodes[spare].submit(&json!({"kind": "noop", "payload": {}}))).collect();
    cluster.nodes[old].kill();
    let during: Vec<String> =
        (0..20).map(|_| cluster.nodes[spare].submit(&json!({"kind": "noop", "payload": {}}))).collect();
    let (next, _) = cluster.successor(old, epoch);
    for id in before.iter().chain(&during) {
        cluster.await_state(id, "succeeded");
    }
    let all: BTreeSet<&String> = before.iter().chain(&during).collect();
    let listed = cluster.nodes[spare].read("/v1/jobs?limit=500").expect("jobs");
    let listed: BTreeSet<String> =
        listed["jobs"].as_array().expect("rows").iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert!(all.iter().all(|id| listed.contains(*id)) && listed.len() == all.len(), "each once: {listed:?}");

    // Two, since with the last one the API is open again to this machine.
    let made = ["boss", "other"].map(|name| json!({"role": "admin", "name": name}).to_string());
    let token = cluster.nodes[next].ask("POST", "/v1/tokens", &made[0]).expect("an answer").json();
    let bearer = format!("Bearer {}", token["token"].as_str().expect("a token"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let other = cluster.nodes[next].client().send("POST", "/v1/tokens", &headers, made[1].as_bytes());
    assert_eq!(other.expect("an answer").status, 201);
    let (text, id) = (token["token"].as_str().expect("a token").to_owned(), token["id"].clone());
    let ask = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        cluster.nodes[spare].client().send("GET", "/v1/jobs?limit=1", &headers, b"").expect("an answer").status
    };
    assert_eq!((ask(&text), ask("wrong")), (200, 401));
    assert_eq!(cluster.nodes[spare].ask("GET", "/v1/jobs?limit=1", "").expect("an answer").status, 401);
    let bearer = format!("Bearer {text}");
    let gone = cluster.nodes[spare].client().send(
        "DELETE",
        &format!("/v1/tokens/{}", id.as_str().map_or_else(|| id.to_string(), str::to_owned)),
        &[("authorization", bearer.as_str())],
        b"",
    );
    assert_eq!(gone.expect("an answer").status, 204);
    assert_eq!(ask(&text), 401, "a token that was revoked through it is of no more use there");
}

#[test]
fn it_takes_the_place_of_one_that_followed_and_gives_it_back() {
    let _turn = Turn::beside();
    let (mut cluster, spare_before) = six();
    let id = cluster.nodes[spare_before].submit(&json!({"kind": "noop", "payload": {}}));
    cluster.await_state(&id, "succeeded");
    let voting = voters(&cluster, spare_before);
    let standby = (0..NODES).find(|at| !voting.contains(at) && *at != spare_before).expect("one that follows");
    cluster.nodes[standby].kill();
    cluster.until("the spare node to follow", |cluster| (journal(cluster, spare_before)? == "applies").then_some(()));
    let local = cluster.nodes[spare_before].read(&format!("/v1/jobs/{id}?consistency=local")).expect("a job");
    assert_eq!(local["state"], "succeeded");
    cluster.nodes[standby].start();
    let spare_after = spare(&cluster, &(0..NODES).collect::<Vec<_>>());
    assert!(!voting.contains(&spare_after), "who votes keeps its journal");
    let later = cluster.nodes[spare_after].submit(&json!({"kind": "noop", "payload": {}}));
    assert_eq!(cluster.await_state(&later, "succeeded")["id"], later.as_str());
    let row = cluster.nodes[spare_after].read(&format!("/v1/jobs/{id}?consistency=local")).expect("a job");
    assert_eq!(row["state"], "succeeded", "it has a voter answer, and not what it once knew");
}
