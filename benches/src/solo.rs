//! One ledger at work without a cluster, a clock or a disk: the same calls give the same instructions, so that what
//! a change costs shows whatever the machine's mood.

use bytes::Bytes;
use relais_dispatcher::ledger::{Effects, Event, Ledger};
use relais_dispatcher::rows::MemoryRows;
use relais_protocol::codec;
use relais_protocol::ids::{ClusterId, Fence, Incarnation, Index, JobId, NodeId};
use relais_protocol::job::AttemptOutcome;
use relais_protocol::record::{Batch, Finish, NodeFacts, RULES, Record, Submit};
use relais_protocol::spec::{JobOptions, JobSpec, QueueName, Requires};
use relais_protocol::time::UnixMs;
use std::sync::Arc;

/// Records in a batch.
pub const BATCH: usize = 500;
/// Bytes of change after which rows are kept, as the journal does.
const CHECKPOINT_BYTES: usize = 4 << 20;

/// A ledger, and what is under way in it.
pub struct Solo {
    ledger: Ledger,
    rows: Arc<MemoryRows>,
    index: u64,
    next_job: u128,
    requires: Requires,
    running: Vec<(JobId, Fence, NodeId)>,
    ended: usize,
}

impl Solo {
    /// A founded cluster of so many nodes, each with so many slots.
    #[must_use]
    pub fn new(nodes: u32, slots: u32) -> Self {
        let (rows, requires) = (Arc::new(MemoryRows::default()), Requires::default());
        let ledger = Ledger::new(rows.clone());
        let mut solo = Self { ledger, rows, index: 0, next_job: 1, requires, running: Vec::new(), ended: 0 };
        solo.does(vec![Record::Found { cluster: ClusterId(9), name: "n1".into() }]);
        solo.does(vec![Record::Promote { node: NodeId(1), incarnation: Incarnation(1) }]);
        let up = |node| {
            let facts = NodeFacts { name: format!("n{node}"), slots, cpu_millis: 4_000, ..NodeFacts::default() };
            Record::NodeUp { node: NodeId(node), incarnation: Incarnation(1), facts: Box::new(facts) }
        };
        solo.does((1..=nodes).map(up).collect());
        solo
    }

    /// Jobs from now on ask for this.
    pub fn require(&mut self, requires: Requires) {
        self.requires = requires;
    }

    fn does(&mut self, records: Vec<Record>) {
        let payload = self.encode(records);
        self.apply(&payload);
    }

    /// A batch of this reign, as it is in the journal.
    #[must_use]
    pub fn encode(&self, records: Vec<Record>) -> Bytes {
        let reign = self.ledger.reign();
        let stamp = UnixMs(1_000 + self.index);
        let batch = Batch { rules: RULES, generation: reign.generation, epoch: reign.epoch, stamp, records };
        codec::encode(codec::FORMAT, &batch).into()
    }

    /// So many jobs' submits.
    pub fn submits(&mut self, count: usize) -> Vec<Record> {
        (0..count).map(|_| self.submit()).collect()
    }

    fn submit(&mut self) -> Record {
        self.next_job += 1;
        let spec = JobSpec {
            kind: "noop".into(),
            queue: QueueName::default(),
            priority: 50,
            name: String::new(),
            payload: "{}".into(),
            options: None,
        };
        let spec = spec.with_options(JobOptions { requires: self.requires.clone(), ..JobOptions::default() });
        let submit = Submit { id: JobId(self.next_job), spec, body_hash: 7, submitted_by: "bench".into() };
        Record::Submit(Box::new(submit))
    }

    /// The ends of up to so many attempts that run.
    pub fn finishes(&mut self, count: usize) -> Vec<Record> {
        let from = self.running.len().saturating_sub(count);
        let finish = |(job, fence, node)| {
            let outcome = AttemptOutcome::Succeeded;
            let (exit_code, signal, error, result, progress) = (None, None, None, None, None);
            let output_tail = Vec::new();
            let finish = Finish { job, fence, node, outcome, exit_code, signal, error, result, progress, output_tail };
            Record::Finish(Box::new(finish))
        };
        self.running.drain(from..).map(finish).collect()
    }

    /// Applies an encoded batch.
    pub fn apply(&mut self, payload: &[u8]) -> Effects {
        self.index += 1;
        let effects = self.ledger.apply(Index(self.index), payload);
        for event in &effects.events {
            match event {
                Event::Started { job, node, fence, .. } => self.running.push((*job, *fence, *node)),
                Event::State { state, .. } if state.is_terminal() => self.ended += 1,
                _ => {}
            }
        }
        if self.ledger.changed_bytes() > CHECKPOINT_BYTES {
            self.keep();
        }
        effects
    }

    /// Makes a checkpoint.
    pub fn keep(&mut self) {
        self.rows.keep(&self.ledger.drain_changes());
        self.ledger.kept();
    }

    /// Submits so many jobs, in batches.
    pub fn fill(&mut self, jobs: usize) {
        for from in (0..jobs).step_by(BATCH) {
            let records = self.submits(BATCH.min(jobs - from));
            self.does(records);
        }
    }

    /// Ends all attempts that run, and those that start then, until none does.
    pub fn drain(&mut self) {
        while !self.running.is_empty() {
            let records = self.finishes(BATCH);
            self.does(records);
        }
    }

    /// One turn of a busy cluster: a job comes, and the end of another.
    pub fn turn(&mut self) {
        let mut records = self.finishes(1);
        records.push(self.submit());
        self.does(records);
    }

    /// How many jobs have ended.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.ended
    }

    /// How many attempts run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

/// The work whose instructions are counted: jobs come in batches, run on three nodes and end, the last half of
/// them while as many wait. How many ended.
#[must_use]
pub fn fixed_work(jobs: usize) -> usize {
    let mut solo = Solo::new(3, 64);
    for _ in 0..jobs / 2 / BATCH {
        solo.fill(BATCH);
        solo.drain();
    }
    solo.fill(jobs / 2);
    solo.drain();
    solo.keep();
    solo.ended()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_work_ends_all_its_jobs() {
        assert_eq!(fixed_work(4 * BATCH), 4 * BATCH);
    }

    #[test]
    fn a_turn_keeps_the_queue_as_long_as_it_is() {
        let mut solo = Solo::new(1, 4);
        solo.fill(100);
        for _ in 0..50 {
            solo.turn();
        }
        assert_eq!((solo.running(), solo.ended()), (4, 50));
    }
}
