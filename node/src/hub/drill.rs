//! Rehearsals: this node does a fault to itself, or asks another to, when the cluster's settings agree.

use super::Hub;
use crate::drill;
use relais_protocol::ids::NodeId;
use relais_protocol::message::{Call, DrillFault, Reply};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How long it waits before it strikes, so that the answer is out.
const NOTICE: Duration = Duration::from_millis(100);
/// How long another node may take to agree.
const AGREE_LIMIT: Duration = Duration::from_secs(3);

impl Hub {
    /// Lets `node` be struck, wherever it is.
    pub(super) async fn strike_anywhere(
        self: Arc<Self>,
        node: NodeId,
        fault: DrillFault,
        for_ms: u64,
    ) -> Result<(), String> {
        if node == self.me.node {
            return self.strike(fault, for_ms);
        }
        match self.call(node, &Call::Drill { fault, for_ms }, AGREE_LIMIT).await {
            Some(Reply::Struck) => Ok(()),
            Some(Reply::Failed(reason)) => Err(reason),
            _ => Err("the node did not answer".to_owned()),
        }
    }

    /// Strikes this node in a moment, if the cluster agrees to rehearsals.
    pub(super) fn strike(self: &Arc<Self>, fault: DrillFault, for_ms: u64) -> Result<(), String> {
        if !self.machine.read().settings().drill {
            return Err("this cluster does not agree to rehearsals; `relais cluster set drill=on` lets it".to_owned());
        }
        let pause = Duration::from_millis(for_ms.min(drill::LONGEST_MS));
        tracing::warn!(?fault, ?pause, "a rehearsal strikes this node");
        let hub = self.clone();
        self.engine.spawn(async move {
            sleep(NOTICE).await;
            hub.struck(fault, pause).await;
        });
        Ok(())
    }

    async fn struck(&self, fault: DrillFault, pause: Duration) {
        let failed = match fault {
            DrillFault::Kill => Some(drill::fall(pause)),
            DrillFault::Pause => tokio::task::spawn_blocking(move || drill::stand_still(pause))
                .await
                .map_or_else(|error| Some(error.into()), Result::err),
            DrillFault::Restart => drill::restart().err(),
            DrillFault::Cut => {
                if let Some(net) = self.net().filter(|net| net.cut_off(true)) {
                    sleep(pause).await;
                    net.cut_off(false);
                }
                None
            }
        };
        if let Some(error) = failed {
            tracing::error!(%error, ?fault, "the rehearsal could not strike");
        }
    }
}
