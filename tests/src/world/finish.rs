//! The end of a run: after the heal, is everything as it must be, and what is in the record?

use super::World;
use super::arrays;
use super::bench;
use super::crons;
use super::log::Load;
use super::node::Life;
use super::operator;
use crate::checkers::Violation;
use crate::history::{At, Final, Recovery, Submitted};
use relais_dispatcher::ledger::JobFilter;
use relais_protocol::ids::{Index, NodeId, RaftId};
use relais_protocol::job::{Attempt, Job, JobState};
use relais_protocol::record::Record;
use relais_protocol::spec::OnLost;

/// How long a healed cluster has to end all jobs, in ms.
const ALL_END_WITHIN_MS: u64 = 60_000;
/// How long it goes on when all is done, so that what comes late comes.
const AFTERWARDS_MS: u64 = 1_500;

impl World {
    /// Looks whether the run can end: it can when nothing is left to do, or the time for it is over.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(mut recovery) = self.history.recovery.take() else { return false };
        let now = At(self.now);
        if recovery.dispatcher.is_none() && self.reigns().is_some() {
            recovery.dispatcher = Some(now);
        }
        recovery.stuck = self.stuck();
        if recovery.stuck.is_empty() {
            recovery.all_ended.get_or_insert(now);
        } else {
            recovery.all_ended = None;
        }
        let late = now.0 > recovery.healed.0 + ALL_END_WITHIN_MS;
        recovery.gave_up = (late && recovery.all_ended.is_none()).then_some(now);
        self.undrain();
        let over = late || recovery.all_ended.is_some_and(|at| now.0 >= at.0 + AFTERWARDS_MS);
        self.history.recovery = Some(recovery);
        over
    }

    /// Whoever drained nodes looks whether they take work again, and if not says so once more: what he said when
    /// the drain was over can be lost, or be overtaken by what began it, which another node still held.
    fn undrain(&mut self) {
        let Some(dispatcher) = self.reigns() else { return };
        let Some(life) = self.node(dispatcher).life.as_deref() else { return };
        let drained: Vec<NodeId> = life.ledger.nodes().filter(|row| row.draining).map(|row| row.id).collect();
        for node in drained {
            self.ask_somewhere(vec![Record::Drain { node, on: false }]);
        }
    }

    pub(super) fn begin_recovery(&mut self) {
        self.history.recovery = Some(Recovery { healed: At(self.now), ..Recovery::default() });
    }

    /// The node that has the role and can use it.
    fn reigns(&self) -> Option<NodeId> {
        let holder = self
            .nodes
            .iter()
            .find(|node| node.life.as_deref().is_some_and(|l| l.election.leads() && l.core.reign().is_some()));
        holder.map(|node| node.id)
    }

    /// What is not yet as it will be.
    fn stuck(&self) -> Vec<String> {
        let mut stuck = Vec::new();
        let Some(dispatcher) = self.reigns() else { return vec!["there is no dispatcher".to_owned()] };
        for (number, _) in self.clients.iter().enumerate().filter(|(_, client)| !client.is_done()) {
            stuck.push(format!("client {number} still waits"));
        }
        let Some(life) = self.nodes[dispatcher.0 as usize - 1].life.as_deref() else { return stuck };
        let open = life.ledger.list(&JobFilter::default(), None, usize::MAX, usize::MAX).0;
        for job in open.iter().filter(|job| !job.state.is_terminal()) {
            stuck.push(format!("{} is {:?}", job.id, job.state));
        }
        stuck.extend(Self::schedules_that_go_on(&life.ledger));
        stuck.extend(self.notices_that_wait(&life.ledger));
        stuck.extend(self.arrays_that_go_on(&life.ledger));
        let held = self.held_by_operator(&life.ledger);
        stuck.extend((held > 0).then(|| format!("{held} things are held by the operator")));
        stuck.extend(life.ledger.nodes().filter(|row| row.draining).map(|row| format!("node {} drains", row.id)));
        for node in &self.nodes {
            let Some(other) = node.life.as_deref() else { continue };
            if other.applied + 4 < life.applied {
                stuck.push(format!("node {} is at index {}, not {}", node.id, other.applied, life.applied));
            }
            if other.worker.running() + other.worker.unsettled().len() > 0 || !node.bench.is_idle() {
                stuck.push(format!("node {} still has attempts", node.id));
            }
        }
        stuck.extend(self.missing_voters(life));
        stuck
    }

    /// A healed cluster has as many voters as it should, each with the journal that is there now.
    fn missing_voters(&self, life: &Life) -> Option<String> {
        let members = life.raft.log().members();
        let is_there = |raft: &RaftId| self.nodes[raft.node().0 as usize - 1].raft_id() == *raft;
        let voters = members.voters();
        let there = voters.iter().filter(|raft| is_there(raft)).count();
        let wanted = self.plan.voters.min(self.ids.len());
        let whole = !members.is_joint() && there == voters.len() && there >= wanted;
        (!whole).then(|| format!("the voters are {voters:?}, {there} of them are there, {wanted} are wanted"))
    }

    /// Without a dispatcher nobody tells a node that was restarted how far its log is committed, and its ledger
    /// is as of its last checkpoint: that is not the record. What was committed, for somebody has applied it,
    /// is applied there from the longest log, as it would be under any dispatcher to come.
    fn apply_what_was_committed(&mut self) {
        if self.reigns().is_some() {
            return;
        }
        let watched = self.watched;
        let lives = self.nodes.iter_mut().filter_map(|node| node.life.as_deref_mut());
        let Some(life) = lives.max_by_key(|life| life.raft.last()) else { return };
        while life.applied < watched
            && let Some(entry) = life.raft.log().entry(life.applied + 1).cloned()
        {
            life.applied += 1;
            if let Load::Batch(batch) = entry.load {
                life.ledger.apply_batch(Index(life.applied), (*batch).clone());
            }
        }
    }

    /// Writes down what is in the record of the most advanced node, and every digest.
    pub(super) fn write_finals(&mut self) {
        self.apply_what_was_committed();
        for node in self.ids.clone() {
            self.digest(node);
            let broken = self.node(node).life.as_deref().and_then(|life| life.ledger.check_invariants().err());
            if let Some(broken) = broken {
                self.broken("ledger-invariant", format!("node {node} at the end: {}", broken.0));
            }
        }
        let lives = self.nodes.iter().filter_map(|node| node.life.as_deref());
        let Some(life) = lives.max_by_key(|life| (life.core.reign().is_some(), life.applied)) else { return };
        let jobs = life.ledger.list(&JobFilter::default(), None, usize::MAX, usize::MAX).0;
        let wrong = self.check_schedules(&life.ledger, &jobs);
        let mix = Self::ends_of(&life.ledger, &jobs);
        let spoiled = Self::check_results(&jobs);
        let untold = self.check_told(&jobs);
        let wrong_arrays = self.check_arrays(&life.ledger, &jobs);
        self.history.submits.extend(jobs.iter().filter_map(arrays::made));
        self.history.submits.extend(jobs.iter().filter_map(operator::made));
        for (feature, times) in mix {
            *self.mix.entry(feature).or_default() += times;
        }
        let made = jobs.iter().filter(|job| crons::made(job)).map(|job| job.id);
        let made = made.map(|id| Submitted { key: None, sent_as: vec![id], acked: Vec::new() });
        self.history.submits.extend(made);
        let finals = jobs.into_iter().map(|job| {
            let options = job.spec.options();
            let losses_max = if options.retry.on_lost == OnLost::Fail { 0 } else { options.retry.max_lost };
            let is_fatal = |attempt: &&Attempt| {
                let outcome = attempt.end.as_ref().map(|end| end.outcome);
                outcome.is_some_and(|outcome| bench::is_fatal(&job.spec, attempt.outside.is_some(), outcome))
            };
            Final {
                fatal: job.attempts.iter().filter(is_fatal).map(|attempt| attempt.fence).collect(),
                id: job.id,
                state: job.state.name(),
                key: options.idempotency_key.clone(),
                attempts: job.attempts.iter().map(|a| (a.fence, a.end.as_ref().map(|end| end.outcome))).collect(),
                failures_max: options.retry.max_attempts,
                losses_max,
            }
        });
        self.history.finals = finals.collect();
        let fatal = self.history.finals.iter().filter(|job| !job.fatal.is_empty()).count() as u32;
        *self.mix.entry("retry: ended as non_retryable").or_default() += fatal;
        for spoiled in spoiled {
            self.broken("results-are-kept", spoiled);
        }
        for wrong in wrong_arrays {
            self.broken("one-job-per-member", wrong);
        }
        for wrong in wrong {
            self.broken("one-job-per-slot", wrong);
        }
        for untold in untold {
            self.broken("ends-are-told", untold);
        }
    }

    /// A job that succeeded has the result that the attempt gave which ended it.
    fn check_results(jobs: &[Job]) -> Vec<String> {
        let ended = jobs.iter().filter(|job| job.state == JobState::Succeeded);
        let wrong = ended.filter(|job| job.result != job.ended_by.and_then(|fence| bench::result_of(job.id, fence)));
        wrong.map(|job| format!("{} ended by {:?} has the result {:?}", job.id, job.ended_by, job.result)).collect()
    }

    pub(super) fn broken(&mut self, property: &'static str, seen: String) {
        self.broken.push(Violation { property, seen });
    }
}
