//! Journals of other versions: one as an earlier version left it opens, and all that is in it is there; one of
//! a later version is refused, and stays as it is.

use super::super::memory::Switchboard;
use super::super::*;
use super::fixture::LIMIT;
use crate::machine::LedgerMachine;
use relais_protocol::codec;
use relais_protocol::ids::{ClusterId, Epoch, Generation, Incarnation, JobId, NodeId};
use relais_protocol::record::{Batch, Outcome, RULES, Record, Submit};
use relais_protocol::spec::{JobOptions, JobSpec, QueueName};
use relais_protocol::time::UnixMs;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const GOLDEN_1: &str = include_str!("golden-1.txt");

/// Writes a golden folder out; its form is told on its first lines.
fn unpack(text: &str, dir: &Path) {
    let mut current: Option<(PathBuf, Vec<u8>)> = None;
    let write = |file: Option<(PathBuf, Vec<u8>)>| {
        if let Some((path, bytes)) = file {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["folder", path] => fs::create_dir_all(dir.join(path)).unwrap(),
            ["file", path, length] => {
                write(current.replace((dir.join(path), vec![0; length.parse().unwrap()])));
            }
            [offset, hex] => {
                let at: usize = offset.parse().unwrap();
                let bytes = (0..hex.len()).step_by(2).map(|n| u8::from_str_radix(&hex[n..n + 2], 16).unwrap());
                let file = &mut current.as_mut().unwrap().1;
                bytes.enumerate().for_each(|(n, byte)| file[at + n] = byte);
            }
            _ => panic!("no line of a golden folder: {line}"),
        }
    }
    write(current);
}

/// Reads a folder into the form that [`unpack`] writes out.
fn pack(dir: &Path) -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# A journal folder as the version before the format file left it when it was killed: one node, three jobs\n\
         # (keys golden-1 to golden-3). `file PATH LENGTH`, then runs of bytes that are not zero: `OFFSET HEX`.\n",
    );
    for (path, bytes) in contents(dir) {
        writeln!(text, "file {} {}", path.strip_prefix(dir).unwrap().display(), bytes.len()).unwrap();
        let mut at = 0;
        while at < bytes.len() {
            let line = &bytes[at..bytes.len().min(at + 64)];
            let used = line.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if used > 0 {
                let hex: String = line[..used].iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(text, "{at} {hex}").unwrap();
            }
            at += line.len();
        }
    }
    text + "folder ledger/blobs\nfolder log/blobs\n"
}

/// Makes the folder of which the golden file tells.
async fn make(dir: &Path) {
    let Opened::Clean(store) = open(options(dir)).await.unwrap() else { panic!("taken for damaged") };
    let board = Switchboard::new();
    let id = RaftId::new(NodeId(1), 1);
    let machine = Arc::new(LedgerMachine::new(Box::new(|_, _| {})));
    let journal = RaftJournal::start(store, machine, board.link(id)).await.unwrap();
    journal.found().await.unwrap();
    let mut status = journal.status();
    tokio::time::timeout(LIMIT, status.wait_for(|status| status.role == Role::Leader)).await.unwrap().unwrap();
    let spec = JobSpec {
        kind: "noop".into(),
        queue: QueueName::default(),
        priority: 50,
        name: String::new(),
        payload: "{}".into(),
        options: None,
    };
    let submit = |number: u128| {
        let options = JobOptions { idempotency_key: Some(format!("golden-{number}")), ..JobOptions::default() };
        let spec = spec.clone().with_options(options);
        Record::Submit(Box::new(Submit { id: JobId(number), spec, body_hash: 7, submitted_by: String::new() }))
    };
    let found = Record::Found { cluster: ClusterId(9), name: "n1".into() };
    let promote = Record::Promote { node: NodeId(1), incarnation: Incarnation(1) };
    for (epoch, records) in [(0, vec![found, promote]), (1, (1..=3).map(submit).collect())] {
        let (generation, epoch, stamp) = (Generation(0), Epoch(epoch), UnixMs(1_790_000_000_000));
        let batch = Batch { rules: RULES, generation, epoch, stamp, records };
        let outcomes = journal.propose(codec::encode(codec::FORMAT, &batch).into()).await.unwrap().1;
        assert!(!outcomes.each.iter().any(|outcome| matches!(outcome, Outcome::Refused(_))), "{outcomes:?}");
    }
    journal.shutdown().await;
    // Neither is of that version.
    for later in ["format", "ballast"] {
        fs::remove_file(dir.join(later)).unwrap();
    }
}

/// `RELAIS_GOLDEN=FILE` writes the golden file anew, where the form of a record had to change before it was
/// released.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_golden_folder_is_packed_as_it_is_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    make(&made).await;
    let text = pack(&made);
    let again = dir.path().join("again");
    unpack(&text, &again);
    assert!(pack(&again) == text, "what is unpacked is not what was packed");
    if let Ok(path) = std::env::var("RELAIS_GOLDEN") {
        fs::write(path, text).unwrap();
    }
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

fn options(dir: &Path) -> StoreOptions {
    StoreOptions::new(dir, RaftId::new(NodeId(1), 1), Arc::new(|reason| panic!("fatal: {reason}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_journal_opens_with_all_that_is_in_it_and_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("journal");
    unpack(GOLDEN_1, &dir);
    assert!(!dir.join("format").exists());
    let Opened::Clean(store) = open(options(&dir)).await.unwrap() else { panic!("taken for damaged") };
    let last = Index(store.last_index().unwrap());
    let machine = Arc::new(LedgerMachine::new(Box::new(|_, _| {})));
    let board = Switchboard::new();
    let journal = RaftJournal::start(store, machine.clone(), board.link(RaftId::new(NodeId(1), 1))).await.unwrap();
    journal.stand().await.unwrap();
    tokio::time::timeout(LIMIT, journal.wait_applied(last)).await.unwrap().unwrap();
    let jobs = machine.read().jobs_between(JobId(0), JobId(u128::MAX), 10);
    let mut keys: Vec<_> = jobs.iter().filter_map(|job| job.spec.options().idempotency_key.clone()).collect();
    keys.sort();
    assert_eq!(keys, ["golden-1", "golden-2", "golden-3"]);
    journal.shutdown().await;
    assert!(dir.join("format").exists() && check_format(&dir).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_journal_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("journal");
    unpack(GOLDEN_1, &dir);
    put_format(&dir, FORMAT + 1).unwrap();
    let before = contents(&dir);
    let refused = open(options(&dir)).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("format 3") && refused.contains("newer version"), "{refused}");
    assert!(contents(&dir) == before, "it was changed");
}
