//! `relais submit`: what is sent, how often, and what is printed.

use crate::fake::{Fake, ID, NOBODY, Reply, job, relais, run};
use serde_json::json;
use std::io::Write;
use std::process::Stdio;

fn accepting() -> Fake {
    Fake::new(|_, _| Reply::json(201, job("queued", json!({}))))
}

#[test]
fn without_a_terminal_it_prints_the_id_alone() {
    let node = accepting();
    let end = run(&[&node], &["submit", "--", "echo", "a b"]);
    assert_eq!((end.code, end.out.as_str(), end.err.as_str()), (0, format!("{ID}\n").as_str(), ""));
    let seen = node.seen();
    assert_eq!((seen.len(), seen[0].method.as_str(), seen[0].path.as_str()), (1, "POST", "/v1/jobs"));
    assert_eq!(seen[0].json(), json!({"kind": "exec", "payload": {"command": ["echo", "a b"]}}));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert!(seen[0].header("idempotency-key").is_some_and(|key| key.len() > 20));
    assert_eq!(seen[0].header("authorization"), None);
}

#[test]
fn what_is_submitted_within_a_trace_is_part_of_it() {
    let node = accepting();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = relais(&[&node]).args(["submit", "--", "true"]).env("TRACEPARENT", parent).output().unwrap();
    let plain = relais(&[&node]).args(["submit", "--", "true"]).env_remove("TRACEPARENT").output().unwrap();
    assert!(traced.status.success() && plain.status.success());
    let seen = node.seen();
    assert_eq!((seen[0].header("traceparent"), seen[1].header("traceparent")), (Some(parent), None));
}

#[test]
fn every_flag_has_its_place_in_the_spec() {
    let node = accepting();
    let folder = tempfile::tempdir().unwrap();
    let stdin = folder.path().join("in");
    std::fs::write(&stdin, "héllo\n").unwrap();
    let line = "submit --queue q --priority 7 --timeout 1h30m --retries 3 --env A=b=c --env B= --label team=data \
                --require zone=eu --key K1 --delay 10m --cwd /srv --name nightly --stdin";
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.extend([stdin.to_str().unwrap(), "--", "cat", "-n"]);
    let end = run(&[&node], &words);
    assert_eq!(end.code, 0, "{end:?}");
    let seen = node.seen();
    assert_eq!(seen[0].header("idempotency-key"), Some("K1"));
    assert_eq!(
        seen[0].json(),
        json!({
            "kind": "exec", "queue": "q", "priority": 7, "timeout": "1h30m", "retry": {"max_attempts": 4},
            "labels": {"team": "data"}, "requires": {"labels": {"zone": "eu"}}, "delay": "10m", "name": "nightly",
            "payload": {"command": ["cat", "-n"], "env": {"A": "b=c", "B": ""}, "cwd": "/srv", "stdin": "héllo\n"}
        })
    );
    for (flag, limit) in [("tenant=2", 2), ("tenant", 1)] {
        run(&[&node], &["submit", "--concurrency", flag, "--unique", "once", "--", "true"]);
        let sent = node.seen().last().unwrap().json();
        assert_eq!(sent["concurrency"], json!({"key": "tenant", "limit": limit}));
        assert_eq!(sent["unique"], json!({"key": "once"}));
    }
    assert_eq!(run(&[&node], &["submit", "--concurrency", "tenant=0", "--", "true"]).code, 2);
    run(&[&node], &["submit", "--at", "2026-11-23T02:00:00Z", "--", "true"]);
    assert_eq!(node.seen().last().unwrap().json()["run_at"], "2026-11-23T02:00:00Z");
}

#[test]
fn it_goes_on_to_the_next_node_with_the_same_key() {
    let busy = Fake::new(|_, _| Reply::problem(503, "no dispatcher").with("Retry-After: 1"));
    let node = Fake::new(|number, _| match number {
        0 => Reply::problem(503, "no dispatcher").with("Retry-After: 1"),
        _ => Reply::json(201, job("queued", json!({}))),
    });
    let mut command = relais(&[]);
    command.args(["submit", "--addr", &format!("{NOBODY},{},{}", busy.address, node.address), "--", "true"]);
    let end: crate::fake::Run = command.output().unwrap().into();
    assert_eq!((end.code, end.out), (0, format!("{ID}\n")), "{}", end.err);
    let mut seen = busy.seen();
    seen.extend(node.seen());
    let keys: Vec<_> = seen.iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert!(keys.len() >= 3, "{keys:?}");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn it_gives_up_when_there_is_no_dispatcher_for_long() {
    let node = Fake::new(|_, _| Reply::problem(503, "no dispatcher").with("Retry-After: 1"));
    let end = run(&[&node], &["submit", "--retry-for", "300ms", "--", "true"]);
    assert_eq!(end.code, 1);
    assert_eq!(end.err, "relais: no dispatcher (503); `relais cluster status` says why; try again soon\n");
    assert!(node.seen().len() > 1);
}

#[test]
fn json_is_the_answer_unchanged() {
    let body = "{ \"state\": \"queued\",\n  \"id\": \"X\", \"zz\": 1.50 }";
    let node = Fake::new(move |_, _| Reply::json(201, body));
    assert_eq!(run(&[&node], &["submit", "-o", "json", "--", "true"]).out, format!("{body}\n"));
    let one_line = run(&[&node], &["submit", "-o", "jsonl", "--", "true"]).out;
    assert_eq!(one_line.lines().count(), 1);
    assert_eq!(run(&[&node], &["submit", "-o", "quiet", "--", "true"]).out, "X\n");
}

#[test]
fn one_object_from_standard_input_is_one_job() {
    let node = accepting();
    let mut command = relais(&[&node]);
    let mut child = command.args(["submit", "-f", "-", "--key", "K"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"kind\": \"noop\",\n \"payload\": {}}\n").unwrap();
    let end: crate::fake::Run = child.wait_with_output().unwrap().into();
    assert_eq!((end.code, end.out), (0, format!("{ID}\n")), "{}", end.err);
    let seen = node.seen();
    assert_eq!((seen[0].path.as_str(), seen[0].header("idempotency-key")), ("/v1/jobs", Some("K")));
    assert_eq!(seen[0].json(), json!({"kind": "noop", "payload": {}}));
}

#[test]
fn lines_are_a_batch_and_a_bad_item_is_told() {
    let node = Fake::new(|_, request| {
        let results: Vec<_> = (0..request.json().as_array().unwrap().len())
            .map(|n| match n {
                1 => json!({"status": 400, "problem": {"title": "invalid job", "status": 400,
                            "errors": [{"pointer": "#/payload/command", "detail": "must not be empty"}]}}),
                _ => json!({"status": 201, "id": format!("id-{n}")}),
            })
            .collect();
        Reply::json(200, json!({ "results": results }))
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.ndjson");
    std::fs::write(&file, "{\"kind\":\"noop\",\"payload\":{}}\n{}\n{\"kind\":\"noop\",\"payload\":{}}\n").unwrap();
    let file = file.to_str().unwrap();
    let end = run(&[&node], &["submit", "-f", file, "--key", "K"]);
    assert_eq!((end.code, end.out.as_str()), (1, "id-0\nid-2\n"), "{}", end.err);
    let first = end.err.lines().next().unwrap();
    assert_eq!(first, "relais: job 1 (from 0) is refused: invalid job; /payload/command: must not be empty");
    let seen = node.seen();
    assert_eq!((seen[0].path.as_str(), seen[0].header("idempotency-key")), ("/v1/jobs:batch", Some("K")));
    assert_eq!(seen[0].json().as_array().unwrap().len(), 3);
    let lines = run(&[&node], &["submit", "-f", file, "-o", "jsonl"]).out;
    assert_eq!(lines.lines().count(), 3);
    assert!(lines.starts_with("{\"id\":\"id-0\",\"status\":201}\n"), "{lines}");
}

#[test]
fn a_big_batch_goes_in_pieces_with_keys_of_their_own() {
    let node = Fake::new(|_, request| {
        let count = request.json().as_array().unwrap().len();
        Reply::json(200, json!({ "results": vec![json!({"status": 201, "id": "x"}); count] }))
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.json");
    let jobs = vec!["{\"kind\":\"noop\",\"payload\":{}}"; 10_001].join(",\n");
    std::fs::write(&file, format!("[{jobs}]")).unwrap();
    let end = run(&[&node], &["submit", "-f", file.to_str().unwrap(), "--key", "K"]);
    assert_eq!((end.code, end.out.lines().count()), (0, 10_001), "{}", end.err);
    let seen = node.seen();
    let keys: Vec<_> = seen.iter().filter_map(|request| request.header("idempotency-key")).collect();
    assert_eq!(keys, ["K", "K.1"]);
    assert_eq!(seen[1].json().as_array().unwrap().len(), 1);
}

#[test]
fn an_array_is_submitted_waited_for_and_cancelled_as_one() {
    const GROUP: &str = "01963a0c-7f1e-7abc-8def-012345600000";
    let node = Fake::new(|number, request| match request.method.as_str() {
        "POST" if request.path == "/v1/jobs" => {
            Reply::json(201, json!({"group": GROUP, "count": 100, "first_id": ID, "deduplicated": false}))
        }
        "POST" => Reply::json(202, json!({"id": GROUP})),
        _ => {
            let state = if number < 3 { "running" } else { "failed" };
            let counts = json!({"succeeded": 99, "failed": 1});
            Reply::json(200, json!({"id": GROUP, "state": state, "total": 100, "ended": 100, "counts": counts}))
        }
    });
    let end = run(&[&node], &["submit", "--array", "1-100", "--max-failures", "5", "--", "true"]);
    assert_eq!((end.code, end.out), (0, format!("{GROUP}\n")), "{}", end.err);
    assert_eq!(node.seen()[0].json()["array"], json!({"count": 100, "first": 1, "max_failures": 5}));
    let end = run(&[&node], &["submit", "--array", "7", "--wait", "--", "true"]);
    assert_eq!((end.code, end.out), (3, format!("{GROUP}\n")), "{}", end.err);
    assert!(end.err.contains("99 of 100 jobs succeeded, 1 failed"), "{}", end.err);
    assert!(node.seen().last().unwrap().path.starts_with(&format!("/v1/groups/{GROUP}?wait=")));
    assert_eq!(run(&[&node], &["wait", GROUP]).code, 3);
    assert_eq!(run(&[&node], &["cancel", GROUP, "--reason", "no"]).code, 0);
    let last = node.seen().pop().unwrap();
    assert_eq!((last.path, last.body.as_str()), (format!("/v1/groups/{GROUP}:cancel"), r#"{"reason":"no"}"#));
    for bad in ["0", "5-4", "a", "1-2-3", "0-1000000"] {
        assert_eq!(run(&[&node], &["submit", "--array", bad, "--", "true"]).code, 2, "{bad}");
    }
    assert_eq!(run(&[&node], &["submit", "--array", "2", "--follow", "--", "true"]).code, 2);
}
