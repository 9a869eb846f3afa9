//! What a node does for itself at its start and its end.

use super::Hub;
use relais_protocol::ids::{Incarnation, NodeId, RaftId};
use relais_protocol::message::{Call, Reply};
use relais_protocol::record::{Record, Token, TokenRole};
use relais_worker::core::Input;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How long a join token is good for, in ms.
const TOKEN_MS: u64 = 24 * 3_600_000;
/// How long it may take to go out of the voters of a pair.
const UNSEAT_LIMIT: Duration = Duration::from_secs(6);
/// How long one try of it may take.
const UNSEAT_TRY_LIMIT: Duration = Duration::from_secs(2);

impl Hub {
    /// Takes nothing new; ends when nothing runs here any more and every end is written down.
    pub async fn finish(self: Arc<Self>) {
        self.pulse.ready(false);
        self.bench.input(Input::Finish);
        loop {
            let state = self.bench.state();
            if state.running == 0 && state.unsettled == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills what runs here and says goodbye; ends when that was heard, or can't be.
    pub async fn leave(self: Arc<Self>) {
        self.leaving.store(true, Ordering::Release);
        let left = self.left.notified();
        self.bench.input(Input::Leave);
        left.await;
    }

    /// Goes out of the voters of a pair before this node stops, so that the other goes on as the only one,
    /// in the same history and at once. Of more voters one may be missing for a while: they stay as they are.
    ///
    /// # Errors
    /// When nobody took it out; the other then takes over as from a node that was lost.
    pub async fn leave_voters(self: Arc<Self>) -> Result<(), String> {
        if !self.is_one_of_two() {
            return Ok(());
        }
        let deadline = Instant::now() + UNSEAT_LIMIT;
        let mut why = "no other dispatcher is heard".to_owned();
        while Instant::now() < deadline {
            if let Some(dispatcher) = self.pulse.view().dispatcher.filter(|node| *node != self.me.node) {
                let call = Call::Unseat(self.me.node, self.me.incarnation);
                match self.call(dispatcher, &call, UNSEAT_TRY_LIMIT).await {
                    Some(Reply::Unseated) => return Ok(()),
                    Some(Reply::Failed(reason)) => why = reason,
                    _ => {}
                }
            } else if self.pulse.view().leads
                && let Err(reason) = self.clone().hand_over_from_here(None).await
            {
                // The first try, before this, was in vain, or the role came back.
                why = reason;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(why)
    }

    fn is_one_of_two(&self) -> bool {
        let Some(journal) = self.journal() else { return false };
        let status = journal.status();
        let status = status.borrow();
        status.voters.len() == 2 && status.voters.contains(&status.id)
    }

    /// Takes the other voter of a pair out, since it stops.
    pub(super) async fn unseat(self: &Arc<Self>, node: NodeId, incarnation: Incarnation) -> Result<(), String> {
        let journal = self.journal().ok_or("the journal has not started")?;
        if !self.pulse.view().leads {
            return Err("this node is not the dispatcher".to_owned());
        }
        self.unseated.lock().insert(node, incarnation);
        let voters = journal.status().borrow().voters.clone();
        if voters.len() != 2 || !voters.iter().any(|raft| raft.node() == node) {
            return Ok(());
        }
        let rest: BTreeSet<RaftId> = voters.into_iter().filter(|raft| raft.node() != node).collect();
        tracing::info!(%node, "the other voter stops by plan, and goes out of the voters");
        self.unseating.store(true, Ordering::Release);
        let changed = tokio::time::timeout(UNSEAT_TRY_LIMIT, journal.change_voters(rest)).await;
        self.unseating.store(false, Ordering::Release);
        match changed {
            Ok(changed) => changed.map_err(|error| error.to_string()),
            Err(_) => Err("the change of voters was not committed in time".to_owned()),
        }
    }

    /// Whether this run of a node's process has gone out of the voters to stop.
    pub(super) fn is_unseated(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.unseated.lock().get(&node) == Some(&incarnation)
    }

    /// Makes a join token: its text, and where to join.
    ///
    /// # Errors
    /// When it could not be committed.
    pub async fn make_join_token(self: Arc<Self>) -> Result<(String, String), String> {
        let now = self.clock.unix();
        let (text, hash, at) = self.new_join_token(now.plus(TOKEN_MS))?;
        let token = Token {
            id: crate::seed::random_u64(),
            name: "start".to_owned(),
            role: TokenRole::Join,
            hash,
            created_at: now,
            expires_at: Some(now.plus(TOKEN_MS)),
        };
        loop {
            self.clone().found_cluster().await;
            let record = Record::TokenMade(Box::new(token.clone()));
            let founded = self.machine.read().cluster().is_some();
            if founded && self.clone().propose_anywhere(vec![record]).await.is_ok() {
                return Ok((text, at));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
