//! What is told of a job, in words, events, results and lists: the same from every node, before the dispatcher is
//! killed and after it.

use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Gate, Options};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a part of a test may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// The answer to a question, once all nodes give the same.
fn from_all(cluster: &Cluster, target: &str) -> Value {
    let mut told = Vec::new();
    let agreed = relais_tests::cluster::wait::look_for(LIMIT, || {
        told = cluster.nodes.iter().map(|node| node.read(target)).collect();
        (told[0].is_some() && told.iter().all(|one| *one == told[0])).then(|| told[0].clone()).flatten()
    });
    agreed.unwrap_or_else(|| panic!("{target} differs: {told:?}"))
}

/// Ids by the part that they play.
struct Cast {
    ids: BTreeMap<&'static str, String>,
    gate: Gate,
    /// The dispatcher at first, and a node that is not.
    hit: usize,
    there: usize,
}

impl Cast {
    fn id(&self, part: &str) -> &str {
        &self.ids[part]
    }
}

fn result_of(text: &str) -> String {
    format!("echo '{text}' | sed s/NUMBER/$RELAIS_ATTEMPT/ > $RELAIS_RESULT_FILE")
}

fn submit(cluster: &Cluster) -> Cast {
    let (hit, _) = cluster.dispatcher();
    let there = cluster.others(hit)[0];
    let gate = cluster.gate("story");
    cluster.insist("PUT", "/v1/queues/few", &json!({"concurrency": 1}));
    cluster.insist("POST", "/v1/queues/shut:pause", &json!({}));
    let on = |node: usize| cluster.only_on(node);
    let noop = |fields: Value| {
        let mut spec = json!({"kind": "noop", "payload": {}});
        spec.as_object_mut().expect("a spec").extend(fields.as_object().expect("fields").clone());
        spec
    };
    let exec = |script: &str, node: usize| json!({"kind": "exec", "payload": gate.payload(script), "requires": on(node), "labels": {"team": "a"}});
    let mut limited = exec(&result_of(r#"{"rows": [1, 2], "attempt": NUMBER}"#), there);
    limited["queue"] = json!("few");
    let once = json!({"max_attempts": 3, "initial_interval": "1h", "jitter": "none"});
    let ids = cluster.submit_all(&[
        limited,
        exec(&result_of(r#"{"attempt": NUMBER}"#), hit),
        noop(json!({"queue": "few"})),
        noop(json!({"queue": "shut", "name": "kept"})),
        noop(json!({"requires": {"labels": {"gpu": "yes"}}})),
        noop(json!({"delay": "1h"})),
        noop(json!({"payload": {"fail_times": 9}, "retry": once})),
        json!({"kind": "exec", "payload": {"command": ["sh", "-c", "exit 3"]}, "labels": {"team": "b"}}),
        noop(json!({"queue": "shut"})),
        noop(json!({"labels": {"team": "b"}, "name": "quick"})),
    ]);
    let parts =
        ["through", "lost", "limited", "paused", "nowhere", "later", "retrying", "failed", "cancelled", "quick"];
    let mut ids: BTreeMap<&str, String> = parts.into_iter().zip(ids).collect();
    let after = |parent: &str| noop(json!({"depends_on": [{"id": ids[parent]}]}));
    let children = cluster.submit_all(&[after("through"), after("later"), after("paused")]);
    ids.extend(["blocked", "cut off", "also blocked"].into_iter().zip(children));
    let wish = json!({"reason": "wrong input"});
    for part in ["cancelled", "cut off"] {
        cluster.insist("POST", &format!("/v1/jobs/{}:cancel", ids[part]), &wish);
    }
    let states = [("through", "running"), ("lost", "running"), ("retrying", "retrying"), ("failed", "failed")];
    for (part, state) in states.into_iter().chain([("quick", "succeeded")]) {
        cluster.await_state(&ids[part], state);
    }
    Cast { ids, gate, hit, there }
}

/// Jobs whose story stands still meanwhile, and what is said of each.
fn said(cast: &Cast) -> Vec<(&'static str, String)> {
    let id = |part: &str| cast.id(part).to_owned();
    vec![
        ("limited", "queue `few` is at its limit of 1".to_owned()),
        ("paused", "queue `shut` is paused".to_owned()),
        ("nowhere", "gpu=yes".to_owned()),
        ("later", "it may not start before 2".to_owned()),
        ("retrying", "1 of 3 attempts failed".to_owned()),
        ("failed", "it failed".to_owned()),
        ("cancelled", "wrong input".to_owned()),
        ("cut off", "wrong input".to_owned()),
        ("quick", "it succeeded".to_owned()),
        ("blocked", id("through")),
        ("also blocked", id("paused")),
        ("through", format!("it runs on n{}", cast.there + 1)),
    ]
}

/// What all nodes tell of each job that stands still.
fn stories(cluster: &Cluster, cast: &Cast) -> BTreeMap<&'static str, (Value, Value)> {
    let mut told = BTreeMap::new();
    for (part, words) in said(cast) {
        let explained = from_all(cluster, &format!("/v1/jobs/{}/explain", cast.id(part)));
        assert!(explained["why"].as_str().is_some_and(|why| why.contains(&words)), "{part}, {words}: {explained}");
        let events = from_all(cluster, &format!("/v1/jobs/{}/events", cast.id(part)));
        assert_eq!(events["events"][0]["event"], "submitted", "{part}: {events}");
        told.insert(part, (explained, events));
    }
    told
}

/// The names of a job's events, in their order, each with its attempt's number and outcome.
fn steps(events: &Value) -> Vec<String> {
    let all = events["events"].as_array().expect("events");
    let at: Vec<&str> = all.iter().map(|one| one["at"].as_str().expect("a time")).collect();
    assert!(at.is_sorted(), "out of order: {events}");
    let step = |one: &Value| {
        let more = [&one["attempt"], &one["outcome"], &one["state"]].into_iter().filter(|more| !more.is_null());
        let words = std::iter::once(&one["event"]).chain(more);
        words.map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect::<Vec<_>>().join(" ")
    };
    all.iter().map(step).collect()
}

/// Each list is the same from every node, and is what it should be; pages of different nodes go together.
fn check_lists(cluster: &Cluster, cast: &Cast) {
    let there = &cluster.nodes[cast.there].name;
    let lists = [
        ("queue=few".to_owned(), vec!["through", "limited"]),
        ("queue=shut&state=queued".to_owned(), vec!["paused"]),
        ("state=blocked".to_owned(), vec!["blocked", "also blocked"]),
        ("label=team:a".to_owned(), vec!["through", "lost"]),
        ("label=team:b&state=failed,cancelled".to_owned(), vec!["failed"]),
        ("name=quick".to_owned(), vec!["quick"]),
        (format!("node={there}&label=team:a"), vec!["through"]),
        ("until=2026-01-01T00:00:00Z".to_owned(), Vec::new()),
    ];
    let ids = |page: &Value| -> Vec<String> {
        let jobs = page["jobs"].as_array().expect("jobs");
        jobs.iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
    };
    for (query, parts) in lists {
        let found: BTreeSet<String> = ids(&from_all(cluster, &format!("/v1/jobs?{query}"))).into_iter().collect();
        let expected: BTreeSet<String> = parts.iter().map(|part| cast.id(part).to_owned()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let whole = ids(&from_all(cluster, "/v1/jobs"));
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    for turn in 0.. {
        let page = cluster.nodes[turn % 3].read(&format!("/v1/jobs?limit=4{cursor}")).expect("a page");
        pages.extend(ids(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((pages.len(), &pages), (cast.ids.len(), &whole));
    assert_eq!(from_all(cluster, "/v1/jobs:count")["total"], cast.ids.len());
}

#[test]
fn what_is_told_of_jobs_is_the_same_from_every_node_and_after_a_failover() {
    let mut cluster = Cluster::start(3, Options::labelled(3, 8));
    let cast = submit(&cluster);
    let before = stories(&cluster, &cast);
    check_lists(&cluster, &cast);
    let no_result = cluster.nodes[0].ask("GET", &format!("/v1/jobs/{}/result", cast.id("through")), "");
    assert_eq!(no_result.map(|answer| answer.status), Some(404), "it has not ended");

    let (hit, _) = cluster.fail_over();
    assert_eq!(hit, cast.hit);
    cluster.await_row(cast.id("lost"), "running again", |row| row["state"] == "running" && row["attempt"] == 2);
    assert_eq!(stories(&cluster, &cast), before, "the failover changed what is told");
    check_lists(&cluster, &cast);

    cast.gate.open();
    for part in ["through", "lost", "blocked", "limited"] {
        cluster.await_state(cast.id(part), "succeeded");
    }
    let of = |part: &str, what: &str| from_all(&cluster, &format!("/v1/jobs/{}/{what}", cast.id(part)));
    assert_eq!(of("through", "result"), json!({"rows": [1, 2], "attempt": 1}));
    assert_eq!(of("lost", "result"), json!({"attempt": 2}));
    let events = of("through", "events");
    assert_eq!(steps(&events), ["submitted", "attempt_started 1", "attempt_ended 1 succeeded", "ended succeeded"]);
    let events = of("lost", "events");
    let lost = ["submitted", "attempt_started 1", "attempt_ended 1 lost", "attempt_started 2"];
    let ended = ["attempt_ended 2 succeeded", "ended succeeded"];
    assert_eq!(steps(&events), [&lost[..], &ended[..]].concat());
    let epochs: Vec<u64> =
        events["events"].as_array().into_iter().flatten().filter_map(|event| event["epoch"].as_u64()).collect();
    assert!(epochs.len() == 4 && epochs[0] == epochs[1] && epochs[1] < epochs[2] && epochs[2] == epochs[3], "{events}");
    assert_eq!(events["events"][1]["node"], cluster.nodes[cast.hit].name.as_str());
    assert_eq!(of("limited", "explain")["why"], "it succeeded");
    let told = until("the command line", LIMIT, || {
        let output = cluster.nodes[cast.hit].relais(&["explain", cast.id("nowhere")]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert!(told.contains("gpu=yes"), "{told}");
}
