//! Tests of the core: batches, leases, orders and reports, with effects compared whole.

mod leases;
mod merges;
mod retention;
mod silence;

use super::*;
use crate::rows::MemoryRows;
use relais_protocol::failover::Fate;
use relais_protocol::ids::{ClusterId, Epoch, Fence, Generation, Index, JobId};
use relais_protocol::job::{AttemptOutcome, StateName};
use relais_protocol::record::{Finish, NodeFacts, Outcome, Standing, Submit};
use relais_protocol::spec::{JobSpec, QueueName};
use std::sync::Arc;
mod crons;

/// A core with a ledger of its own, whose journal commits at once.
struct Bench {
    core: Core,
    ledger: Ledger,
    index: u64,
    ms: u64,
    slots: u32,
    told: Vec<Effect>,
}

impl Bench {
    fn new() -> Self {
        let core = Core::new(CoreConfig::default(), NodeId(1), Incarnation(1));
        let ledger = Ledger::new(Arc::new(MemoryRows::default()));
        let mut bench = Self { core, ledger, index: 0, ms: 1_000, slots: 1, told: Vec::new() };
        bench.commit(Batch {
            rules: 1,
            generation: Generation(0),
            epoch: Epoch(0),
            stamp: UnixMs(0),
            records: vec![Record::Found { cluster: ClusterId(1), name: "n1".into() }],
        });
        bench.input(Input::Majority(true));
        bench.input(Input::Promote(NodeId(1), Incarnation(1)));
        bench.report(1, vec![], vec![]);
        bench
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.ms), unix: UnixMs(self.ms) }
    }

    fn commit(&mut self, batch: Batch) -> Committed {
        self.index += 1;
        let applied = self.ledger.apply_batch(Index(self.index), batch);
        self.ledger.check_invariants().unwrap();
        let effects = self.core.handle(self.now(), &self.ledger, Input::Applied(applied.events));
        self.told.extend(effects);
        Committed { index: Index(self.index), outcomes: applied.outcomes }
    }

    fn input(&mut self, input: Input) {
        let effects = self.core.handle(self.now(), &self.ledger, input);
        let mut todo: Vec<Effect> = effects;
        while let Some(at) = todo.iter().position(|e| matches!(e, Effect::Propose(_))) {
            let Effect::Propose(batch) = todo.remove(at) else { continue };
            self.told.append(&mut todo);
            let committed = self.commit(batch);
            todo = self.core.handle(self.now(), &self.ledger, Input::Committed(committed));
        }
        self.told.append(&mut todo);
    }

    fn report(&mut self, ticket: u64, running: Vec<(JobId, Fence)>, finished: Vec<Finish>) {
        self.input(self.reported(ticket, running, finished));
    }

    fn reported(&self, ticket: u64, running: Vec<(JobId, Fence)>, finished: Vec<Finish>) -> Input {
        let facts = NodeFacts { name: "n1".into(), slots: self.slots, ..NodeFacts::default() };
        let report = Report {
            reign: self.ledger.reign(),
            node: NodeId(1),
            incarnation: Incarnation(1),
            sent_at: Mono(self.ms),
            running: Some(running),
            finished,
            facts: Some(Box::new(facts)),
            leaving: false,
            goodbye: false,
        };
        Input::Report(Ticket(ticket), Box::new(report))
    }

    fn submit(&mut self, id: u128) {
        let spec = JobSpec {
            kind: "noop".into(),
            queue: QueueName::default(),
            priority: 50,
            name: String::new(),
            payload: "{}".into(),
            options: None,
        };
        let submit = Submit { id: JobId(id), spec, body_hash: 0, submitted_by: String::new() };
        self.input(Input::Propose(Ticket(100 + id as u64), vec![Record::Submit(Box::new(submit))]));
    }

    fn orders(&mut self) -> Vec<Order> {
        let told = std::mem::take(&mut self.told);
        told.into_iter()
            .filter_map(|e| if let Effect::Order(_, _, orders) = e { Some(orders) } else { None })
            .flatten()
            .collect()
    }

    fn fence(&self) -> Fence {
        Fence::new(self.ledger.reign().epoch, 1)
    }
}

fn finish(job: u128, fence: Fence) -> Finish {
    Finish {
        job: JobId(job),
        fence,
        node: NodeId(1),
        outcome: AttemptOutcome::Succeeded,
        exit_code: Some(0),
        signal: None,
        error: None,
        result: None,
        progress: None,
        output_tail: vec![],
    }
}

#[test]
fn a_submit_is_told_and_ordered_only_when_committed() {
    let mut bench = Bench::new();
    bench.told.clear();
    bench.submit(1);
    let [Effect::Order(NodeId(1), Incarnation(1), orders), Effect::Reply(Ticket(101), Ok(reply))] = &bench.told[..]
    else {
        panic!("{:?}", bench.told)
    };
    assert!(matches!(&orders[..], [Order::Start(start)] if start.job == JobId(1) && start.fence == bench.fence()));
    assert!(matches!(reply.outcomes.each[..], [Outcome::Submitted { deduplicated: false, .. }]));
}

#[test]
fn a_failover_is_told_phase_by_phase_and_job_by_job() {
    let mut bench = Bench::new();
    bench.slots = 3;
    bench.report(2, vec![], vec![]);
    (1..=3).for_each(|job| bench.submit(job));
    let old = bench.fence();
    bench.core.explain_reign("silent", UnixMs(700), Some(UnixMs(800)));
    bench.input(Input::Promote(NodeId(1), Incarnation(1)));
    let epoch = bench.ledger.reign().epoch;
    bench.ms += 500;
    bench.report(3, vec![(JobId(1), old)], vec![finish(2, old)]);
    bench.ms += 500;
    bench.input(Input::Tick);
    let fates = |bench: &Bench| -> Vec<Fate> {
        bench.ledger.failover_tale(epoch).unwrap().fates.iter().map(|fate| fate.fate).collect()
    };
    assert_eq!(fates(&bench), [Fate::Adopted, Fate::Kept, Fate::Open]);
    let tale = bench.ledger.failover_tale(epoch).unwrap();
    assert_eq!((tale.confirmed_at, tale.reconciled_at, tale.running), (Some(UnixMs(800)), None, 3));
    while bench.ms < 6_500 {
        bench.ms += 100;
        bench.input(Input::Tick);
    }
    // Its lease is over, and what it ran was given up; then it comes back and still runs one of them.
    bench.report(4, vec![(JobId(3), old)], vec![]);
    bench.ms = 7_100;
    bench.input(Input::Tick);
    assert_eq!(fates(&bench), [Fate::Retried, Fate::Kept, Fate::Duplicate]);
    let tale = bench.ledger.failover_tale(epoch).unwrap();
    assert_eq!(tale.reconciled_at, Some(UnixMs(5_500)));
    let short = bench.ledger.failovers().last().unwrap();
    assert_eq!((short, short.adopted, short.retried, tale.kept, tale.duplicate), (&tale.failover, 0, 2, 1, 1));
    let rows = Arc::new(MemoryRows::default());
    rows.keep(&bench.ledger.drain_changes());
    let loaded = Ledger::load(rows, Index(bench.index)).unwrap();
    assert_eq!(loaded.failover_tale(epoch), bench.ledger.failover_tale(epoch));
}

#[test]
fn the_lease_follows_the_settings_and_is_never_taken_back() {
    let mut bench = Bench::new();
    let lease = |bench: &Bench| match bench.told.iter().rev().find(|told| matches!(told, Effect::Answer(..))) {
        Some(Effect::Answer(_, ReportAnswer::Taken { lease_ms, .. })) => *lease_ms,
        other => panic!("{other:?}"),
    };
    bench.input(Input::Voters(2));
    bench.report(2, vec![], vec![]);
    assert_eq!(lease(&bench), 6_000);
    bench.input(Input::Voters(3));
    bench.input(Input::Propose(Ticket(9), vec![Record::Setting { key: "lease".into(), value: "2s".into() }]));
    bench.report(3, vec![], vec![]);
    assert_eq!(lease(&bench), 2_000);
    bench.ms += 5_900;
    bench.input(Input::Tick);
    assert_ne!(bench.ledger.node(NodeId(1)).unwrap().standing, Standing::Offline, "6 s were granted");
    bench.ms += 1_200;
    bench.input(Input::Tick);
    assert_eq!(bench.ledger.node(NodeId(1)).unwrap().standing, Standing::Offline);
}

#[test]
fn proposals_gather_while_a_batch_is_in_flight() {
    let mut bench = Bench::new();
    let tick = |n| Input::Propose(Ticket(n), vec![Record::Tick]);
    let now = bench.now();
    let first = bench.core.handle(now, &bench.ledger, tick(1));
    assert!(matches!(first[..], [Effect::Propose(_)]));
    assert!(bench.core.handle(now, &bench.ledger, tick(2)).is_empty());
    assert!(bench.core.handle(now, &bench.ledger, tick(3)).is_empty());
    let failed = bench.core.handle(now, &bench.ledger, Input::Failed(Rejection::Unknown));
    let expected = [
        Effect::Reply(Ticket(1), Err(Rejection::Unknown)),
        Effect::Reply(Ticket(2), Err(Rejection::NotDispatcher)),
        Effect::Reply(Ticket(3), Err(Rejection::NotDispatcher)),
    ];
    assert_eq!(failed, expected);
}

#[test]
fn an_order_that_never_arrived_is_sent_again_as_the_same_attempt() {
    let mut bench = Bench::new();
    bench.submit(1);
    bench.told.clear();
    bench.report(5, vec![], vec![]);
    assert!(bench.orders().is_empty(), "it may still be on its way");
    bench.ms += 1_000;
    bench.report(6, vec![], vec![]);
    let fence = bench.fence();
    assert!(matches!(&bench.orders()[..], [Order::Start(start)] if start.fence == fence));
    bench.report(7, vec![(JobId(1), fence)], vec![]);
    assert!(bench.orders().is_empty());
}

#[test]
fn a_finished_attempt_is_settled_when_committed_and_its_slot_is_filled_in_the_same_entry() {
    let mut bench = Bench::new();
    bench.submit(1);
    bench.submit(2);
    let index = bench.index;
    bench.told.clear();
    let fence = bench.fence();
    bench.report(5, vec![], vec![finish(1, fence)]);
    assert_eq!(bench.index, index + 1);
    let settled = bench.told.iter().any(|e| matches!(e, Effect::Answer(Ticket(5), ReportAnswer::Taken { settled, .. }) if settled[..] == [(JobId(1), fence)]));
    assert!(settled, "{:?}", bench.told);
    assert!(matches!(&bench.orders()[..], [Order::Start(start)] if start.job == JobId(2)));
}

#[test]
fn reports_of_another_reign_are_refused_and_counted() {
    let mut bench = Bench::new();
    let stale = Report {
        reign: Reign::default(),
        node: NodeId(1),
        incarnation: Incarnation(1),
        sent_at: Mono(0),
        running: None,
        finished: vec![],
        facts: None,
        leaving: false,
        goodbye: false,
    };
    bench.told.clear();
    bench.input(Input::Report(Ticket(9), Box::new(stale)));
    let reign = bench.ledger.reign();
    assert_eq!(bench.told, [Effect::Answer(Ticket(9), ReportAnswer::StaleReign(reign))]);
    assert_eq!(bench.core.counts().stale_reports, 1);
}

#[test]
fn a_report_in_flight_is_answered_when_the_role_is_lost() {
    let mut bench = Bench::new();
    bench.submit(1);
    let now = bench.now();
    let report = Report {
        reign: bench.ledger.reign(),
        node: NodeId(1),
        incarnation: Incarnation(1),
        sent_at: Mono(0),
        running: None,
        finished: vec![finish(1, bench.fence())],
        facts: None,
        leaving: false,
        goodbye: false,
    };
    let proposed = bench.core.handle(now, &bench.ledger, Input::Report(Ticket(9), Box::new(report)));
    assert!(matches!(proposed[..], [Effect::Propose(_)]));
    let deposed = bench.core.handle(now, &bench.ledger, Input::Deposed(bench.ledger.reign()));
    assert_eq!(deposed, [Effect::Answer(Ticket(9), ReportAnswer::Busy)]);
    assert_eq!(bench.core.handle(now, &bench.ledger, Input::Failed(Rejection::Unknown)), []);
}

#[test]
fn a_wall_clock_that_jumps_back_stops_nothing_that_waits() {
    let mut bench = Bench::new();
    let now = |ms, unix| Now { mono: Mono(ms), unix: UnixMs(unix) };
    let ahead = bench.core.handle(now(1_000, 3_600_000), &bench.ledger, Input::Propose(Ticket(1), vec![Record::Tick]));
    let [Effect::Propose(batch)] = &ahead[..] else { panic!("{ahead:?}") };
    let committed = bench.commit(batch.clone());
    bench.core.handle(now(1_000, 1_000), &bench.ledger, Input::Committed(committed));
    let stamp = |bench: &mut Bench, ms, unix, ticket| {
        let tick = Input::Propose(Ticket(ticket), vec![Record::Tick]);
        let effects = bench.core.handle(now(ms, unix), &bench.ledger, tick);
        let Some(Effect::Propose(batch)) = effects.first().filter(|_| effects.len() == 1) else {
            panic!("{effects:?}")
        };
        let stamp = batch.stamp;
        bench.core.handle(now(ms, unix), &bench.ledger, Input::Failed(Rejection::Unknown));
        stamp
    };
    assert_eq!(stamp(&mut bench, 1_000, 1_000, 2), UnixMs(3_600_000));
    assert_eq!(stamp(&mut bench, 1_700, 1_700, 3), UnixMs(3_600_700));
    assert_eq!(stamp(&mut bench, 1_800, 4_000_000, 4), UnixMs(4_000_000));
}

#[test]
fn a_hold_drains_and_lets_go() {
    let mut bench = Bench::new();
    bench.told.clear();
    bench.input(Input::Hold(true));
    assert_eq!(bench.told, [Effect::Drained], "at once: it waits for no tick");
    bench.submit(1);
    bench.input(Input::Tick);
    assert_eq!(bench.told, [Effect::Drained], "once");
    bench.input(Input::Hold(false));
    assert!(bench.ledger.job(JobId(1)).is_some());
}

#[test]
fn without_room_nothing_is_proposed_but_leases_go_on_and_ends_wait() {
    let mut bench = Bench::new();
    bench.submit(1);
    let fence = bench.fence();
    bench.report(2, vec![(JobId(1), fence)], vec![]);
    bench.input(Input::Full(true));
    let index = bench.index;
    bench.told.clear();
    bench.submit(2);
    assert!(matches!(bench.told[..], [Effect::Reply(_, Err(Rejection::Full))]), "{:?}", bench.told);
    bench.told.clear();
    bench.report(3, vec![], vec![finish(1, fence)]);
    let settles = |effect: &Effect, wanted: usize| matches!(effect, Effect::Answer(_, ReportAnswer::Taken { lease_ms: 3_000, settled, .. }) if settled.len() == wanted);
    assert!(bench.told.iter().any(|effect| settles(effect, 0)), "{:?}", bench.told);
    bench.ms += 2_000;
    bench.input(Input::Tick);
    assert_eq!(bench.index, index, "nothing was written");
    assert!(!bench.core.has_work(), "what waits for room is not stuck");
    bench.input(Input::Full(false));
    bench.told.clear();
    bench.report(4, vec![], vec![finish(1, fence)]);
    assert!(bench.told.iter().any(|effect| settles(effect, 1)), "{:?}", bench.told);
    bench.submit(2);
    assert!(bench.told.iter().any(|effect| matches!(effect, Effect::Reply(_, Ok(_)))), "{:?}", bench.told);
}

#[test]
fn a_takeover_begins_a_reign_of_its_own_history() {
    use relais_protocol::history::{Side, TakeoverCause};
    let mut bench = Bench::new();
    let before = bench.ledger.reign();
    let takeover = Takeover {
        node: NodeId(1),
        generation: before.generation.after_takeover(Side::Odd),
        side: Side::Odd,
        cause: TakeoverCause::Takeover,
        common: Index(2),
        at: UnixMs(9),
    };
    bench.input(Input::TakeOver(Box::new(takeover), Incarnation(1)));
    let reign = bench.ledger.reign();
    assert_eq!((bench.core.reign(), reign.generation), (Some(reign), Generation(1)));
    assert!(reign.epoch > before.epoch && reign.epoch.0 % 2 == 1);
    assert!(bench.ledger.is_unhealed() && bench.ledger.lineage().len() == 1);
}

#[test]
fn a_merge_of_higher_epochs_begins_a_reign_and_reigns_of_before_do_not_come_back() {
    use relais_protocol::merge::Merge;
    let mut bench = Bench::new();
    let before = bench.ledger.reign();
    let from = Reign { generation: Generation(0), epoch: Epoch(40) };
    let merge = Merge { from, since: (Generation(0), Index(0)), rows: Vec::new(), last: true, now: UnixMs(0) };
    bench.input(Input::Propose(Ticket(7), vec![Record::Merge(Box::new(merge))]));
    let reign = bench.ledger.reign();
    assert_eq!((reign.epoch, bench.core.reign()), (Epoch(41), Some(reign)));
    let (node, incarnation) = (NodeId(1), Incarnation(1));
    let old = Event::Promoted { reign: before, node, incarnation, before: None };
    bench.input(Input::Applied(vec![old]));
    assert_eq!(bench.core.reign(), Some(reign));
}
