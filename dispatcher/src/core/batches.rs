//! Group commit: proposals wait while a batch is in flight, and go together in the next.

use super::{Effect, Rejection, Ticket};
use relais_protocol::merge::MergeRow;
use relais_protocol::record::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Committed, Outcomes, Record};
use std::collections::VecDeque;

/// Rough encoded bytes of a record beside its texts.
const RECORD_BYTES: usize = 150;

struct Proposal {
    /// Nobody waits for the dispatcher's own.
    ticket: Option<Ticket>,
    records: Vec<Record>,
}

/// Proposals gathering, and the batch in flight.
#[derive(Default)]
pub(super) struct Batches {
    waiting: VecDeque<Proposal>,
    promote: Option<Vec<Record>>,
    /// Who has how many records in the batch in flight.
    flight: Option<Vec<(Option<Ticket>, usize)>>,
    promoting: bool,
    held: bool,
    drained_told: bool,
    full: bool,
}

impl Batches {
    pub(super) fn add(&mut self, ticket: Ticket, records: Vec<Record>) {
        self.waiting.push_back(Proposal { ticket: Some(ticket), records });
    }

    pub(super) fn add_own(&mut self, records: Vec<Record>) {
        self.waiting.push_back(Proposal { ticket: None, records });
    }

    /// The next batch is these records alone.
    pub(super) fn promote(&mut self, records: Vec<Record>) {
        self.promote = Some(records);
    }

    pub(super) fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn hold(&mut self, hold: bool) {
        self.held = hold;
        self.drained_told = false;
    }

    /// Begins, or ends, to propose nothing for want of room. Who waits is told; the dispatcher's own records
    /// stay, and go when there is room again.
    pub(super) fn close(&mut self, full: bool, effects: &mut Vec<Effect>) {
        self.full = full;
        if full {
            self.waiting.retain(|proposal| {
                effects.extend(proposal.ticket.map(|ticket| Effect::Reply(ticket, Err(Rejection::Full))));
                proposal.ticket.is_none()
            });
        }
    }

    /// Whether what is added now goes with the next batch.
    pub(super) fn flows(&self) -> bool {
        !self.held && !self.full
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether proposals are held and none is in flight; said once for each hold.
    pub(super) fn newly_drained(&mut self) -> bool {
        let drained = self.held && !self.in_flight() && !self.drained_told;
        self.drained_told |= drained;
        drained
    }

    /// Takes the records of the next batch, if none is in flight.
    pub(super) fn next(&mut self) -> Option<Vec<Record>> {
        if self.flight.is_some() {
            return None;
        }
        if let Some(records) = self.promote.take() {
            self.promoting = true;
            self.flight = Some(vec![(None, records.len())]);
            return Some(records);
        }
        if self.held || self.full || self.waiting.is_empty() {
            return None;
        }
        let (mut records, mut flight, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(first) = self.waiting.front() {
            let more: usize = first.records.iter().map(rough_bytes).sum();
            let full = records.len() + first.records.len() > BATCH_RECORDS_MAX || bytes + more > BATCH_BYTES_MAX;
            if full && !records.is_empty() {
                break;
            }
            let Some(proposal) = self.waiting.pop_front() else { break };
            bytes += more;
            flight.push((proposal.ticket, proposal.records.len()));
            records.extend(proposal.records);
        }
        self.flight = Some(flight);
        Some(records)
    }

    /// The batch in flight is committed: who waits for which part of it.
    pub(super) fn commit(&mut self, committed: &Committed) -> Vec<(Ticket, Committed)> {
        self.promoting = false;
        let mut rest = committed.outcomes.each.as_slice();
        let mut told = Vec::new();
        for (ticket, count) in self.flight.take().unwrap_or_default() {
            let (own, after) = rest.split_at(count.min(rest.len()));
            rest = after;
            if let Some(ticket) = ticket {
                let outcomes = Outcomes { each: own.to_vec(), epoch: committed.outcomes.epoch };
                told.push((ticket, Committed { index: committed.index, outcomes }));
            }
        }
        told
    }

    /// The batch in flight came to nothing.
    pub(super) fn fail(&mut self, rejection: Rejection, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.promoting) {
            effects.push(Effect::PromoteFailed);
        }
        for (ticket, _) in self.flight.take().unwrap_or_default() {
            effects.extend(ticket.map(|ticket| Effect::Reply(ticket, Err(rejection))));
        }
        self.reject_waiting(effects);
    }

    /// Nobody waits for this ticket any more; its records stay in flight.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        for (waiting, _) in self.flight.iter_mut().flatten() {
            *waiting = waiting.filter(|waiting| *waiting != ticket);
        }
    }

    /// What has not been proposed never will be.
    pub(super) fn reject_waiting(&mut self, effects: &mut Vec<Effect>) {
        for proposal in self.waiting.drain(..) {
            effects.extend(proposal.ticket.map(|ticket| Effect::Reply(ticket, Err(Rejection::NotDispatcher))));
        }
    }
}

fn rough_bytes(record: &Record) -> usize {
    RECORD_BYTES
        + match record {
            Record::Submit(submit) => {
                let options = submit.spec.options();
                submit.spec.payload.len() + options.metadata.len() + options.name.len()
            }
            Record::Finish(finish) => finish.output_tail.len() + finish.result.as_ref().map_or(0, String::len),
            Record::Merge(merge) => merge.rows.iter().map(MergeRow::rough_bytes).sum(),
            Record::FailoverTold(tale) => tale.fates.len() * 32,
            Record::ScheduleSet(set) => {
                let options = set.schedule.job.options();
                set.schedule.job.payload.len() + options.metadata.len() + options.name.len()
            }
            Record::SubmitGroup(submit) => submit.rough_bytes(),
            _ => 0,
        }
}
