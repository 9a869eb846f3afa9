//! The worker's core: slots, leases, and what has ended and is not yet settled. Pure: orders, ends and the
//! time come in; wishes come out.
//!
//! It obeys the highest reign that it has seen and no lower one. It runs nothing without a lease: a lease
//! counts from when the report that renewed it was *sent*, and an attempt that is not to outlive it is
//! killed [`WorkerConfig::margin_ms`] before its end. An end is reported until it is settled, so none is
//! forgotten; a settled attempt is remembered for a while, so that an order that comes late or twice does
//! not run it again.

mod signals;
mod view;

pub use signals::{Effect, Input, WorkerConfig, WorkerCounts};

use crate::planted::is_planted;
use relais_protocol::ids::{Fence, Incarnation, JobId, NodeId, Reign};
use relais_protocol::job::{AttemptOutcome, ErrorKind, JobError};
use relais_protocol::message::{Order, Orders, OrdersAnswer, Report, ReportAnswer};
use relais_protocol::record::{Finish, NodeFacts};
use relais_protocol::spec::OnDisconnect;
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

struct Running {
    fence: Fence,
    on_disconnect: OnDisconnect,
    stopping: bool,
}

/// The worker's core.
pub struct Worker {
    config: WorkerConfig,
    me: NodeId,
    incarnation: Incarnation,
    facts: NodeFacts,
    reign: Reign,
    dispatcher: Option<NodeId>,
    lease_until: Option<Mono>,
    running: BTreeMap<JobId, Running>,
    unsettled: BTreeMap<(JobId, Fence), Finish>,
    /// Ends that are news: not in a report yet.
    news: BTreeSet<(JobId, Fence)>,
    settled: BTreeSet<(JobId, Fence)>,
    settled_order: VecDeque<(JobId, Fence)>,
    in_flight: Option<InFlight>,
    reports: u64,
    beat_at: Mono,
    /// Nothing is sent before this: the last report came to nothing.
    quiet_until: Mono,
    finishing: bool,
    leaving: Option<Mono>,
    counts: WorkerCounts,
}

struct InFlight {
    number: u64,
    sent_at: Mono,
    goodbye: bool,
}

/// How often a worker reports while one lease lasts.
const BEATS_IN_A_LEASE: u64 = 6;
/// How long a leaving worker waits for its goodbye to be answered, in ms.
const GOODBYE_MS: u64 = 2_000;

impl Worker {
    /// A worker that runs nothing. `reign` is the highest that it remembers; `unsettled` what its last run
    /// left unreported.
    #[must_use]
    pub fn new(
        config: WorkerConfig,
        me: NodeId,
        incarnation: Incarnation,
        reign: Reign,
        unsettled: Vec<Finish>,
    ) -> Self {
        let unsettled: BTreeMap<_, _> = unsettled.into_iter().map(|f| ((f.job, f.fence), f)).collect();
        Self {
            config,
            me,
            incarnation,
            facts: NodeFacts::default(),
            reign,
            dispatcher: None,
            lease_until: None,
            running: BTreeMap::new(),
            news: unsettled.keys().copied().collect(),
            unsettled,
            settled: BTreeSet::new(),
            settled_order: VecDeque::new(),
            in_flight: None,
            reports: 0,
            beat_at: Mono(0),
            quiet_until: Mono(0),
            finishing: false,
            leaving: None,
            counts: WorkerCounts::default(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Mono, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Tick => {}
            Input::Orders(orders) => self.on_orders(now, orders, &mut effects),
            Input::Ended(finish) => self.on_ended(now, *finish),
            Input::AllEnded(finishes) => finishes.into_iter().for_each(|finish| self.on_ended(now, finish)),
            Input::Answered(number, answer) => {
                if let Some(sent) = self.in_flight.take_if(|sent| sent.number == number) {
                    self.on_answered(now, &sent, answer, &mut effects);
                }
            }
            Input::Unanswered(number) => {
                if self.in_flight.take_if(|sent| sent.number == number).is_some() {
                    self.ask_again(now);
                }
            }
            Input::Heard(reign, dispatcher) => self.on_heard(now, reign, dispatcher, &mut effects),
            Input::Facts(facts) => {
                self.beat_at = if facts == self.facts { self.beat_at } else { now };
                self.facts = facts;
            }
            Input::Finish => {
                self.finishing = true;
                self.beat_at = now;
            }
            Input::Leave => self.on_leave(now, &mut effects),
        }
        self.fence(now, &mut effects);
        self.maybe_report(now, &mut effects);
        effects
    }

    fn obey(&mut self, reign: Reign, effects: &mut Vec<Effect>) {
        if reign > self.reign {
            self.reign = reign;
            effects.push(Effect::Remember(reign));
        }
    }

    fn on_heard(&mut self, now: Mono, reign: Reign, dispatcher: NodeId, effects: &mut Vec<Effect>) {
        if reign < self.reign {
            return;
        }
        let news = reign > self.reign || self.dispatcher != Some(dispatcher);
        self.obey(reign, effects);
        if news {
            // The new dispatcher must learn at once what runs and what ended.
            self.dispatcher = Some(dispatcher);
            self.in_flight = None;
            self.beat_at = now;
            self.quiet_until = now;
            self.news = self.unsettled.keys().copied().collect();
        }
    }

    fn on_orders(&mut self, now: Mono, orders: Orders, effects: &mut Vec<Effect>) {
        let answer = if orders.reign < self.reign && !is_planted("worker-ignores-epoch") {
            self.counts.stale_orders += 1;
            OrdersAnswer::StaleReign(self.reign)
        } else if orders.incarnation != self.incarnation && !is_planted("order-without-incarnation") {
            OrdersAnswer::StaleIncarnation(self.incarnation)
        } else if !self.is_leased(now) || self.leaving.is_some() {
            OrdersAnswer::NoLease
        } else {
            self.obey(orders.reign, effects);
            for order in orders.orders {
                self.carry_out(order, effects);
            }
            OrdersAnswer::Accepted
        };
        effects.push(Effect::Answer(answer));
    }

    fn carry_out(&mut self, order: Order, effects: &mut Vec<Effect>) {
        match order {
            Order::Start(start) => {
                let key = (start.job, start.fence);
                if self.unsettled.contains_key(&key) || self.settled.contains(&key) {
                    return;
                }
                if let Some(older) = self.running.get(&start.job).map(|running| running.fence) {
                    if older >= start.fence {
                        return;
                    }
                    // Two attempts of one job here: the older one has no more right to run.
                    effects.push(Effect::Stop { job: start.job, fence: older, kill: true });
                    self.settle((start.job, older));
                }
                let running = Running { fence: start.fence, on_disconnect: start.on_disconnect, stopping: false };
                self.running.insert(start.job, running);
                self.counts.started += 1;
                effects.push(Effect::Start(start));
            }
            Order::Stop { job, fence, report } => {
                if !report {
                    // Also when it never began: an order to start it that comes late is void.
                    self.settle((job, fence));
                }
                let Some(running) = self.running.get_mut(&job).filter(|r| r.fence == fence) else { return };
                if report {
                    if !std::mem::replace(&mut running.stopping, true) {
                        effects.push(Effect::Stop { job, fence, kill: false });
                    }
                } else {
                    self.running.remove(&job);
                    effects.push(Effect::Stop { job, fence, kill: true });
                }
            }
        }
    }

    fn on_ended(&mut self, now: Mono, finish: Finish) {
        // What was killed for its lease is no longer in `running`; its end is nobody's business.
        let key = (finish.job, finish.fence);
        let Some(running) = self.running.get(&key.0).filter(|running| running.fence == key.1) else { return };
        // After a pause of this process the end of what the spawner killed for the lease comes first: it was
        // no failure of the job.
        let by_itself = !matches!(finish.outcome, AttemptOutcome::Failed | AttemptOutcome::Cancelled);
        let killed = running.on_disconnect == OnDisconnect::Stop && !self.is_leased(now) && !by_itself;
        self.running.remove(&key.0);
        self.counts.fenced += u64::from(killed);
        self.news.insert(key);
        self.unsettled.insert(key, if killed { fenced_end(self.me, key) } else { finish });
    }

    fn on_answered(&mut self, now: Mono, sent: &InFlight, answer: ReportAnswer, effects: &mut Vec<Effect>) {
        match answer {
            ReportAnswer::Taken { reign, lease_ms, settled, stop } => {
                if reign < self.reign {
                    self.ask_again(now);
                    return;
                }
                self.obey(reign, effects);
                let from = if is_planted("lease-from-answer") { now } else { sent.sent_at };
                self.lease_until = self.lease_until.max(Some(from.plus(lease_ms)));
                self.config.beat_ms = lease_ms / BEATS_IN_A_LEASE;
                for key in settled {
                    self.settle(key);
                }
                self.tell_again(now);
                for (job, fence) in stop {
                    self.carry_out(Order::Stop { job, fence, report: false }, effects);
                }
                if sent.goodbye {
                    effects.push(Effect::Left);
                }
            }
            ReportAnswer::StaleReign(reign) if reign > self.reign => {
                self.obey(reign, effects);
                self.beat_at = now;
                self.news = self.unsettled.keys().copied().collect();
            }
            // It has not heard yet of what is obeyed here: asked again at once it would say the same.
            ReportAnswer::StaleReign(_) => self.ask_again(now),
            ReportAnswer::NotDispatcher(other) => {
                self.dispatcher = other.or(self.dispatcher);
                self.ask_again(now);
            }
            ReportAnswer::Busy => self.ask_again(now),
        }
    }

    /// A dispatcher without room renews the lease and settles none of the ends that it was told: they are told
    /// again, not faster than it is reported to anyway.
    fn tell_again(&mut self, now: Mono) {
        let told = self.news.len();
        self.news.extend(self.unsettled.keys().copied());
        if self.news.len() > told {
            self.quiet_until = now.plus(self.config.beat_ms);
        }
    }

    fn ask_again(&mut self, now: Mono) {
        self.news = self.unsettled.keys().copied().collect();
        self.beat_at = now;
        self.quiet_until = now.plus(self.config.beat_ms / 10);
    }

    fn settle(&mut self, key: (JobId, Fence)) {
        self.unsettled.remove(&key);
        self.news.remove(&key);
        if !is_planted("settled-forgotten") && self.settled.insert(key) {
            self.settled_order.push_back(key);
        }
        while self.settled_order.len() > self.config.settled_max
            && let Some(oldest) = self.settled_order.pop_front()
        {
            self.settled.remove(&oldest);
        }
    }

    fn on_leave(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        self.leaving.get_or_insert(now);
        self.kill_all(effects, |_| true);
        self.beat_at = now;
        if self.dispatcher.is_none() {
            effects.push(Effect::Left);
        }
    }

    /// Kills what must not outlive the lease. It is reported as lost: else a dispatcher that has not given
    /// it up yet would take it for an order that never arrived, and have it run a second time.
    fn fence(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        if self.is_leased(now) || self.running.is_empty() {
            return;
        }
        let stops = |running: &Running| running.on_disconnect == OnDisconnect::Stop;
        let fenced = self.running.iter().filter(|(_, running)| stops(running));
        for key in fenced.map(|(job, running)| (*job, running.fence)).collect::<Vec<_>>() {
            self.counts.fenced += 1;
            if is_planted("fenced-not-reported") {
                continue;
            }
            self.news.insert(key);
            self.unsettled.insert(key, fenced_end(self.me, key));
        }
        self.kill_all(effects, stops);
    }

    fn kill_all(&mut self, effects: &mut Vec<Effect>, which: impl Fn(&Running) -> bool) {
        self.running.retain(|job, running| {
            let killed = which(running);
            if killed {
                effects.push(Effect::Stop { job: *job, fence: running.fence, kill: true });
            }
            !killed
        });
    }

    fn maybe_report(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        if self.leaving.is_some_and(|since| now.since(since) > GOODBYE_MS) {
            effects.push(Effect::Left);
            return;
        }
        let beat = now >= self.beat_at;
        let Some(dispatcher) = self.dispatcher.filter(|_| self.in_flight.is_none() && !self.facts.name.is_empty())
        else {
            return;
        };
        if now < self.quiet_until || !beat && self.news.is_empty() {
            return;
        }
        let goodbye = self.leaving.is_some();
        let chosen: Vec<_> = self.news.iter().copied().take(self.config.finished_max).collect();
        let finished: Vec<Finish> = chosen.iter().filter_map(|key| self.unsettled.get(key).cloned()).collect();
        for key in &chosen {
            self.news.remove(key);
        }
        let running = beat.then(|| self.running.iter().map(|(job, running)| (*job, running.fence)).collect());
        if beat {
            self.beat_at = now.plus(self.config.beat_ms);
        }
        self.reports += 1;
        self.in_flight = Some(InFlight { number: self.reports, sent_at: now, goodbye });
        effects.push(Effect::Report(
            dispatcher,
            self.reports,
            Box::new(Report {
                reign: self.reign,
                node: self.me,
                incarnation: self.incarnation,
                sent_at: now,
                running,
                finished,
                facts: beat.then(|| Box::new(self.facts.clone())),
                leaving: self.finishing,
                goodbye,
            }),
        ));
    }
}

/// The end of an attempt that was killed for its lease.
fn fenced_end(node: NodeId, (job, fence): (JobId, Fence)) -> Finish {
    let message = "its worker had no lease any more and killed it".to_owned();
    Finish {
        job,
        fence,
        node,
        outcome: AttemptOutcome::Lost,
        exit_code: None,
        signal: None,
        error: Some(JobError { kind: ErrorKind::Lost, message }),
        result: None,
        progress: None,
        output_tail: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
