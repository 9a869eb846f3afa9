//! A store that is not as it was left is noticed at start, moved aside, and made good by the others.

use relais_tests::cluster::{Cluster, Options};
use relais_tests::load::{Load, Plan, Verdict};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In every job's payload, so that it is found in the store.
const MARKER: &str = "a-marker-in-the-payload";
const JOBS: usize = 300;

/// Where the marker is in a file.
fn places(file: &Path) -> Vec<u64> {
    let bytes = std::fs::read(file).unwrap_or_default();
    let found = bytes.windows(MARKER.len()).enumerate().filter(|(_, window)| *window == MARKER.as_bytes());
    found.map(|(place, _)| place as u64).collect()
}

/// The log's database under a journal.
fn database(journal: &Path) -> PathBuf {
    journal.join("current/log/db")
}

/// Turns over one bit in the middle of each record that the file has. (A copy that the store no longer needs
/// may be among them: damage there alone would be none.)
fn flip(file: &Path) {
    let open = OpenOptions::new().read(true).write(true).open(file).expect("the database");
    for place in places(file) {
        let mut byte = [0];
        open.read_exact_at(&mut byte, place + 3).expect("a byte");
        byte[0] ^= 0x10;
        open.write_all_at(&byte, place + 3).expect("a changed byte");
    }
}

/// Cuts the file in the middle of its last record.
fn cut(file: &Path) {
    let last = *places(file).last().expect("a record");
    OpenOptions::new().write(true).open(file).and_then(|open| open.set_len(last + 5)).expect("a shorter file");
}

fn journal_number(cluster: &Cluster, node: usize) -> u64 {
    let text = std::fs::read_to_string(cluster.nodes[node].data_dir.join("node.json")).expect("node.json");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    json["journal"].as_u64().expect("the number of its journal")
}

fn put_aside(cluster: &Cluster, node: usize) -> usize {
    let entries = std::fs::read_dir(cluster.nodes[node].journal()).expect("its journal folder").flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().contains(".damaged-")).count()
}

/// Whether a node has applied as much as the dispatcher.
fn has_caught_up(cluster: &Cluster, node: usize) -> Option<u64> {
    let (dispatcher, _) = cluster.dispatcher();
    let index = |number: usize| cluster.nodes[number].figure("relais_journal_applied_index");
    let (there, here) = (index(dispatcher)?, index(node)?);
    (here >= there).then_some(here)
}

fn survives(what: &str, damage: fn(&Path)) {
    let mut cluster = Cluster::start(3, Options::default());
    let spec = json!({"kind": "noop", "payload": {}, "metadata": {"text": MARKER}});
    let load = Load::start(&cluster, &[Plan { clients: 4, per_second: 100.0, prefix: "before", spec: spec.clone() }]);
    cluster.until("acknowledged jobs", |_| (load.acknowledged() >= JOBS).then_some(()));
    let mut sent = load.finish();
    let (dispatcher, _) = cluster.dispatcher();
    cluster.await_all_ended(dispatcher, Duration::from_secs(60));
    let hit = cluster.others(dispatcher)[0];
    cluster.nodes[hit].kill();
    let file = database(&cluster.nodes[hit].journal());
    let records = places(&file).len();
    assert!(records > 0, "{} holds no record with the marker", file.display());
    damage(&file);
    let number = journal_number(&cluster, hit);
    let load = Load::start(&cluster, &[Plan { clients: 2, per_second: 50.0, prefix: "during", spec }]);
    load.avoid(hit);
    cluster.nodes[hit].start();
    cluster.until("the journal to be moved aside", |cluster| (put_aside(cluster, hit) == 1).then_some(()));
    let said = cluster.nodes[hit].log().lines().find(|line| line.contains("the journal is damaged")).map(str::to_owned);
    println!("{what}: {}", said.expect("the log says so"));
    cluster.until("a new raft id that votes", |cluster| {
        (journal_number(cluster, hit) == number + 1 && cluster.sight(hit)?.voters == 3).then_some(())
    });
    cluster.await_whole();
    sent.extend(load.finish());
    cluster.await_all_ended(dispatcher, Duration::from_secs(60));
    let index = cluster.until("the node to catch up", |cluster| has_caught_up(cluster, hit));
    let verdict = Verdict::of(&sent, &cluster.nodes[hit].jobs(), &[]);
    println!("{what}: {records} records were in the file; caught up at {index}; as the mended node has it: {verdict}");
    verdict.assert_flawless();
}

#[test]
fn a_flipped_bit_is_noticed_and_made_good() {
    survives("flipped bit", flip);
}

#[test]
fn a_cut_tail_is_noticed_and_made_good() {
    survives("cut tail", cut);
}
