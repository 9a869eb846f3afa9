//! Group commit: proposals wait while a batch is in flight, and go together in the next.
//!
//! Where many wait, the next one does not wait for it: while one is applied, another is on its way to the disks. Few
//! that wait are better off together, since an entry costs more than what is in it.

use super::{Effect, Rejection, Ticket};
use relais_protocol::merge::MergeRow;
use relais_protocol::record::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Committed, Outcome, Outcomes, Record, Refusal};
use std::collections::VecDeque;

/// Batches that may be in flight at once.
const FLIGHTS_MAX: usize = 3;
/// Rough encoded bytes of a record beside its texts.
const RECORD_BYTES: usize = 150;

struct Proposal {
    /// Nobody waits for the dispatcher's own.
    ticket: Option<Ticket>,
    records: Vec<Record>,
}

/// Who has how many records in a batch in flight, in their order.
type Flight = Vec<(Option<Ticket>, usize)>;

/// Proposals gathering, and the batches in flight.
#[derive(Default)]
pub(super) struct Batches {
    waiting: VecDeque<Proposal>,
    /// Records in them.
    waiting_records: usize,
    promote: Option<Vec<Record>>,
    /// Oldest first: they end in this order.
    flights: VecDeque<Flight>,
    promoting: bool,
    /// The last batch in flight merges rows, and may raise the epoch.
    merging: bool,
    held: bool,
    drained_told: bool,
    full: bool,
}

impl Batches {
    pub(super) fn add(&mut self, ticket: Ticket, records: Vec<Record>) {
        self.wait(Proposal { ticket: Some(ticket), records });
    }

    pub(super) fn add_own(&mut self, records: Vec<Record>) {
        self.wait(Proposal { ticket: None, records });
    }

    fn wait(&mut self, proposal: Proposal) {
        self.waiting_records += proposal.records.len();
        self.waiting.push_back(proposal);
    }

    /// The next batch is these records alone.
    pub(super) fn promote(&mut self, records: Vec<Record>) {
        self.promote = Some(records);
    }

    pub(super) fn in_flight(&self) -> bool {
        !self.flights.is_empty()
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
            self.waiting_records = self.waiting.iter().map(|proposal| proposal.records.len()).sum();
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

    /// Takes the records of the next batch, if none is in flight, or at least `overlap` records wait.
    pub(super) fn next(&mut self, overlap: usize) -> Option<Vec<Record>> {
        // A reign begins alone: what is proposed beside it would be of the one before. So would be what comes behind a
        // merge, whose epochs may be higher: every record of it would be refused.
        if self.in_flight() && (self.promoting || self.merging || self.promote.is_some()) {
            return None;
        }
        if let Some(records) = self.promote.take() {
            self.promoting = true;
            self.flights.push_back(vec![(None, records.len())]);
            return Some(records);
        }
        if self.held || self.full || self.waiting.is_empty() {
            return None;
        }
        if self.in_flight() && (self.flights.len() >= FLIGHTS_MAX || self.waiting_records < overlap) {
            return None;
        }
        let (mut records, mut flight, mut bytes) = (Vec::new(), Flight::new(), 0);
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
        self.waiting_records -= records.len();
        self.merging = records.iter().any(|record| matches!(record, Record::Merge(_)));
        self.flights.push_back(flight);
        Some(records)
    }

    /// The oldest batch in flight has ended.
    fn end_flight(&mut self) -> Flight {
        let flight = self.flights.pop_front().unwrap_or_default();
        self.merging &= self.in_flight();
        flight
    }

    /// The oldest batch in flight is committed: who waits for which part of it.
    pub(super) fn commit(&mut self, committed: &Committed) -> Vec<(Ticket, Committed)> {
        self.promoting = false;
        let mut rest = committed.outcomes.each.as_slice();
        let mut told = Vec::new();
        for (ticket, count) in self.end_flight() {
            let (own, after) = rest.split_at(count.min(rest.len()));
            rest = after;
            if let Some(ticket) = ticket {
                let outcomes = Outcomes { each: own.to_vec(), epoch: committed.outcomes.epoch };
                told.push((ticket, Committed { index: committed.index, outcomes }));
            }
        }
        told
    }

    /// The oldest batch in flight came to nothing.
    pub(super) fn fail(&mut self, rejection: Rejection, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.promoting) {
            effects.push(Effect::PromoteFailed);
        }
        for (ticket, _) in self.end_flight() {
            effects.extend(ticket.map(|ticket| Effect::Reply(ticket, Err(rejection))));
        }
        self.reject_waiting(effects);
    }

    /// Nobody waits for this ticket any more; its records stay in flight.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        for (waiting, _) in self.flights.iter_mut().flatten() {
            *waiting = waiting.filter(|waiting| *waiting != ticket);
        }
    }

    /// What has not been proposed never will be.
    pub(super) fn reject_waiting(&mut self, effects: &mut Vec<Effect>) {
        self.waiting_records = 0;
        for proposal in self.waiting.drain(..) {
            effects.extend(proposal.ticket.map(|ticket| Effect::Reply(ticket, Err(Rejection::NotDispatcher))));
        }
    }
}

/// Whether the records came behind the end of the reign that they were proposed in: then none of them was entered.
pub(super) fn is_stale(outcomes: &Outcomes) -> bool {
    outcomes.each.contains(&Outcome::Refused(Refusal::StaleReign))
}

fn rough_bytes(record: &Record) -> usize {
    RECORD_BYTES
        + match record {
            Record::Submit(submit) => {
                let options = submit.spec.options();
                submit.spec.payload.len() + options.metadata.len() + submit.spec.name.len()
            }
            Record::Finish(finish) => finish.output_tail.len() + finish.result.as_ref().map_or(0, String::len),
            Record::Merge(merge) => merge.rows.iter().map(MergeRow::rough_bytes).sum(),
            Record::FailoverTold(tale) => tale.fates.len() * 32,
            Record::ScheduleSet(set) => {
                let options = set.schedule.job.options();
                set.schedule.job.payload.len() + options.metadata.len() + set.schedule.job.name.len()
            }
            Record::SubmitGroup(submit) => submit.rough_bytes(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relais_protocol::ids::{Incarnation, NodeId};
    use relais_protocol::merge::Merge;
    use relais_protocol::time::UnixMs;

    const OVERLAP: usize = 8;

    fn add(batches: &mut Batches, ticket: u64, records: usize) {
        batches.add(Ticket(ticket), vec![Record::Tick; records]);
    }

    fn sent(batches: &mut Batches) -> Option<usize> {
        batches.next(OVERLAP).map(|records| records.len())
    }

    fn told(batches: &mut Batches, outcomes: usize) -> Vec<(u64, usize)> {
        let each = vec![relais_protocol::record::Outcome::Done; outcomes];
        let outcomes = Outcomes { each, ..Outcomes::default() };
        let committed = Committed { index: relais_protocol::ids::Index(1), outcomes };
        let told = batches.commit(&committed).into_iter();
        told.map(|(ticket, own)| (ticket.0, own.outcomes.each.len())).collect()
    }

    #[test]
    fn batches_overlap_where_much_waits_and_end_in_their_order() {
        let mut batches = Batches::default();
        add(&mut batches, 1, 2);
        assert_eq!(sent(&mut batches), Some(2), "an idle dispatcher proposes at once");
        add(&mut batches, 2, OVERLAP - 1);
        assert_eq!(sent(&mut batches), None);
        add(&mut batches, 3, 1);
        assert_eq!(sent(&mut batches), Some(OVERLAP));
        add(&mut batches, 4, OVERLAP);
        assert_eq!(sent(&mut batches), Some(OVERLAP));
        add(&mut batches, 5, 5 * OVERLAP);
        assert_eq!(sent(&mut batches), None, "not more than {FLIGHTS_MAX} at once");
        assert_eq!(told(&mut batches, 2), [(1, 2)]);
        let mut effects = Vec::new();
        batches.fail(Rejection::Unknown, &mut effects);
        let unknown = |ticket| Effect::Reply(Ticket(ticket), Err(Rejection::Unknown));
        assert_eq!(effects[..2], [unknown(2), unknown(3)]);
        assert_eq!(effects[2..], [Effect::Reply(Ticket(5), Err(Rejection::NotDispatcher))]);
        assert!(batches.in_flight() && batches.is_empty() && batches.waiting_records == 0);
        assert_eq!(told(&mut batches, OVERLAP), [(4, OVERLAP)]);
        assert!(!batches.in_flight());
    }

    #[test]
    fn nothing_is_proposed_behind_a_merge_before_it_has_ended() {
        use relais_protocol::ids::{Generation, Index, Reign};
        let (from, since) = (Reign::default(), (Generation(0), Index(0)));
        let merge = Merge { from, since, rows: Vec::new(), last: true, now: UnixMs(0) };
        let mut batches = Batches::default();
        add(&mut batches, 1, OVERLAP);
        assert_eq!(sent(&mut batches), Some(OVERLAP));
        batches.add(Ticket(2), vec![Record::Merge(Box::new(merge))]);
        add(&mut batches, 3, OVERLAP);
        assert_eq!(sent(&mut batches), Some(OVERLAP + 1), "what is before it, and beside it, is of one reign");
        add(&mut batches, 4, OVERLAP);
        assert_eq!(sent(&mut batches), None);
        told(&mut batches, OVERLAP);
        assert_eq!(sent(&mut batches), None, "the merge is still in flight");
        told(&mut batches, OVERLAP + 1);
        assert_eq!(sent(&mut batches), Some(OVERLAP));
        add(&mut batches, 5, OVERLAP);
        assert_eq!(sent(&mut batches), Some(OVERLAP));
    }

    #[test]
    fn a_reign_begins_with_nothing_beside_it() {
        let mut batches = Batches::default();
        add(&mut batches, 1, OVERLAP);
        assert_eq!(sent(&mut batches), Some(OVERLAP));
        batches.promote(vec![Record::Promote { node: NodeId(1), incarnation: Incarnation(1) }]);
        add(&mut batches, 2, OVERLAP);
        assert_eq!(sent(&mut batches), None, "what is in flight is of the reign before");
        told(&mut batches, OVERLAP);
        assert_eq!(sent(&mut batches), Some(1));
        assert_eq!(sent(&mut batches), None, "what waits is of the reign that begins");
        told(&mut batches, 1);
        assert_eq!(sent(&mut batches), Some(OVERLAP));
    }
}
