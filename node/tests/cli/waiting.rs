//! Waiting and following: exit codes, resuming on another node, leaving.

use crate::fake::{Fake, ID, Reply, Run, job, relais, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::time::Duration;

/// A node whose job has ended as these fields say.
fn ended(state: &'static str, more: Value) -> Fake {
    Fake::new(move |_, request| match request.method.as_str() {
        "POST" => Reply::json(201, job("queued", json!({}))),
        _ => Reply::json(200, job(state, more.clone())),
    })
}

#[test]
fn the_exit_code_is_the_jobs_own() {
    let error = |kind: &str| json!({"type": kind, "message": "m"});
    let table = [
        (0, "succeeded", json!({"exit_code": 0})),
        (0, "succeeded", json!({"exit_code": null})),
        (7, "failed", json!({"exit_code": 7, "error": error("exit")})),
        (137, "failed", json!({"error": error("signal"), "attempts": [{"number": 1, "signal": 9}]})),
        (143, "failed", json!({"error": error("signal"), "attempts": [{"number": 1, "signal": "SIGTERM"}]})),
        (3, "failed", json!({"error": error("spawn")})),
        (3, "failed", json!({"error": error("lost_too_often")})),
        (4, "cancelled", json!({"exit_code": 143})),
        (5, "failed", json!({"error": error("timeout"), "attempts": [{"number": 1, "signal": 15}]})),
        (5, "expired", json!({})),
    ];
    for (code, state, more) in table {
        let node = ended(state, more.clone());
        let end = run(&[&node], &["submit", "--wait", "--", "x"]);
        assert_eq!((end.code, end.out.as_str()), (code, format!("{ID}\n").as_str()), "{state} {more}: {}", end.err);
        assert_eq!(end.err.is_empty(), state == "succeeded", "{}", end.err);
        assert_eq!(node.seen()[1].path, format!("/v1/jobs/{ID}?wait=30s"));
        assert_eq!(run(&[&node], &["wait", ID]).code, code);
    }
}

#[test]
fn waiting_asks_again_until_the_end_and_over_broken_nodes() {
    let node = Fake::new(|number, _| match number {
        0 => Reply::json(201, job("queued", json!({}))),
        1 => Reply::json(202, job("running", json!({}))),
        2 => Reply::broken(),
        3 => Reply::problem(503, "no dispatcher").with("Retry-After: 1"),
        _ => Reply::json(200, job("succeeded", json!({"exit_code": 0}))),
    });
    let end = run(&[&node], &["submit", "--wait", "-o", "json", "--", "x"]);
    assert_eq!(end.code, 0, "{}", end.err);
    let shown: Value = serde_json::from_str(&end.out).unwrap();
    assert_eq!(shown["state"], "succeeded");
}

#[test]
fn the_first_failure_among_several_gives_the_code() {
    let node = Fake::new(|_, request| {
        let code = if request.path.contains("/0a?") { 0 } else { 9 };
        let state = if code == 0 { "succeeded" } else { "failed" };
        Reply::json(200, job(state, json!({"exit_code": code, "finished_at": "2026-11-22T09:59:52.500Z"})))
    });
    let end = run(&[&node], &["wait", "0a", "0b"]);
    assert_eq!(end.code, 9);
    assert_eq!(end.out, format!("{ID} succeeded after 2.5s on n2\n{ID} failed after 2.5s on n2\n"));
}

#[test]
fn following_goes_on_at_another_node_where_the_first_broke_off() {
    let first = Fake::new(|_, request| match request.method.as_str() {
        "POST" => Reply::json(201, job("queued", json!({}))),
        _ => Reply::events(
            ": hello\n\nid: 1:2:0\nevent: output\ndata: {\"stream\":\"stdout\",\"attempt\":1,\"offset\":0,\"text\":\"a\\n\"}\n\n\
             id: 1:4:0\nevent: output\ndata: {\"stream\":\"stdo",
        ),
    });
    let second = Fake::new(|_, request| {
        if !request.path.contains("follow") {
            return Reply::json(
                200,
                job("failed", json!({"exit_code": 7, "error": {"type": "exit", "message": "exit code 7"}})),
            );
        }
        Reply::events(
            "id: 1:4:0\nevent: output\ndata: {\"stream\":\"stdout\",\"attempt\":1,\"offset\":2,\"text\":\"b\\n\"}\n\n\
             id: 1:4:1\nevent: output\ndata: {\"stream\":\"stderr\",\"attempt\":1,\"offset\":0,\"base64\":\"IQ==\"}\n\n\
             event: end\ndata: {\"state\":\"failed\"}\n\n",
        )
    });
    let end = run(&[&first, &second], &["submit", "--follow", "--", "x"]);
    assert_eq!((end.code, end.out.as_str()), (7, "a\nb\n"), "{}", end.err);
    assert!(end.err.starts_with("!relais: job"), "{}", end.err);
    let seen = second.seen();
    assert_eq!(seen[0].path, format!("/v1/jobs/{ID}/logs?follow=true"));
    assert_eq!(seen[0].header("last-event-id"), Some("1:2:0"));
    assert_eq!(seen[0].header("accept"), Some("text/event-stream"));
    assert_eq!(first.seen()[1].header("last-event-id"), None);
}

#[test]
fn logs_keep_the_streams_apart() {
    let node =
        Fake::new(|_, request| Reply::text(if request.path.contains("stream=stdout") { "out\n" } else { "err\n" }));
    let end = run(&[&node], &["logs", "0196", "--attempt", "2", "--tail", "100"]);
    assert_eq!(end, Run { code: 0, out: "out\n".to_owned(), err: "err\n".to_owned() });
    assert_eq!(node.seen()[0].path, "/v1/jobs/0196/logs?stream=stdout&attempt=2&tail=100");
    let end = run(&[&node], &["logs", "0196", "--stream", "stderr"]);
    assert_eq!((end.out.as_str(), end.err.as_str()), ("", "err\n"));
}

#[test]
fn an_interrupt_leaves_the_job_and_prints_its_id() {
    let node = Fake::new(|number, _| {
        if number > 0 {
            // Longer than the test takes to interrupt; the connection ends with the client.
            std::thread::sleep(Duration::from_secs(20));
        }
        Reply::json(201, job("running", json!({})))
    });
    let mut child = relais(&[&node]).args(["submit", "--wait", "--", "x"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), ID);
    while node.seen().len() < 2 {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let end: Run = child.wait_with_output().unwrap().into();
    assert_eq!(end.code, 130);
    assert!(end.err.contains(&format!("job {ID} goes on; `relais wait {ID}` waits for it")), "{}", end.err);
    assert!(node.seen().iter().all(|request| !request.path.contains("cancel")));
}
