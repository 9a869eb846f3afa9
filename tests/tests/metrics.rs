//! `/metrics` of real clusters: Prometheus's own checker has no complaint, the counts are those of what was done, also
//! over a failover, and the dashboard and the alerts of `deploy` name only figures that there are.
//!
//! `promtool` (Debian's package `prometheus`) is needed for its checks, on whose absence they are skipped, aloud.

use nix::sys::signal::Signal;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

/// Runs promtool with this on its standard input; what it said, if it does not agree. `None` without it.
fn promtool(arguments: &[&str], input: &str) -> Option<Result<(), String>> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!(
            "SKIPPED: there is no promtool (Debian's package `prometheus`), so `{}` is not asked",
            arguments.join(" ")
        );
        return None;
    };
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    // A complaint is one, whether it counts as an error there or not.
    let lints = arguments[1] == "metrics" && !said.trim().is_empty();
    Some(if output.status.success() && !lints { Ok(()) } else { Err(said) })
}

fn page(cluster: &Cluster, node: usize) -> String {
    cluster.until("figures", |cluster| cluster.nodes[node].ask("GET", "/metrics", "")).text()
}

/// All samples of a page, by name and labels.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(sample).collect()
}

/// How many of something all jobs together came to.
fn sum(samples: &BTreeMap<String, f64>, family: &str) -> f64 {
    samples.iter().filter(|(name, _)| name.starts_with(family)).map(|(_, value)| value).sum()
}

/// Waits until a node's figures have these values.
fn await_values(cluster: &Cluster, node: usize, wanted: &[(&str, f64)]) -> BTreeMap<String, f64> {
    cluster.until(&format!("{wanted:?} at {}", cluster.nodes[node].name), |cluster| {
        let samples = samples(&page(cluster, node));
        wanted.iter().all(|(name, value)| samples.get(*name) == Some(value)).then_some(samples)
    })
}

fn submit(cluster: &Cluster, count: usize, spec: &Value) -> Vec<String> {
    let answer = cluster.insist("POST", "/v1/jobs:batch", &Value::from(vec![spec.clone(); count]));
    let ids = answer["results"].as_array().expect("results").iter();
    ids.map(|result| result["id"].as_str().expect("an id").to_owned()).collect()
}

fn finished(outcome: &str) -> String {
    format!("relais_jobs_finished_total{{outcome=\"{outcome}\"}}")
}

fn noop(more: &Value) -> Value {
    let mut spec = json!({"kind": "noop", "payload": {}});
    for (name, value) in more.as_object().expect("an object") {
        spec[name] = value.clone();
    }
    spec
}

/// Does what makes figures of every kind: 21 jobs succeed, one of them at its second attempt, five fail, three are
/// cancelled, one expires.
fn work(cluster: &Cluster) {
    submit(cluster, 20, &noop(&json!({})));
    let fails = json!({"sleep": "0s", "fail_times": 1});
    submit(cluster, 5, &noop(&json!({"payload": fails})));
    let retry = json!({"max_attempts": 2, "initial_interval": "50ms", "jitter": "none"});
    submit(cluster, 1, &noop(&json!({"payload": fails, "retry": retry})));
    for id in submit(cluster, 3, &noop(&json!({"delay": "1h"}))) {
        cluster.insist("POST", &format!("/v1/jobs/{id}:cancel"), &json!({}));
    }
    cluster.insist("POST", "/v1/queues/held:pause", &Value::Null);
    let soon = cluster.now().plus(1_500).to_string();
    submit(cluster, 1, &noop(&json!({"queue": "held", "expires_at": soon})));
}

fn check_counts(cluster: &Cluster, node: usize) {
    let ends = [("succeeded", 21.0), ("failed", 5.0), ("cancelled", 3.0), ("expired", 1.0)];
    let ends = ends.map(|(outcome, count)| (finished(outcome), count));
    let mut wanted: Vec<(&str, f64)> = ends.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    wanted.extend([
        ("relais_attempts_finished_total{outcome=\"succeeded\"}", 21.0),
        ("relais_attempts_finished_total{outcome=\"failed\"}", 6.0),
        ("relais_job_wait_seconds_count", 27.0),
        ("relais_job_run_seconds_count", 27.0),
        ("relais_job_run_seconds_bucket{le=\"+Inf\"}", 27.0),
        ("relais_jobs{state=\"succeeded\"}", 21.0),
        ("relais_queue_paused{queue=\"held\"}", 1.0),
        ("relais_nodes{standing=\"online\"}", 3.0),
        ("relais_nodes_online", 3.0),
        ("relais_has_dispatcher", 1.0),
    ]);
    let samples = await_values(cluster, node, &wanted);
    assert_eq!(sum(&samples, "relais_attempts_finished_total"), 27.0, "none was lost or timed out: {samples:?}");
}

/// Figures of what a node is and does, of the dispatcher and of another node.
fn check_node(cluster: &Cluster, node: usize, dispatches: bool) {
    let page = page(cluster, node);
    let samples = samples(&page);
    let of = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name} is not in\n{page}"));
    assert_eq!(of("relais_is_dispatcher"), f64::from(dispatches));
    assert_eq!(of("relais_leases_held{holder=\"node\"}"), if dispatches { 3.0 } else { 0.0 });
    let entries = of("relais_journal_commit_seconds_count");
    assert_eq!(entries > 0.0, dispatches, "{entries} entries were proposed here");
    let took = of("relais_journal_commit_seconds_sum");
    assert!(took >= 0.0 && took < 60.0 * (1.0 + entries), "{took} s for {entries} entries");
    for actor in ["dispatcher", "worker", "election", "notebook", "net", "journal"] {
        assert!(of(&format!("relais_actor_mailbox_depth{{actor=\"{actor}\"}}")) < 50_000.0);
        assert_eq!(of(&format!("relais_actor_restarts_total{{actor=\"{actor}\"}}")), 0.0);
    }
    for actor in ["dispatcher", "worker", "election", "net"] {
        assert!(of(&format!("relais_actor_idle_seconds{{actor=\"{actor}\"}}")) < 60.0);
    }
    assert!(of("relais_journal_sync_seconds_total") > 0.0);
    assert!(of("process_cpu_seconds_total") > 0.0 && of("process_threads") > 5.0);
    assert!(of("process_resident_memory_bytes") > 1e6 && of("process_open_fds") < of("process_max_fds"));
    let started = of("process_start_time_seconds");
    let age = cluster.now().0 as f64 / 1_000.0 - started;
    assert!((-60.0..3_600.0).contains(&age), "it says that it started {age} s ago");
}

/// Names of figures in a text: all words that begin as one does.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_figure = |word: &&str| ["relais_", "process_"].iter().any(|begin| word.starts_with(begin));
    words.filter(is_figure).map(str::to_owned).collect()
}

fn check_deploy(pages: &[String]) {
    let known: BTreeSet<String> = pages
        .iter()
        .flat_map(|page| samples(page).into_keys())
        .map(|name| name.split('{').next().unwrap_or_default().to_owned())
        .collect();
    for (file, least) in [("grafana/relais.json", 30), ("prometheus/alerts.yml", 15)] {
        let text = std::fs::read_to_string(deploy(file)).expect("a file of deploy");
        let named = named(&text);
        assert!(named.len() >= least, "{file} names {named:?}");
        let missing: Vec<&String> = named.difference(&known).collect();
        assert!(missing.is_empty(), "{file} names what no node tells: {missing:?}");
    }
}

fn check_dashboard() {
    let text = std::fs::read_to_string(deploy("grafana/relais.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut rules = Vec::new();
    for target in panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
        let expr = target["expr"].as_str().expect("an expression");
        let expr = expr.replace("$__rate_interval", "1m").replace("$job", "relais");
        rules.push(json!({"record": format!("panel:{}", rules.len()), "expr": expr}));
    }
    assert!(rules.len() > 30, "only {} expressions were found", rules.len());
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).expect("rules");
    if let Some(checked) = promtool(&["check", "rules", &file.path().display().to_string()], "") {
        checked.unwrap_or_else(|said| panic!("an expression of the dashboard is none:\n{said}"));
    }
}

#[test]
fn figures_are_right_on_every_node_and_well_written() {
    let cluster = Cluster::start(3, Options::default());
    work(&cluster);
    (0..3).for_each(|node| check_counts(&cluster, node));
    let (dispatcher, _) = cluster.dispatcher();
    (0..3).for_each(|node| check_node(&cluster, node, node == dispatcher));
    let stood: u64 = (0..3).filter_map(|node| cluster.nodes[node].figure("relais_election_stands_total")).sum();
    assert!(stood + 1 >= cluster.dispatcher().1, "{stood} elections for an epoch of {}", cluster.dispatcher().1);
    let pages: Vec<String> = (0..3).map(|node| page(&cluster, node)).collect();
    check_deploy(&pages);
    for page in &pages {
        if let Some(checked) = promtool(&["check", "metrics"], page) {
            checked.unwrap_or_else(|said| panic!("promtool says of\n{page}\n{said}"));
        }
    }
}

#[test]
fn counts_stay_right_over_a_failover_and_a_restart_counts_nothing_again() {
    let mut cluster = Cluster::start(3, Options::default());
    submit(&cluster, 30, &noop(&json!({})));
    let succeeded = finished("succeeded");
    for node in 0..3 {
        await_values(&cluster, node, &[(&succeeded, 30.0)]);
    }
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let (new, _) = cluster.successor(old, epoch);
    submit(&cluster, 10, &noop(&json!({})));
    for node in cluster.others(old) {
        let samples = await_values(&cluster, node, &[(&succeeded, 40.0)]);
        let ended = sum(&samples, "relais_attempts_finished_total");
        // Some may have been placed on the node that is gone, and were lost with it.
        assert_eq!((samples["relais_job_run_seconds_count"], ended >= 40.0), (ended, true), "{samples:?}");
    }
    assert!(cluster.nodes[new].figure("relais_election_stands_total") > Some(0), "the new dispatcher stood");
    cluster.nodes[old].start();
    cluster.await_whole();
    submit(&cluster, 5, &noop(&json!({})));
    for node in cluster.others(old) {
        await_values(&cluster, node, &[(&succeeded, 45.0)]);
    }
    // What it applies again was stamped before it started; the ten were committed while it was down.
    let samples = await_values(&cluster, old, &[("relais_jobs{state=\"succeeded\"}", 45.0)]);
    assert_eq!(samples[&succeeded], 5.0, "{samples:?}");
}

#[test]
fn any_node_tells_how_the_actors_of_another_are() {
    let cluster = Cluster::start(3, Options::default());
    for (asked, of) in [(0, 0), (0, 1), (1, 2), (2, 0)] {
        let node = cluster.nodes[asked].read(&format!("/v1/nodes/{}", cluster.nodes[of].name)).expect("a node");
        let actors = node["actors"].as_array().unwrap_or_else(|| panic!("no actors in {node}"));
        let names: Vec<&str> = actors.iter().filter_map(|actor| actor["name"].as_str()).collect();
        assert_eq!(names, ["dispatcher", "worker", "election", "notebook", "net", "journal"]);
        for actor in actors {
            assert_eq!((&actor["restarts"], &actor["ailing"]), (&json!(0), &Value::Null), "{actor}");
            assert!(actor["depth"].as_u64().is_some_and(|depth| depth < 50_000), "{actor}");
            let ticks = !["notebook", "journal"].contains(&actor["name"].as_str().unwrap_or_default());
            assert_eq!(actor["idle_ms"].as_u64().is_some_and(|ms| ms < 60_000), ticks, "{actor}");
        }
    }
    let list = cluster.nodes[0].read("/v1/nodes").expect("the nodes");
    assert!(list["nodes"].as_array().expect("rows").iter().all(|row| row["actors"].is_null()), "{list}");
    cluster.nodes[2].signal(Signal::SIGSTOP);
    cluster.until("a node that tells nothing of itself", |cluster| {
        let node = cluster.nodes[0].read(&format!("/v1/nodes/{}?consistency=local", cluster.nodes[2].name))?;
        node["actors"].is_null().then_some(())
    });
    cluster.nodes[2].signal(Signal::SIGCONT);
}

#[test]
fn the_dashboard_the_alerts_and_the_scrape_config_are_ones() {
    check_dashboard();
    for arguments in [
        ["check", "rules", "prometheus/alerts.yml"],
        ["test", "rules", "prometheus/alerts_test.yml"],
        ["check", "config", "prometheus/prometheus.yml"],
    ] {
        let file = deploy(arguments[2]).display().to_string();
        if let Some(checked) = promtool(&[arguments[0], arguments[1], &file], "") {
            checked.unwrap_or_else(|said| panic!("promtool {}: {said}", arguments.join(" ")));
        }
    }
    let alerts = std::fs::read_to_string(deploy("prometheus/alerts.yml")).expect("the alerts");
    let count = |word: &str| alerts.matches(word).count();
    assert!(count("- alert:") >= 15);
    for each in ["next_step:", "summary:", "description:", "severity:"] {
        assert_eq!(count(each), count("- alert:"), "each alert has a `{each}`");
    }
}
