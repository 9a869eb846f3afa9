//! Commands that look and act: what people see, what programs get.

use crate::fake::{Fake, ID, Reply, job, relais, run};
use serde_json::json;
use std::process::Stdio;

#[test]
fn jobs_are_listed_in_every_format() {
    let body = format!(
        "{{\"jobs\": [{},\n {}], \"next_cursor\": null}}",
        job("running", json!({})),
        job("failed", json!({"name": "nightly", "node": null}))
    );
    let unchanged = body.clone();
    let node = Fake::new(move |_, _| Reply::json(200, &body));
    let table = run(&[&node], &["jobs", "--state", "failed", "--label", "a=b c", "--limit", "2"]);
    let lines: Vec<Vec<&str>> =
        table.out.lines().map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect()).collect();
    assert_eq!(lines[0], ["ID", "JOB", "QUEUE", "STATE", "NODE", "ATTEMPT", "CREATED", "RAN"]);
    assert_eq!(lines[1], [ID, "sh -c exit 7", "default", "running", "n2", "1", "30s ago", "10.0s"]);
    assert_eq!(lines[2][1..5], ["nightly", "default", "failed", "-"]);
    assert_eq!(node.seen()[0].path, "/v1/jobs?limit=2&state=failed&label=a%3Ab+c");

    assert_eq!(run(&[&node], &["jobs", "-o", "quiet"]).out, format!("{ID}\n{ID}\n"));
    let lines = run(&[&node], &["jobs", "-o", "jsonl"]).out;
    assert_eq!(lines.lines().count(), 2);
    assert_eq!(run(&[&node], &["jobs", "-o", "json"]).out, format!("{unchanged}\n"));
}

#[test]
fn a_job_is_shown_with_its_attempts_and_without_tricks() {
    let attempts = json!([{"number": 1, "node": "n1", "epoch": 3, "outcome": "failed", "exit_code": null, "signal": 9,
        "started_at": "2026-11-22T09:59:50.000Z", "finished_at": "2026-11-22T09:59:51.500Z"}]);
    let body = job(
        "failed",
        json!({"attempts": attempts, "name": "evil\u{1b}[2Jname",
        "error": {"type": "signal", "message": "killed\nby 9"}}),
    );
    let node = Fake::new(move |_, _| Reply::json(200, &body));
    let out = run(&[&node], &["job", "0196"]).out;
    for expected in ["evil [2Jname", "signal: killed by 9", "signal 9", "1.5s", "10s ago"] {
        assert!(out.contains(expected), "{expected}:\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "{out:?}");
    assert_eq!(node.seen()[0].path, "/v1/jobs/0196");
}

#[test]
fn last_is_the_newest_job() {
    let node = Fake::new(|number, _| match number {
        0 => Reply::json(200, json!({"jobs": [{"id": "0abc"}], "next_cursor": null})),
        _ => Reply::json(200, job("running", json!({}))),
    });
    assert_eq!(run(&[&node], &["job", "last", "-o", "quiet"]).code, 0);
    let paths: Vec<String> = node.seen().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/v1/jobs?limit=1", "/v1/jobs/0abc"]);
    let empty = Fake::new(|_, _| Reply::json(200, json!({"jobs": [], "next_cursor": null})));
    let end = run(&[&empty], &["job", "last"]);
    assert_eq!((end.code, end.err.as_str()), (1, "relais: there is no last job: no job is known; submit one first\n"));
}

#[test]
fn cancel_and_retry_tell_what_came_of_it() {
    let node = Fake::new(|_, request| match request.path.as_str() {
        "/v1/jobs/0a:cancel" => Reply::json(200, job("cancelled", json!({}))),
        "/v1/jobs/0b:cancel" => Reply::json(202, job("running", json!({"cancel_requested": {"reason": "x"}}))),
        "/v1/jobs/0c:retry" => Reply::json(200, job("queued", json!({}))),
        _ => Reply::problem(409, "job has ended"),
    });
    let end = run(&[&node], &["cancel", "0a", "0d", "0b", "--reason", "why"]);
    assert_eq!(end.code, 1);
    assert_eq!(end.out, format!("{ID} is cancelled\n{ID} is told to stop; `relais wait {ID}` waits for its end\n"));
    assert!(end.err.starts_with("relais: job has ended (409); `relais job ID`"), "{}", end.err);
    assert_eq!(node.seen()[0].json(), json!({"reason": "why"}));
    assert_eq!(run(&[&node], &["retry", "0c"]).out, format!("{ID} is queued\n"));
}

#[test]
fn queues_are_a_table_and_are_set_by_what_is_named() {
    let row = json!({"name": "mail", "weight": 2, "concurrency": 4, "rate": {"count": 100, "per": "1s", "started": 3},
        "retention": {"age": "7d", "count": null}, "paused": false, "held_by": "concurrency", "scheduled": 1,
        "queued": 12, "running": 4, "retrying": 2, "oldest_age_ms": 90_000});
    let node = Fake::new(move |_, request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", _) => Reply::json(200, json!({"queues": [row]})),
        ("POST", "/v1/queues/mail:purge") => Reply::json(200, json!({"cancelled": 12})),
        _ => Reply::json(200, &row),
    });
    let out = run(&[&node], &["queues"]).out;
    for expected in ["mail", "at its limit", "12", "1m30s", "100/1s"] {
        assert!(out.contains(expected), "{expected}:\n{out}");
    }
    assert_eq!(run(&[&node], &["queues", "ls", "-o", "quiet"]).out, "mail\n");
    assert_eq!(run(&[&node], &["queues", "set", "mail", "concurrency=none", "retention_count=5", "weight=3"]).code, 0);
    let set = node.seen().into_iter().find(|request| request.method == "PUT").unwrap();
    assert_eq!(set.path, "/v1/queues/mail");
    assert_eq!(
        set.json(),
        json!({"weight": 3, "concurrency": null, "rate": {"count": 100, "per": "1s"}, "retention": {"age": "7d", "count": 5}})
    );
    assert_eq!(run(&[&node], &["queues", "purge", "mail"]).out, "queue mail is purged, 12 jobs were cancelled\n");
    assert_eq!(run(&[&node], &["queues", "pause", "mail"]).out, "queue mail is paused\n");
    for wrong in ["concurrency", "depth=4", "rate=5", "weight=heavy"] {
        assert_eq!(run(&[&node], &["queues", "set", "mail", wrong]).code, 2, "{wrong}");
    }
    assert_eq!(run(&[&node], &["queues", "pause", "Mail"]).code, 2);
}

#[test]
fn nodes_are_a_table() {
    let row = json!({"name": "n1", "role": "dispatcher+worker", "status": "online", "slots": 4, "running": 2,
        "cpu_percent": 12.4, "memory_available_bytes": 3_650_722_201u64, "net_in_bytes_per_second": 2048,
        "net_out_bytes_per_second": 0, "journal_index": 77, "last_heard_ms": 25, "http": "http://127.0.0.1:7700"});
    let ill = json!({"name": "n2", "role": "worker", "status": "limited", "http": null, "version": null, "reason": "disk below its floor"});
    let node = Fake::new(move |_, _| Reply::json(200, json!({ "nodes": [row, ill] })));
    let out = run(&[&node], &["nodes"]).out;
    for expected in ["dispatcher+worker", "2 of 4", "12%", "3.4GiB", "2.0KiB/s", "0B/s", "77", "25ms"] {
        assert!(out.contains(expected), "{expected}:\n{out}");
    }
    assert!(out.ends_with("n2: disk below its floor\n"), "{out}");
    assert_eq!(run(&[&node], &["nodes", "-o", "quiet"]).out, "n1\nn2\n");
}

#[test]
fn cluster_commands_tell_how_things_stand() {
    let status = json!({"id": "c1", "status": "running", "reason": "", "mode": "quorum", "epoch": 5, "generation": 0,
        "dispatcher": "n2", "nodes": {"online": 3, "registered": 3}, "high_availability": true,
        "survives": "the loss of any one machine",
        "succession": [{"name": "n1", "why": "newest journal"}, {"name": "n3", "ready": false, "reason": "disk"}]});
    let node = Fake::new(move |_, request| match request.path.as_str() {
        "/v1/cluster" => Reply::json(200, &status),
        "/v1/cluster:handover" => Reply::json(200, json!({})),
        _ => Reply::json(
            200,
            json!({"failovers": [{"epoch": 5, "generation": 0, "from": "n1", "to": "n2",
            "cause": "silence", "elected_at": "2026-11-22T09:00:00Z", "unavailable_ms": 89,
            "jobs": {"adopted": 4, "retried": 1, "lost_attempts": 0}}]}),
        ),
    });
    let out = run(&[&node], &["cluster", "status"]).out;
    for expected in
        ["running", "3 of 3", "yes", "the loss of any one machine", "1. n1: newest journal", "2. n3: not ready, disk"]
    {
        assert!(out.contains(expected), "{expected}:\n{out}");
    }
    assert_eq!(run(&[&node], &["cluster", "status", "-o", "quiet"]).out, "running\n");
    assert_eq!(run(&[&node], &["cluster", "handover", "--to", "n2"]).out, "the dispatcher is n2, epoch 5\n");
    let asked = node.seen().into_iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(asked.json(), json!({"to": "n2"}));
    let out = run(&[&node], &["cluster", "failovers"]).out;
    assert!(out.contains("silence") && out.contains("89ms") && out.contains("1h00m ago"), "{out}");
}

#[test]
fn settings_are_shown_and_set() {
    let all = json!({"takeover": "off", "voters": 3, "drill": false, "of_a_later_build": 1});
    let node = Fake::new(move |_, _| Reply::json(200, &all));
    let out = run(&[&node], &["cluster", "settings"]).out;
    for expected in ["SETTING", "takeover", "off", "voters", "drill", "false", "of_a_later_build"] {
        assert!(out.contains(expected), "{expected}:\n{out}");
    }
    assert_eq!(run(&[&node], &["cluster", "set"]).out, out);
    let quiet = run(&[&node], &["cluster", "set", "voters=3", "takeover=fence:a=b", "-o", "quiet"]);
    assert_eq!(quiet.out, "takeover=off\nvoters=3\ndrill=false\nof_a_later_build=1\n");
    let seen = node.seen();
    let last = seen.last().unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str()), ("PATCH", "/v1/cluster/settings"));
    assert_eq!(last.json(), json!({"voters": "3", "takeover": "fence:a=b"}));
    for (given, told) in [("voters", "no KEY=VALUE"), ("voter=3", "there is no setting `voter`")] {
        let end = run(&[&node], &["cluster", "set", given]);
        assert_eq!(end.code, 2, "{}", end.err);
        assert!(end.err.contains(told), "{}", end.err);
    }
    assert_eq!(node.seen().len(), seen.len());
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let node = Fake::new(|_, request| match (request.method.as_str(), request.body.contains("role")) {
        ("POST", false) => Reply::json(
            201,
            json!({"id": "t1", "kind": "join", "token": "rl1.s", "join": "10.0.0.5:7800",
            "expires_at": "2026-11-23T10:00:00Z"}),
        ),
        ("POST", true) => Reply::json(201, json!({"id": "t2", "role": "submit", "token": "rlt_s"})),
        ("GET", _) => Reply::json(200, json!({"tokens": [{"id": "t2", "role": "submit", "name": "ci"}]})),
        _ => Reply::json(204, ""),
    });
    let end = run(&[&node], &["token", "create", "--ttl", "90m"]);
    assert_eq!(end.out, "relais start --join 10.0.0.5:7800 --token rl1.s\n");
    assert_eq!(run(&[&node], &["token", "create", "-o", "quiet"]).out, "rl1.s\n");
    assert_eq!(run(&[&node], &["token", "create", "--role", "submit", "--name", "ci"]).out, "rlt_s\n");
    let out = run(&[&node], &["token", "ls"]).out;
    assert!(out.contains("submit") && out.contains("ci") && out.contains("good"), "{out}");
    assert_eq!(run(&[&node], &["token", "revoke", "t2"]).out, "t2 is revoked\n");
    let seen = node.seen();
    assert_eq!(seen[0].json(), json!({"kind": "join", "ttl": "1h30m"}));
    assert_eq!(seen[2].json(), json!({"role": "submit", "name": "ci"}));
    assert_eq!((seen[4].method.as_str(), seen[4].path.as_str()), ("DELETE", "/v1/tokens/t2"));
}

#[test]
fn the_api_token_is_sent_from_variable_or_file() {
    let node = Fake::new(|_, _| Reply::json(200, json!({"nodes": []})));
    relais(&[&node]).env("RELAIS_TOKEN", "rlt_a").arg("nodes").output().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "rlt_b\n").unwrap();
    let words = ["nodes", "--token-file", file.path().to_str().unwrap()];
    relais(&[&node]).env("RELAIS_TOKEN", "rlt_a").args(words).output().unwrap();
    let sent: Vec<_> = node.seen().iter().map(|request| request.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Bearer rlt_a", "Bearer rlt_b"]);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let node = Fake::new(|_, _| Reply::json(200, json!({"nodes": [{"name": "n1"}]})));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = relais(&[&node]).args(["nodes", "-o", "quiet"]).stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}
