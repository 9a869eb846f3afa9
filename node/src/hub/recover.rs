//! A recovery by hand, when the majority of voters is lost for good: what each survivor holds, and the fork
//! of the one that is chosen. It refuses to guess: nothing is forked while anybody it would be forked from
//! can still be reached.

use super::Hub;
use crate::backend::RecoverPlan;
use relais_dispatcher::election::Cause;
use relais_protocol::history::{Side, TakeoverCause};
use relais_protocol::ids::NodeId;
use relais_protocol::message::{Call, Holdings, LogPosition, Reply};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long another node may take to say what it holds.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// How long the first reign may take to begin.
const REIGN_LIMIT: Duration = Duration::from_secs(10);

impl Hub {
    /// What the journal here holds.
    pub(super) fn holdings(&self) -> Holdings {
        let status = self.journal().map(|journal| journal.status().borrow().clone()).unwrap_or_default();
        Holdings {
            node: self.me.node,
            name: self.me.name.clone(),
            journal: status.id,
            history: status.history,
            last_log: status.last_log.map(|at| LogPosition { term: at.term, index: at.index }).unwrap_or_default(),
            committed: status.committed,
            applied: status.applied,
            voters: status.voters.iter().map(|raft| raft.node()).collect(),
            dispatcher: self.pulse.view().dispatcher,
            reign: self.machine.own().reign(),
        }
    }

    /// What the journals of all voters that can be reached hold, and why a recovery without `lost` is
    /// refused, if it is.
    pub(super) async fn plan_recovery(self: Arc<Self>, lost: BTreeSet<NodeId>) -> RecoverPlan {
        let own = self.holdings();
        let voters: BTreeSet<NodeId> = own.voters.iter().copied().collect();
        let mut holdings = vec![own];
        for node in voters.iter().copied().filter(|node| *node != self.me.node) {
            if let Some(Reply::Holdings(held)) = self.call(node, &Call::Holdings, ASK_LIMIT).await {
                holdings.push(*held);
            }
        }
        let refused = self.refuses(&voters, &lost, &holdings).err();
        let best = best(&holdings).map(|held| held.node);
        RecoverPlan { holdings, best, refused }
    }

    /// Refuses to guess: each refusal says what to do.
    fn refuses(&self, voters: &BTreeSet<NodeId>, lost: &BTreeSet<NodeId>, holdings: &[Holdings]) -> Result<(), String> {
        let name = |node: NodeId| self.name_of(node).unwrap_or_else(|| node.to_string());
        let names = |nodes: &mut dyn Iterator<Item = NodeId>| {
            nodes.map(|node| format!("`{}`", name(node))).collect::<Vec<_>>().join(", ")
        };
        if let Some(node) = holdings.iter().find_map(|held| held.dispatcher) {
            return Err(format!("there is a dispatcher, `{}`: nothing is to be recovered", name(node)));
        }
        let own = self.journal().map(|journal| journal.status().borrow().clone()).unwrap_or_default();
        if !voters.contains(&self.me.node) || self.machine.stands_in() && !self.votes_by_own(&own) {
            return Err(format!("node `{}` is no voter and holds no whole journal; ask a voter", self.me.name));
        }
        if let Some(node) = lost.iter().find(|node| !voters.contains(node)) {
            return Err(format!(
                "`{}` is no voter, so nothing hangs on it; name the lost voters, of {}",
                name(*node),
                names(&mut voters.iter().copied())
            ));
        }
        let connected = self.net().map(|net| net.connected()).unwrap_or_default();
        // A node whose journal was put aside answers, but its vote is lost all the same.
        let gone: BTreeSet<NodeId> = self.journals_lost().iter().map(|raft| raft.node()).collect();
        let answers: BTreeSet<NodeId> = holdings.iter().map(|held| held.node).filter(|n| !gone.contains(n)).collect();
        let lives = |node: &&NodeId| !gone.contains(node) && (answers.contains(node) || connected.contains(node));
        if let Some(node) = lost.iter().find(lives) {
            return Err(format!(
                "`{}` answers, so it is not lost; leave it out, or stop it for good first",
                name(*node)
            ));
        }
        let silent: Vec<NodeId> =
            voters.iter().copied().filter(|node| !lost.contains(node) && !answers.contains(node)).collect();
        if !silent.is_empty() {
            return Err(format!(
                "{} does not answer and was not named as lost, and may hold more than the others; start it, or, if it \
                 is lost for good too, name it with --lost",
                names(&mut silent.iter().copied())
            ));
        }
        if answers.intersection(voters).count() * 2 > voters.len() {
            return Err("a majority of the voters can be reached, and elects a dispatcher by itself; \
                        `relais cluster status` shows it in a moment"
                .to_owned());
        }
        Ok(())
    }

    /// Goes on from the most complete journal, here or wherever it is; who dispatches then.
    pub(super) async fn recover(self: Arc<Self>, lost: BTreeSet<NodeId>) -> Result<NodeId, String> {
        let plan = self.clone().plan_recovery(lost.clone()).await;
        if let Some(refused) = plan.refused {
            return Err(refused);
        }
        // Each survivor finds the same one: who is passed this question is it, and asks no other.
        if let Some(best) = plan.best.filter(|best| *best != self.me.node) {
            let call = Call::Recover(lost.into_iter().collect());
            return match self.call(best, &call, ASK_LIMIT + REIGN_LIMIT).await {
                Some(Reply::HandedOver(node)) => Ok(node),
                Some(Reply::Failed(reason)) => Err(reason),
                _ => Err("the node with the most complete journal did not answer; try again".to_owned()),
            };
        }
        self.recover_here().await.map(|()| self.me.node)
    }

    async fn recover_here(&self) -> Result<(), String> {
        let highest = self.history.follows().unwrap_or_default().max(self.pulse.view().reign.generation);
        let generation = highest.after(TakeoverCause::Recovery, Side::Both);
        tracing::warn!(%generation, "recovers the cluster from the journal of this node, as told");
        let mut changed = self.pulse.changed();
        self.fork_journal(generation, Cause::Recovered, self.clock.mono()).await?;
        let reigns = tokio::time::timeout(REIGN_LIMIT, changed.until_dispatcher(self.me.node)).await;
        reigns.map_err(|_| "the journal was forked, but no reign began in time; the log says why".to_owned())
    }
}

/// The most complete of them: the highest history, and in it the longest log; of equals the lowest node.
fn best(holdings: &[Holdings]) -> Option<&Holdings> {
    holdings.iter().max_by_key(|held| (held.history, held.last_log, std::cmp::Reverse(held.node)))
}
