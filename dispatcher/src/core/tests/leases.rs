//! External workers and the core: who waits, who is told, how long leases last, and what a failover does to them.

use super::*;
use relais_protocol::lease::{
    AskId, BeatAnswer, EXTERNAL, Granted, Lease, LeaseAsk, LeaseBeat, LeaseEnd, LeaseOutcome, LeaseWish,
};
use relais_protocol::spec::{JobOptions, Labels};

const LEASE_MS: u64 = 10_000;

impl Bench {
    fn external(&mut self, id: u128) {
        let spec = JobSpec {
            kind: EXTERNAL.into(),
            queue: QueueName::default(),
            priority: 50,
            name: String::new(),
            payload: "{}".into(),
            options: None,
        };
        let spec = spec.with_options(JobOptions::default());
        let submit = Submit { id: JobId(id), spec, body_hash: 0, submitted_by: String::new() };
        self.input(Input::Propose(Ticket(100 + id as u64), vec![Record::Submit(Box::new(submit))]));
    }

    fn ask(&mut self, ticket: u64, id: u128, wait_ms: u64, again: bool) {
        let ask = LeaseAsk {
            id: AskId(id),
            worker: "w".into(),
            queues: Vec::new(),
            kinds: vec![EXTERNAL.into()],
            labels: Labels::new(),
            max: 1,
            lease_ms: LEASE_MS,
        };
        self.input(Input::Ask(Ticket(ticket), Box::new(LeaseWish { ask, wait_ms, again })));
    }

    /// What was told to external workers since the last call, by ticket.
    fn granted(&mut self) -> Vec<(u64, Result<Vec<Lease>, Rejection>)> {
        let told = std::mem::take(&mut self.told);
        let granted = told.into_iter().filter_map(|effect| match effect {
            Effect::Granted(ticket, result) => Some((ticket.0, result.map(|granted: Granted| granted.leases))),
            _ => None,
        });
        granted.collect()
    }

    fn lease(&self, job: u128) -> Lease {
        let expires_at = UnixMs(self.ms + LEASE_MS);
        let fence = self.ledger.job(JobId(job)).unwrap().attempts.last().unwrap().fence;
        Lease { job: JobId(job), fence, expires_at }
    }

    fn beat(&mut self, lease: Lease) -> BeatAnswer {
        self.beat_saying(lease, None)
    }

    fn beat_saying(&mut self, lease: Lease, progress: Option<&str>) -> BeatAnswer {
        let beat = LeaseBeat { job: lease.job, fence: lease.fence, progress: progress.map(str::to_owned) };
        self.input(Input::Beat(Ticket(9), Box::new(beat)));
        match self.told.pop() {
            Some(Effect::Beaten(Ticket(9), answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn state(&self, job: u128) -> StateName {
        self.ledger.job(JobId(job)).unwrap().state.name()
    }

    fn wait(&mut self, ms: u64) {
        self.ms += ms;
        self.input(Input::Tick);
    }
}

#[test]
fn who_asks_is_told_at_once_what_there_is_and_else_when_it_comes() {
    let mut bench = Bench::new();
    bench.external(1);
    bench.told.clear();
    bench.ask(1, 1, 0, false);
    assert!(!bench.told.iter().any(|told| matches!(told, Effect::Order(..))), "no node is ordered anything");
    assert_eq!(bench.granted(), [(1, Ok(vec![bench.lease(1)]))]);
    bench.ask(2, 2, 5_000, false);
    bench.ask(3, 3, 5_000, false);
    bench.wait(100);
    assert_eq!(bench.granted(), [], "they wait, and cost no record");
    let before = bench.core.counts().records;
    bench.external(4);
    assert_eq!(bench.granted(), [(2, Ok(vec![bench.lease(4)]))], "the first who waits has it");
    assert_eq!(bench.core.counts().records - before, 2, "the submit and one grant");
    bench.wait(5_001);
    assert_eq!(bench.granted(), [(3, Ok(vec![]))]);
    bench.ask(4, 4, 0, false);
    bench.wait(20);
    assert_eq!(bench.granted(), [(4, Ok(vec![]))]);
}

#[test]
fn a_lease_lasts_as_long_as_it_is_renewed_and_is_lost_a_second_after_its_end() {
    let mut bench = Bench::new();
    bench.external(1);
    bench.ask(1, 1, 0, false);
    let lease = bench.lease(1);
    for _ in 0..4 {
        bench.wait(LEASE_MS);
        let expires_at = UnixMs(bench.ms + LEASE_MS);
        assert_eq!(bench.beat(lease), BeatAnswer::Held { expires_at, cancel: false });
    }
    bench.input(Input::Majority(false));
    bench.wait(LEASE_MS - 1);
    assert_eq!(bench.beat(lease), BeatAnswer::Busy, "without a majority nothing is renewed");
    bench.input(Input::Majority(true));
    bench.wait(1_000);
    assert_eq!(bench.state(1), StateName::Running);
    bench.wait(1);
    assert_eq!(bench.state(1), StateName::Queued);
    assert_eq!(bench.beat(lease), BeatAnswer::Over);
    bench.ask(2, 2, 0, false);
    assert!(bench.lease(1).fence > lease.fence);
    assert_eq!(bench.beat(lease), BeatAnswer::Over);
    bench.input(Input::Propose(Ticket(5), vec![Record::Cancel { job: JobId(1), reason: String::new() }]));
    let second = bench.lease(1);
    assert!(matches!(bench.beat(second), BeatAnswer::Held { cancel: true, .. }));
}

#[test]
fn what_a_worker_last_said_of_its_progress_is_known_until_its_attempt_ends() {
    let mut bench = Bench::new();
    bench.external(1);
    bench.ask(1, 1, 0, false);
    let lease = bench.lease(1);
    let said = |bench: &Bench| bench.core.progress_outside(lease.job, lease.fence);
    assert_eq!(said(&bench), None);
    bench.beat_saying(lease, Some("half"));
    bench.beat(lease);
    assert_eq!(said(&bench).as_deref(), Some("half"));
    let end = LeaseEnd { job: lease.job, fence: lease.fence, how: LeaseOutcome::Released };
    bench.input(Input::Propose(Ticket(7), vec![Record::LeaseEnd(Box::new(end))]));
    assert_eq!(said(&bench), None);
}

#[test]
fn a_new_reign_grants_every_lease_anew_and_tells_a_grant_again() {
    let mut bench = Bench::new();
    bench.external(1);
    bench.ask(1, 1, 0, false);
    let lease = bench.lease(1);
    bench.wait(LEASE_MS - 100);
    bench.ask(2, 2, 60_000, false);
    bench.told.clear();
    bench.input(Input::Deposed(bench.ledger.reign()));
    assert_eq!(bench.granted(), [(2, Err(Rejection::NotDispatcher))]);
    assert_eq!(bench.beat(lease), BeatAnswer::Busy);
    bench.ask(3, 1, 0, true);
    assert_eq!(bench.granted(), [(3, Err(Rejection::NotDispatcher))]);
    bench.input(Input::Promote(NodeId(1), Incarnation(1)));
    bench.wait(LEASE_MS - 1);
    assert_eq!(bench.state(1), StateName::Running, "a whole lease, from the begin of the reign");
    bench.told.clear();
    bench.ask(4, 1, 0, true);
    let told = Lease { expires_at: UnixMs(bench.ms + 1), ..lease };
    assert_eq!(bench.granted(), [(4, Ok(vec![told]))], "its answer was lost, the grant was not");
    bench.wait(1_001);
    assert_eq!(bench.state(1), StateName::Queued);
}

#[test]
fn who_is_gone_is_granted_nothing_and_gives_back_what_it_was() {
    let mut bench = Bench::new();
    bench.ask(1, 1, 60_000, false);
    bench.input(Input::Withdraw(AskId(1)));
    bench.external(1);
    assert_eq!(bench.state(1), StateName::Queued);
    bench.ask(2, 2, 0, false);
    assert_eq!(bench.state(1), StateName::Running);
    bench.input(Input::Withdraw(AskId(2)));
    assert_eq!(bench.state(1), StateName::Queued);
    let row = bench.ledger.job(JobId(1)).unwrap();
    assert_eq!((row.failures, row.losses), (0, 0), "it counts as nothing");
}

#[test]
fn a_grant_is_told_only_when_it_is_committed() {
    let mut bench = Bench::new();
    bench.external(1);
    bench.told.clear();
    let (now, wait) = (
        bench.now(),
        LeaseWish {
            ask: LeaseAsk {
                id: AskId(1),
                worker: String::new(),
                queues: Vec::new(),
                kinds: vec![EXTERNAL.into()],
                labels: Labels::new(),
                max: 5,
                lease_ms: LEASE_MS,
            },
            wait_ms: 1_000,
            again: false,
        },
    );
    let effects = bench.core.handle(now, &bench.ledger, Input::Ask(Ticket(1), Box::new(wait.clone())));
    assert!(matches!(&effects[..], [Effect::Propose(batch)] if matches!(batch.records[..], [Record::Lease(_)])));
    // Asked again while its record is in flight: the first one is told nothing of it.
    let again = LeaseWish { again: true, ..wait };
    let effects = bench.core.handle(now, &bench.ledger, Input::Ask(Ticket(2), Box::new(again)));
    assert_eq!(effects, [Effect::Granted(Ticket(1), Err(Rejection::Unknown))]);
    let effects = bench.core.handle(now, &bench.ledger, Input::Failed(Rejection::Unknown));
    assert_eq!(effects, [Effect::Granted(Ticket(2), Err(Rejection::Unknown))]);
    assert_eq!(bench.state(1), StateName::Queued);
}

#[test]
fn that_a_lease_is_over_is_said_again_where_it_came_to_nothing() {
    let mut bench = Bench::new();
    bench.external(1);
    bench.ask(1, 1, 0, false);
    let lease = bench.lease(1);
    bench.ms += LEASE_MS + 1_000;
    let over = |effects: &[Effect]| {
        let ends = |record: &Record| matches!(record, Record::LeaseEnd(end) if matches!(**end, LeaseEnd { how: LeaseOutcome::Over, .. }));
        effects.iter().any(|effect| matches!(effect, Effect::Propose(batch) if batch.records.iter().any(ends)))
    };
    let effects = bench.core.handle(bench.now(), &bench.ledger, Input::Tick);
    assert!(over(&effects), "{effects:?}");
    assert_eq!(bench.beat(lease), BeatAnswer::Over, "the next entry may give it to another");
    let effects = bench.core.handle(bench.now(), &bench.ledger, Input::Failed(Rejection::Unknown));
    assert!(!over(&effects));
    bench.input(Input::Tick);
    assert_eq!(bench.state(1), StateName::Queued);
}
