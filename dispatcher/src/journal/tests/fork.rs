//! A history of one node alone, and a journal begun anew: in a running journal, and killed in the middle.

use super::super::memory::Switchboard;
use super::super::*;
use super::damage::copy;
use super::fixture::{LIMIT, Node, set};
use relais_protocol::ids::{Generation, NodeId};
use std::path::Path;
use std::time::Duration;

fn raft(node: u32, journal: u32) -> RaftId {
    RaftId::new(NodeId(node), journal)
}

fn to(generation: u64, journal: u32) -> Fork {
    Fork { generation: Generation(generation), journal }
}

/// Nodes 1 and 2, both voters, led by the first.
async fn pair(board: &Arc<Switchboard>, dir: &Path, sync: SyncMode, on_fatal: OnFatal) -> (Node, Node) {
    let one = Node::start_with(board, dir, raft(1, 1).0, sync, on_fatal).await;
    let two = Node::start(board, dir, raft(2, 1).0, SyncMode::default()).await;
    one.journal.found().await.unwrap();
    one.leads().await;
    let voters = [raft(1, 1), raft(2, 1)].into();
    tokio::time::timeout(LIMIT, one.journal.change_voters(voters)).await.unwrap().unwrap();
    for key in 0..20 {
        let (index, _) = one.propose(set(key, b"both")).await;
        two.applies(index).await;
    }
    (one, two)
}

/// An entry that only the leader has: cut off, it cannot know its fate.
async fn uncommitted_tail(board: &Switchboard, leader: &Node) -> tokio::task::JoinHandle<Result<(Index, Outcomes), ProposeError>> {
    board.set_cut(leader.id, true);
    let last = leader.journal.status().borrow().last_log.map_or(0, |last| last.index);
    let hanging = tokio::spawn(leader.journal.propose(set(99, b"tail")));
    leader.until("the tail", |status| status.last_log.is_some_and(|now| now.index > last)).await;
    hanging
}

fn has_tail(node: &Node) -> bool {
    node.machine.rows().contains_key(&99u64.to_be_bytes()[..])
}

fn grows(applied: &[u64]) -> bool {
    applied.windows(2).all(|pair| pair[0] < pair[1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_survivor_goes_on_alone_with_all_that_it_has_and_the_other_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let (mut one, mut two) = pair(&board, dir.path(), SyncMode::default(), Arc::new(|e| panic!("{e}"))).await;
    let hanging = uncommitted_tail(&board, &one).await;
    let mark = one.journal.fork(to(1, 2)).await.unwrap();
    assert_eq!((mark.old, mark.new, mark.generation), (raft(1, 1), raft(1, 2), Generation(1)));
    assert!(mark.common < Index(mark.index.0 - 1), "the tail is not common: {mark:?}");
    let status = one.until("the new id", |status| status.id == mark.new).await;
    assert_eq!((status.role, status.voters, status.fork), (Role::Follower, [mark.new].into(), Some(mark)));
    board.connect(mark.new, &one.journal);
    one.id = mark.new;
    one.stand_until_leader().await;
    let hanging = tokio::time::timeout(LIMIT, hanging).await.unwrap().unwrap();
    assert_eq!(hanging, Err(ProposeError::Unknown));
    one.propose(set(100, b"alone")).await;
    assert!(has_tail(&one) && grows(&one.machine.applied()) && one.machine.loads() == 1);

    // The other one's journal, of another history now, takes nothing from it.
    let rows = two.machine.rows();
    one.journal.add_learner(raft(2, 1)).await.unwrap();
    let calls = board.traffic().0;
    let waits = async {
        while board.traffic().0 < calls + 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, waits).await.expect("it is asked again and again");
    assert_eq!((two.machine.rows(), two.journal.status().borrow().history), (rows, Some(Generation(0))));
    one.journal.remove_learner(raft(2, 1)).await.unwrap();

    let renewed = two.journal.reset(2).await.unwrap();
    assert_eq!((renewed, two.machine.rows().len()), (raft(2, 2), 0));
    assert!(two.dir.with_file_name(format!("journal-{}.healed-1", raft(2, 1).0)).exists());
    board.connect(renewed, &two.journal);
    two.id = renewed;
    let voters = [mark.new, renewed].into();
    tokio::time::timeout(LIMIT, one.journal.change_voters(voters)).await.unwrap().unwrap();
    let (index, _) = one.propose(set(101, b"healed")).await;
    two.applies(index).await;
    assert_eq!(two.machine.rows(), one.machine.rows());
    assert_eq!(two.journal.status().borrow().history, Some(Generation(1)));

    // Both processes end before their nodes wrote down the new numbers.
    one.stop(&board).await;
    two.stop(&board).await;
    let one = Node::start(&board, dir.path(), raft(1, 1).0, SyncMode::default()).await;
    let two = Node::start(&board, dir.path(), raft(2, 1).0, SyncMode::default()).await;
    assert_eq!((one.id, two.id), (mark.new, renewed));
    one.stand_until_leader().await;
    two.applies(index).await;
    assert!(has_tail(&two));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_of_a_cut_can_go_on_and_each_more_than_once() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let (mut one, mut two) = pair(&board, dir.path(), SyncMode::default(), Arc::new(|e| panic!("{e}"))).await;
    board.set_cut(one.id, true);
    for (node, generation) in [(&mut one, 1), (&mut two, 2)] {
        for round in 0..3u64 {
            let journal = node.id.journal() + 1;
            let refused = node.journal.fork(to(generation + 2 * round, node.id.journal())).await;
            assert!(matches!(refused, Err(ForkError::Refused(_))), "{refused:?}");
            let mark = node.journal.fork(to(generation + 2 * round, journal)).await.unwrap();
            let refused = node.journal.fork(to(generation + 2 * round, journal + 1)).await;
            assert!(matches!(refused, Err(ForkError::Refused(_))), "{refused:?}");
            node.id = mark.new;
            board.connect(mark.new, &node.journal);
            node.stand_until_leader().await;
            node.propose(set(200 + round, b"mine")).await;
        }
        assert!(grows(&node.machine.applied()));
        assert_eq!(node.machine.rows().len(), 23);
    }
    let empty = Node::start(&board, dir.path(), raft(3, 1).0, SyncMode::default()).await;
    assert_eq!(empty.journal.fork(to(9, 2)).await, Err(ForkError::Empty));
}

/// Where a fork can be killed: before its ballot, after each slot of it, before the mark, and after it.
const STEPS: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_killed_anywhere_is_whole_or_was_never_begun() {
    for step in 1..=STEPS {
        let dir = tempfile::tempdir().unwrap();
        let board = Switchboard::new();
        let folder = format!("journal-{}", raft(1, 1).0);
        let (from, killed) = (dir.path().join(&folder), dir.path().join("killed"));
        let target = killed.join(&folder);
        let on_fatal: OnFatal = Arc::new(move |_| copy(&from, &target));
        let sync = SyncMode { planted: PlantedBug::DieInFork(step), ..SyncMode::default() };
        let (one, two) = pair(&board, dir.path(), sync, on_fatal).await;
        let hanging = uncommitted_tail(&board, &one).await;
        assert_eq!(one.journal.fork(to(1, 2)).await, Err(ForkError::Stopped), "step {step}");
        hanging.abort();
        one.stop(&board).await;

        let mut one = Node::start(&board, &killed, raft(1, 1).0, SyncMode::default()).await;
        assert_eq!(one.id, if step == 1 { raft(1, 1) } else { raft(1, 2) }, "step {step}");
        if step == 1 {
            assert_eq!(one.journal.status().borrow().fork, None);
            one.id = one.journal.fork(to(1, 2)).await.unwrap().new;
        }
        let status = one.journal.status().borrow().clone();
        assert_eq!((status.voters, status.history), ([raft(1, 2)].into(), Some(Generation(1))), "step {step}");
        one.stand_until_leader().await;
        let (index, _) = one.propose(set(100, b"alone")).await;
        assert!(has_tail(&one), "the tail is lost at step {step}");
        let rows = one.machine.rows();
        one.stop(&board).await;
        let one = Node::start(&board, &killed, raft(1, 1).0, SyncMode::default()).await;
        one.stand_until_leader().await;
        one.applies(index).await;
        assert_eq!(one.machine.rows(), rows);
        one.stop(&board).await;
        two.stop(&board).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_killed_anywhere_leaves_one_whole_journal() {
    for is_aside in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let board = Switchboard::new();
        let node = Node::start(&board, dir.path(), raft(1, 1).0, SyncMode::default()).await;
        node.journal.found().await.unwrap();
        node.leads().await;
        node.propose(set(1, b"old")).await;
        let journal = node.dir.clone();
        node.stop(&board).await;
        store::prepare(&journal, raft(1, 2)).unwrap();
        let aside = journal.with_file_name(format!("journal-{}.healed-1", raft(1, 1).0));
        if is_aside {
            std::fs::rename(&journal, &aside).unwrap();
        }
        let node = Node::start(&board, dir.path(), raft(1, 1).0, SyncMode::default()).await;
        assert_eq!((node.id, node.machine.rows().len()), (raft(1, 2), 0));
        assert!(aside.exists());
        node.stop(&board).await;
        let old = StoreOptions::new(&aside, raft(1, 1), Arc::new(|e| panic!("{e}")));
        assert!(matches!(open(old).await, Ok(Opened::Clean(_))), "what was put aside can be opened");
    }
}
