//! Many entries: throughput, checkpoints, syncs counted.

use super::super::memory::Switchboard;
use super::super::*;
use super::fixture::{Node, cluster, set};
use relais_protocol::ids::Index;
use std::sync::atomic::Ordering;

/// The syncs of the log against the acknowledged appends: what must hold if nothing is acknowledged before it is
/// on disk.
fn syncs_cover_acknowledgements(counters: &Counters) -> bool {
    let acknowledged = counters.appends_acknowledged.load(Ordering::Relaxed);
    acknowledged > 0 && counters.log_syncs.load(Ordering::Relaxed) >= acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_entries_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let mut nodes = cluster(&board, dir.path(), 3).await;
    let mut last = Index(0);
    for batch in 0..100u64 {
        let batch = (0..100).map(|n| nodes[0].propose(set(batch * 50 + n, &[n as u8; 100])));
        for (index, _) in futures::future::join_all(batch).await {
            last = last.max(index);
        }
    }
    for node in &nodes {
        node.applies(last).await;
        assert_eq!(node.machine.applied().len(), 10_000);
        assert!(syncs_cover_acknowledgements(&node.journal.counters()));
        assert_eq!(node.machine.rows(), nodes[0].machine.rows());
    }
    nodes.remove(2).stop(&board).await;
    let (index, _) = nodes[0].propose(set(1, b"while it was away")).await;
    let back = Node::start(&board, dir.path(), 3, SyncMode::default()).await;
    back.applies(index).await;
    assert_eq!(back.machine.rows(), nodes[0].machine.rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_fsync_is_found_by_counting() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    for (id, planted) in [(1, PlantedBug::None), (2, PlantedBug::SkipFsync)] {
        let mode = SyncMode { planted, ..SyncMode::default() };
        let node = Node::start(&board, dir.path(), id, mode).await;
        node.journal.found().await.unwrap();
        node.leads().await;
        for key in 0..20 {
            node.propose(set(key, b"x")).await;
        }
        assert_eq!(syncs_cover_acknowledgements(&node.journal.counters()), planted == PlantedBug::None);
        node.stop(&board).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_come_with_the_load_and_hold_all_rows() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let node = cluster(&board, dir.path(), 1).await.remove(0);
    let (large, mut last) = (vec![5; 300_000], Index(0));
    let mut expected = std::collections::BTreeMap::new();
    for n in 0..100u64 {
        let value = if n % 3 == 0 { &large[..] } else { b"small" };
        last = node.propose(set(n % 40, value)).await.0;
        expected.insert((n % 40).to_be_bytes().to_vec(), value.to_vec());
    }
    let mut checkpoint = node.journal.checkpoint();
    let made = *checkpoint.wait_for(Option::is_some).await.unwrap();
    assert!(made.is_some_and(|made| made.rows <= 40));
    assert!(node.journal.counters().checkpoints.load(Ordering::Relaxed) > 0);
    let blobs = ["log", "ledger"].map(|book| node.dir.join(book).join("blobs"));
    assert!(blobs.iter().all(|dir| std::fs::read_dir(dir).unwrap().next().is_none()), "an unsynced file");
    node.stop(&board).await;
    let node = Node::start(&board, dir.path(), 1, SyncMode::default()).await;
    node.stand_until_leader().await;
    node.applies(last).await;
    assert_eq!(node.machine.rows(), expected);
    assert!(node.machine.applied().len() < 100, "it began at a checkpoint");
}
