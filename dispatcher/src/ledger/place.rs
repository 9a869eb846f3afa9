//! Placement: which waiting job goes to which node. Runs after each batch, on every replica alike, and reads
//! nothing but rows and what is made from them: so every limit and share holds across a failover.

use super::{Event, Ledger};
use relais_protocol::ids::{Fence, Incarnation, NodeId};
use relais_protocol::job::{Attempt, AttemptOutcome, Job, JobState};
use relais_protocol::lease::Outside;
use relais_protocol::spec::{QueueName, Requires};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Attempts kept in a job's row, the newest.
const ATTEMPTS_KEPT: usize = 50;

impl Ledger {
    /// Fills free slots: the least served queue first, its jobs by their turn, each job on the best node that
    /// fits. A line whose first job fits nowhere is passed over, not waited for.
    pub(super) fn place(&mut self) {
        self.lines.reopen(self.head.now);
        // What fits nowhere fits nowhere for the rest of this round, whoever asks for it: what is free only gets less.
        let mut unfit = BTreeSet::new();
        while self.nodes.free_in_all() > 0
            && let Some(queue) = self.lines.next_queue()
        {
            if !self.place_one_of(&queue, &mut unfit) {
                self.lines.set_aside(&queue);
            }
        }
        self.lines.take_back();
    }

    /// Starts the first job of a queue that fits; whether there was one.
    fn place_one_of(&mut self, queue: &QueueName, unfit: &mut BTreeSet<Arc<Requires>>) -> bool {
        let mut passed_over = None;
        while let Some((turn, requires)) = self.lines.head_after(queue, passed_over) {
            passed_over = Some(turn);
            if unfit.contains(&requires) {
                continue;
            }
            // Asked before the job is read: what waits for room must not cost a read with each entry.
            if !self.nodes.has_room(&requires) {
                unfit.insert(requires);
                continue;
            }
            let Some(job) = self.jobs.take(&self.sheet, turn.2) else { continue };
            let placement = job.spec.options().placement;
            if let Some((node, incarnation)) = self.nodes.best(&requires, placement, last_failed_node(&job)) {
                self.lines.serve(queue, requires.slots, self.head.now);
                self.start(job, node, incarnation, None);
                return true;
            }
            self.jobs.put_back(job);
        }
        false
    }

    /// Starts an attempt on a node, or outside of them; its fence.
    pub(super) fn start(
        &mut self,
        mut job: Job,
        node: NodeId,
        incarnation: Incarnation,
        outside: Option<Box<Outside>>,
    ) -> Fence {
        let id = job.id;
        let number = job.attempts.last().map_or(1, |last| last.number.saturating_add(1));
        let epoch = self.head.reign.epoch;
        let fence = Fence::new(epoch, number);
        self.tally.attempt_started(self.head.now, job.queued_at.unwrap_or(job.created_at));
        let surplus = (job.attempts.len() + 1).saturating_sub(ATTEMPTS_KEPT);
        job.attempts.drain(..surplus);
        job.attempts.push(Attempt { number, node, epoch, fence, started_at: self.head.now, end: None, outside });
        self.change_state(job, JobState::Running { node, incarnation, fence });
        self.events.push(Event::Started { job: id, node, incarnation, fence });
        fence
    }
}

fn last_failed_node(job: &Job) -> Option<NodeId> {
    let last = job.attempts.last()?;
    let failed = last.end.as_ref().is_some_and(|end| end.outcome != AttemptOutcome::Succeeded);
    failed.then_some(last.node)
}
