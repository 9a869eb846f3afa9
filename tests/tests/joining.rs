//! What goes wrong at a start: a clear message with the next step, an exit code, and nothing half done.

use relais_node::identity::JoinToken;
use relais_tests::cluster::{Cluster, Node, Options, free_address};
use serde_json::{Value, json};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// Starts a node that must not start; what it said.
fn refused(node: &mut Node, code: i32, words: &[&str]) -> String {
    let before = node.log().len();
    node.start();
    let status = node.reap(SOON);
    let said = node.log()[before..].to_owned();
    let line = said.lines().rfind(|line| line.starts_with("relais: ")).unwrap_or_default().to_owned();
    println!("  {}: {line}", status.code().unwrap_or(-1));
    assert_eq!(status.code(), Some(code), "{said}");
    for word in words {
        assert!(line.contains(word), "`{word}` is not in: {said}");
    }
    line
}

fn token(cluster: &Cluster, body: &Value) -> Value {
    let answer = cluster.nodes[0].ask("POST", "/v1/tokens", &body.to_string()).expect("an answer");
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    answer.json()
}

fn names(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes[0].read("/v1/nodes").expect("the node table");
    let rows = nodes["nodes"].as_array().expect("rows").clone();
    rows.iter().map(|row| row["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A node that wants to join with this token.
fn newcomer(cluster: &Cluster, token: &str) -> Node {
    let mut node = cluster.plan(1);
    let at = node.join.as_ref().expect("a join line").0.clone();
    node.join = Some((at, token.to_owned()));
    node
}

#[test]
fn a_token_that_is_not_good_is_refused_and_a_good_one_works_afterwards() {
    let cluster = Cluster::start(1, Options::default());
    let good = cluster.join_line().expect("a join line").1;
    let parsed: JoinToken = good.parse().expect("a token");
    let guess = JoinToken::create(parsed.ca_sha256, parsed.expires).expect("a guess").text();
    refused(&mut newcomer(&cluster, &guess), 1, &["the cluster refused this node", "not known", "relais token create"]);
    let revoked = token(&cluster, &json!({"kind": "join"}));
    let target = format!("/v1/tokens/{}", revoked["id"].as_str().expect("an id"));
    let answer = cluster.nodes[0].ask("DELETE", &target, "").expect("an answer");
    assert!(matches!(answer.status, 200 | 204), "{}", answer.text());
    let text = revoked["token"].as_str().expect("a token").to_owned();
    refused(&mut newcomer(&cluster, &text), 1, &["the cluster refused this node", "revoked"]);
    let short = token(&cluster, &json!({"kind": "join", "ttl": "1s"}));
    let text = short["token"].as_str().expect("a token").to_owned();
    let end = text.parse::<JoinToken>().expect("a token").expires;
    cluster.until("the end of the token", |cluster| (cluster.now() > end).then_some(()));
    refused(&mut newcomer(&cluster, &text), 1, &["expired at", "relais token create"]);
    refused(&mut newcomer(&cluster, &good[..good.len() - 4]), 1, &["damaged", "copy the whole line"]);
    assert_eq!(names(&cluster), ["n1"], "nobody was admitted");
    // The same data directory, now with a good token: what was refused left nothing behind.
    let mut node = newcomer(&cluster, &good);
    assert!(!node.data_dir.join("identity/certificate.pem").exists());
    node.start();
    cluster.until("the node to be in", |cluster| (names(cluster) == ["n1", "n2"]).then_some(()));
}

#[test]
fn a_newcomer_answers_what_the_cluster_knows_from_its_first_answer_on() {
    let cluster = Cluster::start(1, Options::default());
    let id = cluster.nodes[0].submit(&json!({"kind": "noop", "payload": {}}));
    let mut node = newcomer(&cluster, &cluster.join_line().expect("a join line").1);
    node.start();
    // Its own ledger is still to come: the first node answers for it.
    let target = format!("/v1/jobs/{id}");
    let first = cluster.until("a first answer", |_| node.ask("GET", &target, ""));
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.json()["id"], json!(id));
    assert_eq!(node.ask("GET", "/v1/cluster", "").expect("an answer").status, 200);
}

#[test]
fn a_server_of_another_cluster_is_not_told_the_secret() {
    let cluster = Cluster::start(1, Options::default());
    let mut other = cluster.plan(8);
    other.join = None;
    other.start();
    cluster.until("another cluster", |_| other.output().contains("--token").then_some(()));
    let mut node = cluster.plan(1);
    let token = node.join.take().expect("a join line").1;
    node.join = Some((other.quic.to_string(), token));
    refused(&mut node, 1, &["does not belong to the cluster of this token", "nothing secret was sent"]);
    assert_eq!(names(&cluster), ["n1"]);
}

#[test]
fn an_address_without_a_node_is_refused() {
    let cluster = Cluster::start(1, Options::default());
    let mut node = cluster.plan(1);
    let token = node.join.take().expect("a join line").1;
    let nobody = free_address();
    node.join = Some((nobody.to_string(), token));
    refused(&mut node, 1, &["no relais node answers at", &nobody.to_string(), "check the address"]);
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let cluster = Cluster::start(1, Options::default());
    let mut node = cluster.plan(1);
    node.name = "n1".to_owned();
    node.data_dir = cluster.folder().join("another-n1");
    refused(&mut node, 1, &["the name `n1` is taken", "--name"]);
    assert_eq!(names(&cluster), ["n1"]);
}

#[test]
fn a_data_directory_is_for_one_process_and_for_relais_alone() {
    let cluster = Cluster::start(1, Options::default());
    let mut second = cluster.plan(1);
    second.data_dir = cluster.nodes[0].data_dir.clone();
    let pid = cluster.nodes[0].pid().to_string();
    refused(&mut second, 1, &["is in use by process", &pid, "--data-dir"]);
    let mut foreign = cluster.plan(2);
    foreign.data_dir = cluster.folder().join("photos");
    std::fs::create_dir(&foreign.data_dir).expect("a folder");
    std::fs::write(foreign.data_dir.join("cat.jpg"), "miau").expect("a file");
    refused(&mut foreign, 1, &["no relais data directory", "cat.jpg", "--data-dir"]);
    let left = std::fs::read_dir(&foreign.data_dir).expect("the folder").count();
    assert_eq!(left, 1, "nothing was put into somebody else's folder");
    assert!(cluster.sight(0).is_some(), "the node that runs is not disturbed");
}

#[test]
fn a_copied_data_directory_is_refused() {
    let mut cluster = Cluster::start(1, Options::default());
    cluster.nodes[0].kill();
    let mut copy = cluster.plan(1);
    copy.name = "n1".to_owned();
    copy.data_dir = cluster.folder().join("copy");
    let copied = std::process::Command::new("cp").arg("-a").args([&cluster.nodes[0].data_dir, &copy.data_dir]).status();
    assert!(copied.expect("cp runs").success());
    refused(&mut copy, 1, &["was copied or moved", "count votes twice"]);
    cluster.nodes[0].start();
    cluster.await_whole();
}

#[test]
fn ports_in_use_are_named() {
    let cluster = Cluster::start(1, Options::default());
    let mut http = cluster.plan(1);
    let held = TcpListener::bind(http.http).expect("a port");
    refused(&mut http, 1, &[&held.local_addr().expect("an address").to_string(), "in use", "--http"]);
    let mut quic = cluster.plan(2);
    let held = UdpSocket::bind(quic.quic).expect("a port");
    refused(&mut quic, 1, &[&held.local_addr().expect("an address").to_string(), "--listen"]);
}

#[test]
fn settings_that_make_no_sense_are_usage_errors() {
    let cluster = Cluster::start(1, Options::default());
    let mut node = cluster.plan(1);
    node.name = "No Name".to_owned();
    refused(&mut node, 2, &["--name"]);
    let mut node = cluster.plan(2);
    let at = node.join.take().expect("a join line").0;
    node.join = Some((at, "rlt_an-api-token".to_owned()));
    refused(&mut node, 2, &["API token", "relais token create"]);
    assert!(!node.data_dir.exists(), "no folder was made for it");
}
