//! When ended jobs are forgotten: a pass over the old end of the record each minute, in steps between which
//! others are served.

use super::{Core, Now};
use crate::ledger::Ledger;
use crate::planted::is_planted;
use relais_protocol::ids::JobId;
use relais_protocol::record::{Outcome, Outcomes, Record};
use relais_protocol::time::{Mono, UnixMs};

/// Between two passes, in ms, at most; a tenth of the retention if that is shorter.
const PASS_EVERY_MS: u64 = 60_000;
/// And at least.
const PASS_EVERY_MIN_MS: u64 = 1_000;
/// Between two steps of one, in ms.
const STEP_EVERY_MS: u64 = 50;
/// Jobs that one step may forget beyond those whose time is over.
const SURPLUS_A_STEP: u64 = 1_000;

/// How far the pass is.
pub(super) struct Retention {
    /// When the next step is due; `None` while one is under way.
    next_at: Option<Mono>,
    from: JobId,
}

impl Default for Retention {
    fn default() -> Self {
        Self { next_at: None, from: JobId(0) }
    }
}

impl Core {
    /// A reign begins: the first pass comes soon.
    pub(super) fn begin_retention(&mut self, now: Mono) {
        self.retention = Retention { next_at: Some(now.plus(STEP_EVERY_MS)), from: JobId(0) };
    }

    /// Proposes the next step when it is due.
    pub(super) fn step_retention(&mut self, now: Now, ledger: &Ledger) {
        if self.retention.next_at.is_none_or(|at| at > now.mono) || self.batches.is_full() {
            return;
        }
        let settings = ledger.settings();
        let stamp = self.stamp(now, ledger);
        let age = if is_planted("forgets-too-soon") { 0 } else { settings.retention_ms };
        let before = UnixMs(stamp.0.saturating_sub(age));
        let surplus = ledger.surplus().min(SURPLUS_A_STEP) as u32;
        if self.retention.from == JobId(0) && surplus == 0 && !ledger.has_to_forget(stamp, before) {
            self.retention.next_at = Some(now.mono.plus(pass_every_ms(ledger)));
            return;
        }
        self.retention.next_at = None;
        self.batches.add_own(vec![Record::Forget { from: self.retention.from, before, surplus }]);
    }

    /// What came of a step.
    pub(super) fn note_forgotten(&mut self, now: Now, ledger: &Ledger, outcomes: &Outcomes) {
        for outcome in &outcomes.each {
            let Outcome::Forgot { count, next } = outcome else { continue };
            let wait = if next.is_some() || *count > 0 { STEP_EVERY_MS } else { pass_every_ms(ledger) };
            self.retention = Retention { next_at: Some(now.mono.plus(wait)), from: next.unwrap_or(JobId(0)) };
        }
    }

    /// A step came to nothing: it is proposed again.
    pub(super) fn retry_retention(&mut self, now: Now) {
        if self.retention.next_at.is_none() {
            self.retention.next_at = Some(now.mono.plus(STEP_EVERY_MS));
        }
    }
}

fn pass_every_ms(ledger: &Ledger) -> u64 {
    (ledger.settings().retention_ms / 10).clamp(PASS_EVERY_MIN_MS, PASS_EVERY_MS)
}
