//! Queues: limits, rates, pauses, purges, shares and turns; rule by rule, and in random lives in which no limit
//! is ever exceeded, whoever restarts when.

use super::*;
use crate::ledger::{Hold, QueueView};
use relais_protocol::job::Job;
use relais_protocol::queue::{PURGE_JOBS_MAX, QueueAct, QueueChange, QueueConfig, Rate};
use relais_protocol::spec::{Concurrency, OnConflict, Requires, Unique};

fn name(queue: &str) -> QueueName {
    QueueName::parse(queue).unwrap()
}

fn change(queue: &str, act: QueueAct) -> Record {
    Record::Queue(Box::new(QueueChange { queue: name(queue), act }))
}

pub(super) fn set(queue: &str, set: impl FnOnce(&mut QueueConfig)) -> Record {
    let mut config = QueueConfig::default();
    set(&mut config);
    change(queue, QueueAct::Set(config))
}

pub(super) fn pause(queue: &str, on: bool) -> Record {
    change(queue, QueueAct::Pause(on))
}

pub(super) fn purge(queue: &str) -> Record {
    change(queue, QueueAct::Purge { upto: None })
}

pub(super) fn submit_to(queue: &str, priority: u8, id: u128, options: JobOptions) -> Record {
    let Record::Submit(mut submit) = submit(id, options) else { unreachable!() };
    submit.spec.queue = name(queue);
    submit.spec.priority = priority;
    Record::Submit(submit)
}

fn keyed(key: &str, limit: u32) -> JobOptions {
    JobOptions { concurrency: Some(Concurrency { key: key.into(), limit }), ..JobOptions::default() }
}

const QUEUES: [&str; 3] = ["default", "a", "b"];

/// A record about queues, keys or limits, by three numbers.
pub(super) fn record_of(what: u8, job: u128, number: u16) -> Record {
    let queue = QUEUES[usize::from(number % 3)];
    let few = u32::from(number / 3 % 4);
    match (what, number % 11) {
        (12, _) => {
            let concurrency = (few > 0).then(|| Concurrency { key: format!("c{}", number % 2), limit: few });
            let unique = (number % 5 == 0).then(|| Unique {
                key: format!("u{}", number % 2),
                for_ms: (number % 4 == 0).then_some(2_000),
                on_conflict: [OnConflict::Return, OnConflict::Reject, OnConflict::Replace][usize::from(number / 7 % 3)],
            });
            let requires = Requires { slots: 1 + u32::from(number % 7 == 0), ..Requires::default() };
            let retry = RetryPolicy { max_attempts: 2, ..RetryPolicy::default() };
            let options = JobOptions { concurrency, unique, requires, retry, ..JobOptions::default() };
            submit_to(queue, (number % 101) as u8, job + u128::from(number) * 1_000, options)
        }
        (13, _) => set(queue, |config| {
            config.concurrency = (few > 0).then_some(few);
            config.weight = 1 + u32::from(number % 4);
            config.rate = (number % 2 == 0).then(|| Rate { count: few + 1, per_ms: 50 + u64::from(number) });
        }),
        (14, 0) => purge(queue),
        (14, 1) => Record::Setting { key: "priority_aging".into(), value: format!("{}ms", number + 1) },
        (14, _) => pause(queue, number % 11 < 4),
        _ => submit_to(queue, (number % 101) as u8, job + u128::from(number) * 1_000, JobOptions::default()),
    }
}

impl Bench {
    pub(super) fn queue(&self, queue: &str) -> QueueView {
        self.ledger.queue(&name(queue)).unwrap()
    }

    pub(super) fn job(&self, id: u128) -> Job {
        self.ledger.job(JobId(id)).unwrap()
    }

    /// The ids that run, lowest first.
    pub(super) fn running(&self) -> Vec<u128> {
        let nodes: Vec<NodeId> = self.ledger.nodes().map(|row| row.id).collect();
        let mut ids: Vec<u128> = nodes.iter().flat_map(|id| self.ledger.running_on(*id)).map(|(id, _)| id.0).collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn succeeds(&mut self, id: u128) {
        let fence = self.fence(id);
        assert_eq!(self.does(finish(id, fence, AttemptOutcome::Succeeded)), Outcome::Done);
    }

    pub(super) fn reloaded(mut self) -> Self {
        let digest = self.ledger.digest();
        self.rows.keep(&self.ledger.drain_changes());
        self.ledger = Ledger::load(self.rows.clone(), self.ledger.applied()).unwrap();
        self.ledger.check_invariants().unwrap();
        assert_eq!(self.ledger.digest(), digest);
        self
    }
}

#[test]
fn a_limit_holds_for_the_whole_queue_and_no_other() {
    let mut bench = Bench::new(8);
    bench.does(set("a", |config| config.concurrency = Some(2)));
    for id in 1..=4 {
        bench.does(submit_to("a", 50, id, JobOptions::default()));
    }
    bench.does(submit_to("b", 50, 9, JobOptions::default()));
    assert_eq!(bench.running(), [1, 2, 9]);
    let waiting = bench.ledger.waiting(&bench.job(4)).unwrap();
    assert_eq!((waiting.held, waiting.ahead), (Some(Hold::QueueLimit(2)), 1));
    bench = bench.reloaded();
    bench.succeeds(1);
    assert_eq!(bench.running(), [2, 3, 9]);
    bench.does(set("a", |config| config.concurrency = Some(1)));
    bench.succeeds(2);
    assert_eq!(bench.running(), [3, 9], "what runs goes on, and nothing starts above the lower limit");
    bench.does(set("a", |_| {}));
    assert_eq!(bench.running(), [3, 4, 9]);
}

#[test]
fn an_attempt_on_a_silent_node_counts_until_it_is_given_up() {
    let mut bench = Bench::pair();
    bench.does(set("a", |config| config.concurrency = Some(1)));
    bench.does(submit_to("a", 50, 1, JobOptions::default()));
    bench.does(submit_to("a", 50, 2, keyed("k", 1)));
    let node = bench.job(1).attempts[0].node;
    let stands = |standing| Record::NodeStanding { node, incarnation: Incarnation(1), standing };
    bench.does(stands(Standing::Suspect));
    assert_eq!(bench.running(), [1]);
    bench.does(stands(Standing::Offline));
    assert_eq!(bench.running(), [1], "it waits again, and its turn is first");
    assert_ne!(bench.job(1).attempts[1].node, node);
}

#[test]
fn a_paused_queue_starts_nothing_until_it_is_resumed() {
    let mut bench = Bench::new(2);
    bench.does(pause("a", true));
    bench.does(submit_to("a", 50, 1, JobOptions::default()));
    bench = bench.reloaded();
    assert!(bench.running().is_empty() && bench.queue("a").paused);
    assert!(bench.ledger.why_it_waits(&bench.job(1)).contains("queue `a` is paused"));
    bench.does(set("a", |config| config.weight = 2));
    assert!(bench.queue("a").paused, "setting it does not resume it");
    bench.does(pause("a", false));
    assert_eq!(bench.running(), [1]);
    assert_eq!(bench.queue("a").config.weight, 2, "resuming it does not set it");
}

#[test]
fn a_key_holds_its_jobs_to_their_limits_in_all_queues() {
    let mut bench = Bench::new(8);
    bench.does(submit_to("a", 50, 1, keyed("k", 2)));
    bench.does(submit_to("b", 50, 2, keyed("k", 1)));
    bench.does(submit_to("b", 50, 3, keyed("k", 2)));
    bench.does(submit_to("b", 50, 4, keyed("k", 2)));
    bench.does(submit_to("a", 50, 5, keyed("other", 1)));
    assert_eq!(bench.running(), [1, 3, 5], "the stricter job waits, the others pass it");
    let held = Hold::KeyLimit { key: "k".into(), limit: 1, running: 2 };
    assert_eq!(bench.ledger.waiting(&bench.job(2)).unwrap().held, Some(held));
    bench = bench.reloaded();
    bench.succeeds(1);
    assert_eq!(bench.running(), [3, 4, 5]);
    bench.succeeds(3);
    bench.succeeds(4);
    assert_eq!(bench.running(), [2, 5]);
}

#[test]
fn a_rate_closes_the_queue_and_says_when_it_opens() {
    let mut bench = Bench::new(8);
    bench.now = 10_000;
    bench.does(set("a", |config| config.rate = Some(Rate { count: 2, per_ms: 1_000 })));
    for id in 1..=5 {
        bench.does(submit_to("a", 50, id, JobOptions::default()));
    }
    assert_eq!(bench.running(), [1, 2]);
    let opens = bench.ledger.next_due().unwrap();
    assert!((11_000..11_020).contains(&opens.0), "{opens:?}");
    assert_eq!(bench.queue("a").held, Some(Hold::Rate(opens)));
    assert_eq!(bench.queue("a").started_within_rate, Some(2));
    bench = bench.reloaded();
    bench.now = opens.0 - 1;
    bench.does(Record::Tick);
    assert_eq!(bench.running(), [1, 2]);
    bench.now = opens.0;
    bench.does(Record::Tick);
    assert_eq!(bench.running(), [1, 2, 3, 4]);
    bench.does(set("a", |_| {}));
    assert_eq!(bench.running(), [1, 2, 3, 4, 5]);
    assert_eq!(bench.ledger.next_due(), None);
}

#[test]
fn a_purge_cancels_what_waits_part_by_part_and_nothing_that_came_later() {
    let mut bench = Bench::new(1);
    bench.does(submit_to("a", 50, 1, JobOptions::default()));
    bench.does(submit_to("a", 50, 2, JobOptions { start: StartTime::After(60_000), ..JobOptions::default() }));
    let many = PURGE_JOBS_MAX as u128 + 10;
    let records: Vec<Record> = (10..10 + many).map(|id| submit_to("a", 50, id, JobOptions::default())).collect();
    bench.index += 1;
    let batch = bench.batch(records);
    bench.ledger.apply_batch(Index(bench.index), batch);
    let Outcome::Purged(first) = bench.does(purge("a")) else { panic!("not purged") };
    assert_eq!((first.jobs as usize, first.more), (PURGE_JOBS_MAX, true));
    bench.does(submit_to("a", 50, 5, JobOptions::default()));
    let Outcome::Purged(rest) = bench.does(change("a", QueueAct::Purge { upto: Some(first.upto) })) else { panic!() };
    assert_eq!((rest.jobs, rest.more), (11, false));
    assert_eq!(
        (bench.state(1), bench.state(2), bench.state(5)),
        (StateName::Running, StateName::Cancelled, StateName::Queued)
    );
    assert!(bench.job(2).error.unwrap().message.contains("queue `a` was purged"));
}

#[test]
fn a_queue_that_is_over_is_forgotten_at_an_audit() {
    let mut bench = Bench::new(1);
    for id in 1..=6 {
        bench.does(submit_to(["a", "b"][usize::from(id % 2 == 0)], 50, id, JobOptions::default()));
    }
    while let Some(id) = bench.running().first().copied() {
        bench.succeeds(id);
        bench.does(Record::Delete { job: JobId(id) });
    }
    assert!(bench.ledger.queue(&name("a")).is_none() && bench.ledger.queues().count() == 0);
    let flows = |bench: &Bench| bench.ledger.lines.queues().count();
    let before = flows(&bench);
    bench.does(Record::Audit);
    assert!(before > 0 && flows(&bench) < before, "{before} before, {} after", flows(&bench));
    bench = bench.reloaded();
    bench.does(submit_to("a", 50, 9, JobOptions::default()));
    assert_eq!(bench.running(), [9]);
}

#[test]
fn what_fits_nowhere_holds_nobody_up() {
    let mut bench = Bench::new(2);
    let wide = JobOptions { requires: Requires { slots: 3, ..Requires::default() }, ..JobOptions::default() };
    bench.does(submit_to("a", 100, 1, wide.clone()));
    bench.does(submit_to("b", 100, 2, wide));
    bench.does(submit_to("a", 0, 3, JobOptions::default()));
    bench.does(submit_to("b", 0, 4, JobOptions::default()));
    assert_eq!(bench.running(), [3, 4]);
    bench.does(up(1, 1, 5));
    assert_eq!(bench.running(), [1, 3, 4]);
}

/// Whether anything runs that a limit forbids.
fn exceeded(ledger: &Ledger, limits: &BTreeMap<QueueName, u32>) -> Option<String> {
    let (mut by_queue, mut by_key, mut strictest) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for node in ledger.nodes() {
        for (id, _) in ledger.running_on(node.id) {
            let job = ledger.job(id)?;
            *by_queue.entry(job.spec.queue.clone()).or_insert(0u32) += 1;
            if let Some(key) = &job.spec.options().concurrency {
                *by_key.entry(key.key.clone()).or_insert(0u32) += 1;
                let most = strictest.entry(key.key.clone()).or_insert(0);
                *most = key.limit.max(*most);
            }
        }
    }
    let queue = by_queue.iter().find(|(name, running)| limits.get(name).is_some_and(|limit| **running > *limit));
    let key = by_key.iter().find(|(key, running)| **running > strictest[*key]);
    queue.map(|found| format!("{found:?}")).or_else(|| key.map(|found| format!("{found:?}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Limits are set once; then jobs come, end, are lost and are purged, queues pause and go on, and a replica
    /// restarts from its rows in between.
    #[test]
    fn no_limit_is_ever_exceeded(
        limits in proptest::collection::vec(1u32..4, 3),
        steps in proptest::collection::vec((any_record(), 0u16..300, 0u8..6), 1..100),
    ) {
        let mut bench = Bench::pair();
        let kept: BTreeMap<QueueName, u32> = QUEUES.iter().map(|queue| name(queue)).zip(limits.iter().copied()).collect();
        for (queue, limit) in &kept {
            bench.does(set(queue.as_str(), |config| config.concurrency = Some(*limit)));
        }
        for (seed, wait, act) in steps {
            if seed.0 == 13 {
                continue;
            }
            bench.now += u64::from(wait);
            let record = super::record_of(&bench.ledger, seed);
            bench.does(record);
            prop_assert_eq!(exceeded(&bench.ledger, &kept), None);
            if act == 0 {
                bench = bench.reloaded();
            }
        }
    }

    /// Two busy queues share the slots by their weights, whatever the sizes and ends of their jobs.
    #[test]
    fn shares_are_near_the_weights(
        weights in (1u32..6, 1u32..6), slots in 1u32..5, ends in proptest::collection::vec(0u8..8, 150),
    ) {
        let mut bench = Bench::new(slots);
        bench.does(set("a", |config| config.weight = weights.0));
        bench.does(set("b", |config| config.weight = weights.1));
        let (mut next, mut started) = (0u128, [0u32; 2]);
        bench.does(pause("a", true));
        bench.does(pause("b", true));
        for id in 0..20 {
            next += 1;
            bench.does(submit_to(["a", "b"][id % 2], 50, next, JobOptions::default()));
        }
        bench.does(pause("a", false));
        bench.does(pause("b", false));
        let mut seen = std::collections::BTreeSet::new();
        for pick in ends {
            let running = bench.running();
            for id in &running {
                if seen.insert(*id) {
                    started[usize::from(bench.job(*id).spec.queue.as_str() == "b")] += 1;
                }
            }
            let id = running[usize::from(pick) % running.len()];
            // Both always have something in line.
            for queue in ["a", "b"] {
                next += 1;
                bench.does(submit_to(queue, 50, next, JobOptions::default()));
            }
            bench.succeeds(id);
        }
        let total = f64::from(started[0] + started[1]);
        let due = total * f64::from(weights.0) / f64::from(weights.0 + weights.1);
        // What was started while only one was open is beside the share.
        let slack = f64::from(slots) + 2.0;
        prop_assert!((f64::from(started[0]) - due).abs() <= slack, "{started:?} by {weights:?}, due {due}");
    }
}
