//! Whose turn it is, with the dispatcher killed in the middle: higher priorities first, queues by their weight, and a
//! low priority within its bound, however many others come.

use relais_protocol::time::UnixMs;
use relais_tests::cluster::job::Job;
use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a part of a test may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// One slot a node, so that there is a line.
fn start() -> Cluster {
    Cluster::start(3, Options { slots: 1, ..Options::default() })
}

fn spec(queue: &str, priority: u8, name: &str) -> Value {
    let retry = json!({"max_lost": 100});
    json!({"kind": "noop", "payload": {"sleep": "10ms"}, "queue": queue, "priority": priority, "name": name, "retry": retry})
}

fn pause(cluster: &Cluster, queues: &[&str], on: bool) {
    for queue in queues {
        let verb = if on { "pause" } else { "resume" };
        cluster.insist("POST", &format!("/v1/queues/{queue}:{verb}"), &json!({}));
    }
}

fn await_succeeded(cluster: &Cluster, count: u64) {
    until("a part of the jobs to be done", LIMIT, || {
        let counts = cluster.running().into_iter().find_map(|node| cluster.nodes[node].read("/v1/jobs:count"))?;
        (counts["groups"]["succeeded"].as_u64()? >= count).then_some(())
    });
}

/// Every job's first start, earliest first, with the epoch in which it was.
fn first_starts(cluster: &Cluster) -> Vec<(UnixMs, u64, Job)> {
    let jobs = cluster.nodes[0].jobs().into_iter().filter(|job| !job.attempts.is_empty());
    let mut starts: Vec<_> = jobs.map(|job| (job.attempts[0].started_at, job.attempts[0].epoch, job)).collect();
    starts.sort_by_key(|(at, epoch, _)| (*at, *epoch));
    starts
}

#[test]
fn higher_priorities_go_first_on_both_sides_of_a_failover() {
    const EACH: usize = 40;
    let mut cluster = start();
    pause(&cluster, &["line"], true);
    let priorities = [10, 90, 50, 0, 100];
    let jobs = EACH * priorities.len();
    let mixed = (0..jobs).map(|n| priorities[n % priorities.len()]);
    let _ =
        cluster.submit_all(&mixed.map(|priority| spec("line", priority, &priority.to_string())).collect::<Vec<_>>());
    pause(&cluster, &["line"], false);
    // Within the third of five.
    await_succeeded(&cluster, (EACH * 5 / 2) as u64);
    cluster.fail_over();
    cluster.await_all_ended(0, LIMIT);
    let starts = first_starts(&cluster);
    assert_eq!(starts.len(), jobs);
    let of = |name: &str| {
        let own = starts.iter().filter(|(.., job)| job.name.as_deref() == Some(name)).map(|(at, ..)| *at);
        own.fold((UnixMs(u64::MAX), UnixMs(0)), |(first, last), at| (first.min(at), last.max(at)))
    };
    for two in ["100", "90", "50", "10", "0"].windows(2) {
        let ((_, last), (first, _)) = (of(two[0]), of(two[1]));
        assert!(last <= first, "one of priority {} started at {first}, one of {} at {last}", two[1], two[0]);
    }
    let (before, after) = (starts[0].1, starts[jobs - 1].1);
    assert!(after > before, "the failover was not in the middle");
}

#[test]
fn queues_share_by_weight_on_both_sides_of_a_failover() {
    const JOBS: usize = 500;
    let mut cluster = start();
    cluster.insist("PUT", "/v1/queues/heavy", &json!({"weight": 3}));
    pause(&cluster, &["heavy", "light"], true);
    let turn = |n: usize| ["heavy", "light"][n % 2];
    let _ = cluster.submit_all(&(0..JOBS).map(|n| spec(turn(n), 50, turn(n))).collect::<Vec<_>>());
    pause(&cluster, &["heavy", "light"], false);
    await_succeeded(&cluster, 100);
    cluster.fail_over();
    cluster.await_all_ended(0, LIMIT);
    let starts = first_starts(&cluster);
    // The first few started while only one was resumed. Of 500, both have some left until 333 have started.
    let window = &starts[20..320];
    let first_epoch = starts[0].1;
    for side in [true, false] {
        let own: Vec<_> = window.iter().filter(|(_, epoch, _)| (*epoch == first_epoch) == side).collect();
        let heavy = own.iter().filter(|(.., job)| job.name.as_deref() == Some("heavy")).count();
        println!("{heavy} of {} starts were of the queue of weight 3 of 4, before the failover: {side}", own.len());
        assert!(own.len() >= 40, "the failover was not in the middle: {}", own.len());
        let share = heavy as f64 / own.len() as f64;
        assert!((0.65..=0.85).contains(&share), "{heavy} of {}", own.len());
    }
}

#[test]
fn a_low_priority_starts_within_its_bound_through_a_failover() {
    const AGING_MS: u64 = 10;
    let mut cluster = start();
    cluster.insist("PATCH", "/v1/cluster/settings", &json!({"priority_aging": format!("{AGING_MS}ms")}));
    pause(&cluster, &["urgent"], true);
    let low = cluster.submit_all(&[spec("urgent", 10, "low")]).remove(0);
    let crowd = |count: usize| vec![spec("urgent", 90, "high"); count];
    let _ = cluster.submit_all(&crowd(200));
    pause(&cluster, &["urgent"], false);
    let (dispatcher, epoch) = cluster.dispatcher();
    await_succeeded(&cluster, 20);
    cluster.nodes[dispatcher].kill();
    let _ = cluster.successor(dispatcher, epoch);
    cluster.nodes[dispatcher].start();
    // As long as it waits there are always others of a higher priority in line.
    let started = until("the low one to start", LIMIT, || {
        if cluster.insist("GET", "/v1/queues/urgent", &Value::Null)["queued"].as_u64()? < 100 {
            let _ = cluster.submit_all(&crowd(100));
        }
        let row = cluster.row(&low);
        row["started_at"].as_str().map(|at| UnixMs::parse_rfc3339(at).expect("a time"))
    });
    cluster.await_whole();
    cluster.insist("POST", "/v1/jobs:cancel?queue=urgent", &json!({}));
    cluster.await_all_ended(0, LIMIT);
    let came =
        |id: &str| UnixMs::parse_rfc3339(cluster.row(id)["created_at"].as_str().expect("a time")).expect("a time");
    let starts = first_starts(&cluster);
    let before: Vec<&Job> = starts.iter().filter(|(at, ..)| *at < started).map(|(.., job)| job).collect();
    let low_epoch = starts.iter().find(|(.., job)| job.id == low).map(|(_, epoch, _)| *epoch);
    println!(
        "{} of priority 90 before the one of 10, started {} ms after it came",
        before.len(),
        started.since(came(&low))
    );
    assert!(low_epoch > Some(epoch) && before.len() >= 20, "it did not wait through the failover");
    // Nobody overtakes it who came later than its bound allows.
    let bound = came(&low).plus(90 * AGING_MS);
    let latest = before.iter().map(|job| came(&job.id)).max().expect("others before it");
    assert!(latest <= bound, "overtaken by one that came {} ms too late", latest.since(bound));
}
