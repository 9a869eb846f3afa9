//! Comparing replicas: equal journals must make equal rows. Each minute the dispatcher has every replica
//! count and hash its rows at one index, and compares; a difference is damage, and is said loudly.

use super::Hub;
use crate::net::Purpose;
use bytes::Bytes;
use relais_protocol::codec;
use relais_protocol::ids::{Index, NodeId};
use relais_protocol::message::{CONTROL_BYTES_MAX, Control, ControlAnswer};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a replica may take to reach the index of an audit.
const AGREE_LIMIT: Duration = Duration::from_secs(30);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(500);

type Audited = (Index, u64, u128);

impl Hub {
    /// The last count and hash of the rows here.
    pub(super) fn last_audit(&self) -> Option<Audited> {
        let audit = *self.journal()?.audit().borrow();
        audit.map(|at| (at.index, at.rows, at.hash))
    }

    /// Compares after each audit, for as long as the node lives.
    pub async fn compare_replicas(self: Arc<Self>) {
        let Some(journal) = self.journal() else { return };
        let mut audits = journal.audit();
        while audits.changed().await.is_ok() {
            let view = self.pulse.view();
            let Some(own) = self.last_audit().filter(|_| view.leads) else { continue };
            for node in view.voters.iter().copied().filter(|node| *node != self.me.node) {
                self.compare(node, own).await;
            }
        }
    }

    async fn compare(&self, node: NodeId, own: Audited) {
        let deadline = tokio::time::Instant::now() + AGREE_LIMIT;
        while tokio::time::Instant::now() < deadline {
            match self.audit_of(node).await {
                Some(theirs) if theirs.0 == own.0 => {
                    self.counts.audits.fetch_add(1, Ordering::Relaxed);
                    if theirs != own {
                        self.counts.disagreements.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(%node, index = %own.0, "the rows of this node differ from the dispatcher's at the same index: its journal is damaged; stop it, move its journal folder aside and start it again");
                    }
                    return;
                }
                Some(theirs) if theirs.0 > own.0 => return,
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn audit_of(&self, node: NodeId) -> Option<Audited> {
        let request = Bytes::from(codec::encode(codec::FORMAT, &Control::Audit));
        let answer = self.net()?.call(node, Purpose::Control, request, PAUSE).await.ok()?;
        match codec::decode(codec::FORMAT, &answer, CONTROL_BYTES_MAX) {
            Ok(ControlAnswer::Audit(audit)) => audit,
            _ => None,
        }
    }
}
