//! The chronicle of a failover: when it was suspected, elected and first dispatched, and what became of
//! what ran. Written a second after the reign began, and once more when every lease of before is over.

use super::Now;
use crate::ledger::Event;
use relais_protocol::ids::{JobId, NodeId, Reign};
use relais_protocol::record::{Failover, Record};
use relais_protocol::time::{Mono, UnixMs};
use std::collections::BTreeSet;

/// When the record is written, in ms after the reign began.
const WRITTEN_AFTER_MS: [u64; 2] = [1_000, 6_000];

/// The failover that is being recorded.
#[derive(Default)]
pub(super) struct Chronicle {
    draft: Option<Failover>,
    begun_at: Mono,
    written: usize,
    adopted: BTreeSet<JobId>,
    cause: String,
    suspected_at: Option<UnixMs>,
}

impl Chronicle {
    pub(super) fn explain(&mut self, cause: &str, suspected_at: UnixMs) {
        cause.clone_into(&mut self.cause);
        self.suspected_at = Some(suspected_at);
    }

    pub(super) fn begin(&mut self, now: Now, reign: Reign, from: Option<NodeId>, to: NodeId) {
        let suspected_at = self.suspected_at.unwrap_or(now.unix);
        self.begun_at = now.mono;
        self.written = 0;
        self.adopted.clear();
        self.draft = Some(Failover {
            epoch: reign.epoch,
            generation: reign.generation,
            from,
            to,
            cause: self.cause.clone(),
            suspected_at,
            elected_at: now.unix,
            first_dispatch_at: None,
            unavailable_ms: now.unix.since(suspected_at),
            adopted: 0,
            retried: 0,
            lost_attempts: 0,
        });
    }

    /// A running attempt of before goes on.
    pub(super) fn adopt(&mut self, job: JobId) {
        if self.draft.is_some() && self.written < WRITTEN_AFTER_MS.len() {
            self.adopted.insert(job);
        }
    }

    pub(super) fn note(&mut self, now: Now, events: &[Event]) {
        let Some(draft) = &mut self.draft else { return };
        for event in events {
            match event {
                Event::Started { .. } => {
                    draft.first_dispatch_at.get_or_insert(now.unix);
                }
                Event::AttemptLost { .. } => {
                    draft.lost_attempts += 1;
                    draft.retried += 1;
                }
                _ => {}
            }
        }
    }

    /// The record, when it is time to write it.
    pub(super) fn write(&mut self, now: Now) -> Option<Record> {
        let draft = self.draft.as_mut()?;
        let due = WRITTEN_AFTER_MS.get(self.written)?;
        if now.mono.since(self.begun_at) < *due {
            return None;
        }
        self.written += 1;
        draft.adopted = u32::try_from(self.adopted.len()).unwrap_or(u32::MAX);
        Some(Record::Failover(Box::new(draft.clone())))
    }
}
