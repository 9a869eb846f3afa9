//! Handing the role over while nothing is broken: hold, drain, let the target have all, let it stand.

use super::Hub;
use crate::net::Purpose;
use bytes::Bytes;
use relais_dispatcher::core::Input;
use relais_dispatcher::election::{Claim, ElectionConfig};
use relais_dispatcher::journal::Journal;
use relais_protocol::codec;
use relais_protocol::ids::{NodeId, RaftId};
use relais_protocol::message::{Call, Control, Reply};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often the target may stand, and how long the first time may take; each further one twice as long.
const STANDS_MAX: u32 = 4;
const STAND_LIMIT: Duration = Duration::from_millis(100);
/// How long each step may take.
const STEP_LIMIT: Duration = Duration::from_millis(1_500);

impl Hub {
    /// Moves the role, from wherever it is.
    pub(super) async fn hand_over_anywhere(self: Arc<Self>, to: Option<NodeId>) -> Result<NodeId, String> {
        let view = self.pulse.view();
        match view.dispatcher {
            Some(node) if node == self.me.node => self.hand_over_from_here(to).await,
            Some(node) => match self.call(node, &Call::Handover(to), STEP_LIMIT * 4).await {
                Some(Reply::HandedOver(node)) => Ok(node),
                Some(Reply::Failed(reason)) => Err(reason),
                _ => Err("the dispatcher did not answer; look at `relais cluster status` and try again".to_owned()),
            },
            None => Err(format!("there is no dispatcher: {}", self.why_no_dispatcher())),
        }
    }

    /// Moves the role from this node, which has it.
    pub async fn hand_over_from_here(self: Arc<Self>, to: Option<NodeId>) -> Result<NodeId, String> {
        if !self.until_it_votes().await {
            return Err("this node is not the dispatcher any more; try again".to_owned());
        }
        if to == Some(self.me.node) {
            return Ok(self.me.node);
        }
        // Chosen only now: who was up before the wait may be gone.
        let target = self.target(to)?;
        tracing::info!(node = %target.node(), "hands over");
        let drained = self.drained.notified();
        self.desk.input(Input::Hold(true));
        let result = self.clone().hand_over_drained(target, drained).await;
        // Deposed or not: what is held now goes to whoever is the dispatcher.
        self.desk.input(Input::Hold(false));
        result.map(|()| target.node())
    }

    /// Waits until this journal votes for others again: who was elected a moment ago refuses to, and what is held
    /// back by then would wait until the target stands a second time. Meanwhile this node serves on. Whether it has
    /// the role in the end.
    async fn until_it_votes(&self) -> bool {
        loop {
            let view = self.pulse.view();
            if !view.leads {
                return false;
            }
            let led_ms = self.clock.mono().since(view.led_since);
            let left = ElectionConfig::default().vote_lease_ms.saturating_sub(led_ms);
            if left == 0 {
                return true;
            }
            sleep(Duration::from_millis(left)).await;
        }
    }

    /// From a node that leads the journal without the role: lets `heir` have all that is here, then lets it
    /// stand.
    pub(crate) async fn hand_on(self: Arc<Self>, heir: NodeId) -> Result<(), String> {
        let journal = self.journal().ok_or("the journal has not started")?;
        let voters = journal.status().borrow().voters.clone();
        let target = voters.iter().copied().find(|raft| raft.node() == heir).ok_or("it is no voter any more")?;
        timeout(STEP_LIMIT, has_all(&*journal, target)).await.map_err(|_| "it has not caught up yet".to_owned())?;
        for stand in 0..STANDS_MAX {
            if self.clone().let_stand(target, STAND_LIMIT * (1 << stand)).await? {
                return Ok(());
            }
        }
        Err("it was not elected in time".to_owned())
    }

    async fn hand_over_drained(
        self: Arc<Self>,
        target: RaftId,
        drained: impl Future<Output = ()>,
    ) -> Result<(), String> {
        timeout(STEP_LIMIT, drained).await.map_err(|_| "proposals in flight did not end in time".to_owned())?;
        let journal = self.journal().ok_or("the journal has not started")?;
        timeout(STEP_LIMIT, has_all(&*journal, target))
            .await
            .map_err(|_| "the target did not catch up in time".to_owned())?;
        for stand in 0..STANDS_MAX {
            // A refusal comes at once and costs the first, short wait; a slow disk gets the long ones.
            if self.clone().let_stand(target, STAND_LIMIT * (1 << stand)).await? {
                return Ok(());
            }
        }
        Err("the target was not elected in time; the role stays where the cluster puts it".to_owned())
    }

    /// Lets the target stand once; whether it has the role now. A voter that heard this leader a moment ago
    /// may refuse the first time.
    async fn let_stand(self: Arc<Self>, target: RaftId, limit: Duration) -> Result<bool, String> {
        let mut changed = self.pulse.changed();
        let request = Control::StandNow { reign: self.pulse.view().reign };
        let request = Bytes::from(codec::encode(codec::FORMAT, &request));
        let net = self.net().ok_or("the transport has not started")?;
        let told = net.call(target.node(), Purpose::Election, request, STEP_LIMIT).await;
        told.map_err(|error| format!("the target did not answer: {error}"))?;
        Ok(timeout(limit, changed.until_dispatcher(target.node())).await.is_ok())
    }

    /// Whom to hand over to: the one asked for, or the best that is up.
    fn target(&self, to: Option<NodeId>) -> Result<RaftId, String> {
        let journal = self.journal().ok_or("the journal has not started")?;
        let voters = journal.status().borrow().voters.clone();
        let connected = self.net().map(|net| net.connected()).unwrap_or_default();
        let fit = |node: &NodeId| *node != self.me.node && connected.contains(node);
        let raft = |node: NodeId| voters.iter().copied().find(|raft| raft.node() == node);
        let succession = self.pulse.view().succession.clone();
        let ready = |node: NodeId| succession.iter().any(|heir| heir.node == node && heir.claim == Claim::Ready);
        if let Some(node) = to {
            let name = self.name_of(node).unwrap_or_else(|| node.to_string());
            return match raft(node) {
                None => Err(format!(
                    "node `{name}` is not a voter; hand over to one of `relais cluster status`'s succession"
                )),
                Some(_) if !fit(&node) => Err(format!("node `{name}` is out of reach; hand over to another")),
                Some(_) if !ready(node) => Err(format!(
                    "node `{name}` is not ready, or a witness; `relais cluster status` says why, hand over to another"
                )),
                Some(raft) => Ok(raft),
            };
        }
        let best = succession.iter().map(|heir| heir.node).find(|node| fit(node) && ready(*node));
        best.and_then(raft).ok_or_else(|| "no other voter is up to take the role".to_owned())
    }
}

async fn has_all(journal: &dyn Journal, target: RaftId) {
    loop {
        {
            let status = journal.status();
            let status = status.borrow();
            let last = status.last_log.map_or(0, |at| at.index);
            if status.matched.get(&target).copied().flatten().is_some_and(|index| index.0 >= last) {
                return;
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
}
