//! Workers as the dispatcher sees them: leases, orders under way, reports waiting to be settled.

use super::batches::is_stale;
use super::{Core, Effect, Now, Ticket};
use crate::ledger::{Event, Ledger, NodeRow};
use crate::planted::is_planted;
use relais_protocol::ids::{Fence, Incarnation, JobId, NodeId, Reign};
use relais_protocol::message::{Order, Report, ReportAnswer};
use relais_protocol::record::{Outcomes, Record, Standing};
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// One worker.
struct Worker {
    heard_at: Mono,
    lease_until: Mono,
    /// A change of its standing is on its way into the journal.
    changing: bool,
    /// That this run of it is given up is on its way there.
    giving_up: Option<Incarnation>,
    /// When each attempt was last ordered.
    ordered: BTreeMap<JobId, (Fence, Mono)>,
}

impl Worker {
    /// Heard, and leased, just now.
    fn leased(now: Mono, lease_ms: u64) -> Self {
        let lease_until = now.plus(lease_ms);
        Self { heard_at: now, lease_until, changing: false, giving_up: None, ordered: BTreeMap::new() }
    }
}

/// All workers, and the answers that wait for a commit.
#[derive(Default)]
pub(super) struct Workers {
    workers: BTreeMap<NodeId, Worker>,
    answers: BTreeMap<Ticket, ReportAnswer>,
    /// Attempts whose end is on its way into the journal.
    finishing: BTreeSet<(JobId, Fence)>,
    settles: BTreeMap<Ticket, Vec<(JobId, Fence)>>,
}

impl Workers {
    /// A reign begins: every node gets a whole lease, and is not ordered anything again before it has
    /// reported or had the time to.
    pub(super) fn begin(&mut self, now: Mono, lease_ms: u64, ledger: &Ledger) {
        for row in ledger.nodes().filter(|row| !matches!(row.standing, Standing::Left | Standing::Joining)) {
            let lease_ms = if is_planted("lease-not-regranted") { 0 } else { lease_ms };
            let mut worker = Worker::leased(now, lease_ms);
            worker.ordered = ledger.running_on(row.id).map(|(job, fence)| (job, (fence, now))).collect();
            self.workers.insert(row.id, worker);
        }
    }

    /// Orders what was placed, and what is to be stopped.
    pub(super) fn order(&mut self, now: Mono, ledger: &Ledger, events: &[Event], effects: &mut Vec<Effect>) {
        let mut orders: BTreeMap<(NodeId, Incarnation), Vec<Order>> = BTreeMap::new();
        for event in events {
            match *event {
                // Whoever asked for it is told by its grant.
                Event::Started { node: NodeId::OUTSIDE, .. } => {}
                Event::Started { job, node, incarnation, fence } => {
                    let Some(start) = ledger.start_order(job, fence) else { continue };
                    orders.entry((node, incarnation)).or_default().push(Order::Start(Box::new(start)));
                    if let Some(worker) = self.workers.get_mut(&node) {
                        worker.ordered.insert(job, (fence, now));
                    }
                }
                Event::CancelWanted { job, node, fence } => {
                    let Some(row) = ledger.node(node) else { continue };
                    let stop = Order::Stop { job, fence, report: true };
                    orders.entry((node, row.incarnation)).or_default().push(stop);
                }
                _ => {}
            }
        }
        effects.extend(orders.into_iter().map(|((node, run), orders)| Effect::Order(node, run, orders)));
    }

    /// What was ordered may not have arrived: order it again at the next report.
    pub(super) fn orders_failed(&mut self, node: NodeId) {
        if let Some(worker) = self.workers.get_mut(&node) {
            for (_, at) in worker.ordered.values_mut() {
                *at = Mono(0);
            }
        }
    }

    /// Reports whose records came to nothing are answered with "ask again".
    pub(super) fn unsettle(&mut self, effects: &mut [Effect]) {
        for effect in effects {
            if let Effect::Reply(ticket, Err(_)) = *effect
                && self.settle(ticket).is_some()
            {
                *effect = Effect::Answer(ticket, ReportAnswer::Busy);
            }
        }
    }

    /// Reports whose records are in flight.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Ticket> {
        self.answers.keys().copied()
    }

    /// The records of this report are committed, and this is what came of them: the answer to it.
    pub(super) fn settle_by(&mut self, ticket: Ticket, outcomes: &Outcomes) -> Option<ReportAnswer> {
        let answer = self.settle(ticket)?;
        Some(if is_stale(outcomes) { ReportAnswer::Busy } else { answer })
    }

    /// This report waits for no records any more: the answer to it, had they been entered.
    fn settle(&mut self, ticket: Ticket) -> Option<ReportAnswer> {
        for ended in self.settles.remove(&ticket).unwrap_or_default() {
            self.finishing.remove(&ended);
        }
        self.answers.remove(&ticket)
    }
}

impl Core {
    pub(super) fn report(
        &mut self,
        now: Now,
        ledger: &Ledger,
        ticket: Ticket,
        report: Report,
        effects: &mut Vec<Effect>,
    ) {
        let Some(reign) = self.reign else {
            effects.push(Effect::Answer(ticket, ReportAnswer::NotDispatcher(None)));
            return;
        };
        if report.reign != reign && !crate::planted::epoch_ignored() {
            self.counts.stale_reports += 1;
            effects.push(Effect::Answer(ticket, ReportAnswer::StaleReign(reign)));
            return;
        }
        let Some(row) = ledger.node(report.node).filter(|_| self.majority) else {
            effects.push(Effect::Answer(ticket, ReportAnswer::Busy));
            return;
        };
        if report.incarnation < row.incarnation || self.is_giving_up(row, report.incarnation) {
            effects.push(Effect::Answer(ticket, ReportAnswer::Busy));
            return;
        }
        if self.batches.is_full() {
            self.renew(now.mono, &report);
            let (lease_ms, settled, stop) = (self.config.lease_ms, Vec::new(), Vec::new());
            effects.push(Effect::Answer(ticket, ReportAnswer::Taken { reign, lease_ms, settled, stop }));
            return;
        }
        let mut records = self.standing_records(ledger, &report);
        self.renew(now.mono, &report);
        let settled: Vec<_> = report.finished.iter().map(|finish| (finish.job, finish.fence)).collect();
        let stop = self.reconcile(now, ledger, &report, effects);
        let new = report.finished.into_iter().filter(|f| self.workers.finishing.insert((f.job, f.fence)));
        records.extend(new.map(|finish| Record::Finish(Box::new(finish))));
        let lease_ms = self.config.lease_ms;
        let answer = ReportAnswer::Taken { reign, lease_ms, settled: settled.clone(), stop };
        if records.is_empty() && settled.is_empty() {
            effects.push(Effect::Answer(ticket, answer));
            return;
        }
        if is_planted("report-answered-early") {
            effects.push(Effect::Answer(ticket, answer));
            self.batches.add_own(records);
            return;
        }
        self.workers.answers.insert(ticket, answer);
        self.workers.settles.insert(ticket, settled);
        self.batches.add(ticket, records);
    }

    /// Whether what runs in this run of a node's process is about to be written off. It gets no lease before
    /// that has happened: with one it would take up orders whose attempts the next entry gives to another.
    fn is_giving_up(&self, row: &NodeRow, incarnation: Incarnation) -> bool {
        let giving_up = self.workers.workers.get(&row.id).and_then(|worker| worker.giving_up);
        giving_up == Some(incarnation) && row.incarnation == incarnation && row.standing != Standing::Offline
    }

    /// Records that make the node's standing what the report shows.
    fn standing_records(&mut self, ledger: &Ledger, report: &Report) -> Vec<Record> {
        let Some(row) = ledger.node(report.node) else { return Vec::new() };
        let (node, incarnation) = (report.node, report.incarnation);
        if report.goodbye {
            return vec![Record::NodeStanding { node, incarnation, standing: Standing::Left }];
        }
        if report.leaving {
            let news =
                (row.standing != Standing::Leaving && row.incarnation == incarnation).then_some(Standing::Leaving);
            return news.map(|standing| vec![Record::NodeStanding { node, incarnation, standing }]).unwrap_or_default();
        }
        let news = report.facts.as_ref().filter(|facts| {
            row.incarnation != incarnation || row.standing != Standing::Online || ***facts != row.facts
        });
        let facts = news.cloned();
        facts.map(|facts| vec![Record::NodeUp { node, incarnation, facts }]).unwrap_or_default()
    }

    fn renew(&mut self, now: Mono, report: &Report) {
        let lease_ms = self.config.lease_ms;
        let fresh = || Worker::leased(now, lease_ms);
        let worker = self.workers.workers.entry(report.node).or_insert_with(fresh);
        worker.heard_at = now;
        // A lease that was longer when it was granted is not taken back.
        worker.lease_until = worker.lease_until.max(now.plus(lease_ms));
        worker.changing = false;
        worker.giving_up = None;
    }

    /// Compares what the worker runs with what the ledger says it runs. Orders again what it never got;
    /// returns what it should not be running.
    fn reconcile(
        &mut self,
        now: Now,
        ledger: &Ledger,
        report: &Report,
        effects: &mut Vec<Effect>,
    ) -> Vec<(JobId, Fence)> {
        for finish in &report.finished {
            self.chronicle.end(now, finish.job, finish.fence);
        }
        let Some(running) = &report.running else { return Vec::new() };
        let Some(row) = ledger.node(report.node).filter(|row| row.incarnation == report.incarnation) else {
            return Vec::new();
        };
        let has: BTreeSet<(JobId, Fence)> = running.iter().copied().collect();
        let should: BTreeSet<(JobId, Fence)> = ledger.running_on(row.id).collect();
        let ended: BTreeSet<(JobId, Fence)> = report.finished.iter().map(|f| (f.job, f.fence)).collect();
        let mut orders = Vec::new();
        for (job, fence) in has.intersection(&should) {
            if self.reign.is_some_and(|reign| fence.epoch() < reign.epoch) {
                self.chronicle.adopt(now, *job, *fence);
            }
            if ledger.cancel_wanted(*job) {
                orders.push(Order::Stop { job: *job, fence: *fence, report: true });
            }
        }
        let Some(worker) = self.workers.workers.get_mut(&row.id) else { return Vec::new() };
        worker.ordered.retain(|job, (fence, _)| should.contains(&(*job, *fence)));
        for (job, fence) in
            should.difference(&has).filter(|a| !ended.contains(a) && !self.workers.finishing.contains(a))
        {
            let sent = worker.ordered.get(job).filter(|(sent, _)| sent == fence).map(|(_, at)| *at);
            let due = sent.is_none_or(|at| now.mono.since(at) >= self.config.reorder_ms);
            if due && let Some(start) = ledger.start_order(*job, *fence) {
                self.counts.orders_again += 1;
                worker.ordered.insert(*job, (*fence, now.mono));
                orders.push(Order::Start(Box::new(start)));
            }
        }
        if !orders.is_empty() {
            effects.push(Effect::Order(row.id, row.incarnation, orders));
        }
        let astray: Vec<(JobId, Fence)> = has.difference(&should).copied().collect();
        for (job, fence) in &astray {
            self.chronicle.astray(now, *job, *fence);
        }
        astray
    }

    /// A node gets nothing new from here on; it keeps what it runs.
    pub(super) fn suspect(&mut self, ledger: &Ledger, node: NodeId) {
        let online = ledger.node(node).filter(|row| row.standing == Standing::Online && node != self.me);
        if let Some(row) = online.filter(|_| self.reign.is_some()) {
            let standing = Standing::Suspect;
            self.batches.add_own(vec![Record::NodeStanding { node, incarnation: row.incarnation, standing }]);
        }
    }

    /// Suspects who has not reported for a while, and gives up what ran on a node whose lease is over; says so
    /// again where it came to nothing. Without room it could not be written: then nobody is given up.
    pub(super) fn give_up_on_silent(&mut self, now: Now, ledger: &Ledger) {
        if self.batches.is_full() {
            return;
        }
        for row in ledger.nodes() {
            if matches!(row.standing, Standing::Left | Standing::Joining | Standing::Offline) {
                continue;
            }
            let lease_ms = self.config.lease_ms;
            let worker = self.workers.workers.entry(row.id).or_insert_with(|| Worker::leased(now.mono, lease_ms));
            let over = now.mono >= worker.lease_until.plus(self.config.lost_after_ms);
            let silent = now.mono.since(worker.heard_at) >= self.config.suspect_after_ms;
            let standing = match row.standing {
                _ if over => Standing::Offline,
                Standing::Online if silent && is_planted("lost-on-suspicion") => Standing::Offline,
                Standing::Online if silent => Standing::Suspect,
                _ => continue,
            };
            if !worker.changing || over {
                worker.changing = true;
                if over {
                    worker.lease_until = now.mono;
                    worker.giving_up = Some(row.incarnation);
                }
                self.batches.add_own(vec![Record::NodeStanding {
                    node: row.id,
                    incarnation: row.incarnation,
                    standing,
                }]);
            }
        }
    }

    /// The reign and how many workers are leased, for people who watch.
    #[must_use]
    pub fn leases(&self, now: Mono) -> (Option<Reign>, usize) {
        (self.reign, self.workers.workers.values().filter(|worker| worker.lease_until > now).count())
    }
}
