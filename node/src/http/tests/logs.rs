//! Output: whole, in part, and as it comes.

use super::NOOP;
use super::rig::Served;
use relais_protocol::job::AttemptOutcome;
use serde_json::{Value, json};
use std::sync::Arc;

fn write(served: &Served, attempt: u16, stderr: bool, bytes: &[u8]) {
    served.rig.outputs.lock().entry((attempt, stderr)).or_default().extend_from_slice(bytes);
}

/// Events of a stream: id, name, data.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default().to_owned()
    };
    let blocks = text.split("\n\n").filter(|block| block.contains("event: "));
    blocks
        .map(|block| {
            let data = serde_json::from_str(&field(block, "data")).unwrap();
            (field(block, "id"), field(block, "event"), data)
        })
        .collect()
}

fn joined(events: &[(String, String, Value)], stream: &str) -> String {
    let of_stream = events.iter().filter(|(_, name, data)| name == "output" && data["stream"] == stream);
    of_stream.map(|(_, _, data)| data["text"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn output_is_read_whole_or_in_part() {
    let served = Served::with_slots(1);
    let id = served.job(NOOP).await;
    write(&served, 1, false, b"hello, world\n");
    write(&served, 1, true, b"oh\n");
    for (query, expected) in [
        ("", "hello, world\noh\n"),
        ("?stream=merged", "hello, world\noh\n"),
        ("?stream=stdout", "hello, world\n"),
        ("?stream=stderr", "oh\n"),
        ("?stream=stdout&offset=7", "world\n"),
        ("?stream=stdout&tail=6", "world\n"),
        ("?stream=stdout&tail=0", ""),
        ("?stream=stdout&offset=99", ""),
        ("?attempt=1&stream=stdout", "hello, world\n"),
    ] {
        let said = served.get(&format!("/v1/jobs/{id}/logs{query}")).await;
        assert_eq!((said.status, said.text.as_str()), (200, expected), "{query}");
        assert_eq!(said.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!((said.header("relais-attempt"), said.header("x-content-type-options")), ("1", "nosniff"));
    }
    for query in ["stream=both", "offset=1&tail=1", "offset=-1", "attempt=0", "follow=perhaps"] {
        served.get(&format!("/v1/jobs/{id}/logs?{query}")).await.problem(400);
    }
    served.get(&format!("/v1/jobs/{id}/logs?attempt=2")).await.problem(404);
    served.get("/v1/jobs/ffff/logs").await.problem(404);
    let waiting = served.job(NOOP).await;
    let none = served.get(&format!("/v1/jobs/{waiting}/logs")).await;
    assert_eq!((none.status, none.text.as_str()), (200, ""));
}

#[actix_web::test]
async fn output_out_of_reach_is_503() {
    let served = Served::with_slots(1);
    let id = served.job(NOOP).await;
    let said = served.get(&format!("/v1/jobs/{id}/logs")).await.problem(503);
    assert!(said["detail"].as_str().unwrap().contains("`n1`"), "{said}");
}

#[actix_web::test]
async fn a_follower_gets_all_of_it_through_every_attempt() {
    let served = Arc::new(Served::with_slots(1));
    let id = served.job(r#"{"kind":"noop","payload":{},"retry":{"max_attempts":2,"initial_interval":"0s"}}"#).await;
    write(&served, 1, false, "première tentative\n".as_bytes());
    write(&served, 1, true, b"");
    let mut response = served.request("GET", &format!("/v1/jobs/{id}/logs?follow=true")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut raw = Vec::new();
    let mut step = 0;
    while let Some(bytes) = response.chunk().await.unwrap() {
        raw.extend_from_slice(&bytes);
        text = String::from_utf8(raw.clone()).unwrap();
        let seen = joined(&events(&text), "stdout");
        // Each part is written when the one before was seen.
        if step == 0 && seen.ends_with("tentative\n") {
            step = 1;
            write(&served, 2, false, b"second");
            write(&served, 2, true, b"oh");
            served.rig.finish(&id, AttemptOutcome::Failed);
            served.rig.pass(1);
        } else if step == 1 && seen.ends_with("second") {
            step = 2;
            write(&served, 2, false, b" and last");
            served.rig.finish(&id, AttemptOutcome::Succeeded);
        }
    }
    let all = events(&text);
    assert_eq!(joined(&all, "stdout"), "première tentative\nsecond and last");
    assert_eq!(joined(&all, "stderr"), "oh");
    let (_, name, data) = all.last().unwrap();
    assert_eq!((name.as_str(), data), ("end", &json!({"state": "succeeded"})));
    // From any event on, the rest comes again and nothing else.
    for (at, (last_id, _, _)) in all.iter().enumerate().filter(|(_, (id, _, _))| !id.is_empty()) {
        let path = format!("/v1/jobs/{id}/logs?follow=true");
        let again = served.send(served.request("GET", &path).header("last-event-id", last_id)).await;
        let rest = joined(&events(&again.text), "stdout");
        assert_eq!(rest, joined(&all[at + 1..], "stdout"), "after {last_id}");
    }
    let bad = served.request("GET", &format!("/v1/jobs/{id}/logs?follow=true")).header("last-event-id", "x");
    served.send(bad).await.problem(400);
}

#[actix_web::test]
async fn what_is_missing_is_told_and_passed_over() {
    let served = Served::with_slots(1);
    let id = served.job(NOOP).await;
    write(&served, 1, true, b"\xff\xfe");
    served.rig.finish(&id, AttemptOutcome::Failed);
    let all = events(&served.get(&format!("/v1/jobs/{id}/logs?follow=true")).await.text);
    let names: Vec<&str> = all.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names, ["missing", "output", "end"]);
    assert_eq!((&all[0].2["stream"], &all[1].2["base64"]), (&json!("stdout"), &json!("//4=")));
}
