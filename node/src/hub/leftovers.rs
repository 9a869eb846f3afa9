//! Output of jobs that are in the record no more is removed: at once where this node sees them go, and by
//! looking through all of it now and then for what went while it did not look.
//!
//! It removes nothing unless the record here is known to be whole: a node that begins its journal anew knows no
//! job for a while, and its output is all there is of them.

use super::Hub;
use relais_dispatcher::ledger::Event;
use relais_protocol::ids::JobId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Between two looks through all output.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// How long after the start the first one is.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(60);

impl Hub {
    /// Removes output as its jobs go, for as long as the node lives.
    pub async fn remove_leftovers(self: Arc<Self>) {
        let mut events = self.events.subscribe();
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_LOOK_AFTER, LOOK_EVERY);
        loop {
            tokio::select! {
                applied = events.recv() => match applied {
                    Ok(applied) => self.forget_output(&applied.1).await,
                    // What was missed is found at the next look.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = look.tick() => self.look_through_output().await,
            }
        }
    }

    async fn forget_output(&self, events: &[Event]) {
        for event in events {
            if let Event::Forgotten(job) = event {
                self.remove_output(*job).await;
            }
        }
    }

    async fn look_through_output(self: &Arc<Self>) {
        if self.clone().make_fresh().await.is_err() {
            return;
        }
        let Ok(jobs) = self.output.jobs().await else { return };
        for job in jobs {
            let is_known = !self.ledger_is_here() || self.machine.read().job(job).is_some();
            if !is_known {
                self.remove_output(job).await;
            }
        }
    }

    async fn remove_output(&self, job: JobId) {
        if let Err(error) = self.output.remove(job).await {
            tracing::warn!(%job, %error, "the output of a job that is in the record no more was not removed");
        }
    }
}
