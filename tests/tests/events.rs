//! `/v1/events` on a real cluster: a client that loses its node in the middle goes on at another one, and misses
//! nothing; what is kept can be read back; and one that asks for too much is told so.

use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An event as it was read.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    id: String,
    name: String,
    data: Value,
}

/// Reads events of a node until `enough` says so, or the stream ends or breaks.
fn read(addr: SocketAddr, query: &str, last: Option<&str>, mut enough: impl FnMut(&Seen) -> bool) -> Vec<Seen> {
    let mut seen = Vec::new();
    let Ok(mut stream) = TcpStream::connect(addr) else { return seen };
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let last = last.map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
    let asked = write!(stream, "GET /v1/events{query} HTTP/1.1\r\nHost: {addr}\r\n{last}Connection: close\r\n\r\n");
    if asked.is_err() {
        return seen;
    }
    let (mut id, mut name) = (String::new(), String::new());
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        if let Some(value) = line.strip_prefix("id: ") {
            id = value.to_owned();
        } else if let Some(value) = line.strip_prefix("event: ") {
            name = value.to_owned();
        } else if let Some(value) = line.strip_prefix("data: ") {
            let data = serde_json::from_str(value).expect("JSON");
            let event = Seen { id: std::mem::take(&mut id), name: std::mem::take(&mut name), data };
            seen.push(event.clone());
            if enough(&event) {
                break;
            }
        }
    }
    seen
}

fn submit(cluster: &Cluster, node: usize) -> String {
    cluster.nodes[node].submit(&json!({"kind": "noop", "payload": {}}))
}

fn is_end_of(event: &Seen, job: &str) -> bool {
    event.name == "job.succeeded" && event.data["job"] == job
}

#[test]
fn a_client_goes_on_at_another_node_and_misses_nothing() {
    let mut cluster = Cluster::start(3, Options::default());
    cluster.await_whole();
    let addr = |cluster: &Cluster, node: usize| cluster.nodes[node].http;
    let first = submit(&cluster, 0);
    let told = cluster.until("the end of the first job to be told by node 1", |cluster| {
        let seen = read(addr(cluster, 1), "?follow=false", None, |_| false);
        seen.iter().any(|event| is_end_of(event, &first)).then_some(seen)
    });
    let last = told.iter().find(|event| is_end_of(event, &first)).expect("its end").id.clone();

    // The dispatcher is killed, and what happens meanwhile is read at another node than before.
    let (hit, epoch) = cluster.dispatcher();
    let mut jobs: Vec<String> = (0..20).map(|number| submit(&cluster, number % 3)).collect();
    cluster.nodes[hit].kill();
    let (heir, _) = cluster.successor(hit, epoch);
    jobs.extend((0..20).map(|_| submit(&cluster, heir)));
    let mut open: BTreeMap<String, ()> = jobs.iter().map(|job| (job.clone(), ())).collect();
    let seen = read(addr(&cluster, heir), "", Some(&last), |event| {
        if event.name == "job.succeeded" {
            open.remove(event.data["job"].as_str().expect("a job"));
        }
        open.is_empty()
    });
    assert!(open.is_empty(), "no end was told of {open:?}");
    assert!(seen.iter().all(|event| event.name != "reset"), "the heir has all that followed");
    assert!(seen.iter().any(|event| event.name == "cluster.dispatcher"), "the failover is told of");
    for job in &jobs {
        let states = seen.iter().filter(|event| event.data["job"] == job.as_str() && event.data["state"].is_string());
        let ends = states.filter(|event| event.name == "job.succeeded").count();
        assert_eq!(ends, 1, "each end is told once");
    }
    let ids: Vec<&String> = seen.iter().map(|event| &event.id).collect();
    let other = (0..3).find(|node| *node != hit && *node != heir).expect("a third node");
    let end = ids.last().expect("some").to_string();
    let same = read(addr(&cluster, other), "", Some(&last), |event| event.id == end);
    let plain = |events: &[Seen]| -> Vec<(String, String)> {
        events.iter().map(|event| (event.id.clone(), event.name.clone())).collect()
    };
    assert_eq!(plain(&same), plain(&seen), "every node gives the same events the same ids");

    let old = read(addr(&cluster, heir), "", Some("0.0.0"), |_| true);
    assert_eq!(old[0].name, "reset", "{old:?}");
    let one = read(addr(&cluster, heir), &format!("?follow=false&job={first}&types=job"), None, |_| false);
    assert!(!one.is_empty() && one.iter().all(|event| event.data["job"] == first.as_str()), "{one:?}");
    for wrong in ["?types=jobs", "?job=x", "?since=1", "?follow=maybe"] {
        let answer = cluster.nodes[heir].ask("GET", &format!("/v1/events{wrong}"), "").expect("an answer");
        assert_eq!(answer.status, 400, "{wrong}");
    }
}
