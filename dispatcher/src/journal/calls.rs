//! What is asked of openraft, each with its errors in our words.

use super::log::Log;
use super::status::{JournalStatus, Role};
use super::types::{Payload, Types};
use super::{ChangeError, ProposeError, ReadError};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::Raft;
use openraft::error::{CheckIsLeaderError, ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use relais_protocol::ids::{Generation, Index, RaftId};
use relais_protocol::record::Outcomes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How long a proposal of a former leader may still find its end.
const GRACE: Duration = Duration::from_millis(500);

/// Ends when this node has not led for a while. Openraft answers a proposal only once it knows its fate,
/// and a deposed leader without a majority never learns of it.
async fn deposed(role: &mut watch::Receiver<Role>) {
    loop {
        role.wait_for(|role| *role != Role::Leader).await.ok();
        tokio::time::sleep(GRACE).await;
        if *role.borrow() != Role::Leader {
            return;
        }
    }
}

type Written = Result<ClientWriteResponse<Types>, WriteError>;
type WriteError = RaftError<u64, ClientWriteError<u64, openraft::EmptyNode>>;

/// Appends an entry, at once, so that what is asked for first comes first; then waits until it is committed and
/// applied here.
pub(super) fn propose(
    raft: Raft<Types>,
    role: watch::Receiver<Role>,
    payload: Bytes,
) -> impl Future<Output = Result<(Index, Outcomes), ProposeError>> {
    let (payload, taken) = Payload::proposed(payload);
    let mut writing = async move { raft.client_write(payload).await }.boxed();
    // Openraft is told of it in the first step; what it has told nobody waits for yet.
    let told = writing.as_mut().now_or_never();
    written(told, writing, role, taken)
}

async fn written(
    told: Option<Written>,
    writing: BoxFuture<'static, Written>,
    mut role: watch::Receiver<Role>,
    taken: Arc<AtomicBool>,
) -> Result<(Index, Outcomes), ProposeError> {
    let written = match told {
        Some(told) => told,
        None => {
            tokio::select! {
                written = writing => written,
                () = deposed(&mut role) => return Err(ProposeError::Unknown),
            }
        }
    };
    let unless_taken = |error| if taken.load(Ordering::Acquire) { ProposeError::Unknown } else { error };
    match written {
        Ok(response) => Ok((Index(response.log_id.index), response.data)),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
            Err(unless_taken(ProposeError::NotLeader { leader: to.leader_id.map(RaftId) }))
        }
        Err(_) => Err(unless_taken(ProposeError::Stopped)),
    }
}

fn change_error(error: WriteError) -> ChangeError {
    use openraft::error::ChangeMembershipError as Change;
    match error {
        RaftError::Fatal(_) => ChangeError::Stopped,
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            ChangeError::NotLeader { leader: to.leader_id.map(RaftId) }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(Change::InProgress(_))) => ChangeError::InProgress,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(e)) => ChangeError::Refused(e.to_string()),
    }
}

/// Waits for a change on a task of its own; a leader that is deposed meanwhile would never be told.
async fn change<F>(mut role: watch::Receiver<Role>, changing: F) -> Result<(), ChangeError>
where
    F: Future<Output = Result<(), WriteError>> + Send + 'static,
{
    let changing = tokio::spawn(changing);
    let deposed = deposed(&mut role);
    tokio::select! {
        changed = changing => changed.map_err(|_| ChangeError::Stopped)?.map_err(change_error),
        () = deposed => Err(ChangeError::Unknown),
    }
}

/// Lets `id` receive the journal.
pub(super) async fn add_learner(
    raft: Raft<Types>,
    status: watch::Receiver<JournalStatus>,
    role: watch::Receiver<Role>,
    id: RaftId,
) -> Result<(), ChangeError> {
    let is_member = {
        let status = status.borrow();
        status.voters.contains(&id) || status.learners.contains(&id)
    };
    if is_member {
        return Ok(());
    }
    change(role, async move { raft.add_learner(id.0, openraft::EmptyNode {}, false).await.map(drop) }).await
}

/// Makes `voters` the voters.
pub(super) async fn change_voters(
    raft: Raft<Types>,
    mut status: watch::Receiver<JournalStatus>,
    role: watch::Receiver<Role>,
    voters: BTreeSet<RaftId>,
) -> Result<(), ChangeError> {
    let (now, is_joint) = {
        let status = status.borrow();
        (status.voters.clone(), status.is_joint)
    };
    if now == voters && !is_joint {
        return Ok(());
    }
    for id in voters.difference(&now) {
        add_learner(raft.clone(), status.clone(), role.clone(), *id).await?;
    }
    for id in voters.difference(&now) {
        caught_up(&mut status, *id).await?;
    }
    let ids: BTreeSet<u64> = voters.iter().map(|id| id.0).collect();
    change(role, async move { raft.change_membership(ids, false).await.map(drop) }).await
}

/// Waits until `id` has all that the log had a moment ago: else the change would hold up every write
/// until it has.
async fn caught_up(status: &mut watch::Receiver<JournalStatus>, id: RaftId) -> Result<(), ChangeError> {
    /// Entries that may be on their way.
    const NEAR: u64 = 64;
    let near = status.wait_for(|status| {
        let matched = status.matched.get(&id).copied().flatten().map_or(0, |at| at.0 + 1);
        let last = status.last_log.map_or(0, |last| last.index + 1);
        status.role != Role::Leader || (matched > 0 && matched + NEAR >= last)
    });
    let status = near.await.map_err(|_| ChangeError::Stopped)?.clone();
    if status.role == Role::Leader { Ok(()) } else { Err(ChangeError::NotLeader { leader: status.leader }) }
}

/// An index to wait for, confirmed by a majority.
pub(super) async fn read_index(raft: Raft<Types>) -> Result<Index, ReadError> {
    if crate::planted::read_round_skipped() {
        return Ok(Index(raft.metrics().borrow().last_applied.map_or(0, |at| at.index)));
    }
    match raft.get_read_log_id().await {
        Ok((at, _)) => Ok(Index(at.map_or(0, |at| at.index))),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to))) => {
            Err(ReadError::NotLeader { leader: to.leader_id.map(RaftId) })
        }
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Err(ReadError::NoMajority),
        Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
    }
}

/// Makes this pristine node the only voter of the first history.
pub(super) async fn found(raft: Raft<Types>, log: Log) -> Result<(), ChangeError> {
    log.adopt(Generation(0)).await.map_err(|_| ChangeError::Stopped)?;
    let id = raft.metrics().borrow().id;
    let members: BTreeSet<u64> = [id].into();
    match raft.initialize(members).await {
        Ok(()) => Ok(()),
        Err(RaftError::APIError(e)) => Err(ChangeError::Refused(e.to_string())),
        Err(RaftError::Fatal(_)) => Err(ChangeError::Stopped),
    }
}

/// Takes a learner out.
pub(super) async fn remove_learner(
    raft: Raft<Types>,
    role: watch::Receiver<Role>,
    node: RaftId,
) -> Result<(), ChangeError> {
    let nodes = openraft::ChangeMembers::RemoveNodes([node.0].into());
    change(role, async move { raft.change_membership(nodes, false).await.map(drop) }).await
}
