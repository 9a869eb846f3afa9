//! A graph of 1,000 jobs in one batch, and the dispatcher killed in the middle of it: every order is respected, and
//! a job that fails stops just what depends on it.

use relais_tests::cluster::job::Job;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const LAYERS: usize = 20;
const WIDTH: usize = 50;
/// The job that fails: in the middle of an early layer.
const BAD: (usize, usize) = (4, 10);

fn name((layer, place): (usize, usize)) -> String {
    format!("{layer}-{place}")
}

/// Whom a job waits for: three of the layer above.
fn parents((layer, place): (usize, usize)) -> Vec<(usize, usize)> {
    let Some(above) = layer.checked_sub(1) else { return Vec::new() };
    [0, 1, 7].map(|step| (above, (place + step) % WIDTH)).to_vec()
}

fn all() -> Vec<(usize, usize)> {
    (0..LAYERS).flat_map(|layer| (0..WIDTH).map(move |place| (layer, place))).collect()
}

fn spec(job: (usize, usize)) -> Value {
    let depends_on: Vec<Value> = parents(job).into_iter().map(|parent| json!({"ref": name(parent)})).collect();
    let payload = if job == BAD { json!({"fail_times": 99}) } else { json!({"sleep": "20ms"}) };
    let retry = json!({"max_lost": 100});
    json!({"kind": "noop", "payload": payload, "name": name(job), "ref": name(job), "depends_on": depends_on, "retry": retry})
}

/// All that waits, near or far, for the one that fails.
fn doomed() -> BTreeSet<(usize, usize)> {
    let mut doomed = BTreeSet::from([BAD]);
    for job in all() {
        if parents(job).iter().any(|parent| doomed.contains(parent)) {
            doomed.insert(job);
        }
    }
    doomed
}

fn submit(cluster: &Cluster) {
    // Children first: the order within a batch means nothing.
    let mut jobs: Vec<Value> = all().into_iter().rev().map(spec).collect();
    let last: Vec<Value> =
        (0..WIDTH).map(|place| json!({"ref": name((LAYERS - 1, place)), "on": "finished"})).collect();
    jobs.insert(0, json!({"kind": "noop", "payload": {}, "name": "end", "depends_on": last}));
    let answer = cluster.nodes[1].ask("POST", "/v1/jobs:batch", &Value::from(jobs).to_string()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), LAYERS * WIDTH + 1);
    let refused = results.iter().find(|result| result["status"] != 201);
    assert_eq!(refused, None);
}

fn ended(cluster: &Cluster, node: usize) -> Option<u64> {
    let groups = cluster.nodes[node].read("/v1/jobs:count?group_by=state")?["groups"].clone();
    let of = |state: &str| groups[state].as_u64().unwrap_or(0);
    Some(of("succeeded") + of("failed") + of("cancelled"))
}

/// No job has begun before each of those that it waits for was over.
fn check_order(jobs: &BTreeMap<String, Job>) {
    for child in all() {
        let Some(began) = jobs[&name(child)].attempts.first().map(|attempt| attempt.started_at) else { continue };
        for parent in parents(child) {
            let over = jobs[&name(parent)].attempts.last().and_then(|attempt| attempt.finished_at);
            let over = over.unwrap_or_else(|| panic!("{} began, and {} has no end", name(child), name(parent)));
            assert!(over <= began, "{} began at {began}, {} was over at {over}", name(child), name(parent));
        }
    }
}

#[test]
fn a_graph_is_run_in_its_order_through_a_failover() {
    let mut cluster = Cluster::start(3, Options::default());
    cluster.await_whole();
    submit(&cluster);
    let (hit, epoch) = cluster.dispatcher();
    cluster.until("a part of the graph", |cluster| ended(cluster, hit).filter(|count| *count >= 200));
    cluster.nodes[hit].kill();
    let (next, _) = cluster.successor(hit, epoch);
    cluster.nodes[hit].start();
    let count = (LAYERS * WIDTH + 1) as u64;
    cluster.until("the end of the graph", |cluster| (ended(cluster, next)? == count).then_some(()));
    let jobs = cluster.nodes[next].jobs();
    let jobs: BTreeMap<String, Job> = jobs.into_iter().map(|job| (job.name.clone().expect("a name"), job)).collect();
    let doomed = doomed();
    println!("  {count} jobs, {} of them cut off by one failure", doomed.len() - 1);
    for job in all() {
        let expected = match job {
            BAD => "failed",
            job if doomed.contains(&job) => "cancelled",
            _ => "succeeded",
        };
        assert_eq!(jobs[&name(job)].state, expected, "{}", name(job));
    }
    assert_eq!(jobs["end"].state, "succeeded");
    check_order(&jobs);
    let cut_off = cluster.nodes[next].read(&format!("/v1/jobs/{}", jobs[&name((5, 10))].id)).expect("the job");
    assert_eq!(cut_off["error"]["type"], "dependency");
    assert!(cut_off["error"]["message"].as_str().unwrap_or_default().contains(&jobs[&name(BAD)].id), "{cut_off}");
}
