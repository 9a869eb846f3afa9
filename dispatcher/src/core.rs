//! The dispatcher's core: what the holder of the role does beside applying the journal. It gathers records
//! into batches, grants leases, sends orders again until they are carried out, and gives up on nodes that
//! fall silent. Pure: the clock, the ledger and all that happens come in as arguments.
//!
//! Two kinds of effect, and the line between them is the promise: [`Effect::Propose`] asks for something to
//! become durable; everything that *tells* somebody ([`Effect::Reply`], [`Effect::Answer`],
//! [`Effect::Order`]) is made only from what was committed.
//!
//! The next batch gathers while one is in flight, and overlaps it only where much waits. Nothing is timed: an
//! idle dispatcher proposes at once, a busy one in batches as large as the disk is slow. Batches end in the order
//! in which they were proposed: whoever steps the core tells it so.

mod batches;
mod chronicle;
mod config;
mod crons;
mod early;
mod leases;
mod retention;
mod trust;
mod workers;

pub use config::CoreConfig;
pub use trust::ClockWord;

use crate::ledger::{Event, Ledger};
use batches::Batches;
use chronicle::Chronicle;
use crons::Crons;
use leases::Leases;
use relais_protocol::history::Takeover;
use relais_protocol::ids::{Incarnation, NodeId, Reign};
use relais_protocol::lease::{AskId, BeatAnswer, Granted, LeaseBeat, LeaseWish};
use relais_protocol::message::{Order, Report, ReportAnswer};
use relais_protocol::record::{Batch, Committed, Record};
use relais_protocol::time::{Mono, UnixMs};
use retention::Retention;
use trust::Trust;
use workers::Workers;

/// Who waits for a reply; given by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Why a proposal came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// This node is not the dispatcher: nothing was done.
    NotDispatcher,
    /// It was sent into the journal, and nobody knows whether it arrived.
    Unknown,
    /// A majority of voters has no disk space left: nothing was done.
    Full,
}

/// What happens to the dispatcher.
#[derive(Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Somebody wants records committed, all in one entry.
    Propose(Ticket, Vec<Record>),
    /// A worker reports.
    Report(Ticket, Box<Report>),
    /// The election wants a reign to begin.
    Promote(NodeId, Incarnation),
    /// The journal was forked, and a reign of its new history is to begin. Once the journal leads.
    TakeOver(Box<Takeover>, Incarnation),
    /// The oldest batch in flight was committed.
    Committed(Committed),
    /// The oldest batch in flight came to nothing.
    Failed(Rejection),
    /// Something was applied.
    Applied(Vec<Event>),
    /// The role is lost: this reign, and every one before it, is over. One that began after it is not: the news
    /// of its begin and of this end come by different ways, and either may be late.
    Deposed(Reign),
    /// There is proof that this node's process is gone.
    Gone(NodeId),
    /// A worker did not take its orders.
    OrdersFailed(NodeId),
    /// Whether a majority was heard within a lease.
    Majority(bool),
    /// Begin, or end, to hold back proposals for a handover.
    Hold(bool),
    /// A majority of voters has no disk space left, or has again: nothing is proposed meanwhile. Leases are
    /// renewed all the same; ends that are reported wait at their workers.
    Full(bool),
    /// How many voters there are: a pair has a lease of its own.
    Voters(usize),
    /// The wall clock was compared with the others'.
    Clock(ClockWord),
    /// An external worker asks for jobs.
    Ask(Ticket, Box<LeaseWish>),
    /// Whoever asked this is gone.
    Withdraw(AskId),
    /// An external worker is still at it.
    Beat(Ticket, Box<LeaseBeat>),
}

/// What the dispatcher wishes.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Have this committed.
    Propose(Batch),
    /// Tell who proposed.
    Reply(Ticket, Result<Committed, Rejection>),
    /// Tell the worker that reported.
    Answer(Ticket, ReportAnswer),
    /// Tell a worker what to do.
    Order(NodeId, Incarnation, Vec<Order>),
    /// Proposals are held, and none is in flight.
    Drained,
    /// The `Promote` came to nothing.
    PromoteFailed,
    /// Tell an external worker what it was granted.
    Granted(Ticket, Result<Granted, Rejection>),
    /// Tell an external worker whether its lease goes on.
    Beaten(Ticket, BeatAnswer),
}

/// Counts for people who watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreCounts {
    /// Reports of another reign, refused.
    pub stale_reports: u64,
    /// Orders sent again.
    pub orders_again: u64,
    /// Batches proposed.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
}

/// The dispatcher's core. It exists on every node, and does nothing while another has the role.
pub struct Core {
    config: CoreConfig,
    me: NodeId,
    incarnation: Incarnation,
    reign: Option<Reign>,
    /// The highest reign that this run of the process has seen begin.
    seen: Reign,
    majority: bool,
    voters: usize,
    batches: Batches,
    workers: Workers,
    leases: Leases,
    chronicle: Chronicle,
    retention: Retention,
    crons: Crons,
    trust: Trust,
    audit_at: Mono,
    /// A time of the ledger, and when it was seen: stamps flow on from here, whatever the wall clock does.
    flow: (UnixMs, Mono),
    counts: CoreCounts,
}

/// The two clocks, read once for each input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Mono,
    /// For stamps.
    pub unix: UnixMs,
}

impl Core {
    /// A core that does not have the role.
    #[must_use]
    pub fn new(config: CoreConfig, me: NodeId, incarnation: Incarnation) -> Self {
        Self {
            config,
            me,
            incarnation,
            reign: None,
            seen: Reign::default(),
            majority: false,
            voters: 0,
            batches: Batches::default(),
            workers: Workers::default(),
            leases: Leases::default(),
            chronicle: Chronicle::default(),
            retention: Retention::default(),
            crons: Crons::default(),
            trust: Trust::new(config.clock_compared),
            audit_at: Mono(0),
            flow: (UnixMs(0), Mono(0)),
            counts: CoreCounts::default(),
        }
    }

    /// The reign, while this node has the role.
    #[must_use]
    pub fn reign(&self) -> Option<Reign> {
        self.reign
    }

    /// Counts for people who watch.
    #[must_use]
    pub fn counts(&self) -> CoreCounts {
        self.counts
    }

    /// Whether something is in flight or waits to be: then the journal must turn.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.batches.in_flight() || !self.batches.is_empty() && !self.batches.is_full()
    }

    /// How the reign came about, for the record of the failover.
    pub fn explain_reign(&mut self, cause: &str, suspected_at: UnixMs, confirmed_at: Option<UnixMs>) {
        self.chronicle.explain(cause, suspected_at, confirmed_at);
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, ledger: &Ledger, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.config.lease_ms = ledger.settings().lease_of_ms(self.voters);
        // Three missed reports: a worker makes six in a lease.
        self.config.suspect_after_ms = self.config.lease_ms / 2;
        match input {
            Input::Tick => self.tick(now, ledger, &mut effects),
            Input::Propose(ticket, records) => self.propose(ticket, records, &mut effects),
            Input::Report(ticket, report) => self.report(now, ledger, ticket, *report, &mut effects),
            Input::Promote(node, incarnation) => {
                self.batches.promote(vec![Record::Promote { node, incarnation }]);
            }
            Input::TakeOver(takeover, incarnation) => {
                let promote = Record::Promote { node: takeover.node, incarnation };
                self.batches.promote(vec![Record::Takeover(takeover), promote]);
            }
            Input::Committed(committed) => {
                self.note_forgotten(now, ledger, &committed.outcomes);
                self.committed(now, ledger, &committed, &mut effects);
            }
            Input::Failed(rejection) => {
                self.retry_retention(now);
                self.batches.fail(rejection, &mut effects);
                self.crons.begin(ledger);
                self.workers.unsettle(&mut effects);
                self.leases.unsettle(&mut effects);
                self.leases.retry();
            }
            Input::Applied(events) => self.applied(now, ledger, &events, &mut effects),
            Input::Deposed(over) if self.reign.is_some_and(|own| own > over) => {}
            Input::Deposed(_) => self.depose(&mut effects),
            Input::Gone(node) => self.suspect(ledger, node),
            Input::OrdersFailed(node) => self.workers.orders_failed(node),
            Input::Majority(majority) => self.majority = majority,
            Input::Hold(hold) => self.batches.hold(hold),
            Input::Full(full) => {
                self.batches.close(full, &mut effects);
                self.workers.unsettle(&mut effects);
                self.leases.unsettle(&mut effects);
            }
            Input::Voters(voters) => self.voters = voters,
            Input::Clock(word) => self.trust.hear(word),
            Input::Ask(ticket, wish) => self.ask(now, ledger, ticket, *wish, &mut effects),
            Input::Withdraw(ask) => self.withdraw(ledger, ask, &mut effects),
            Input::Beat(ticket, beat) => effects.push(Effect::Beaten(ticket, self.beat(now, ledger, &beat))),
        }
        self.propose_grants(ledger);
        self.send_batch(now, ledger, &mut effects);
        // At once, and not with the next tick: until the next reign all that is proposed waits.
        if self.reign.is_some() && self.batches.newly_drained() {
            effects.push(Effect::Drained);
        }
        effects
    }

    fn propose(&mut self, ticket: Ticket, records: Vec<Record>, effects: &mut Vec<Effect>) {
        if self.reign.is_none() {
            effects.push(Effect::Reply(ticket, Err(Rejection::NotDispatcher)));
            return;
        }
        if self.batches.is_full() {
            effects.push(Effect::Reply(ticket, Err(Rejection::Full)));
            return;
        }
        if crate::planted::early_acknowledgement() {
            effects.push(Effect::Reply(ticket, Ok(early::told(&records))));
            self.batches.add_own(records);
            return;
        }
        self.batches.add(ticket, records);
    }

    fn committed(&mut self, now: Now, ledger: &Ledger, committed: &Committed, effects: &mut Vec<Effect>) {
        self.leases.retry_if_stale(&committed.outcomes);
        for (ticket, own) in self.batches.commit(committed) {
            if let Some(granted) = self.granted(now, ledger, ticket, &own) {
                effects.extend(granted);
                continue;
            }
            if let Some(answer) = self.workers.settle_by(ticket, &own.outcomes) {
                effects.push(Effect::Answer(ticket, answer));
            } else {
                effects.push(Effect::Reply(ticket, Ok(own)));
            }
        }
    }

    fn applied(&mut self, now: Now, ledger: &Ledger, events: &[Event], effects: &mut Vec<Effect>) {
        if self.reign.is_some() && events.iter().any(|event| matches!(event, Event::Merged { .. })) {
            self.chronicle.explain("healed", now.unix, None);
        }
        for event in events {
            if let Event::Promoted { reign, node, incarnation, before } = event {
                // A journal that was begun anew is applied from its start, with reigns that are long over.
                if *reign <= self.seen {
                    continue;
                }
                self.seen = *reign;
                if *node == self.me && *incarnation == self.incarnation {
                    self.reign = Some(*reign);
                    self.audit_at = now.mono.plus(self.config.audit_every_ms);
                    self.workers.begin(now.mono, self.config.lease_ms, ledger);
                    self.leases.begin(now.mono, ledger);
                    self.begin_retention(now.mono);
                    self.crons.begin(ledger);
                    self.chronicle.begin(now, *reign, *before, *node, ledger);
                } else if self.reign.is_some() {
                    self.depose(effects);
                }
            }
        }
        if self.reign.is_some() {
            self.crons.follow(ledger, events);
            self.chronicle.note(now, events);
            self.workers.order(now.mono, ledger, events, effects);
            self.leases.follow(now.mono, ledger, events);
        }
    }

    fn depose(&mut self, effects: &mut Vec<Effect>) {
        self.reign = None;
        self.batches.reject_waiting(effects);
        self.workers.unsettle(effects);
        // Reports whose records are in flight, too: their worker asks the next dispatcher.
        for ticket in self.workers.unanswered().collect::<Vec<_>>() {
            self.batches.forget(ticket);
            effects.push(Effect::Answer(ticket, ReportAnswer::Busy));
        }
        self.leases.depose(&mut self.batches, effects);
        self.workers = Workers::default();
        self.chronicle = Chronicle::default();
        self.crons = Crons::default();
    }

    fn tick(&mut self, now: Now, ledger: &Ledger, effects: &mut Vec<Effect>) {
        if self.reign.is_none() {
            return;
        }
        self.give_up_on_silent(now, ledger);
        self.tick_leases(now, effects);
        if let Some(record) = self.chronicle.write(now) {
            self.batches.add_own(vec![record]);
        }
        if now.mono >= self.audit_at {
            self.audit_at = now.mono.plus(self.config.audit_every_ms);
            self.batches.add_own(vec![Record::Audit]);
        }
        self.step_retention(now, ledger);
        let stamp = self.stamp(now, ledger);
        if !self.has_work() && ledger.next_due().is_some_and(|due| due <= stamp) {
            self.batches.add_own(vec![Record::Tick]);
        }
        if self.batches.flows() && self.trust.holds(now) {
            for records in self.crons.due(stamp) {
                self.batches.add_own(records);
            }
        }
    }

    fn send_batch(&mut self, now: Now, ledger: &Ledger, effects: &mut Vec<Effect>) {
        while let Some(records) = self.batches.next(self.config.overlap_records) {
            self.counts.batches += 1;
            self.counts.records += records.len() as u64;
            let (reign, stamp) = (ledger.reign(), self.stamp(now, ledger));
            let begun = records.iter().find_map(|record| match record {
                Record::Takeover(takeover) => Some(takeover.generation),
                _ => None,
            });
            effects.push(Effect::Propose(Batch {
                rules: relais_protocol::record::RULES,
                generation: begun.unwrap_or(reign.generation),
                epoch: reign.epoch,
                stamp,
                records,
            }));
        }
    }
}

#[cfg(test)]
mod role;
#[cfg(test)]
mod tests;
