//! Notices: of which ended jobs somebody is still to be told.
//!
//! The notice stands in the job's own row, so it is there from the entry in which the job ends and goes with the
//! row wherever it goes. Which ones are pending is an index that is built from the rows. Who delivers them is
//! the shell of the dispatcher; what came of it is one record, so a dispatcher that dies between the delivery
//! and that record leaves a notice that is delivered again: at least once, always under the same id.

use super::Ledger;
use relais_protocol::ids::JobId;
use relais_protocol::job::Job;
use relais_protocol::notice::{Notice, NoticeState, Noticed};
use relais_protocol::record::{Outcome, Refusal};
use std::collections::BTreeSet;

/// The jobs whose notices are pending.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeSet<JobId>);

impl Notices {
    pub(super) fn enter(&mut self, job: &Job) {
        if is_pending(job) {
            self.0.insert(job.id);
        }
    }

    pub(super) fn exit(&mut self, job: JobId) {
        self.0.remove(&job);
    }

    /// Whether somebody is still to be told of its end.
    pub(super) fn has(&self, job: JobId) -> bool {
        self.0.contains(&job)
    }
}

fn is_pending(job: &Job) -> bool {
    job.notice.as_ref().is_some_and(|notice| notice.state == NoticeState::Pending)
}

impl Ledger {
    /// Gives `job`, which has just come into its state, the notice that it is to have there.
    pub(super) fn write_notice(&self, job: &mut Job) {
        let is_wanted = job.state.is_terminal() && job.spec.options().notify.is_some();
        let notice = || Notice { life: job.life, state: NoticeState::Pending, at: self.head.now };
        job.notice = is_wanted.then(|| Box::new(notice()));
    }

    /// Keeps what came of a delivery.
    pub(super) fn noticed(&mut self, noticed: Noticed) -> Outcome {
        let Some(mut job) = self.jobs.take(&self.sheet, noticed.job) else {
            return Outcome::Refused(Refusal::NoSuchJob);
        };
        if !is_pending(&job) || job.life != noticed.life {
            self.jobs.put_back(job);
            return Outcome::Done;
        }
        self.notices.exit(job.id);
        job.notice = Some(Box::new(Notice { life: noticed.life, state: noticed.state, at: self.head.now }));
        job.changed = self.stamp();
        self.notices.enter(&job);
        self.jobs.put(job);
        Outcome::Done
    }

    /// The jobs of whose end somebody is still to be told, oldest first.
    pub fn pending_notices(&self) -> impl Iterator<Item = JobId> {
        self.notices.0.iter().copied()
    }
}
