//! Members come and go.

use super::super::memory::Switchboard;
use super::super::rpc::{self, Envelope, Request, Response};
use super::super::*;
use super::fixture::{LIMIT, Node, cluster, set};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_grow_and_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let mut nodes = cluster(&board, dir.path(), 1).await;
    for count in 2..=3u64 {
        nodes.push(Node::start(&board, dir.path(), count, SyncMode::default()).await);
        nodes[0].propose(set(count, b"grow")).await;
        let voters: BTreeSet<_> = (1..=count).map(RaftId).collect();
        nodes[0].journal.change_voters(voters.clone()).await.unwrap();
        let status = nodes[0].journal.status().borrow().clone();
        assert_eq!((status.voters, status.is_joint), (voters, false));
    }
    nodes[0].journal.change_voters([1, 2].map(RaftId).into()).await.unwrap();
    nodes.remove(2).stop(&board).await;
    nodes[0].propose(set(9, b"two are enough of two")).await;
    let refused = nodes[1].journal.change_voters([RaftId(1)].into()).await;
    assert_eq!(refused, Err(ChangeError::NotLeader { leader: Some(RaftId(1)) }));
    let unknown = nodes[0].journal.remove_learner(RaftId(2)).await;
    assert!(matches!(unknown, Err(ChangeError::Refused(_))), "a voter is no learner: {unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_another_journal_or_in_anothers_name_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let node = Node::start(&board, dir.path(), 1, SyncMode::default()).await;
    let stranger = RaftId::new(relais_protocol::ids::NodeId(9), 1);
    for (from, to, proven, is_answered) in [
        (stranger.0, 1, stranger, true),
        (stranger.0, 2, stranger, false),
        (stranger.0, 1, RaftId(1), false),
        (stranger.0 + 1, 1, stranger, false),
    ] {
        let vote = openraft::raft::VoteRequest::new(openraft::Vote::new(9, stranger.0), None);
        let envelope = Envelope { from, to, history: None, request: Request::Vote(vote) };
        let answer = node.journal.handle_rpc(proven, rpc::encode(&envelope)).await;
        let answer = rpc::decode::<Response>(&answer).unwrap();
        assert_eq!(matches!(answer, Response::Vote(_)), is_answered, "{answer:?}");
    }
    let garbage = node.journal.handle_rpc(stranger, Bytes::from_static(b"garbage")).await;
    assert!(matches!(rpc::decode(&garbage), Ok(Response::Failed(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_learner_gets_a_snapshot_and_becomes_a_voter() {
    let dir = tempfile::tempdir().unwrap();
    let board = Switchboard::new();
    let node = cluster(&board, dir.path(), 1).await.remove(0);
    let mut last = Index(0);
    // More than the log keeps, so that entries alone cannot bring the learner up.
    for batch in 0..65u64 {
        let batch = (0..100).map(|n| node.propose(set(batch * 100 + n, &[n as u8; 600])));
        for (index, _) in futures::future::join_all(batch).await {
            last = last.max(index);
        }
    }
    node.propose(set(1, &vec![3; 1 << 20])).await;
    let (audited, _) = node.propose(Bytes::from_static(b"!audit  it")).await;
    let mut checkpoint = node.journal.checkpoint();
    checkpoint.wait_for(|made| made.is_some_and(|made| made.index >= audited)).await.unwrap();
    // Each batch of entries lets openraft purge a little further.
    let mut purged = false;
    for key in 0..200 {
        node.propose(Bytes::from([b"!purge  ".to_vec(), vec![key]].concat())).await;
        purged = node.journal.purged() > 0;
        if purged {
            break;
        }
    }
    assert!(purged, "the log is never purged");

    let learner = Node::start(&board, dir.path(), 2, SyncMode::default()).await;
    let writer = node.journal.clone();
    let writing = tokio::spawn(async move {
        for key in 0..300u64 {
            writer.propose(set(key * 7, b"while the snapshot is sent")).await.unwrap();
        }
    });
    let grown = node.journal.change_voters([1, 2].map(RaftId).into());
    tokio::time::timeout(LIMIT, grown).await.unwrap().unwrap();
    writing.await.unwrap();
    assert_eq!(learner.machine.loads(), 2, "once at open, once after the snapshot");
    let (index, _) = node.propose(set(2, b"both")).await;
    learner.applies(index).await;
    assert_eq!(learner.machine.rows(), node.machine.rows());
    assert!(board.traffic().1 < (2 << 20), "no request is much longer than 1 MiB and one row");
    let term = node.term();
    learner.stop(&board).await;
    let learner = Node::start(&board, dir.path(), 2, SyncMode::default()).await;
    let (index, _) = node.propose(set(3, b"it is back")).await;
    learner.applies(index).await;
    assert_eq!((learner.machine.rows(), learner.term()), (node.machine.rows(), term));
}
