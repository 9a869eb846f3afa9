//! What the journal is at.

use super::fork::ForkMark;
use super::log::Log;
use super::types::{LogPosition, Types};
use openraft::{Raft, ServerState};
use relais_protocol::ids::{Generation, Index, NodeId, RaftId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// What this node is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Receives the journal and has no vote; or is no member (yet).
    #[default]
    Learner,
    /// Votes.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads, as far as it knows.
    Leader,
    /// Has stopped, for good.
    Stopped,
}

/// What the journal is at, on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalStatus {
    /// This journal; another one after a fork or a reset.
    pub id: RaftId,
    /// The last fork that this journal went through on this node.
    pub fork: Option<ForkMark>,
    /// The history that the entries belong to: of the last fork here, or of the one who leads. Journals of
    /// different histories refuse each other. `None` while this one is empty.
    pub history: Option<Generation>,
    /// What it is.
    pub role: Role,
    /// The term of its vote.
    pub term: u64,
    /// Who leads that term, if a majority said so.
    pub leader: Option<RaftId>,
    /// The last entry in the log.
    pub last_log: Option<LogPosition>,
    /// The last entry known to be committed.
    pub committed: Option<Index>,
    /// The last entry applied.
    pub applied: Option<Index>,
    /// Who votes, by the members in force here (in a joint change: both sets).
    pub voters: BTreeSet<RaftId>,
    /// Who receives the journal without a vote.
    pub learners: BTreeSet<RaftId>,
    /// A change of voters is half done.
    pub is_joint: bool,
    /// While it is: the old voters and the new ones. A majority of each must agree to all that a majority
    /// decides.
    pub voter_sets: Vec<BTreeSet<RaftId>>,
    /// On the leader: up to where each member has the journal on disk.
    pub matched: BTreeMap<RaftId, Option<Index>>,
}

impl JournalStatus {
    /// The nodes that vote. This node is none of them when it is another journal of it that does: the one
    /// that was put aside, while this one is new and has not caught up.
    #[must_use]
    pub fn voting_nodes(&self) -> BTreeSet<NodeId> {
        self.nodes_of(&self.voters)
    }

    /// The same, of each of the two sets while voters change; empty otherwise.
    #[must_use]
    pub fn voting_sets(&self) -> Vec<BTreeSet<NodeId>> {
        self.voter_sets.iter().map(|set| self.nodes_of(set)).collect()
    }

    /// Whether between this and `other` nothing changed but how far the journal has come.
    #[must_use]
    pub fn is_but_progress(&self, other: &Self) -> bool {
        let of = |status: &Self| (status.id, status.role, status.term, status.leader, status.history, status.is_joint);
        of(self) == of(other)
            && self.voters == other.voters
            && self.learners == other.learners
            && self.voter_sets == other.voter_sets
            && self.fork == other.fork
            && self.last_log.is_some() == other.last_log.is_some()
    }

    fn nodes_of(&self, voters: &BTreeSet<RaftId>) -> BTreeSet<NodeId> {
        let is_past = |raft: &RaftId| raft.node() == self.id.node() && *raft != self.id;
        voters.iter().filter(|raft| !is_past(raft)).map(|raft| raft.node()).collect()
    }
}

type Metrics = openraft::RaftMetrics<u64, openraft::EmptyNode>;
type DataMetrics = openraft::metrics::RaftDataMetrics<u64>;

impl JournalStatus {
    /// From openraft's metrics, and what the store knows.
    pub(super) fn new(metrics: &Metrics, data: &DataMetrics, log: &Log) -> Self {
        let ballot = log.ballot();
        let members = metrics.membership_config.membership();
        let applied = metrics.last_applied.map(|id| Index(id.index));
        let matched = metrics.replication.iter().flatten();
        let sets = members.get_joint_config();
        let is_joint = sets.len() > 1;
        let raft_ids = |set: &BTreeSet<u64>| set.iter().copied().map(RaftId).collect();
        Self {
            id: RaftId(metrics.id),
            fork: ballot.fork,
            history: ballot.history,
            role: role(metrics.state),
            term: metrics.current_term,
            leader: metrics.current_leader.map(RaftId),
            last_log: data.last_log.map(LogPosition::from),
            committed: log.committed_next().checked_sub(1).map(Index).max(applied),
            applied,
            voters: members.voter_ids().map(RaftId).collect(),
            learners: members.learner_ids().map(RaftId).collect(),
            is_joint,
            voter_sets: if is_joint { sets.iter().map(raft_ids).collect() } else { Vec::new() },
            matched: matched.map(|(id, at)| (RaftId(*id), at.map(|at| Index(at.index)))).collect(),
        }
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

/// The status as openraft told it last.
pub(super) fn now(raft: &Raft<Types>, log: &Log) -> JournalStatus {
    let metrics = raft.metrics();
    let metrics = metrics.borrow();
    JournalStatus::new(&metrics, &raft.data_metrics().borrow(), log)
}

/// Tells what the journal is at, and apart from it the role: that changes seldom, and whoever waits for that alone is
/// not to be woken by each entry.
#[derive(Debug, Default)]
pub(super) struct Herald {
    status: watch::Sender<JournalStatus>,
    role: watch::Sender<Role>,
}

impl Herald {
    /// What the journal is at.
    pub(super) fn status(&self) -> watch::Receiver<JournalStatus> {
        self.status.subscribe()
    }

    /// Its role.
    pub(super) fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// The journal is at `status` now.
    pub(super) fn tell(&self, status: JournalStatus) {
        let role = status.role;
        self.status.send_if_modified(|old| std::mem::replace(old, status.clone()) != status);
        self.role.send_if_modified(|old| std::mem::replace(old, role) != role);
    }

    /// The journal neither leads nor follows for a while.
    pub(super) fn pause(&self) {
        let now = self.status.borrow().clone();
        self.tell(JournalStatus { role: Role::Learner, leader: None, matched: BTreeMap::new(), ..now });
    }

    /// The journal has stopped.
    pub(super) fn stop(&self) {
        let now = self.status.borrow().clone();
        self.tell(JournalStatus { role: Role::Stopped, ..now });
    }
}

/// Keeps [`JournalStatus`] told until openraft stops.
pub(super) async fn follow(raft: Raft<Types>, log: Log, herald: Arc<Herald>) {
    let mut metrics = raft.metrics();
    loop {
        metrics.mark_unchanged();
        let status = now(&raft, &log);
        // Nobody but a leader needs openraft's clock, and it wakes whoever has it twenty times a second.
        raft.runtime_config().tick(status.role == Role::Leader);
        let has_stopped = status.role == Role::Stopped;
        herald.tell(status);
        if has_stopped || metrics.changed().await.is_err() {
            // A core that was aborted gives no last word.
            herald.stop();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_whose_journal_was_put_aside_has_no_vote_by_the_old_one() {
        let raft_id = |(node, journal)| RaftId::new(NodeId(node), journal);
        let [one, old, new] = [(1, 1), (2, 1), (2, 2)].map(raft_id);
        let voters = BTreeSet::from([one, old]);
        let nodes = |id| JournalStatus { id, voters: voters.clone(), ..JournalStatus::default() }.voting_nodes();
        assert_eq!(nodes(new), [NodeId(1)].into());
        assert_eq!(nodes(old), [1, 2].map(NodeId).into());
        assert_eq!(nodes(one), [1, 2].map(NodeId).into(), "others cannot know which of its journals lives");
    }
}
