//! The house-keeping of a leader, as in a node: hosts without a place in the journal become learners,
//! learners that are wanted become voters, and a raft id whose journal was put aside is taken out.

use super::Trial;
use super::life::Life;
use relais_dispatcher::journal::{ChangeError, Journal, JournalStatus};
use relais_protocol::ids::{NodeId, RaftId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often the house is looked after.
const EVERY: Duration = Duration::from_millis(100);
/// Looks after which a change that another leader left half done is finished.
const HALF_DONE: u32 = 5;
/// A change that takes longer is given up, and looked at again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Learner(RaftId),
    Voters(BTreeSet<RaftId>),
    Gone(RaftId),
}

/// Keeps house, whoever is the dispatcher.
pub(super) async fn keep_house(trial: Arc<Trial>) {
    let mut half_done = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(life) = trial.dispatcher().and_then(|node| trial.host(node).life()) else { continue };
        let status = life.journal.status().borrow().clone();
        half_done = if status.is_joint { half_done + 1 } else { 0 };
        if status.is_joint && half_done < HALF_DONE || !life.leads() {
            continue;
        }
        if let Some(wanted) = wanted(&trial, &status, life.id.node()) {
            change(&trial, &life, wanted).await;
        }
    }
}

async fn change(trial: &Trial, life: &Life, wanted: Wanted) {
    let is_of_voters = matches!(wanted, Wanted::Voters(_));
    let changing = match wanted {
        Wanted::Learner(id) => life.journal.add_learner(id),
        Wanted::Voters(ids) => life.journal.change_voters(ids),
        Wanted::Gone(id) => life.journal.remove_learner(id),
    };
    match tokio::time::timeout(PATIENCE, changing).await {
        Ok(Ok(())) => trial.watch.count(|counts| counts.voters_changed += u64::from(is_of_voters)),
        Ok(Err(ChangeError::Refused(why))) => trial.watch.broken("changes-make-sense", why),
        // Looked at again.
        Ok(Err(_)) | Err(_) => {}
    }
}

fn wanted(trial: &Trial, status: &JournalStatus, leader: NodeId) -> Option<Wanted> {
    let known: BTreeSet<RaftId> = status.voters.union(&status.learners).copied().collect();
    let current = |node: NodeId| trial.host(node).raft_id();
    let is_reached = |node: NodeId| {
        trial.wire.life(node).is_some() && !trial.wire.is_cut(leader, node) && !trial.wire.is_cut(node, leader)
    };
    let mut all = trial.hosts.iter().map(|host| current(host.node));
    if let Some(new) = all.find(|id| !known.contains(id) && is_reached(id.node())).filter(|_| !status.is_joint) {
        return Some(Wanted::Learner(new));
    }
    let seats = trial.voters.lock().clone();
    let mut voters: BTreeSet<RaftId> = status.voters.clone();
    for node in &seats {
        let id = current(*node);
        if known.contains(&id) && (is_reached(*node) || *node == leader) {
            voters.retain(|voter| voter.node() != *node);
            voters.insert(id);
        }
    }
    // A seat is given up when its heir sits, and never by the leader.
    let seated = voters.iter().filter(|voter| seats.contains(&voter.node())).count();
    if seated == seats.len() {
        voters.retain(|voter| seats.contains(&voter.node()) || voter.node() == leader);
    }
    if voters != status.voters || status.is_joint {
        return Some(Wanted::Voters(voters));
    }
    status.learners.iter().copied().find(|id| current(id.node()) != *id).map(Wanted::Gone)
}
