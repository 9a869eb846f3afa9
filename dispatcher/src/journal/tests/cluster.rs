//! Nodes that live, die and come back.

use super::super::memory::Switchboard;
use super::super::*;
use super::fixture::{LIMIT, Node, cluster, set};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_voter_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let node = cluster(&board, dir.path(), 1).await.remove(0);
    for key in 0..50 {
        node.propose(set(key, b"value")).await;
    }
    let (index, outcomes) = node.propose(set(7, &vec![9; 1 << 20])).await;
    assert_eq!(outcomes.epoch.0, index.0);
    let rows = node.machine.rows();
    node.stop(&board).await;

    let node = Node::start(&board, dir.path(), 1, SyncMode::default()).await;
    assert_eq!(node.journal.status().borrow().role, Role::Follower, "no node starts as the leader");
    node.stand_until_leader().await;
    node.applies(index).await;
    assert_eq!(node.machine.rows(), rows);
    node.stop(&board).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_voters_outlive_their_leader() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let mut nodes = cluster(&board, dir.path(), 3).await;
    let mut last = Index(0);
    for key in 0..100 {
        last = nodes[0].propose(set(key, b"before")).await.0;
    }
    nodes[1].applies(last).await;
    let old = nodes.remove(0);
    old.stop(&board).await;
    nodes[0].stand_until_leader().await;
    let (index, _) = nodes[0].propose(set(200, b"after")).await;
    nodes[1].applies(index).await;
    assert_eq!(nodes[0].machine.rows().len(), 101);
    assert_eq!(nodes[0].machine.rows(), nodes[1].machine.rows());

    let term = nodes[0].term();
    let old = Node::start(&board, dir.path(), 1, SyncMode::default()).await;
    old.applies(index).await;
    let status = old.until("the new leader", |status| status.leader == Some(RaftId(2))).await;
    assert_eq!((status.role, status.term), (Role::Follower, term), "it follows, and no election was held");
    assert_eq!(old.machine.rows(), nodes[0].machine.rows());
    let lost = old.journal.propose(set(1, b"x")).await;
    assert_eq!(lost, Err(ProposeError::NotLeader { leader: Some(RaftId(2)) }));
    assert_eq!(old.journal.read_index().await, Err(ReadError::NotLeader { leader: Some(RaftId(2)) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_leader_says_unknown_and_follows_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let nodes = cluster(&board, dir.path(), 3).await;
    // Only who has all can be elected, and a majority may be the two others.
    let (one, _) = nodes[0].propose(set(1, b"one")).await;
    nodes[1].applies(one).await;
    board.set_cut(nodes[0].id, true);
    let hanging = tokio::spawn(nodes[0].journal.propose(set(2, b"two")));
    nodes[1].stand_until_leader().await;
    let (index, _) = nodes[1].propose(set(3, b"three")).await;
    assert_eq!(nodes[0].journal.read_index().await, Err(ReadError::NoMajority));
    board.set_cut(nodes[0].id, false);
    let hanging = tokio::time::timeout(LIMIT, hanging).await.unwrap().unwrap();
    assert_eq!(hanging, Err(ProposeError::Unknown));
    nodes[0].applies(index).await;
    assert_eq!(nodes[0].machine.rows(), nodes[1].machine.rows());
    assert!(!nodes[0].machine.rows().contains_key(&2u64.to_be_bytes()[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_is_not_dead() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let mut nodes = cluster(&board, dir.path(), 3).await;
    nodes.remove(2).stop(&board).await;
    let slow = SyncMode { delay: Duration::from_millis(200), ..SyncMode::default() };
    nodes.push(Node::start(&board, dir.path(), 3, slow).await);
    let term = nodes[0].term();
    // Only the slow node can make the majority.
    nodes.remove(1).stop(&board).await;
    for key in 0..3 {
        nodes[0].propose(set(key, b"slow disk")).await;
    }
    board.set_delay(Duration::from_millis(150));
    let mut last = Index(0);
    for key in 0..3 {
        last = nodes[0].propose(set(key, b"long way")).await.0;
    }
    nodes[1].applies(last).await;
    assert!(nodes[0].journal.read_index().await.unwrap() >= last);
    for node in &nodes {
        assert_eq!((node.term(), node.journal.status().borrow().leader), (term, Some(RaftId(1))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audits_agree_at_equal_index() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let nodes = cluster(&board, dir.path(), 3).await;
    for key in 0..300 {
        nodes[0].propose(set(key % 100, &key.to_be_bytes())).await;
    }
    let (index, _) = nodes[0].propose(Bytes::from_static(b"!audit  it")).await;
    nodes[0].propose(set(5, b"")).await;
    let mut seen = Vec::new();
    for node in &nodes {
        let mut audit = node.journal.audit();
        let audited = audit.wait_for(|audit| audit.is_some_and(|audit| audit.index == index));
        seen.push(*tokio::time::timeout(LIMIT, audited).await.unwrap().unwrap());
    }
    assert_eq!(seen[0].map(|audit| audit.rows), Some(101));
    assert!(seen.iter().all(|audit| *audit == seen[0]), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_handover_takes_one_stand() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let nodes = cluster(&board, dir.path(), 3).await;
    for round in 0..10u64 {
        let (from, to) = (&nodes[(round % 3) as usize], &nodes[((round + 1) % 3) as usize]);
        let (index, _) = from.propose(set(round, b"x")).await;
        let drained = |status: &JournalStatus| status.matched.get(&to.id).copied().flatten() >= Some(index);
        from.until("the target has all", drained).await;
        // For so long after its own election a leader refuses votes, as everyone who heard it does.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let term = from.term();
        to.journal.stand().await.unwrap();
        to.until("the target leads", |status| status.role == Role::Leader).await;
        assert_eq!(to.term(), term + 1);
        from.until("the old leader follows", |status| status.leader == Some(to.id)).await;
    }
}
