//! What running jobs say of their progress, asked of the nodes that run them when somebody looks.
//!
//! Nothing is told or written while nobody looks. So what is shown is what the attempt's own node knows, half a
//! second old at most by its count; of a node that does not answer at once nothing is shown. A failover changes
//! nothing in that. What an attempt said last is kept with its end.

use super::Api;
use relais_protocol::ids::{Fence, JobId, NodeId};
use relais_protocol::job::{Job, JobState};
use relais_protocol::record::Standing;
use std::collections::BTreeMap;

/// What a running job says; `None` for any other.
pub(super) async fn of(api: &Api, job: &Job) -> Option<String> {
    of_all(api, std::slice::from_ref(job)).await.remove(&job.id)
}

/// What those of `jobs` say that run and say something.
pub(super) async fn of_all(api: &Api, jobs: &[Job]) -> BTreeMap<JobId, String> {
    let mut running: BTreeMap<NodeId, Vec<(JobId, Fence)>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| can_say(job)) {
        if let JobState::Running { node, fence, .. } = job.state {
            running.entry(node).or_default().push((job.id, fence));
        }
    }
    if running.is_empty() {
        return BTreeMap::new();
    }
    running.retain(|node, _| answers(api, *node));
    let asked = running.into_iter().map(|(node, attempts)| {
        let said = api.backend.progress(node, attempts.clone());
        async move { attempts.into_iter().zip(said.await) }
    });
    let said = futures::future::join_all(asked).await.into_iter().flatten();
    said.filter_map(|((job, _), said)| Some((job, said?))).collect()
}

/// These say nothing while they run.
fn can_say(job: &Job) -> bool {
    !matches!(job.spec.kind.as_str(), "noop" | "http")
}

/// Whoever is known to be away is not waited for.
fn answers(api: &Api, node: NodeId) -> bool {
    let ledger = api.backend.ledger();
    node == NodeId::OUTSIDE
        || ledger.node(node).is_some_and(|row| matches!(row.standing, Standing::Online | Standing::Leaving))
}
