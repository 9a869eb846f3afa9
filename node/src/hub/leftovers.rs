//! Output of jobs that are in the record no more is removed: at once where this node sees them go, and by
//! looking through all of it now and then for what went while it did not look. A node that keeps no ledger sees none
//! go: it asks the dispatcher, more often.
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
/// The same where nothing is seen to go.
const LOOK_EVERY_UNSEEN: Duration = Duration::from_secs(600);
/// How long after the start the first one is.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(60);

impl Hub {
    /// Removes output as its jobs go, for as long as the node lives.
    pub async fn remove_leftovers(self: Arc<Self>) {
        let mut events = self.events.subscribe();
        let mut look_at = tokio::time::Instant::now() + FIRST_LOOK_AFTER;
        loop {
            tokio::select! {
                applied = events.recv() => match applied {
                    Ok(applied) => self.forget_output(&applied.1).await,
                    // What was missed is found at the next look.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                () = tokio::time::sleep_until(look_at) => {
                    self.look_through_output().await;
                    look_at = tokio::time::Instant::now() + if self.machine.stands_in() { LOOK_EVERY_UNSEEN } else { LOOK_EVERY };
                }
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
        let Ok(jobs) = self.output.jobs().await else { return };
        let Some(known) = self.known(&jobs).await else { return };
        for (job, _) in jobs.into_iter().zip(known).filter(|(_, known)| !known) {
            self.remove_output(job).await;
        }
    }

    /// Which of `jobs` are in the record; nothing if it is not whole here, and the dispatcher does not say.
    async fn known(self: &Arc<Self>, jobs: &[JobId]) -> Option<Vec<bool>> {
        if self.machine.stands_in() {
            return self.known_elsewhere(jobs).await;
        }
        self.clone().make_fresh().await.ok()?;
        let is_known = |job: &JobId| !self.ledger_is_here() || self.machine.read().job(*job).is_some();
        Some(jobs.iter().map(is_known).collect())
    }

    async fn remove_output(&self, job: JobId) {
        if let Err(error) = self.output.remove(job).await {
            tracing::warn!(%job, %error, "the output of a job that is in the record no more was not removed");
        }
    }
}
