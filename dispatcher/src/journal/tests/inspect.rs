//! Looking into a stopped journal.

use super::super::inspect::{DumpContent, InspectError, Inspection};
use super::super::memory::Switchboard;
use super::super::*;
use crate::machine::LedgerMachine;
use relais_protocol::codec;
use relais_protocol::ids::{ClusterId, Epoch, Generation, Incarnation, JobId, NodeId};
use relais_protocol::record::{Batch, RULES, Record, Submit};
use relais_protocol::spec::{JobSpec, QueueName};
use relais_protocol::time::UnixMs;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const JOBS: u128 = 30;

/// A journal of a node that has stopped: thirty jobs, a checkpoint, and an entry after it.
async fn stopped(dir: &Path) -> PathBuf {
    let id = RaftId::new(NodeId(1), 1);
    let path = dir.join("current");
    let options = StoreOptions::new(&path, id, Arc::new(|e| panic!("{e}")));
    let Opened::Clean(store) = open(options).await.unwrap() else { panic!("a new store is damaged") };
    let machine = Arc::new(LedgerMachine::new(Box::new(|_, _| {})));
    let journal = RaftJournal::start(store, machine.clone(), Switchboard::new().link(id)).await.unwrap();
    journal.found().await.unwrap();
    journal.status().wait_for(|status| status.role == Role::Leader).await.unwrap();
    let submit = |n: u128| {
        let payload = "{\"env\":{\"KEY\":\"s3cret\"}}".to_owned();
        let spec = JobSpec {
            kind: "noop".into(),
            queue: QueueName::default(),
            priority: 50,
            name: String::new(),
            payload,
            options: None,
        };
        Record::Submit(Box::new(Submit { id: JobId(n), spec, body_hash: 1, submitted_by: String::new() }))
    };
    let mut batches = vec![
        (0, vec![Record::Found { cluster: ClusterId(1), name: "n1".into() }]),
        (0, vec![Record::Promote { node: NodeId(1), incarnation: Incarnation(1) }]),
    ];
    batches.extend((1..=JOBS).map(|n| (1, vec![submit(n)])));
    batches.extend([(1, vec![Record::Audit]), (1, vec![Record::Tick])]);
    for (epoch, records) in batches {
        let (generation, epoch) = (Generation(0), Epoch(epoch));
        let batch = Batch { rules: RULES, generation, epoch, stamp: UnixMs(5), records };
        journal.propose(codec::encode(codec::FORMAT, &batch).into()).await.unwrap();
    }
    journal.audit().wait_for(Option::is_some).await.unwrap();
    journal.shutdown().await;
    path
}

fn contents(dir: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => contents(&entry.path(), into),
            false => drop(into.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_journal_is_told_and_shown_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, scratch) = (stopped(dir.path()).await, dir.path().join("scratch"));
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    contents(&journal, &mut before);
    let inspection = Inspection::of(&journal, &scratch).await.unwrap();
    let report = inspection.verify().await.unwrap();
    assert_eq!((report.id, report.voters.clone()), (RaftId::new(NodeId(1), 1), vec![RaftId::new(NodeId(1), 1)]));
    assert_eq!((report.history, report.fork), (Some(Generation(0)), None));
    let (first, last) = report.span.unwrap();
    assert_eq!((first, report.entries), (Index(0), last.0 + 1));
    // The head, the node and the jobs.
    assert_eq!(report.checkpoint.unwrap().rows, 2 + JOBS as u64, "{report:?}");
    let (mut batches, mut members, mut rows) = (0, 0, 0);
    let entry = |entry: inspect::DumpEntry| {
        batches += usize::from(matches!(entry.content, DumpContent::Batch { .. }));
        members += usize::from(matches!(entry.content, DumpContent::Members { .. }));
        Ok::<_, InspectError>(())
    };
    let row = |_| {
        rows += 1;
        Ok(())
    };
    inspection.export(entry, row).await.unwrap();
    assert_eq!((batches, members, rows), (JOBS as usize + 4, 1, JOBS + 2));
    drop(inspection);
    contents(&journal, &mut after);
    assert!(before == after, "the original was changed");
    assert!(!scratch.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_journal_is_told_and_not_healed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, scratch) = (stopped(dir.path()).await, dir.path().join("scratch"));
    let mark = journal.join("log.mark");
    let mut bytes = fs::read(&mark).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(&mark, &bytes).unwrap();
    let Err(InspectError::Damaged(reason)) = Inspection::of(&journal, &scratch).await else { panic!("not noticed") };
    assert!(reason.contains("slot"), "{reason}");
    assert_eq!(fs::read(&mark).unwrap(), bytes);
    fs::write(journal.join("vote"), b"nothing").unwrap();
    let Err(InspectError::Damaged(reason)) = Inspection::of(&journal, &scratch).await else { panic!("not noticed") };
    assert!(reason.contains("vote"), "{reason}");
    assert!(!scratch.exists());
}
