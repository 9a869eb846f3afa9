//! Placement: which waiting job goes to which free slot. Runs after each batch, on every replica alike.

use super::{Event, Ledger};
use relais_protocol::ids::{Fence, Incarnation, NodeId};
use relais_protocol::job::{Attempt, AttemptOutcome, Job, JobState};

/// Attempts kept in a job's row, the newest.
const ATTEMPTS_KEPT: usize = 50;

impl Ledger {
    /// Fills free slots: highest priority first, then the order of the journal, each job on the least
    /// loaded node that fits. A line whose first job fits nowhere is passed over, not waited for.
    pub(super) fn place(&mut self) {
        let mut passed_over = None;
        while self.nodes.free_in_all() > 0
            && let Some((turn, id, line)) = self.lines.head_after(passed_over)
        {
            let Some(job) = self.jobs.take(&self.sheet, id) else {
                passed_over = Some(turn);
                continue;
            };
            match self.nodes.best(&line.requires, last_failed_node(&job)) {
                Some((node, incarnation)) => self.start(job, node, incarnation),
                None => {
                    self.jobs.put_back(job);
                    passed_over = Some(turn);
                }
            }
        }
    }

    fn start(&mut self, mut job: Job, node: NodeId, incarnation: Incarnation) {
        let id = job.id;
        let number = job.attempts.last().map_or(1, |last| last.number.saturating_add(1));
        let epoch = self.head.reign.epoch;
        let fence = Fence::new(epoch, number);
        let surplus = (job.attempts.len() + 1).saturating_sub(ATTEMPTS_KEPT);
        job.attempts.drain(..surplus);
        job.attempts.push(Attempt { number, node, epoch, fence, started_at: self.head.now, end: None });
        self.change_state(job, JobState::Running { node, incarnation, fence });
        self.events.push(Event::Started { job: id, node, incarnation, fence });
    }
}

fn last_failed_node(job: &Job) -> Option<NodeId> {
    let last = job.attempts.last()?;
    let failed = last.end.as_ref().is_some_and(|end| end.outcome != AttemptOutcome::Succeeded);
    failed.then_some(last.node)
}
