//! Queues, keys and turns on real clusters, with the dispatcher killed in the middle: limits are exact, what was
//! set is kept, and a key is one job.

use relais_protocol::time::UnixMs;
use relais_tests::cluster::http::Http;
use relais_tests::cluster::job::Job;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options, Turn};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a part of a test may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Asks any node until one says it was done: for what may be done twice.
fn insist(cluster: &Cluster, method: &str, target: &str, body: &Value) -> Value {
    cluster.until(&format!("{method} {target}"), |cluster| {
        cluster.running().into_iter().find_map(|number| {
            let answer = cluster.nodes[number].ask(method, target, &body.to_string())?;
            assert!(answer.status < 400 || answer.status >= 500, "{method} {target}: {}", answer.text());
            (answer.status < 300).then(|| answer.json())
        })
    })
}

fn submit_all(cluster: &Cluster, specs: &[Value]) -> Vec<String> {
    let answer = cluster.nodes[0].ask("POST", "/v1/jobs:batch", &Value::from(specs.to_vec()).to_string());
    let answer = answer.expect("an answer to a batch").json();
    let results = answer["results"].as_array().expect("results");
    results.iter().map(|result| result["id"].as_str().expect("an id").to_owned()).collect()
}

/// Kills the dispatcher, waits until another has the role, and starts the killed one again.
fn fail_over(cluster: &mut Cluster) {
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let _ = cluster.successor(old, epoch);
    cluster.nodes[old].start();
    cluster.await_whole();
}

fn jobs(cluster: &Cluster) -> Vec<Job> {
    cluster.until("all jobs", |cluster| {
        cluster.nodes[0].read("/v1/jobs:count")?;
        Some(cluster.nodes[0].jobs())
    })
}

/// How many attempts ran at once at most, as the record has it. An attempt that began in the entry in which
/// another ended came after it.
fn most_at_once<'a>(jobs: impl Iterator<Item = &'a Job>) -> i64 {
    let mut steps: Vec<(UnixMs, i64)> = Vec::new();
    for attempt in jobs.flat_map(|job| &job.attempts) {
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

fn queue(cluster: &Cluster, name: &str) -> Value {
    insist(cluster, "GET", &format!("/v1/queues/{name}"), &Value::Null)
}

#[test]
fn a_limit_of_four_holds_over_2000_jobs_and_two_failovers() {
    const JOBS: usize = 2_000;
    let mut cluster = Cluster::start(3, Options { slots: 16, ..Options::default() });
    insist(&cluster, "PUT", "/v1/queues/few", &json!({"concurrency": 4}));
    let spec = json!({"kind": "noop", "payload": {"sleep": "4ms"}, "queue": "few", "retry": {"max_lost": 100}});
    let ids = submit_all(&cluster, &vec![spec; JOBS]);
    for part in [1, 2] {
        until("a part of the jobs to be done", LIMIT, || {
            let counts = cluster.nodes[0].read("/v1/jobs:count")?;
            (counts["groups"]["succeeded"].as_u64()? as usize >= JOBS * part / 4).then_some(())
        });
        fail_over(&mut cluster);
    }
    cluster.await_all_ended(0, LIMIT);
    let jobs = jobs(&cluster);
    assert_eq!(jobs.iter().map(|job| &job.id).collect::<BTreeSet<_>>(), ids.iter().collect::<BTreeSet<_>>());
    assert!(jobs.iter().all(|job| job.state == "succeeded"), "all end well");
    let epochs: BTreeSet<u64> = jobs.iter().flat_map(|job| &job.attempts).map(|attempt| attempt.epoch).collect();
    let nodes: BTreeSet<&str> = jobs.iter().flat_map(|job| &job.attempts).map(|one| one.node.as_str()).collect();
    let most = most_at_once(jobs.iter());
    println!("limit 4: {most} at once at most, epochs {epochs:?}, on {nodes:?}");
    assert!(epochs.len() >= 3 && nodes.len() == 3, "epochs {epochs:?}, nodes {nodes:?}");
    assert_eq!(most, 4, "the limit is used, and never exceeded");
}

/// A hundred clients send `spec` at once, each with `headers`, again and again until they are answered; in the
/// middle the dispatcher is killed. The ids that they were told, and how many of them as the first.
fn at_once(cluster: &mut Cluster, spec: &Value, key: Option<&str>) -> (BTreeSet<String>, usize) {
    let nodes: Vec<_> = cluster.nodes.iter().map(|node| node.http).collect();
    let answered = Arc::new(AtomicUsize::new(0));
    let client = |number: usize| {
        let (nodes, answered, body) = (nodes.clone(), answered.clone(), spec.to_string());
        let key = key.map(str::to_owned);
        std::thread::spawn(move || {
            let mut headers = vec![("Content-Type", "application/json")];
            headers.extend(key.as_deref().map(|key| ("Idempotency-Key", key)));
            let mut turn = number;
            until("an answer to a submit", LIMIT, || {
                turn += 1;
                let mut http = Http::new(nodes[turn % nodes.len()], Duration::from_secs(5));
                let answer = http.send("POST", "/v1/jobs", &headers, body.as_bytes()).ok()?;
                if ![200, 201].contains(&answer.status) {
                    assert!(answer.status >= 500, "{}", answer.text());
                    return None;
                }
                answered.fetch_add(1, Ordering::AcqRel);
                let said = answer.json();
                Some((said["id"].as_str().expect("an id").to_owned(), answer.status == 201))
            })
        })
    };
    let (dispatcher, epoch) = cluster.dispatcher();
    let clients: Vec<_> = (0..100).map(client).collect();
    until("some answers", LIMIT, || (answered.load(Ordering::Acquire) >= 5).then_some(()));
    cluster.nodes[dispatcher].kill();
    let _ = cluster.successor(dispatcher, epoch);
    cluster.nodes[dispatcher].start();
    let told: Vec<(String, bool)> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
    cluster.await_whole();
    (told.iter().map(|(id, _)| id.clone()).collect(), told.iter().filter(|(_, first)| *first).count())
}

#[test]
fn a_hundred_submits_under_one_key_are_one_job_though_the_dispatcher_dies() {
    let _turn = Turn::beside();
    let mut cluster = Cluster::start(3, Options::default());
    let long = json!({"kind": "noop", "payload": {"sleep": "10m"}, "unique": {"key": "once"}});
    let (ids, _) = at_once(&mut cluster, &long, None);
    assert_eq!(ids.len(), 1, "one unique key made {ids:?}");
    let (same, first) = at_once(&mut cluster, &long, Some("a-key"));
    assert_eq!((&same, first), (&ids, 0), "it goes on, so it still has the key");
    let (keyed, _) = at_once(&mut cluster, &json!({"kind": "noop", "payload": {}}), Some("another-key"));
    assert_eq!(keyed.len(), 1, "one idempotency key made {keyed:?}");
    let known: BTreeSet<String> = jobs(&cluster).into_iter().map(|job| job.id).collect();
    assert_eq!(known, ids.union(&keyed).cloned().collect(), "and the record has no other");
}

#[test]
fn a_key_limit_and_a_replacement_hold_across_a_failover() {
    let _turn = Turn::beside();
    let mut cluster = Cluster::start(3, Options::default());
    let tenant = |number: usize| {
        let key = json!({"key": format!("tenant-{}", number % 3), "limit": 2});
        json!({"kind": "noop", "payload": {"sleep": "40ms"}, "queue": format!("q{}", number % 2), "concurrency": key,
            "name": format!("tenant-{}", number % 3), "retry": {"max_lost": 100}})
    };
    submit_all(&cluster, &(0..240).map(tenant).collect::<Vec<_>>());
    let newest = json!({"kind": "exec", "payload": {"command": ["sleep", "600"]}, "queue": "other",
        "unique": {"key": "newest", "on_conflict": "replace"}});
    let first = cluster.nodes[0].submit(&newest);
    fail_over(&mut cluster);
    let second = cluster.nodes[0].submit(&newest);
    cluster.until("the first to be cancelled", |cluster| {
        (cluster.nodes[0].job(&first)?.state == "cancelled").then_some(())
    });
    let row = cluster.nodes[0].read(&format!("/v1/jobs/{first}")).expect("the replaced job");
    assert_eq!(row["replaced_by"], second.as_str());
    insist(&cluster, "POST", &format!("/v1/jobs/{second}:cancel"), &json!({}));
    cluster.await_all_ended(0, LIMIT);
    let jobs = jobs(&cluster);
    for tenant in 0..3 {
        let name = format!("tenant-{tenant}");
        let own: Vec<&Job> = jobs.iter().filter(|job| job.name.as_deref() == Some(name.as_str())).collect();
        assert!(own.len() == 80 && own.iter().all(|job| job.state == "succeeded"), "{} of {name}", own.len());
        assert_eq!(most_at_once(own.into_iter()), 2, "{name} has two at once, and never more");
    }
}

#[test]
fn a_pause_survives_a_failover_and_a_purge_cancels_what_waits() {
    let _turn = Turn::beside();
    let mut cluster = Cluster::start(3, Options::default());
    insist(&cluster, "POST", "/v1/queues/held:pause", &json!({}));
    let spec = json!({"kind": "noop", "payload": {}, "queue": "held"});
    let ids = submit_all(&cluster, &vec![spec.clone(); 20]);
    fail_over(&mut cluster);
    assert_eq!((&queue(&cluster, "held")["paused"], &queue(&cluster, "held")["queued"]), (&json!(true), &json!(20)));
    // Others go on, so that it is the pause that holds these.
    let other = cluster.nodes[1].submit(&json!({"kind": "noop", "payload": {}}));
    cluster.until("another queue's job", |cluster| cluster.nodes[1].job(&other).filter(Job::has_ended));
    assert!(ids.iter().all(|id| cluster.nodes[1].job(id).is_some_and(|job| job.state == "queued")));
    let purged = insist(&cluster, "POST", "/v1/queues/held:purge", &json!({}));
    assert_eq!(purged, json!({"cancelled": 20}));
    let last = cluster.nodes[2].submit(&spec);
    insist(&cluster, "POST", "/v1/queues/held:resume", &json!({}));
    cluster.await_all_ended(0, LIMIT);
    let states: Vec<String> = ids.iter().map(|id| cluster.nodes[0].job(id).expect("a job").state).collect();
    assert!(states.iter().all(|state| state == "cancelled"), "{states:?}");
    assert_eq!(cluster.nodes[0].job(&last).map(|job| job.state), Some("succeeded".to_owned()));
}

#[test]
fn no_second_has_more_starts_than_the_rate_across_a_failover() {
    const COUNT: usize = 10;
    const PER_MS: u64 = 1_000;
    let mut cluster = Cluster::start(3, Options::default());
    insist(&cluster, "PUT", "/v1/queues/slow", &json!({"rate": {"count": COUNT, "per": "1s"}}));
    let spec = json!({"kind": "noop", "payload": {}, "queue": "slow", "retry": {"max_lost": 100}});
    submit_all(&cluster, &vec![spec; 80]);
    until("some of them", LIMIT, || (queue(&cluster, "slow")["queued"].as_u64()? <= 60).then_some(()));
    fail_over(&mut cluster);
    cluster.await_all_ended(0, LIMIT);
    let jobs = jobs(&cluster);
    let mut starts: Vec<u64> = jobs.iter().flat_map(|job| &job.attempts).map(|one| one.started_at.0).collect();
    starts.sort_unstable();
    let within = |first: u64| starts.iter().filter(|at| (first..first + PER_MS).contains(*at)).count();
    let most = starts.iter().map(|first| within(*first)).max();
    assert_eq!(most, Some(COUNT), "the rate is used, and never exceeded");
}

#[test]
fn a_low_priority_starts_within_its_bound_and_queues_share_by_weight() {
    const AGING_MS: u64 = 50;
    let cluster = Cluster::start(3, Options { slots: 1, ..Options::default() });
    insist(&cluster, "PATCH", "/v1/cluster/settings", &json!({"priority_aging": format!("{AGING_MS}ms")}));
    insist(&cluster, "PUT", "/v1/queues/heavy", &json!({"weight": 3}));
    for queue in ["heavy", "light", "urgent"] {
        insist(&cluster, "POST", &format!("/v1/queues/{queue}:pause"), &json!({}));
    }
    let spec = |queue: &str, priority: u8| json!({"kind": "noop", "payload": {"sleep": "15ms"}, "queue": queue, "priority": priority, "name": queue});
    submit_all(&cluster, &(0..400).map(|n| spec(["heavy", "light"][n % 2], 50)).collect::<Vec<_>>());
    insist(&cluster, "POST", "/v1/queues/heavy:resume", &json!({}));
    insist(&cluster, "POST", "/v1/queues/light:resume", &json!({}));
    cluster.await_all_ended(0, LIMIT);
    let mut order: Vec<(UnixMs, Option<String>)> =
        jobs(&cluster).into_iter().map(|job| (job.attempts[0].started_at, job.name)).collect();
    order.sort();
    // The first few started while only one of them was resumed.
    let shared = &order[40..200];
    let heavy = shared.iter().filter(|(_, name)| name.as_deref() == Some("heavy")).count();
    assert!((108..=132).contains(&heavy), "{heavy} of 160 starts were of the queue of weight 3 of 4");

    submit_all(&cluster, &[spec("urgent", 10)]);
    let low = jobs(&cluster).into_iter().find(|job| job.name.as_deref() == Some("urgent")).expect("the low one").id;
    submit_all(&cluster, &(0..50).map(|_| spec("urgent", 90)).collect::<Vec<_>>());
    insist(&cluster, "POST", "/v1/queues/urgent:resume", &json!({}));
    // As long as it waits there are always others of a higher priority in line.
    let started = until("the low one to start", LIMIT, || {
        if queue(&cluster, "urgent")["queued"].as_u64()? < 30 {
            submit_all(&cluster, &(0..30).map(|_| spec("urgent", 90)).collect::<Vec<_>>());
        }
        cluster.nodes[0].job(&low).and_then(|job| Some(job.attempts.first()?.started_at))
    });
    let came = |id: &str| {
        let row = cluster.nodes[0].read(&format!("/v1/jobs/{id}")).expect("a job");
        UnixMs::parse_rfc3339(row["created_at"].as_str().expect("a time")).expect("a time")
    };
    let bound = came(&low).plus(90 * AGING_MS);
    let before = jobs(&cluster).into_iter().filter(|job| job.name.as_deref() == Some("urgent") && job.id != low);
    let before: Vec<Job> =
        before.filter(|job| job.attempts.first().is_some_and(|one| one.started_at < started)).collect();
    let latest = before.iter().map(|job| came(&job.id)).max().expect("others that started before it");
    println!(
        "{} of priority 90 before the one of 10, started {} ms after it came",
        before.len(),
        started.since(came(&low))
    );
    assert!(before.len() >= 50 && latest <= bound, "overtaken by one that came {} ms too late", latest.since(bound));
}
