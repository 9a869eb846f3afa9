//! Arrays over three nodes, with the dispatcher killed in the middle: every member runs to its one success, counts
//! are right, what is given up or cancelled stays so, and what follows on a group follows once.

use relais_tests::cluster::job::Job;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Node, Options};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

const MEMBERS: u64 = 1_000;
/// More than wait in line at once.
const MANY: u64 = 2_500;
/// How long a request may be tried while the dispatcher changes, and a group take to end.
const LIMIT: Duration = Duration::from_secs(180);

fn submit(node: &Node, spec: &Value) -> String {
    let answer = node.ask("POST", "/v1/jobs", &spec.to_string()).expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["group"].as_str().expect("a group").to_owned()
}

fn group(node: &Node, id: &str) -> Option<Value> {
    node.read(&format!("/v1/groups/{id}"))
}

fn ended(node: &Node, id: &str) -> Value {
    let has_ended = |group: &Value| !group["finished_at"].is_null();
    until("the end of a group", LIMIT, || group(node, id).filter(has_ended))
}

fn members(node: &Node, id: &str) -> Vec<Value> {
    let (mut members, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = node.read(&format!("/v1/jobs?group={id}&limit=500{cursor}")).expect("a page");
        members.extend(page["jobs"].as_array().expect("jobs").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return members,
        }
    }
}

/// Each member of `id` is there once and succeeded by one attempt.
fn check_members(node: &Node, id: &str, count: u64) -> Vec<Job> {
    let members = members(node, id);
    let indexes: BTreeSet<u64> = members.iter().filter_map(|job| job["array"]["index"].as_u64()).collect();
    assert_eq!((members.len() as u64, indexes), (count, (0..count).collect()), "{id}");
    let jobs: Vec<Job> = members.iter().map(Job::of).collect();
    for job in &jobs {
        let good = job.attempts.iter().filter(|attempt| attempt.outcome.as_deref() == Some("succeeded"));
        assert_eq!((job.state.as_str(), good.count()), ("succeeded", 1), "{job:?}");
    }
    jobs
}

/// The jobs that follow on `id`.
fn followers(node: &Node, id: &str) -> Vec<Value> {
    let page = node.read("/v1/jobs?name=follows&limit=500").expect("a page");
    page["jobs"].as_array().expect("jobs").iter().filter(|job| job["completes"]["id"] == id).cloned().collect()
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn each_member_of_an_array_succeeds_once_through_a_failover() {
    let mut cluster = Cluster::start(3, Options::default());
    let folder = tempfile::tempdir().expect("a folder");
    let (said, after) = (folder.path().join("said"), folder.path().join("after"));
    let shell = |script: String| json!({"command": ["/bin/sh", "-c", script]});
    let retry = json!({"max_lost": 100});
    let inputs: Vec<Value> =
        (0..MEMBERS).map(|n| if n % 2 == 0 { json!(format!("in {n}")) } else { json!(n) }).collect();
    let spec = json!({
        "kind": "exec", "retry": retry, "array": {"inputs": inputs},
        "payload": shell(format!("echo \"$RELAIS_ARRAY_INDEX=$RELAIS_ARRAY_INPUT\" >> {}", said.display())),
        "on_complete": {"kind": "exec", "name": "follows", "retry": retry,
            "payload": shell(format!("echo \"$RELAIS_ENDED_ID $RELAIS_ENDED_STATE\" >> {}", after.display()))},
    });
    let id = submit(&cluster.nodes[1], &spec);
    let many = json!({"kind": "noop", "payload": {}, "retry": retry, "array": {"count": MANY}});
    let many = submit(&cluster.nodes[2], &many);

    let (hit, epoch) = cluster.dispatcher();
    cluster.until("a part of the array", |cluster| {
        group(&cluster.nodes[hit], &id).filter(|group| group["ended"].as_u64() >= Some(MEMBERS / 5))
    });
    cluster.nodes[hit].kill();
    let (next, _) = cluster.successor(hit, epoch);
    cluster.nodes[hit].start();
    let node = &cluster.nodes[next];
    for (id, count) in [(&id, MEMBERS), (&many, MANY)] {
        let group = ended(node, id);
        assert_eq!((&group["state"], &group["progress"]), (&json!("succeeded"), &json!(1.0)), "{group}");
        let counts: u64 = group["counts"].as_object().expect("counts").values().filter_map(Value::as_u64).sum();
        assert_eq!((&group["counts"]["succeeded"], counts), (&json!(count), count), "{group}");
    }
    check_members(node, &many, MANY);
    let jobs = check_members(node, &id, MEMBERS);

    // A member that was lost may have said its line before.
    let lost = jobs.iter().map(|job| job.attempts.len() as u64 - 1).sum::<u64>();
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    lines(&said).into_iter().for_each(|line| *told.entry(line).or_default() += 1);
    let expected = (0..MEMBERS).map(|n| if n % 2 == 0 { format!("{n}=in {n}") } else { format!("{n}={n}") });
    assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), expected.collect());
    let again = told.values().sum::<u64>() - MEMBERS;
    assert!(again <= lost, "{again} members ran again, {lost} attempts were lost");
    println!("  {MEMBERS} and {MANY} members, {lost} attempts lost, {again} executions repeated");

    cluster.await_all_ended(next, LIMIT);
    let follows = followers(&cluster.nodes[next], &id);
    assert_eq!(follows.len(), 1, "{follows:?}");
    assert_eq!(lines(&after), vec![format!("{id} succeeded"); follows[0]["attempts"].as_array().map_or(0, Vec::len)]);
    // Whoever was killed has the same record.
    cluster.await_whole();
    check_members(&cluster.nodes[hit], &id, MEMBERS);
}

#[test]
fn what_is_given_up_or_cancelled_stays_so_through_a_failover() {
    let mut cluster = Cluster::start(3, Options::default());
    let follows = json!({"kind": "noop", "name": "follows", "payload": {}});
    let failing = json!({"kind": "noop", "payload": {"fail_times": 99}, "on_complete": follows,
        "array": {"count": MANY, "max_failures": 10}});
    let failing = submit(&cluster.nodes[0], &failing);
    let long = json!({"kind": "noop", "payload": {"sleep": "10m"}, "on_complete": follows,
        "array": {"count": MANY}, "retry": {"max_lost": 100}});
    let long = submit(&cluster.nodes[1], &long);
    let given_up = ended(&cluster.nodes[2], &failing);
    until("some of them to run", LIMIT, || {
        group(&cluster.nodes[2], &long).filter(|group| group["counts"]["running"].as_u64() > Some(0))
    });

    let (hit, epoch) = cluster.dispatcher();
    let other = (hit + 1) % 3;
    let answer = cluster.nodes[other].ask("POST", &format!("/v1/groups/{long}:cancel"), r#"{"reason":"enough"}"#);
    assert_eq!(answer.expect("an answer").status, 202, "some run");
    cluster.nodes[hit].kill();
    let (next, _) = cluster.successor(hit, epoch);
    let cancelled = ended(&cluster.nodes[next], &long);
    assert_eq!((&cancelled["state"], &cancelled["reason"]), (&json!("cancelled"), &json!("enough")));
    assert_eq!(cancelled["counts"]["cancelled"], json!(MANY), "{cancelled}");

    let failed = given_up["counts"]["failed"].as_u64().expect("a count");
    assert_eq!((&given_up["state"], given_up["ended"].as_u64()), (&json!("failed"), Some(MANY)));
    assert!(failed > 10 && failed <= 11 + 3 * 8, "{failed} failed, those beside that were under way");
    assert!(given_up["reason"].as_str().unwrap_or_default().contains("`max_failures` is 10"), "{given_up}");
    assert_eq!(
        group(&cluster.nodes[next], &failing).map(|group| group["counts"].clone()),
        Some(given_up["counts"].clone())
    );

    cluster.nodes[hit].start();
    cluster.await_whole();
    cluster.await_all_ended(next, LIMIT);
    for (id, state) in [(&failing, "failed"), (&long, "cancelled")] {
        let follows = followers(&cluster.nodes[next], id);
        assert_eq!(follows.len(), 1, "{follows:?}");
        assert_eq!((&follows[0]["state"], &follows[0]["completes"]["state"]), (&json!("succeeded"), &json!(state)));
    }
}

#[test]
fn every_node_gets_one_and_a_repeated_submit_is_one_group() {
    let cluster = Cluster::start(3, Options::default());
    let every = json!({"kind": "noop", "payload": {}, "placement": "every"});
    let id = submit(&cluster.nodes[0], &every);
    assert_eq!(ended(&cluster.nodes[1], &id)["total"], 3);
    let nodes: BTreeSet<String> =
        members(&cluster.nodes[2], &id).iter().filter_map(|job| Some(job["node"].as_str()?.to_owned())).collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");

    let keyed = json!({"kind": "noop", "payload": {}, "array": {"count": 20}, "idempotency_key": "once"});
    let first = submit(&cluster.nodes[0], &keyed);
    for node in &cluster.nodes {
        let again = node.ask("POST", "/v1/jobs", &keyed.to_string()).expect("an answer");
        assert_eq!((again.status, &again.json()["group"]), (200, &json!(first)), "{}", again.text());
    }
    ended(&cluster.nodes[1], &first);
    check_members(&cluster.nodes[1], &first, 20);
}
