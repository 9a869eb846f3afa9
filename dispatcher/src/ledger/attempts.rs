//! Attempts: how one ends, and what follows by the job's policy.

use super::{Event, Ledger};
use crate::planted::is_planted;
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::job::{AttemptEnd, AttemptOutcome, ErrorKind, Job, JobError, JobState};
use relais_protocol::record::{Finish, Outcome, Refusal};
use relais_protocol::spec::{Jitter, OnDisconnect, OnLost, RetryPolicy};
use xxhash_rust::xxh3::xxh3_64_with_seed;

impl Ledger {
    /// A worker says how an attempt ended. It counts unless a newer attempt has started, the job has ended,
    /// or it was told before; so also after the attempt was given up.
    ///
    /// An attempt that was stopped though nobody had cancelled its job is lost: its node stopped it, since it had
    /// lost touch with the dispatcher or was about to end.
    pub(super) fn finish(&mut self, mut finish: Finish) -> Outcome {
        let Some(mut job) = self.jobs.take(&self.sheet, finish.job) else {
            return Outcome::Refused(Refusal::NoSuchJob);
        };
        let newest = job.attempts.last().map(|attempt| attempt.fence);
        let has_ended = job.state.is_terminal() && !is_planted("terminal-overwritten");
        let is_old = newest != Some(finish.fence) && !is_planted("late-report-accepted");
        if has_ended || is_old {
            let refusal =
                if job.state.is_terminal() { Refusal::JobEnded(job.state.name()) } else { Refusal::StaleFence };
            self.jobs.put_back(job);
            self.tally.end_refused(self.head.now);
            return Outcome::Refused(refusal);
        }
        if finish.outcome == AttemptOutcome::Cancelled && job.cancel.is_none() {
            finish.outcome = AttemptOutcome::Lost;
            if let Some(error) = &mut finish.error {
                error.kind = ErrorKind::Lost;
            }
        }
        match job.attempts.last().and_then(|attempt| attempt.end.as_ref()).map(|end| end.outcome) {
            None => {}
            Some(AttemptOutcome::Lost) if finish.outcome != AttemptOutcome::Lost => {
                job.losses = job.losses.saturating_sub(1);
            }
            // An end counts once, however often a worker has to tell it.
            Some(_) => {
                self.jobs.put_back(job);
                self.tally.end_refused(self.head.now);
                return Outcome::Refused(Refusal::StaleFence);
            }
        }
        self.end_attempt(&mut job, &finish);
        job.result = finish.result;
        match finish.outcome {
            AttemptOutcome::Succeeded => {
                job.error = None;
                job.ended_by = Some(finish.fence);
                self.change_state(job, JobState::Succeeded);
            }
            AttemptOutcome::Cancelled => self.end_cancelled(job),
            AttemptOutcome::Lost => self.after_loss(job),
            AttemptOutcome::Failed | AttemptOutcome::TimedOut => self.after_failure(job),
        }
        Outcome::Done
    }

    /// Gives up everything that runs on `node`; with `all` false, what is to go on unseen is spared.
    pub(super) fn lose_all(&mut self, node: NodeId, all: bool) {
        let spared = |on_disconnect| !all && on_disconnect == OnDisconnect::Continue;
        let running = self.nodes.running(node).filter(|(_, attempt)| !spared(attempt.on_disconnect));
        for job in running.map(|(job, _)| job).collect::<Vec<JobId>>() {
            self.lose(job);
        }
    }

    pub(super) fn lose(&mut self, id: JobId) {
        let Some(mut job) = self.jobs.take(&self.sheet, id) else { return };
        let JobState::Running { node, fence, .. } = job.state else {
            self.jobs.put_back(job);
            return;
        };
        let now = self.head.now;
        if let Some(attempt) = job.attempts.last_mut() {
            self.tally.attempt_ended(now, attempt.started_at, AttemptOutcome::Lost);
            attempt.end = Some(AttemptEnd {
                finished_at: now,
                outcome: AttemptOutcome::Lost,
                exit_code: None,
                signal: None,
                error: Some(JobError {
                    kind: ErrorKind::Lost,
                    message: "its node was not heard of for a lease".into(),
                }),
                progress: None,
                output_tail: Vec::new(),
            });
        }
        self.events.push(Event::AttemptLost { job: id, node, fence });
        self.after_loss(job);
    }

    pub(super) fn end_attempt(&mut self, job: &mut Job, finish: &Finish) {
        let now = self.head.now;
        if let Some(attempt) = job.attempts.last_mut() {
            if attempt.end.is_none() {
                self.tally.attempt_ended(now, attempt.started_at, finish.outcome);
            }
            attempt.end = Some(AttemptEnd {
                finished_at: now,
                outcome: finish.outcome,
                exit_code: finish.exit_code,
                signal: finish.signal,
                error: finish.error.clone(),
                progress: finish.progress.clone(),
                output_tail: finish.output_tail.clone(),
            });
        }
    }

    fn after_loss(&mut self, mut job: Job) {
        job.losses += u16::from(!is_planted("losses-not-counted"));
        let policy = job.spec.options().retry.clone();
        if job.cancel.is_some() {
            self.end_cancelled(job);
        } else if policy.on_lost == OnLost::Fail {
            self.fail(job, ErrorKind::Lost, "its attempt was lost, and `on_lost` is `fail`".to_owned());
        } else if job.losses > policy.max_lost {
            let last = job.attempts.last().and_then(|attempt| attempt.end.as_ref()?.error.as_ref());
            let last = last.map_or_else(String::new, |error| format!("; of the last: {}", error.message));
            let message = format!("{} attempts were lost, `max_lost` is {}{last}", job.losses, policy.max_lost);
            self.fail(job, ErrorKind::LostTooOften, message);
        } else {
            self.change_state(job, JobState::Queued);
        }
    }

    fn after_failure(&mut self, mut job: Job) {
        job.failures += 1 + u16::from(is_planted("failure-counted-twice"));
        let policy = job.spec.options().retry.clone();
        let end = job.attempts.last().and_then(|attempt| attempt.end.clone());
        if job.cancel.is_some() {
            self.end_cancelled(job);
            return;
        }
        if job.failures >= policy.max_attempts || end.as_ref().is_some_and(|end| is_final(&policy, end)) {
            let error = end.and_then(|end| end.error);
            let error = error.unwrap_or(JobError { kind: ErrorKind::Exit, message: "it failed".into() });
            job.ended_by = job.attempts.last().map(|attempt| attempt.fence);
            self.fail(job, error.kind, error.message);
            return;
        }
        let number = job.attempts.len() as u64;
        let wait = retry_wait_ms(&policy, job.failures, xxh3_64_with_seed(&job.id.0.to_be_bytes(), number));
        let at = self.head.now.plus(wait);
        self.change_state(job, JobState::Retrying { at });
    }

    fn fail(&mut self, mut job: Job, kind: ErrorKind, message: String) {
        job.error = Some(JobError { kind, message });
        self.change_state(job, JobState::Failed);
    }
}

fn is_final(policy: &RetryPolicy, end: &AttemptEnd) -> bool {
    let says = end.error.as_ref();
    if is_planted("final-end-retried") {
        return false;
    }
    if says.is_some_and(|error| error.kind == ErrorKind::WorkerFinal) {
        return true;
    }
    policy.non_retryable.iter().any(|rule| match rule.strip_prefix("exit:") {
        Some(code) => end.exit_code.is_some_and(|exit| code == exit.to_string()),
        None => says.is_some_and(|error| match rule.strip_prefix("worker:") {
            Some(name) => error.kind == ErrorKind::Worker && error.message.split(": ").next() == Some(name),
            None => error.kind.as_str() == rule,
        }),
    })
}

/// The wait before the next attempt after `failures` failures: exponential, capped, and spread evenly
/// from 0 to that wait by `dice` with full jitter ("Exponential Backoff And Jitter", M. Brooker, 2015).
#[must_use]
pub(super) fn retry_wait_ms(policy: &RetryPolicy, failures: u16, dice: u64) -> u64 {
    let factor = f64::from(policy.backoff_permille) / 1_000.0;
    let wait = policy.initial_interval_ms as f64 * factor.powi(i32::from(failures) - 1);
    let wait =
        if wait.is_finite() { wait.min(policy.maximum_interval_ms as f64) as u64 } else { policy.maximum_interval_ms };
    match policy.jitter {
        Jitter::None => wait,
        Jitter::Full => dice % (wait + 1),
    }
}
