//! External workers as the dispatcher sees them: who waits for a job, and until when each lease lasts.
//!
//! ```text
//!   ask ─► waiting ─► granting (its record is in flight) ─► answered, with leases that last
//!             ▲            └ granted nothing: waits on
//!             └── something that it takes is in line
//! ```
//!
//! A grant is a record, and told once that is committed. Beats are none: how long a lease lasts is counted here on
//! the monotonic clock, and by the next dispatcher anew, in full. Without a majority no lease is renewed: another
//! dispatcher may have given it up.

use super::batches::{Batches, is_stale};
use super::{Core, Effect, Now, Rejection, Ticket};
use crate::ledger::{Event, Ledger};
use relais_protocol::ids::{Fence, JobId, NodeId};
use relais_protocol::job::StateName;
use relais_protocol::lease::{
    AskId, BeatAnswer, Granted, Lease, LeaseAsk, LeaseBeat, LeaseEnd, LeaseOutcome, LeaseWish,
};
use relais_protocol::record::{Committed, Outcome, Outcomes, Record};
use relais_protocol::spec::{Labels, QueueName};
use relais_protocol::time::Mono;
use std::collections::BTreeMap;

/// A lease that lasts.
struct Held {
    until: Mono,
    /// That it is over is on its way into the journal.
    ending: bool,
    /// What its worker last said of its progress, to this dispatcher.
    progress: Option<String>,
}

impl Held {
    fn until(until: Mono) -> Self {
        Self { until, ending: false, progress: None }
    }
}

/// Who waits for a job.
struct Waiter {
    ticket: Ticket,
    ask: LeaseAsk,
    until: Mono,
    /// Nobody waits for the answer any more: what is granted goes back.
    withdrawn: bool,
}

/// All leases and all who wait for one.
#[derive(Default)]
pub(super) struct Leases {
    held: BTreeMap<(JobId, Fence), Held>,
    /// In the order in which they came.
    waiting: Vec<Waiter>,
    granting: BTreeMap<Ticket, Waiter>,
}

impl Leases {
    /// A reign begins, or rows of another side came in: every lease that is not known here is granted anew.
    pub(super) fn begin(&mut self, now: Mono, ledger: &Ledger) {
        for (job, fence) in ledger.running_on(NodeId::OUTSIDE) {
            let lease_ms = ledger.outside(job, fence).map_or(0, |(own, _)| own.lease_ms);
            self.held.entry((job, fence)).or_insert(Held::until(now.plus(lease_ms)));
        }
    }

    /// Follows what was applied.
    pub(super) fn follow(&mut self, now: Mono, ledger: &Ledger, events: &[Event]) {
        for event in events {
            match *event {
                Event::State { job, state } if state != StateName::Running && !self.held.is_empty() => {
                    let of_job = self.held.range((job, Fence(0))..=(job, Fence(u64::MAX))).map(|(key, _)| *key);
                    of_job.collect::<Vec<_>>().iter().for_each(|key| drop(self.held.remove(key)));
                }
                Event::Started { job, node: NodeId::OUTSIDE, fence, .. } => {
                    let lease_ms = ledger.outside(job, fence).map_or(0, |(own, _)| own.lease_ms);
                    self.held.insert((job, fence), Held::until(now.plus(lease_ms)));
                }
                Event::Merged { .. } => self.begin(now, ledger),
                _ => {}
            }
        }
    }

    /// What was on its way into the journal came to nothing: it is said again.
    pub(super) fn retry(&mut self) {
        self.held.values_mut().for_each(|held| held.ending = false);
    }

    /// The same for records that were committed behind the end of their reign.
    pub(super) fn retry_if_stale(&mut self, outcomes: &Outcomes) {
        if is_stale(outcomes) {
            self.retry();
        }
    }

    /// Asks whose records came to nothing are answered so.
    pub(super) fn unsettle(&mut self, effects: &mut [Effect]) {
        for effect in effects {
            if let Effect::Reply(ticket, Err(rejection)) = *effect
                && let Some(waiter) = self.granting.remove(&ticket)
            {
                *effect = Effect::Granted(waiter.ticket, Err(rejection));
            }
        }
    }

    /// The role is lost: whoever waits asks the next dispatcher.
    pub(super) fn depose(&mut self, batches: &mut Batches, effects: &mut Vec<Effect>) {
        self.unsettle(effects);
        for ticket in self.granting.keys() {
            batches.forget(*ticket);
        }
        let all = self.granting.values().chain(&self.waiting);
        effects.extend(all.map(|waiter| Effect::Granted(waiter.ticket, Err(Rejection::NotDispatcher))));
        *self = Self::default();
    }
}

fn release((job, fence): (JobId, Fence)) -> Record {
    Record::LeaseEnd(Box::new(LeaseEnd { job, fence, how: LeaseOutcome::Released }))
}

impl Core {
    /// Somebody asks for jobs.
    pub(super) fn ask(
        &mut self,
        now: Now,
        ledger: &Ledger,
        ticket: Ticket,
        wish: LeaseWish,
        effects: &mut Vec<Effect>,
    ) {
        let rejection = match self.reign {
            None => Some(Rejection::NotDispatcher),
            Some(_) => self.batches.is_full().then_some(Rejection::Full),
        };
        if let Some(rejection) = rejection {
            effects.push(Effect::Granted(ticket, Err(rejection)));
            return;
        }
        let before = if wish.again { ledger.granted_to(wish.ask.id) } else { Vec::new() };
        if !before.is_empty() {
            let granted = Granted { index: ledger.applied(), leases: self.lease_all(now, ledger, before) };
            effects.push(Effect::Granted(ticket, Ok(granted)));
            return;
        }
        let until = now.mono.plus(wish.wait_ms);
        let waiter = Waiter { ticket, ask: wish.ask, until, withdrawn: false };
        // The same ask, sent again because no answer came: its grant is on its way, or it waits already.
        let id = waiter.ask.id;
        let mut old: Vec<Ticket> =
            self.leases.waiting.extract_if(.., |one| one.ask.id == id).map(|one| one.ticket).collect();
        if let Some(granting) = self.leases.granting.values_mut().find(|one| one.ask.id == id) {
            granting.withdrawn = false;
            old.push(std::mem::replace(&mut granting.ticket, ticket));
        } else {
            self.leases.waiting.push(waiter);
        }
        effects.extend(old.into_iter().map(|ticket| Effect::Granted(ticket, Err(Rejection::Unknown))));
        self.answer_asks(now, effects);
    }

    /// Leases that were committed, as they are told.
    fn lease_all(&self, now: Now, ledger: &Ledger, leases: Vec<(JobId, Fence)>) -> Vec<Lease> {
        let until = |(job, fence)| {
            let left = self.leases.held.get(&(job, fence))?.until.0.saturating_sub(now.mono.0);
            ledger.outside(job, fence).map(|_| Lease { job, fence, expires_at: now.unix.plus(left) })
        };
        leases.into_iter().filter_map(until).collect()
    }

    /// Whoever asked is gone: it waits no more, and what it was granted goes back.
    pub(super) fn withdraw(&mut self, ledger: &Ledger, id: AskId, effects: &mut Vec<Effect>) {
        let gone = self.leases.waiting.extract_if(.., |waiter| waiter.ask.id == id);
        effects.extend(gone.map(|waiter| Effect::Granted(waiter.ticket, Ok(Granted::default()))));
        for waiter in self.leases.granting.values_mut().filter(|waiter| waiter.ask.id == id) {
            waiter.withdrawn = true;
        }
        let granted = ledger.granted_to(id);
        if self.reign.is_some() && !granted.is_empty() {
            self.batches.add_own(granted.into_iter().map(release).collect());
        }
    }

    /// A worker is still at it.
    pub(super) fn beat(&mut self, now: Now, ledger: &Ledger, beat: &LeaseBeat) -> BeatAnswer {
        if self.reign.is_none() || !self.majority {
            return BeatAnswer::Busy;
        }
        let Some((outside, cancel)) = ledger.outside(beat.job, beat.fence) else { return BeatAnswer::Over };
        match self.leases.held.get_mut(&(beat.job, beat.fence)) {
            // Another may be given the job by the very next entry.
            Some(held) if held.ending => BeatAnswer::Over,
            Some(held) => {
                held.until = held.until.max(now.mono.plus(outside.lease_ms));
                if beat.progress.is_some() {
                    held.progress.clone_from(&beat.progress);
                }
                BeatAnswer::Held { expires_at: now.unix.plus(outside.lease_ms), cancel }
            }
            None => BeatAnswer::Busy,
        }
    }

    /// What the worker of an attempt that runs outside last said of its progress.
    #[must_use]
    pub fn progress_outside(&self, job: JobId, fence: Fence) -> Option<String> {
        self.leases.held.get(&(job, fence))?.progress.clone()
    }

    /// Leases of external workers that are counted here.
    #[must_use]
    pub fn leases_outside(&self) -> usize {
        self.leases.held.len()
    }

    /// The record of an ask is committed: its answer, unless it was granted nothing and may wait on. `None` when the
    /// ticket is no ask's.
    pub(super) fn granted(
        &mut self,
        now: Now,
        ledger: &Ledger,
        ticket: Ticket,
        committed: &Committed,
    ) -> Option<Vec<Effect>> {
        let waiter = self.leases.granting.remove(&ticket)?;
        let Some(Outcome::Leased(leases)) = committed.outcomes.each.first() else {
            return Some(vec![Effect::Granted(waiter.ticket, Err(Rejection::NotDispatcher))]);
        };
        if waiter.withdrawn && !leases.is_empty() {
            self.batches.add_own(leases.iter().copied().map(release).collect());
        }
        let is_over = waiter.withdrawn || now.mono >= waiter.until;
        if leases.is_empty() && !is_over {
            self.leases.waiting.insert(0, waiter);
            return Some(Vec::new());
        }
        let leases = if waiter.withdrawn { Vec::new() } else { self.lease_all(now, ledger, leases.clone()) };
        Some(vec![Effect::Granted(waiter.ticket, Ok(Granted { index: committed.index, leases }))])
    }

    /// Proposes grants for those who wait, as far as there is something for them. Who would be granted nothing
    /// waits on, and costs the journal nothing.
    pub(super) fn propose_grants(&mut self, ledger: &Ledger) {
        if self.leases.waiting.is_empty() || self.reign.is_none() || !self.batches.flows() {
            return;
        }
        let in_flight = |ask: &LeaseAsk| {
            let same = self.leases.granting.values().filter(|one| wants(&one.ask) == wants(ask));
            same.map(|one| usize::from(one.ask.max)).sum::<usize>()
        };
        let mut left: BTreeMap<Want<'_>, usize> = BTreeMap::new();
        let mut chosen = Vec::new();
        for (place, waiter) in self.leases.waiting.iter().enumerate() {
            let most = LOOKED_AT_MAX;
            let of_want = left.entry(wants(&waiter.ask));
            let there =
                of_want.or_insert_with(|| ledger.leasable(&waiter.ask, most).saturating_sub(in_flight(&waiter.ask)));
            if *there > 0 {
                *there = there.saturating_sub(usize::from(waiter.ask.max));
                chosen.push(place);
            }
        }
        for place in chosen.into_iter().rev() {
            let waiter = self.leases.waiting.remove(place);
            self.batches.add(waiter.ticket, vec![Record::Lease(Box::new(waiter.ask.clone()))]);
            self.leases.granting.insert(waiter.ticket, waiter);
        }
    }

    /// Answers those whose wait is over, and gives up leases that nobody renewed.
    pub(super) fn tick_leases(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.answer_asks(now, effects);
        if self.batches.is_full() {
            return;
        }
        let mut over = Vec::new();
        for ((job, fence), held) in &mut self.leases.held {
            if !held.ending && now.mono >= held.until.plus(self.config.lost_after_ms) {
                held.ending = true;
                over.push(Record::LeaseEnd(Box::new(LeaseEnd { job: *job, fence: *fence, how: LeaseOutcome::Over })));
            }
        }
        over.into_iter().for_each(|record| self.batches.add_own(vec![record]));
    }

    fn answer_asks(&mut self, now: Now, effects: &mut Vec<Effect>) {
        // One that does not wait at all is asked for once, by `propose_grants` right after this.
        let is_over = |waiter: &mut Waiter| now.mono > waiter.until;
        let over = self.leases.waiting.extract_if(.., is_over);
        effects.extend(over.map(|waiter| Effect::Granted(waiter.ticket, Ok(Granted::default()))));
    }
}

/// Jobs that are counted for those who wait for the same.
const LOOKED_AT_MAX: usize = 1_024;

/// What asks of one kind have in common.
type Want<'a> = (&'a [QueueName], &'a [String], &'a Labels);

fn wants(ask: &LeaseAsk) -> Want<'_> {
    (&ask.queues, &ask.kinds, &ask.labels)
}
