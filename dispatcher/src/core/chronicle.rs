//! The chronicle of a failover: when each of its phases ended, and what became of each attempt that ran when
//! the reign began. Written a second after that, and again later as long as there is news.

use super::Now;
use crate::ledger::{Event, Ledger};
use relais_protocol::failover::{FATES_MAX, FailoverTale, Fate, JobFate};
use relais_protocol::ids::{Fence, JobId, NodeId, Reign};
use relais_protocol::record::{Failover, Record};
use relais_protocol::time::{Mono, UnixMs};
use std::collections::BTreeMap;

/// When the record is written, in ms after the reign began: soon, when every lease of before is over, and when
/// those of a pair are, too.
const WRITTEN_AFTER_MS: [u64; 3] = [1_000, 6_000, 12_000];

/// The failover that is being recorded.
#[derive(Default)]
pub(super) struct Chronicle {
    draft: Option<FailoverTale>,
    begun_at: Mono,
    due: usize,
    written: Option<FailoverTale>,
    attempts: BTreeMap<(JobId, Fence), (NodeId, Fate)>,
    open: usize,
    prelude: Prelude,
}

/// How a reign comes about.
#[derive(Clone, Debug, Default)]
struct Prelude {
    cause: String,
    suspected_at: Option<UnixMs>,
    confirmed_at: Option<UnixMs>,
}

impl Chronicle {
    pub(super) fn explain(&mut self, cause: &str, suspected_at: UnixMs, confirmed_at: Option<UnixMs>) {
        self.prelude = Prelude { cause: cause.to_owned(), suspected_at: Some(suspected_at), confirmed_at };
    }

    pub(super) fn begin(&mut self, now: Now, reign: Reign, from: Option<NodeId>, to: NodeId, ledger: &Ledger) {
        let suspected_at = self.prelude.suspected_at.unwrap_or(now.unix);
        let running = |node| ledger.running_on(node).map(move |attempt| (attempt, (node, Fate::Open)));
        let all = ledger.nodes().flat_map(|row| running(row.id));
        self.attempts = all.filter(|((_, fence), _)| fence.epoch() < reign.epoch).collect();
        self.open = self.attempts.len();
        self.begun_at = now.mono;
        (self.due, self.written) = (0, None);
        let failover = Failover {
            epoch: reign.epoch,
            generation: reign.generation,
            from,
            to,
            cause: self.prelude.cause.clone(),
            suspected_at,
            elected_at: now.unix,
            first_dispatch_at: None,
            unavailable_ms: now.unix.since(suspected_at),
            adopted: 0,
            retried: 0,
            lost_attempts: 0,
        };
        self.draft = Some(FailoverTale {
            failover,
            confirmed_at: self.prelude.confirmed_at,
            reconciled_at: (self.open == 0).then_some(now.unix),
            running: count(self.open),
            kept: 0,
            duplicate: 0,
            fates: Vec::new(),
        });
    }

    /// Its worker runs it, and is to go on.
    pub(super) fn adopt(&mut self, now: Now, job: JobId, fence: Fence) {
        self.heard(now, job, fence, Fate::Adopted);
    }

    /// Its worker reports its end.
    pub(super) fn end(&mut self, now: Now, job: JobId, fence: Fence) {
        self.heard(now, job, fence, Fate::Kept);
    }

    /// Its worker runs what it should not: perhaps something that was given up.
    pub(super) fn astray(&mut self, now: Now, job: JobId, fence: Fence) {
        self.heard(now, job, fence, Fate::Duplicate);
    }

    fn heard(&mut self, now: Now, job: JobId, fence: Fence, what: Fate) {
        if self.due >= WRITTEN_AFTER_MS.len() {
            return;
        }
        let Some((_, fate)) = self.attempts.get_mut(&(job, fence)) else { return };
        let next = match (*fate, what) {
            (Fate::Open, Fate::Duplicate) | (Fate::Kept | Fate::Adopted | Fate::Duplicate, _) => return,
            (Fate::Open, what) => what,
            // It was given up, and yet here it is.
            (Fate::Retried, _) => Fate::Duplicate,
        };
        let was_open = *fate == Fate::Open;
        *fate = next;
        if was_open {
            self.account(now);
        }
    }

    /// One attempt more is accounted for.
    fn account(&mut self, now: Now) {
        self.open = self.open.saturating_sub(1);
        if let Some(draft) = self.draft.as_mut().filter(|_| self.open == 0) {
            draft.reconciled_at.get_or_insert(now.unix);
        }
    }

    pub(super) fn note(&mut self, now: Now, events: &[Event]) {
        for event in events {
            match event {
                Event::Started { .. } => {
                    if let Some(draft) = &mut self.draft {
                        draft.failover.first_dispatch_at.get_or_insert(now.unix);
                    }
                }
                Event::AttemptLost { job, fence, .. } => self.lose(now, *job, *fence),
                _ => {}
            }
        }
    }

    fn lose(&mut self, now: Now, job: JobId, fence: Fence) {
        let Some(draft) = &mut self.draft else { return };
        draft.failover.lost_attempts = draft.failover.lost_attempts.saturating_add(1);
        let Some((_, fate)) = self.attempts.get_mut(&(job, fence)) else { return };
        let was_open = *fate == Fate::Open;
        *fate = Fate::Retried;
        if was_open {
            self.account(now);
        }
    }

    /// The record, when it is time to write it and there is news.
    pub(super) fn write(&mut self, now: Now) -> Option<Record> {
        let due = WRITTEN_AFTER_MS.get(self.due)?;
        if self.draft.is_none() || now.mono.since(self.begun_at) < *due {
            return None;
        }
        self.due += 1;
        let tale = self.tale()?;
        if self.due >= WRITTEN_AFTER_MS.len() {
            self.attempts.clear();
        }
        let is_news = self.written.as_ref() != Some(&tale);
        self.written = Some(tale.clone());
        is_news.then(|| Record::FailoverTold(Box::new(tale)))
    }

    fn tale(&self) -> Option<FailoverTale> {
        let mut tale = self.draft.clone()?;
        let number = |wanted: &[Fate]| count(self.attempts.values().filter(|(_, fate)| wanted.contains(fate)).count());
        tale.kept = number(&[Fate::Kept]);
        tale.duplicate = number(&[Fate::Duplicate]);
        tale.failover.adopted = number(&[Fate::Adopted]);
        tale.failover.retried = number(&[Fate::Retried, Fate::Duplicate]);
        let fate = |((job, _), (node, fate)): (&(JobId, Fence), &(NodeId, Fate))| JobFate {
            job: *job,
            node: *node,
            fate: *fate,
        };
        tale.fates = self.attempts.iter().take(FATES_MAX).map(fate).collect();
        Some(tale)
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
