//! Attempts outside of the nodes: granted to external workers that ask for them, ended by their word or by time.
//!
//! What a grant may take is decided here, where it is applied: the same turns, limits, rates and keys as where
//! jobs are placed on nodes. How long a lease lasts is the dispatcher's to count; here is only that it is over.

use super::{Event, Ledger};
use relais_protocol::ids::{Fence, Incarnation, JobId, NodeId};
use relais_protocol::job::{AttemptOutcome, ErrorKind, Job, JobError, JobState};
use relais_protocol::lease::{AskId, EXTERNAL, LeaseAsk, LeaseEnd, LeaseOutcome, Outside};
use relais_protocol::record::{Finish, Outcome, Refusal};
use relais_protocol::spec::{EVERYWHERE, QueueName};
use relais_protocol::time::{UnixMs, duration_text};
use std::collections::BTreeSet;

/// How much longer than its time-out an attempt outside may take, in ms: its worker stops it by a clock of its own and
/// may have to say so to another dispatcher, whose clock is another one, too.
const SPARE_MS: u64 = 1_000;

/// When attempts that run outside have taken too long: a node would stop them itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Deadlines(BTreeSet<(UnixMs, JobId)>);

/// When the attempt of `job` has taken too long, if it runs outside and may not take for ever.
fn deadline(job: &Job) -> Option<(UnixMs, JobId)> {
    let JobState::Running { node: NodeId::OUTSIDE, .. } = job.state else { return None };
    let timeout_ms = job.spec.options().timeout_ms?;
    Some((job.attempts.last()?.started_at.plus(timeout_ms).plus(SPARE_MS), job.id))
}

impl Deadlines {
    pub(super) fn enter(&mut self, job: &Job) {
        self.0.extend(deadline(job));
    }

    pub(super) fn exit(&mut self, job: &Job) {
        deadline(job).map(|at| self.0.remove(&at));
    }

    pub(super) fn next(&self) -> Option<UnixMs> {
        self.0.first().map(|(at, _)| *at)
    }

    fn take(&mut self, now: UnixMs) -> Option<JobId> {
        let first = *self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.remove(&first);
        Some(first.1)
    }
}

impl Ledger {
    /// Grants what waits for a worker such as this: the least served queue first, its jobs by their turn.
    pub(super) fn grant(&mut self, ask: &LeaseAsk) -> Outcome {
        // What is due by this entry's stamp comes before what the entry grants.
        self.come_due();
        self.lines.reopen(self.head.now);
        let mut granted = Vec::new();
        while granted.len() < usize::from(ask.max)
            && let Some(queue) = self.lines.next_queue_of(&ask.queues)
        {
            match self.grant_one_of(&queue, ask) {
                Some(lease) => granted.push(lease),
                None => self.lines.set_aside(&queue),
            }
        }
        self.lines.take_back();
        Outcome::Leased(granted)
    }

    fn grant_one_of(&mut self, queue: &QueueName, ask: &LeaseAsk) -> Option<(JobId, Fence)> {
        let mut passed_over = None;
        while let Some((turn, requires)) = self.lines.head_after(queue, passed_over) {
            passed_over = Some(turn);
            if !ask.takes(&requires) {
                continue;
            }
            let Some(job) = self.jobs.take(&self.sheet, turn.2) else { continue };
            let outside = Outside { worker: ask.worker.clone(), ask: ask.id, lease_ms: ask.lease_ms };
            self.lines.serve(queue, requires.slots, self.head.now);
            let fence = self.start(job, NodeId::OUTSIDE, Incarnation(0), Some(Box::new(outside)));
            return Some((turn.2, fence));
        }
        None
    }

    /// An attempt that ran outside is over. Its end counts only while it runs; one that is told again is answered
    /// as it was the first time.
    pub(super) fn end_lease(&mut self, end: LeaseEnd) -> Outcome {
        let Some(mut job) = self.jobs.take(&self.sheet, end.job) else { return Outcome::Refused(Refusal::NoSuchJob) };
        let runs = matches!(job.state, JobState::Running { node: NodeId::OUTSIDE, fence, .. } if fence == end.fence);
        if !runs {
            let outcome = match was_told(&job, &end) {
                true => Outcome::LeaseEnded(job.state.name()),
                false => {
                    self.tally.end_refused(self.head.now);
                    Outcome::Refused(Refusal::LeaseOver)
                }
            };
            self.jobs.put_back(job);
            return outcome;
        }
        let id = job.id;
        let finish = finish(end);
        match finish.outcome {
            AttemptOutcome::Cancelled => {
                self.end_attempt(&mut job, &finish);
                if job.cancel.is_some() { self.end_cancelled(job) } else { self.change_state(job, JobState::Queued) }
            }
            outcome => {
                if outcome == AttemptOutcome::Lost {
                    self.tally.outside_lease_ended(self.head.now);
                    self.events.push(Event::AttemptLost { job: id, node: NodeId::OUTSIDE, fence: finish.fence });
                }
                self.jobs.put_back(job);
                self.finish(finish);
            }
        }
        self.jobs.read(&self.sheet, id).map_or(Outcome::Done, |job| Outcome::LeaseEnded(job.state.name()))
    }

    /// Ends what has taken too long.
    pub(super) fn time_out_leases(&mut self) {
        while let Some(id) = self.deadlines.take(self.head.now) {
            let Some(job) = self.jobs.read(&self.sheet, id) else { continue };
            let (JobState::Running { fence, .. }, Some(ms)) = (&job.state, job.spec.options().timeout_ms) else {
                continue;
            };
            let message = format!("not done within its timeout of {}", duration_text(ms));
            let error = JobError { kind: ErrorKind::Timeout, message };
            self.finish(Finish { error: Some(error), ..bare(id, *fence, AttemptOutcome::TimedOut) });
        }
    }

    /// Whether jobs of this kind can ever be run: a node of the table offers it, up or not.
    #[must_use]
    pub fn knows_kind(&self, kind: &str) -> bool {
        let is_offered = || self.nodes.rows().any(|row| row.facts.kinds.iter().any(|offered| offered == kind));
        EVERYWHERE.contains(&kind) || kind == EXTERNAL || is_offered()
    }

    /// About how many jobs such an ask could be granted now, `most` at most; 0 when it would be granted none.
    #[must_use]
    pub fn leasable(&self, ask: &LeaseAsk, most: usize) -> usize {
        self.lines.count_heads(&ask.queues, most, |requires| ask.takes(requires))
    }

    /// Whose attempt this is, while it runs outside; and whether it is to be cancelled.
    #[must_use]
    pub fn outside(&self, job: JobId, fence: Fence) -> Option<(&Outside, bool)> {
        let job = self.jobs.in_motion(job)?;
        let attempt = job.attempts.last().filter(|last| last.fence == fence && last.end.is_none())?;
        Some((attempt.outside.as_deref()?, job.cancel.is_some()))
    }

    /// What runs of that which was granted to an ask.
    #[must_use]
    pub fn granted_to(&self, ask: AskId) -> Vec<(JobId, Fence)> {
        let is_of = |(job, fence): &(JobId, Fence)| self.outside(*job, *fence).is_some_and(|(own, _)| own.ask == ask);
        self.running_on(NodeId::OUTSIDE).filter(is_of).collect()
    }

    /// The deadlines as they follow from the rows, for checks.
    pub(super) fn deadlines_of_rows(&self) -> Deadlines {
        let mut deadlines = Deadlines::default();
        self.each_job(|job| deadlines.enter(job));
        deadlines
    }
}

const RELEASED: &str = "given back by its worker";
const OVER: &str = "its lease was over: its worker was not heard of in time";

fn bare(job: JobId, fence: Fence, outcome: AttemptOutcome) -> Finish {
    Finish {
        progress: None,
        job,
        fence,
        node: NodeId::OUTSIDE,
        outcome,
        exit_code: None,
        signal: None,
        error: None,
        result: None,
        output_tail: Vec::new(),
    }
}

fn finish(end: LeaseEnd) -> Finish {
    let said = |kind, message: &str| Some(JobError { kind, message: message.to_owned() });
    let (outcome, error, result) = match end.how {
        LeaseOutcome::Completed { result } => (AttemptOutcome::Succeeded, None, result),
        LeaseOutcome::Failed(error) => (AttemptOutcome::Failed, Some(error), None),
        LeaseOutcome::Released => (AttemptOutcome::Cancelled, said(ErrorKind::Cancelled, RELEASED), None),
        LeaseOutcome::Over => (AttemptOutcome::Lost, said(ErrorKind::Lost, OVER), None),
    };
    Finish { error, result, ..bare(end.job, end.fence, outcome) }
}

/// Whether just this end of this attempt is in the record already.
fn was_told(job: &Job, end: &LeaseEnd) -> bool {
    let attempt = job.attempts.iter().find(|attempt| attempt.fence == end.fence && attempt.outside.is_some());
    let Some(known) = attempt.and_then(|attempt| attempt.end.as_ref()) else { return false };
    let told = finish(end.clone());
    let is_same_result = match end.how {
        LeaseOutcome::Completed { .. } => job.ended_by == Some(end.fence) && job.result == told.result,
        _ => true,
    };
    known.outcome == told.outcome && known.error == told.error && is_same_result
}
