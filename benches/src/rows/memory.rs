//! W4: what a node's memory is, idle and while jobs wait. The largest node counts.

use crate::Failed;
use crate::figure::{Aim, quantile};
use crate::run::{Ours, Pair, Run, tell};
use crate::work::{self, BATCH_CONNECTIONS, BATCH_JOBS};

/// W4.
pub(super) fn idle_and_full(run: &mut Run) -> Result<(), Failed> {
    let (ours, theirs) = (Ours::start(run, 0)?, run.servers()?);
    let (mut idle, mut full) = (Pair::default(), Pair::default());
    idle.ours.push(largest(&work::memory_mb(&ours.cluster)?));
    let queued = run.scale.queued;
    tell(&format!("W4, {queued} jobs"));
    work::submit_batches(&ours.cluster, &ours.record, queued / (BATCH_JOBS * BATCH_CONNECTIONS))?;
    full.ours.push(largest(&work::memory_mb(&ours.cluster)?));
    if let Some(servers) = theirs {
        idle.theirs.push(largest(&servers.memory_mb()?));
        tell(&format!("W4, {queued} messages"));
        servers.publish_many(queued, BATCH_CONNECTIONS, BATCH_JOBS, |servers| {
            full.theirs.push(largest(&servers.memory_mb()?));
            Ok(())
        })?;
    }
    run.compared("W4", "memory of the largest node, idle, MB", idle, Some(Aim::AtMost(25.0)));
    let what = format!("memory of the largest node, {queued} jobs queued, MB");
    run.compared("W4", &what, full, Some(Aim::AtMost(150.0)));
    ours.finish(run)
}

fn largest(values: &[f64]) -> f64 {
    quantile(values, 1.0)
}
