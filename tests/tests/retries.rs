//! Retries and times on real processes, with the dispatcher killed in the middle: attempts follow each other by the
//! job's policy, waits are kept, losses are counted, what expired never starts, and what is done in bulk is done
//! once.

use relais_protocol::time::UnixMs;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::time::Duration;

/// How long the last jobs of a test may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

fn start() -> Cluster {
    Cluster::start(3, Options::labelled(3, 16))
}

fn time(value: &Value) -> UnixMs {
    UnixMs::parse_rfc3339(value.as_str().unwrap_or_else(|| panic!("{value} is no time"))).expect("a time")
}

/// From the end of an attempt to the start of the next one, in ms.
fn waits(row: &Value) -> Vec<u64> {
    let attempts = row["attempts"].as_array().expect("attempts");
    attempts.windows(2).map(|two| time(&two[1]["started_at"]).since(time(&two[0]["finished_at"]))).collect()
}

/// How long each attempt took, in ms.
fn ran(row: &Value) -> Vec<u64> {
    let attempts = row["attempts"].as_array().expect("attempts");
    attempts.iter().map(|one| time(&one["finished_at"]).since(time(&one["started_at"]))).collect()
}

fn outcomes(row: &Value) -> Vec<&str> {
    row["attempts"].as_array().into_iter().flatten().map(|one| one["outcome"].as_str().unwrap_or("none")).collect()
}

fn epochs(row: &Value) -> Vec<u64> {
    row["attempts"].as_array().into_iter().flatten().filter_map(|one| one["epoch"].as_u64()).collect()
}

fn error(row: &Value) -> &str {
    row["error"]["type"].as_str().unwrap_or("none")
}

fn fails(times: u32, retry: Value) -> Value {
    json!({"kind": "noop", "payload": {"fail_times": times}, "retry": retry})
}

#[test]
fn a_wait_between_attempts_is_kept_through_a_failover() {
    let mut cluster = start();
    let policy = |attempts: u32, first: &str| {
        json!({"max_attempts": attempts, "initial_interval": first, "backoff_coefficient": 30.0,
            "maximum_interval": "2s", "jitter": "none"})
    };
    let ids = cluster.submit_all(&[
        fails(2, policy(3, "100ms")),
        fails(99, json!({"max_attempts": 3, "initial_interval": "20ms"})),
        fails(
            99,
            json!({"max_attempts": 9, "initial_interval": "300ms", "jitter": "full", "maximum_interval": "300ms"}),
        ),
    ]);
    let [backs_off, gives_up, dices] = [&ids[0], &ids[1], &ids[2]];
    let waits_for_third = |row: &Value| row["state"] == "retrying" && outcomes(row).len() == 2;
    let before = cluster.await_row(backs_off, "waiting for its third attempt", waits_for_third);
    let due = time(&before["due_at"]);
    // 100 ms, and then 30 times as much, but no more than the most that is allowed.
    assert_eq!(due.since(time(&before["attempts"][1]["finished_at"])), 2_000);
    let (dispatcher, epoch) = cluster.dispatcher();
    cluster.nodes[dispatcher].kill();
    let (next, _) = cluster.successor(dispatcher, epoch);
    let between = cluster.nodes[next].read(&format!("/v1/jobs/{backs_off}")).expect("the job");
    assert!(between["due_at"].is_null() || time(&between["due_at"]) == due, "{between}");
    cluster.nodes[dispatcher].start();
    cluster.await_whole();

    let row = cluster.await_state(backs_off, "succeeded");
    assert_eq!(outcomes(&row), ["failed", "failed", "succeeded"]);
    assert!(waits(&row)[0] >= 100 && time(&row["attempts"][2]["started_at"]) >= due, "{row}");
    assert!(epochs(&row)[1] == epoch && epochs(&row)[2] > epoch, "not in the middle: {:?}", epochs(&row));
    let row = cluster.await_state(gives_up, "failed");
    assert_eq!((outcomes(&row).len(), error(&row), &row["exit_code"]), (3, "exit", &json!(1)));
    // Spread from nothing to the whole wait, and never more often than allowed, whoever the dispatcher was.
    let row = cluster.await_state(dices, "failed");
    assert_eq!(outcomes(&row).iter().filter(|outcome| **outcome == "failed").count(), 9);
    assert!(waits(&row).iter().any(|wait| *wait < 270), "{:?}", waits(&row));
}

#[test]
fn a_loss_is_followed_by_what_the_policy_says() {
    let mut cluster = start();
    let (hit, epoch) = cluster.dispatcher();
    let (gate, never) = (cluster.gate("ends"), cluster.gate("never"));
    let (here, there) = (cluster.only_on(hit), cluster.only_on(cluster.others(hit)[0]));
    let exec = |payload: Value, requires: &Value, retry: Value| json!({"kind": "exec", "payload": payload, "requires": requires, "retry": retry});
    let coded = json!({"max_attempts": 3, "initial_interval": "20ms", "non_retryable": ["exit:7"]});
    let ids = cluster.submit_all(&[
        exec(gate.payload("exit 7"), &there, coded.clone()),
        exec(gate.payload("exit 8"), &there, coded),
        exec(gate.payload("exit 0"), &here, json!({"on_lost": "fail", "max_attempts": 5})),
        exec(gate.payload("exit 0"), &here, json!({"on_lost": "retry"})),
        exec(gate.payload("exit 0"), &here, json!({"max_lost": 0, "max_attempts": 5})),
        exec(never.payload("exit 0"), &here, json!({"max_lost": 1, "max_attempts": 5})),
    ]);
    let [final_code, other_code, fails, goes_on, none_allowed, poison] = [0, 1, 2, 3, 4, 5].map(|at: usize| &ids[at]);
    for id in &ids {
        cluster.await_state(id, "running");
    }
    cluster.fail_over();
    for id in [goes_on, poison] {
        cluster.await_row(id, "running again", |row| row["state"] == "running" && row["attempt"] == 2);
    }
    gate.open();
    let row = cluster.await_state(final_code, "failed");
    assert_eq!((outcomes(&row), error(&row), &row["exit_code"]), (vec!["failed"], "exit", &json!(7)));
    assert_eq!(epochs(&row), [epoch], "it ran through the failover");
    let row = cluster.await_state(other_code, "failed");
    assert_eq!((outcomes(&row), &row["exit_code"]), (vec!["failed"; 3], &json!(8)));
    let row = cluster.await_state(fails, "failed");
    assert_eq!((outcomes(&row), error(&row)), (vec!["lost"], "lost"));
    let row = cluster.await_state(none_allowed, "failed");
    assert_eq!((outcomes(&row), error(&row)), (vec!["lost"], "lost_too_often"));
    // Though only one attempt may fail: what was lost is not counted with them.
    let row = cluster.await_state(goes_on, "succeeded");
    assert_eq!((outcomes(&row), &row["retry"]["max_attempts"]), (vec!["lost", "succeeded"], &json!(1)));
    assert!(epochs(&row)[1] > epoch);

    // Its node dies again, this time as a worker: that was one too many.
    cluster.nodes[hit].kill();
    cluster.nodes[hit].start();
    let row = cluster.await_state(poison, "failed");
    assert_eq!((outcomes(&row), error(&row)), (vec!["lost", "lost"], "lost_too_often"));
    let message = row["error"]["message"].as_str().expect("a message");
    assert!(message.contains("2 attempts were lost, `max_lost` is 1"), "{message}");
}

fn noop(more: Value) -> Value {
    let mut spec = json!({"kind": "noop", "payload": {}});
    spec.as_object_mut().expect("a spec").extend(more.as_object().expect("fields").clone());
    spec
}

#[test]
fn times_hold_through_a_failover() {
    let mut cluster = start();
    let (hit, epoch) = cluster.dispatcher();
    let gate = cluster.gate("late");
    let there = cluster.only_on(cluster.others(hit)[0]);
    cluster.insist("POST", "/v1/queues/held:pause", &json!({}));
    let now = cluster.now();
    let (at, end) = (now.plus(2_500), now.plus(1_500).rfc3339());
    let again = json!({"max_attempts": 9, "initial_interval": "10m", "jitter": "none"});
    let sleeps = json!({"command": ["sleep", "600"]});
    let ids = cluster.submit_all(&[
        noop(json!({"run_at": at.rfc3339()})),
        noop(json!({"delay": "2500ms"})),
        noop(json!({"queue": "held", "expires_at": end})),
        noop(json!({"delay": "1h", "expires_at": end})),
        noop(json!({"payload": {"fail_times": 9}, "retry": again, "expires_at": end})),
        json!({"kind": "exec", "payload": gate.payload("exit 0"), "requires": there, "expires_at": end}),
        json!({"kind": "exec", "payload": sleeps, "requires": there, "timeout": "1500ms",
            "retry": {"max_attempts": 2, "initial_interval": "20ms"}}),
        json!({"kind": "exec", "payload": sleeps, "requires": there, "timeout": "1500ms",
            "retry": {"max_attempts": 5, "non_retryable": ["timeout"]}}),
    ]);
    let [at_time, delayed, held, too_early, retried, past_its_end, timed, once] =
        [0, 1, 2, 3, 4, 5, 6, 7].map(|place: usize| &ids[place]);
    for id in [past_its_end, timed, once] {
        cluster.await_row(id, "started", |row| row["attempt"] == 1);
    }
    cluster.await_row(retried, "waiting for its second attempt", |row| row["attempt"] == 1);
    cluster.fail_over();

    for (id, due) in [(at_time, at), (delayed, time(&cluster.row(delayed)["created_at"]).plus(2_500))] {
        let row = cluster.await_state(id, "succeeded");
        assert!(time(&row["started_at"]) >= due, "due at {due}: {row}");
        assert!(epochs(&row)[0] > epoch, "not started by the second dispatcher: {row}");
    }
    for (id, attempts) in [(held, 0), (too_early, 0), (retried, 1)] {
        let row = cluster.await_state(id, "expired");
        assert_eq!((outcomes(&row).len(), error(&row)), (attempts, "expired"), "{row}");
        assert!(time(&row["finished_at"]) >= time(&row["expires_at"]), "{row}");
    }
    // An end of the time to start is none of the time to run.
    gate.open();
    let row = cluster.await_state(past_its_end, "succeeded");
    assert!(time(&row["finished_at"]) > time(&row["expires_at"]), "{row}");

    cluster.insist("POST", "/v1/queues/held:resume", &json!({}));
    let row = cluster.await_state(timed, "failed");
    assert_eq!((outcomes(&row), error(&row)), (vec!["timed_out"; 2], "timeout"));
    assert!(epochs(&row)[0] == epoch && epochs(&row)[1] > epoch, "{:?}", epochs(&row));
    assert!(ran(&row).iter().all(|ms| *ms >= 1_490), "timed out after {:?} ms", ran(&row));
    let row = cluster.await_state(once, "failed");
    assert_eq!((outcomes(&row), error(&row)), (vec!["timed_out"], "timeout"));
    // Its queue is open, and others have had their turn meanwhile.
    let row = cluster.row(held);
    assert_eq!((&row["state"], outcomes(&row).len()), (&json!("expired"), 0));
}

/// Does something in bulk while the dispatcher is killed, and once more after that.
fn in_bulk(cluster: &mut Cluster, target: &str, body: &Value) {
    let (dispatcher, epoch) = cluster.dispatcher();
    let mut http = cluster.nodes[cluster.others(dispatcher)[0]].client();
    let (path, text) = (target.to_owned(), body.to_string());
    // What comes of this one is not known: the dispatcher dies meanwhile.
    let first = std::thread::spawn(move || {
        http.send("POST", &path, &[("Content-Type", "application/json")], text.as_bytes()).map(|answer| answer.status)
    });
    cluster.nodes[dispatcher].kill();
    let told = first.join().expect("the request ends");
    println!("{target}: in the middle of a failover {told:?}");
    let (next, _) = cluster.successor(dispatcher, epoch);
    cluster.insist("POST", target, body);
    cluster.nodes[dispatcher].start();
    let whole = cluster.await_whole();
    assert_eq!(whole.dispatcher, Some(next));
}

#[test]
fn in_bulk_each_is_run_again_or_cancelled_once() {
    const JOBS: usize = 40;
    let mut cluster = start();
    let bulk = |cluster: &Cluster, target: &str| {
        let tally = cluster.insist("POST", target, &json!({}));
        (tally["matched"].as_u64().expect("a count"), tally["changed"].as_u64().expect("a count"))
    };
    let mut bad = fails(1, json!({}));
    bad["labels"] = json!({"batch": "b"});
    let ids = cluster.submit_all(&vec![bad; JOBS]);
    cluster.await_all_ended(0, LIMIT);
    assert_eq!(bulk(&cluster, "/v1/jobs:retry?label=batch:b&state=failed&dry_run=true"), (JOBS as u64, 0));
    assert!(ids.iter().all(|id| cluster.row(id)["state"] == "failed"), "a dry run changes nothing");
    in_bulk(&mut cluster, "/v1/jobs:retry?label=batch:b", &json!({}));
    cluster.await_all_ended(0, LIMIT);
    for id in &ids {
        let row = cluster.row(id);
        let told: Vec<&str> = outcomes(&row).into_iter().filter(|outcome| *outcome != "lost").collect();
        assert_eq!(told, ["failed", "succeeded"], "{row}");
        assert_eq!(row["endings"].as_array().map(Vec::len), Some(1), "run again once: {row}");
    }
    assert_eq!(bulk(&cluster, "/v1/jobs:retry?label=batch:b"), (0, 0), "what succeeded is left alone");

    let (hit, _) = cluster.dispatcher();
    let (there, gate) = (cluster.only_on(cluster.others(hit)[0]), cluster.gate("bulk"));
    cluster.insist("POST", "/v1/queues/held:pause", &json!({}));
    let labels = json!({"batch": "c"});
    let waiting = json!({"kind": "noop", "payload": {}, "queue": "held", "labels": labels});
    let running = json!({"kind": "exec", "payload": gate.payload("exit 0"), "requires": there, "labels": labels});
    let waiting = cluster.submit_all(&vec![waiting; JOBS]);
    let running = cluster.submit_all(&vec![running; 4]);
    for id in &running {
        cluster.await_state(id, "running");
    }
    let all = (waiting.len() + running.len()) as u64;
    assert_eq!(bulk(&cluster, "/v1/jobs:cancel?label=batch:c&dry_run=true"), (all, 0));
    let refused = cluster.nodes[0].ask("POST", "/v1/jobs:cancel", "{}").expect("an answer");
    assert_eq!(refused.status, 400, "no filter is not all: {}", refused.text());
    in_bulk(&mut cluster, "/v1/jobs:cancel?label=batch:c", &json!({"reason": "in bulk"}));
    cluster.await_all_ended(0, LIMIT);
    for id in waiting.iter().chain(&running) {
        let row = cluster.row(id);
        assert_eq!((&row["state"], &row["cancel_requested"]["reason"]), (&json!("cancelled"), &json!("in bulk")));
        assert!(row["attempts"].as_array().is_some_and(|all| all.len() == usize::from(running.contains(id))), "{row}");
    }
    assert!(ids.iter().all(|id| cluster.row(id)["state"] == "succeeded"), "others are left alone");
}
