//! The main job on real input: every file of `/usr/share/doc` is hashed by a process of its own somewhere in
//! the cluster, and the outputs are those of hashing them by hand.
//!
//! `RELAIS_FILES=all` takes all files instead of the first few.

use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::time::Instant;

const FOLDER: &str = "/usr/share/doc";
/// Files hashed unless all are asked for.
const FILES: usize = 200;
/// Items that one batch takes.
const BATCH: usize = 2_000;

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let kind = entry.file_type().expect("an entry has a type");
        if kind.is_dir() {
            collect(&entry.path(), found);
        } else if kind.is_file() && entry.path().to_str().is_some() {
            found.push(entry.path());
        }
    }
}

fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(Path::new(FOLDER), &mut found);
    found.sort();
    if std::env::var("RELAIS_FILES").as_deref() != Ok("all") {
        found.truncate(FILES);
    }
    assert!(found.len() >= 50, "{FOLDER} holds only {} files: too few to show anything", found.len());
    found
}

fn by_hand(files: &[PathBuf]) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for part in files.chunks(500) {
        for file in part {
            let output = Command::new("sha256sum").arg(file).output().expect("sha256sum runs");
            assert!(output.status.success(), "{}", file.display());
            hashes.insert(file.display().to_string(), String::from_utf8_lossy(&output.stdout).into_owned());
        }
    }
    hashes
}

/// Submits a job for each file at one node; the ids, by file.
fn submit(cluster: &Cluster, at: usize, files: &[PathBuf]) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    for part in files.chunks(BATCH) {
        let line =
            |file: &PathBuf| json!({"kind": "exec", "payload": {"command": ["sha256sum", file]}}).to_string() + "\n";
        let body: String = part.iter().map(line).collect();
        let headers = [("Content-Type", "application/x-ndjson")];
        let answer = cluster.nodes[at].client().send("POST", "/v1/jobs:batch", &headers, body.as_bytes());
        let answer = answer.expect("an answer to the batch");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        let results = json["results"].as_array().expect("results").clone();
        assert_eq!(results.len(), part.len());
        for (file, result) in part.iter().zip(results) {
            assert_eq!(result["status"], Value::from(201), "{}: {result}", file.display());
            ids.insert(file.display().to_string(), result["id"].as_str().expect("an id").to_owned());
        }
    }
    ids
}

#[test]
fn every_file_is_hashed_and_all_nodes_take_part() {
    let files = files();
    let expected = by_hand(&files);
    let cluster = Cluster::start(3, Options { slots: 4, ..Options::default() });
    let (dispatcher, _) = cluster.dispatcher();
    let at = cluster.others(dispatcher)[0];
    let began = Instant::now();
    let ids = submit(&cluster, at, &files);
    let acknowledged = began.elapsed();
    cluster.await_all_ended(at, Duration::from_secs(60 + files.len() as u64 / 20));
    let took = began.elapsed();
    let jobs: BTreeMap<String, _> = cluster.nodes[at].jobs().into_iter().map(|job| (job.id.clone(), job)).collect();
    assert_eq!(jobs.len(), files.len());
    let mut nodes = BTreeSet::new();
    for (file, id) in &ids {
        let job = &jobs[id];
        assert_eq!((job.state.as_str(), job.attempts.len()), ("succeeded", 1), "{file}: {job:?}");
        nodes.insert(job.attempts[0].node.clone());
        let answer = cluster.nodes[at].ask("GET", &format!("/v1/jobs/{id}/logs?stream=stdout"), "");
        let answer = answer.expect("an answer to the question for its output");
        assert_eq!((answer.status, answer.text()), (200, expected[file].clone()), "{file}");
    }
    assert_eq!(nodes.len(), 3, "only {nodes:?} took part");
    println!(
        "main job: {} files, acknowledged after {acknowledged:?}, all hashed after {took:?}, on {nodes:?}",
        files.len()
    );
}
