//! Leases of external workers: what is granted by which rule, which end counts, and random lives in which every
//! index stays true.

use super::queues::{pause, set, submit_to};
use super::*;
use relais_protocol::lease::{AskId, EXTERNAL, LeaseAsk, LeaseEnd, LeaseOutcome};
use relais_protocol::spec::{Concurrency, Labels, OnLost, Requires};

fn external(queue: &str, priority: u8, id: u128, options: JobOptions) -> Record {
    let Record::Submit(mut submit) = submit_to(queue, priority, id, options.clone()) else { unreachable!() };
    submit.spec.kind = EXTERNAL.into();
    submit.spec = submit.spec.with_options(options);
    Record::Submit(submit)
}

fn job(id: u128) -> Record {
    external("default", 50, id, JobOptions::default())
}

fn asks(max: u16, queues: &[&str]) -> LeaseAsk {
    LeaseAsk {
        id: AskId(7),
        worker: "w".into(),
        queues: queues.iter().map(|queue| QueueName::parse(queue).unwrap()).collect(),
        kinds: vec![EXTERNAL.into()],
        labels: Labels::new(),
        max,
        lease_ms: 30_000,
    }
}

fn ended(job: u128, fence: Fence, how: LeaseOutcome) -> Record {
    Record::LeaseEnd(Box::new(LeaseEnd { job: JobId(job), fence, how }))
}

fn completed(result: &str) -> LeaseOutcome {
    LeaseOutcome::Completed { result: Some(result.into()) }
}

fn failed(message: &str) -> LeaseOutcome {
    LeaseOutcome::Failed(JobError { kind: ErrorKind::Worker, message: message.into() })
}

impl Bench {
    fn granted(&mut self, ask: LeaseAsk) -> Vec<u128> {
        // What is due by now is foreseen once it has come.
        self.does(Record::Tick);
        let foreseen = self.ledger.leasable(&ask, 100);
        match self.does(Record::Lease(Box::new(ask))) {
            Outcome::Leased(leases) => {
                assert_eq!(foreseen == 0, leases.is_empty(), "foreseen {foreseen}, granted {leases:?}");
                leases.iter().map(|(job, _)| job.0).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn ends(&mut self, job: u128, how: LeaseOutcome) -> Outcome {
        self.does(ended(job, self.fence(job), how))
    }
}

#[test]
fn no_node_takes_external_jobs_and_workers_take_them_by_their_turn() {
    let mut bench = Bench::new(8);
    bench.does(external("a", 10, 1, JobOptions::default()));
    bench.now += 1;
    bench.does(external("a", 90, 2, JobOptions::default()));
    bench.does(external("a", 90, 3, JobOptions::default()));
    bench.does(submit_to("a", 100, 4, JobOptions::default()));
    assert_eq!(bench.state(1), StateName::Queued);
    assert_eq!(bench.state(4), StateName::Running, "what nodes run is not held up by them");
    assert_eq!(bench.granted(asks(2, &[])), [2, 3]);
    assert!(bench.granted(asks(2, &["b"])).is_empty());
    assert_eq!(bench.granted(asks(9, &["b", "a"])), [1]);
    let row = bench.ledger.job(JobId(1)).unwrap();
    let JobState::Running { node: NodeId::OUTSIDE, fence, .. } = row.state else { panic!("{row:?}") };
    assert_eq!(row.attempts[0].outside.as_ref().unwrap().worker, "w");
    assert_eq!(
        bench.ledger.outside(JobId(1), fence).map(|(own, cancel)| (own.lease_ms, cancel)),
        Some((30_000, false))
    );
    assert_eq!(bench.ledger.granted_to(AskId(7)).len(), 3);
}

#[test]
fn limits_rates_keys_and_pauses_hold_for_external_jobs() {
    let mut bench = Bench::new(8);
    let key = || JobOptions { concurrency: Some(Concurrency { key: "k".into(), limit: 1 }), ..JobOptions::default() };
    bench.does(set("few", |config| config.concurrency = Some(3)));
    bench.does(submit_to("few", 50, 1, JobOptions::default()));
    (2..6).for_each(|id| drop(bench.does(external("few", 50, id, JobOptions::default()))));
    assert_eq!(bench.granted(asks(9, &["few"])), [2, 3], "a job on a node counts, too");
    bench.ends(2, completed("1"));
    bench.does(pause("few", true));
    assert!(bench.granted(asks(9, &["few"])).is_empty());
    bench.does(pause("few", false));
    assert_eq!(bench.granted(asks(9, &["few"])), [4]);
    bench.does(external("keyed", 50, 10, key()));
    bench.does(external("keyed", 50, 11, key()));
    assert_eq!(bench.granted(asks(9, &["keyed"])), [10]);
    bench.ends(10, LeaseOutcome::Released);
    assert_eq!(bench.granted(asks(9, &["keyed"])), [10], "given back, it is where it was");
    let per = relais_protocol::queue::Rate { count: 2, per_ms: 1_000 };
    bench.does(set("slow", |config| config.rate = Some(per)));
    (20..25).for_each(|id| drop(bench.does(external("slow", 50, id, JobOptions::default()))));
    assert_eq!(bench.granted(asks(9, &["slow"])), [20, 21]);
    let opens = bench.ledger.next_due().expect("a time");
    assert!(opens.since(UnixMs(bench.now)) >= 1_000, "{opens}");
    bench.now = opens.0;
    assert_eq!(bench.granted(asks(1, &["slow"])), [22]);
}

#[test]
fn only_a_worker_that_bears_the_labels_is_granted_what_requires_them() {
    let mut bench = Bench::new(1);
    let labels = |zone: &str| Labels::from([("zone".to_owned(), zone.to_owned())]);
    let requires = Requires { slots: 9, labels: labels("eu"), ..Requires::default() };
    bench.does(external("default", 90, 1, JobOptions { requires, ..JobOptions::default() }));
    bench.does(job(2));
    assert_eq!(bench.granted(LeaseAsk { labels: labels("us"), ..asks(9, &[]) }), [2]);
    assert!(bench.granted(LeaseAsk { kinds: vec!["resize".into()], labels: labels("eu"), ..asks(9, &[]) }).is_empty());
    assert_eq!(bench.granted(LeaseAsk { labels: labels("eu"), ..asks(9, &[]) }), [1], "slots are a matter of nodes");
}

#[test]
fn an_end_counts_once_and_only_while_the_lease_lasts() {
    let mut bench = Bench::new(1);
    let retry = RetryPolicy { max_attempts: 2, initial_interval_ms: 0, max_lost: 1, ..RetryPolicy::default() };
    let options = || JobOptions { retry: retry.clone(), ..JobOptions::default() };
    bench.does(external("default", 50, 1, options()));
    bench.granted(asks(1, &[]));
    let first = bench.fence(1);
    assert_eq!(bench.ends(1, LeaseOutcome::Over), Outcome::LeaseEnded(StateName::Queued));
    assert_eq!(bench.does(ended(1, first, completed("1"))), Outcome::Refused(Refusal::LeaseOver), "it is over");
    bench.granted(asks(1, &[]));
    assert!(bench.fence(1) > first);
    assert_eq!(bench.does(ended(1, first, failed("x"))), Outcome::Refused(Refusal::LeaseOver));
    assert_eq!(bench.ends(1, failed("x")), Outcome::LeaseEnded(StateName::Retrying));
    assert_eq!(bench.ends(1, failed("x")), Outcome::LeaseEnded(StateName::Queued), "told again");
    assert_eq!(bench.ends(1, failed("y")), Outcome::Refused(Refusal::LeaseOver));
    bench.does(Record::Tick);
    bench.granted(asks(1, &[]));
    assert_eq!(bench.ends(1, completed("5")), Outcome::LeaseEnded(StateName::Succeeded));
    assert_eq!(bench.ends(1, completed("5")), Outcome::LeaseEnded(StateName::Succeeded), "told again");
    assert_eq!(bench.ends(1, completed("6")), Outcome::Refused(Refusal::LeaseOver));
    assert_eq!(bench.does(ended(9, first, completed("5"))), Outcome::Refused(Refusal::NoSuchJob));
    let row = bench.ledger.job(JobId(1)).unwrap();
    assert_eq!((row.failures, row.losses, row.result.as_deref()), (1, 1, Some("5")));
    bench.does(external("default", 50, 2, options()));
    for _ in 0..2 {
        bench.granted(asks(1, &[]));
        bench.ends(2, LeaseOutcome::Over);
    }
    assert_eq!(bench.ledger.job(JobId(2)).unwrap().error.unwrap().kind, ErrorKind::LostTooOften);
    let retry = RetryPolicy { on_lost: OnLost::Fail, ..retry };
    bench.does(external("default", 50, 3, JobOptions { retry, ..JobOptions::default() }));
    bench.granted(asks(1, &[]));
    assert_eq!(bench.ends(3, LeaseOutcome::Over), Outcome::LeaseEnded(StateName::Failed));
}

#[test]
fn an_attempt_on_a_node_is_not_ended_by_what_is_said_of_leases() {
    let mut bench = Bench::new(1);
    bench.does(submit(1, JobOptions::default()));
    for how in [completed("1"), failed("x"), LeaseOutcome::Released, LeaseOutcome::Over] {
        assert_eq!(bench.ends(1, how), Outcome::Refused(Refusal::LeaseOver));
    }
    assert_eq!(bench.state(1), StateName::Running);
}

#[test]
fn what_is_final_is_not_tried_again() {
    let mut bench = Bench::new(1);
    let rules = vec!["worker:BadInput".to_owned()];
    let retry = RetryPolicy { max_attempts: 9, non_retryable: rules, ..RetryPolicy::default() };
    let options = || JobOptions { retry: retry.clone(), ..JobOptions::default() };
    let last = JobError { kind: ErrorKind::WorkerFinal, message: "no".into() };
    for (id, how, state) in [
        (1, failed("BadInput: x"), StateName::Failed),
        (2, failed("BadInputs: x"), StateName::Retrying),
        (3, failed("x BadInput: y"), StateName::Retrying),
        (4, LeaseOutcome::Failed(last), StateName::Failed),
    ] {
        bench.does(external("default", 50, id, options()));
        bench.granted(asks(1, &[]));
        assert_eq!(bench.ends(id, how), Outcome::LeaseEnded(state), "{id}");
    }
}

#[test]
fn time_outs_expiry_and_cancels_are_as_on_nodes() {
    let mut bench = Bench::new(1);
    let now = bench.now;
    let timed = JobOptions { timeout_ms: Some(500), ..JobOptions::default() };
    bench.does(external("default", 50, 1, timed));
    bench.granted(asks(1, &[]));
    assert_eq!(bench.ledger.next_due(), Some(UnixMs(now + 1_500)), "a second to spare");
    bench.now += 1_500;
    bench.does(Record::Tick);
    let error = bench.ledger.job(JobId(1)).unwrap().error.unwrap();
    assert_eq!((bench.state(1), error.kind), (StateName::Failed, ErrorKind::Timeout));
    let expires = JobOptions { expires_at: Some(UnixMs(bench.now + 100)), ..JobOptions::default() };
    bench.does(external("default", 50, 2, expires));
    bench.now += 100;
    bench.index += 1;
    let batch = bench.batch(vec![Record::Lease(Box::new(asks(1, &[])))]);
    let applied = bench.ledger.apply_batch(Index(bench.index), batch);
    assert_eq!(applied.outcomes.each, [Outcome::Leased(vec![])], "it expired before the grant of the same entry");
    assert_eq!(bench.state(2), StateName::Expired);
    for (id, how, state) in [
        (3, LeaseOutcome::Released, StateName::Cancelled),
        (4, failed("x"), StateName::Cancelled),
        (5, LeaseOutcome::Over, StateName::Cancelled),
        (6, completed("1"), StateName::Succeeded),
    ] {
        bench.does(job(id));
        bench.granted(asks(1, &[]));
        bench.does(Record::Cancel { job: JobId(id), reason: String::new() });
        assert_eq!(bench.ledger.outside(JobId(id), bench.fence(id)).map(|(_, cancel)| cancel), Some(true));
        assert_eq!(bench.ends(id, how), Outcome::LeaseEnded(state));
    }
}

#[test]
fn a_kind_is_known_once_a_node_of_the_table_has_offered_it() {
    let mut bench = Bench::new(4);
    let own = |id: u128| {
        let Record::Submit(mut submit) = submit(id, JobOptions::default()) else { unreachable!() };
        submit.spec.kind = "resize".into();
        submit.spec = submit.spec.with_options(JobOptions::default());
        Record::Submit(submit)
    };
    assert_eq!(bench.does(own(1)), Outcome::Refused(Refusal::UnknownKind("resize".into())));
    bench.ledger.admit_for_test(NodeId(2));
    let facts =
        |slots: u32| NodeFacts { name: "n2".into(), slots, kinds: vec!["resize".into()], ..NodeFacts::default() };
    let up = |slots| Record::NodeUp { node: NodeId(2), incarnation: Incarnation(1), facts: Box::new(facts(slots)) };
    bench.does(up(1));
    (1..=3).for_each(|id| drop(bench.does(own(id))));
    let JobState::Running { node, .. } = bench.ledger.job(JobId(1)).unwrap().state else { panic!() };
    assert_eq!((node, bench.state(2)), (NodeId(2), StateName::Queued), "the other node has slots, but not the kind");
    let ask = LeaseAsk { kinds: vec!["resize".into()], ..asks(1, &[]) };
    assert_eq!(bench.granted(ask), [2], "an external worker may take it as well");
    let offline = Record::NodeStanding { node: NodeId(2), incarnation: Incarnation(1), standing: Standing::Offline };
    bench.does(offline);
    assert!(matches!(bench.does(own(4)), Outcome::Submitted { .. }), "known, though nobody runs it just now");
}

#[test]
fn what_runs_outside_is_there_again_after_a_restart() {
    let mut bench = Bench::new(1);
    let timed = JobOptions { timeout_ms: Some(5_000), ..JobOptions::default() };
    bench.does(external("default", 50, 1, timed));
    bench.does(job(2));
    bench.granted(asks(2, &[]));
    bench.rows.keep(&bench.ledger.drain_changes());
    let loaded = Ledger::load(bench.rows.clone(), Index(bench.index)).unwrap();
    loaded.check_invariants().unwrap();
    assert_eq!(loaded.granted_to(AskId(7)), bench.ledger.granted_to(AskId(7)));
    assert_eq!(loaded.next_due(), bench.ledger.next_due());
    bench.ledger = loaded;
    assert_eq!(bench.ends(2, completed("2")), Outcome::LeaseEnded(StateName::Succeeded));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is said in whichever order, every index stays true, no limit is exceeded, and nothing is granted
    /// that was not foreseen or the other way round.
    #[test]
    fn leases_keep_every_index_true(steps in proptest::collection::vec((0u8..9, 1u128..9, 0u16..300), 1..120)) {
        let mut bench = Bench::new(2);
        bench.does(set("a", |config| config.concurrency = Some(2)));
        for (what, id, number) in steps {
            bench.now += u64::from(number);
            let queue = if number % 2 == 0 { "a" } else { "default" };
            let fence = bench.ledger.job(JobId(id)).and_then(|job| job.attempts.last().map(|last| last.fence));
            let fence = fence.unwrap_or_default();
            let timeout_ms = (number % 3 == 0).then_some(400);
            let retry = RetryPolicy { max_attempts: 2, ..RetryPolicy::default() };
            let options = JobOptions { timeout_ms, retry, ..JobOptions::default() };
            match what {
                0 | 1 => drop(bench.does(external(queue, (number % 101) as u8, id, options))),
                2 => drop(bench.does(submit_to(queue, 50, id, options))),
                3 | 4 => drop(bench.granted(asks(1 + number % 3, &[queue][..usize::from(number % 5 > 0)]))),
                5 => drop(bench.does(ended(id, fence, completed("1")))),
                6 => drop(bench.does(ended(id, fence, failed("x")))),
                7 => drop(bench.does(ended(id, fence, [LeaseOutcome::Over, LeaseOutcome::Released][usize::from(number % 2)].clone()))),
                _ => drop(bench.does(Record::Cancel { job: JobId(id), reason: String::new() })),
            }
            let running = |job: &relais_protocol::job::Job| {
                job.spec.queue.as_str() == "a" && job.state.name() == StateName::Running
            };
            let jobs = bench.ledger.jobs_between(JobId(0), JobId(u128::MAX), 100);
            prop_assert!(jobs.iter().filter(|job| running(job)).count() <= 2);
        }
    }
}
