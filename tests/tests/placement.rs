//! Placement on real clusters: cores and memory are never given twice, also not over a failover; labels, `pack` and
//! `spread`; slots and labels that are set of a node while it runs; progress, read from any node.

use relais_protocol::time::UnixMs;
use relais_tests::cluster::binary::program;
use relais_tests::cluster::job::Job;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

/// How long a part of a test may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Three nodes: with 4 cores and 8 GiB, with half of that, with a quarter, each in a zone of its own.
fn three() -> Cluster {
    let mut env = Vec::new();
    for (number, cores, memory, zone) in
        [(0, "4", "8GiB", "zone=a"), (1, "2", "4GiB", "zone=b"), (2, "1", "2GiB", "zone=c")]
    {
        env.push((number, "RELAIS_CPU", cores.to_owned()));
        env.push((number, "RELAIS_MEMORY", memory.to_owned()));
        env.push((number, "RELAIS_LABELS", zone.to_owned()));
    }
    Cluster::start(3, Options { slots: 8, env, ..Options::default() })
}

/// Asks any node until one says it was done: for what may be done twice.
fn insist(cluster: &Cluster, method: &str, target: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    cluster.until(&format!("{method} {target}"), |cluster| {
        cluster.running().into_iter().find_map(|number| {
            let answer = cluster.nodes[number].ask(method, target, &body)?;
            assert!(answer.status < 400 || answer.status >= 500, "{method} {target}: {}", answer.text());
            (answer.status < 300).then(|| answer.json())
        })
    })
}

fn sleeper(more: Value) -> Value {
    let mut spec = json!({"kind": "noop", "payload": {"sleep": "1h"}});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

/// Submits a job that sleeps; its id, and where it runs, if it does.
fn start(cluster: &Cluster, more: Value) -> (String, Option<String>) {
    let id = cluster.nodes[0].submit(&sleeper(more));
    let job = insist(cluster, "GET", &format!("/v1/jobs/{id}"), &Value::Null);
    let node = job["node"].as_str().map(str::to_owned);
    (id, node)
}

fn cancel_all(cluster: &Cluster) {
    insist(cluster, "POST", "/v1/jobs:cancel?state=queued,running", &json!({}));
    cluster.await_all_ended(0, LIMIT);
}

fn why(cluster: &Cluster, id: &str) -> String {
    let said = insist(cluster, "GET", &format!("/v1/jobs/{id}/explain"), &Value::Null);
    said["why"].as_str().unwrap_or_default().to_owned()
}

/// How many attempts ran at once at most on each node, as the record has it. One that began in the entry in which
/// another ended came after it.
fn most_at_once(jobs: &[Job]) -> BTreeMap<String, i64> {
    let mut steps: BTreeMap<String, Vec<(UnixMs, i64)>> = BTreeMap::new();
    for attempt in jobs.iter().flat_map(|job| &job.attempts) {
        let steps = steps.entry(attempt.node.clone()).or_default();
        steps.push((attempt.started_at, 1));
        steps.extend(attempt.finished_at.map(|at| (at, -1)));
    }
    let most = |mut steps: Vec<(UnixMs, i64)>| {
        steps.sort_unstable();
        steps
            .into_iter()
            .scan(0, |now, (_, step)| {
                *now += step;
                Some(*now)
            })
            .max()
            .unwrap_or(0)
    };
    steps.into_iter().map(|(node, steps)| (node, most(steps))).collect()
}

#[test]
fn cores_and_memory_are_never_given_twice_over_a_failover() {
    const JOBS: usize = 120;
    let mut cluster = three();
    // By cores 4, 2 and 1 at once; by memory 8, 4 and 2.
    let spec = json!({"kind": "noop", "payload": {"sleep": "100ms"}, "retry": {"max_lost": 100},
        "requires": {"cpu": 1, "memory": "1GiB"}});
    let batch = Value::from(vec![spec; JOBS]).to_string();
    assert_eq!(cluster.nodes[1].ask("POST", "/v1/jobs:batch", &batch).expect("an answer").status, 200);
    until("a part of the jobs to be done", LIMIT, || {
        let counts = cluster.nodes[0].read("/v1/jobs:count")?;
        (counts["groups"]["succeeded"].as_u64()? as usize >= JOBS / 4).then_some(())
    });
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let _ = cluster.successor(old, epoch);
    cluster.nodes[old].start();
    cluster.await_whole();
    cluster.await_all_ended(0, LIMIT);
    let jobs = cluster.nodes[0].jobs();
    assert!(jobs.len() == JOBS && jobs.iter().all(|job| job.state == "succeeded"), "all end well");
    let most = most_at_once(&jobs);
    let epochs: BTreeSet<u64> = jobs.iter().flat_map(|job| &job.attempts).map(|attempt| attempt.epoch).collect();
    println!("at once at most: {most:?}, epochs {epochs:?}");
    let right = [("n1", 4), ("n2", 2), ("n3", 1)].map(|(node, most)| (node.to_owned(), most));
    assert!(epochs.len() >= 2, "{epochs:?}");
    assert_eq!(most, BTreeMap::from(right), "all cores are used, and none twice");
    let table = [
        (json!({"requires": {"memory": "64GiB"}}), "no online node has 64 GiB of memory; the largest has 8 GiB"),
        (json!({"requires": {"cpu": 4.5}}), "no online node has 4.5 cores; the largest has 4 cores"),
        (json!({"requires": {"slots": 9}}), "no online node has 9 slots; the largest has 8 slots"),
        (json!({"requires": {"labels": {"gpu": "yes"}}}), "no online node has label gpu=yes"),
        (
            json!({"requires": {"cpu": 3, "labels": {"zone": "b"}}}),
            "no online node with zone=b has 3 cores; the largest has 2 cores",
        ),
    ];
    for (more, said) in table {
        let (id, node) = start(&cluster, more);
        assert_eq!(node, None);
        assert!(why(&cluster, &id).starts_with(said), "{}", why(&cluster, &id));
    }
    cancel_all(&cluster);
}

#[test]
fn jobs_go_where_labels_placement_and_the_last_failure_say() {
    let cluster = three();
    let zone = |zone: &str| json!({"requires": {"labels": {"zone": zone}}});
    let at = |more: Value| start(&cluster, more).1.unwrap_or_default();
    assert_eq!([at(zone("c")), at(zone("b")), at(zone("b"))], ["n3", "n2", "n2"]);
    cancel_all(&cluster);
    let spread: BTreeSet<String> = (0..3).map(|_| at(json!({"placement": "spread"}))).collect();
    assert_eq!(spread.len(), 3, "one each: {spread:?}");
    cancel_all(&cluster);
    let packed: Vec<String> = (0..8).map(|_| at(json!({"placement": "pack"}))).collect();
    assert_eq!(packed.iter().collect::<BTreeSet<_>>().len(), 1, "all on one: {packed:?}");
    assert_ne!(at(json!({"placement": "pack"})), packed[0], "it is full");
    cancel_all(&cluster);
    let retry = json!({"max_attempts": 4, "initial_interval": "1ms", "jitter": "none"});
    let spec = json!({"kind": "exec", "payload": {"command": ["sh", "-c", "exit 7"]}, "retry": retry});
    let id = cluster.nodes[1].submit(&spec);
    let job = until("its end", LIMIT, || cluster.nodes[1].job(&id).filter(Job::has_ended));
    assert_eq!(job.attempts.len(), 4);
    assert!(job.attempts.windows(2).all(|pair| pair[0].node != pair[1].node), "{:?}", job.attempts);
    let told = format!("exit code 7 in attempt 4 on {}; 4 of 4 attempts failed", job.attempts[3].node);
    assert!(why(&cluster, &id).starts_with(&told), "{}", why(&cluster, &id));
}

/// The command line, asked of a node.
fn relais(cluster: &Cluster, number: usize, line: &str) -> String {
    let addr = cluster.nodes[number].http.to_string();
    let output = Command::new(program()).args(line.split(' ')).args(["--addr", &addr]).output().expect("relais runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "relais {line}: {said} {}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn slots_and_labels_are_set_live_and_stay_over_failover_and_restart() {
    let mut cluster = three();
    let on_b = || json!({"requires": {"labels": {"zone": "b"}}});
    let mine: Vec<String> = (0..10).map(|_| start(&cluster, on_b()).0).collect();
    let (gpu, node) = start(&cluster, json!({"requires": {"labels": {"gpu": "yes"}}}));
    assert_eq!(node, None);
    let running = |cluster: &Cluster| {
        let jobs = cluster.nodes[2].jobs();
        jobs.iter().filter(|job| mine.contains(&job.id) && job.state == "running").count()
    };
    assert_eq!(running(&cluster), 8);
    // At a node that need not be the dispatcher.
    let node =
        cluster.nodes[2].ask("PATCH", "/v1/nodes/n2", r#"{"slots":9,"labels":{"gpu":"yes"}}"#).expect("an answer");
    let node = (node.status, node.json());
    assert_eq!((node.0, &node.1["slots"], &node.1["slots_from"]), (200, &json!(9), &json!("set")), "{}", node.1);
    assert_eq!(running(&cluster), 9, "the ninth began in the same entry");
    relais(&cluster, 0, "node set n2 slots=11");
    assert_eq!(running(&cluster), 10);
    assert_eq!(cluster.nodes[1].job(&gpu).map(|job| job.state), Some("running".to_owned()));
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let _ = cluster.successor(old, epoch);
    let shown = |cluster: &Cluster| {
        let node = insist(cluster, "GET", "/v1/nodes/n2", &Value::Null);
        (node["slots"].as_u64(), node["labels"].clone(), node["started_with"]["slots"].as_u64())
    };
    let set = (Some(11), json!({"zone": "b", "gpu": "yes"}), Some(8));
    assert_eq!(shown(&cluster), set, "after the dispatcher was killed");
    cluster.nodes[old].start();
    cluster.await_whole();
    cluster.nodes[1].kill();
    cluster.nodes[1].start();
    cluster.await_whole();
    assert_eq!(shown(&cluster), set, "after it was started again, with --slots 8");
    until("all of its jobs to run again", LIMIT, || (running(&cluster) == 10).then_some(()));
    let said = relais(&cluster, 0, "node show n2");
    assert!(said.contains("11 of 11 in use, set here; it was started with 8") && said.contains("gpu=yes"), "{said}");
    insist(&cluster, "PATCH", "/v1/nodes/n2", &json!({"slots": null, "labels": null}));
    assert_eq!(shown(&cluster), (Some(8), json!({"zone": "b"}), Some(8)));
    assert_eq!(running(&cluster), 10, "what runs goes on");
    cancel_all(&cluster);
}

#[test]
fn progress_is_read_from_any_node_and_kept_with_the_end() {
    let mut cluster = three();
    let (old, epoch) = cluster.dispatcher();
    let worker = cluster.others(old)[0];
    let zone = ["a", "b", "c"][worker];
    let gate = cluster.folder().join("gate");
    let script = "echo '10 %' > $RELAIS_PROGRESS_FILE; until [ -e $0.1 ]; do sleep 0.05; done; \
        echo '20 %' > $RELAIS_PROGRESS_FILE; until [ -e $0.2 ]; do sleep 0.05; done; echo '30 %' > $RELAIS_PROGRESS_FILE; exit 7";
    let command = json!({"command": ["sh", "-c", script, gate]});
    let requires = json!({"labels": {"zone": zone}});
    let id = cluster.nodes[old].submit(&json!({"kind": "exec", "payload": command, "requires": requires}));
    let said = |cluster: &Cluster, number: usize| {
        let job = cluster.nodes[number].read(&format!("/v1/jobs/{id}"))?;
        job["progress"].as_str().map(str::to_owned)
    };
    let all_say = |cluster: &Cluster, text: &str| {
        for number in cluster.running() {
            until("its progress", LIMIT, || said(cluster, number).filter(|said| said == text));
        }
    };
    all_say(&cluster, "10 %");
    let listed = cluster.nodes[old].read("/v1/jobs").expect("a list");
    assert_eq!(listed["jobs"][0]["progress"], "10 %");
    assert!(relais(&cluster, old, &format!("job {id}")).contains("10 %"));
    cluster.nodes[old].kill();
    let _ = cluster.successor(old, epoch);
    all_say(&cluster, "10 %");
    let touch = |number: u32| std::fs::write(cluster.folder().join(format!("gate.{number}")), "").expect("a file");
    touch(1);
    all_say(&cluster, "20 %");
    touch(2);
    let other = cluster.others(old)[1];
    until("its end", LIMIT, || cluster.nodes[other].job(&id).filter(Job::has_ended));
    assert_eq!(said(&cluster, other).as_deref(), Some("30 %"), "the last word is in the record");
    cluster.nodes[worker].kill();
    let local = cluster.nodes[other].read(&format!("/v1/jobs/{id}?consistency=local")).expect("a job");
    assert_eq!(local["progress"], "30 %", "also when its node is gone");
}
