//! Tests of the ledger: its life cycle step by step, and random journals on replicas that checkpoint and
//! restart at different times.

use super::*;
use crate::rows::MemoryRows;
use proptest::prelude::*;
use relais_protocol::ids::Generation;
use relais_protocol::job::{AttemptOutcome, ErrorKind, JobError, JobState};
use relais_protocol::record::{Finish, NodeFacts, RULES, Standing, Submit};
use relais_protocol::spec::{Condition, Dependency, JobOptions, JobSpec, OnLost, QueueName, RetryPolicy, StartTime};

mod blocked;
mod clocks;
mod groups;
mod heal;
mod joins;
mod leases;
mod notices;
mod queues;
mod retention;
mod room;
mod schedules;
mod tally;
mod turns;
mod unique;

struct Bench {
    rows: Arc<MemoryRows>,
    ledger: Ledger,
    index: u64,
    now: u64,
}

fn spec(options: JobOptions) -> JobSpec {
    let spec = JobSpec {
        kind: "noop".into(),
        queue: QueueName::default(),
        priority: 50,
        name: String::new(),
        payload: "{}".into(),
        options: None,
    };
    spec.with_options(options)
}

fn submit(id: u128, options: JobOptions) -> Record {
    Record::Submit(Box::new(Submit { id: JobId(id), spec: spec(options), body_hash: 7, submitted_by: "t".into() }))
}

fn finish(job: u128, fence: Fence, outcome: AttemptOutcome) -> Record {
    let error = (outcome != AttemptOutcome::Succeeded)
        .then(|| JobError { kind: ErrorKind::Exit, message: "exit code 1".into() });
    Record::Finish(Box::new(Finish {
        job: JobId(job),
        fence,
        node: NodeId(1),
        outcome,
        exit_code: Some(1),
        signal: None,
        error,
        result: None,
        progress: None,
        output_tail: vec![1; 10],
    }))
}

fn up(node: u32, incarnation: u64, slots: u32) -> Record {
    let (cpu_millis, memory_bytes) = (4_000, 4 << 30);
    let facts = NodeFacts { name: format!("n{node}"), slots, cpu_millis, memory_bytes, ..NodeFacts::default() };
    Record::NodeUp { node: NodeId(node), incarnation: Incarnation(incarnation), facts: Box::new(facts) }
}

impl Bench {
    fn new(slots: u32) -> Self {
        let rows = Arc::new(MemoryRows::default());
        let mut bench = Self { ledger: Ledger::new(rows.clone()), rows, index: 0, now: 1_000 };
        bench.does(Record::Found { cluster: ClusterId(9), name: "n1".into() });
        bench.does(Record::Promote { node: NodeId(1), incarnation: Incarnation(1) });
        bench.does(up(1, 1, slots));
        bench
    }

    fn batch(&self, records: Vec<Record>) -> Batch {
        let reign = self.ledger.reign();
        Batch { rules: RULES, generation: reign.generation, epoch: reign.epoch, stamp: UnixMs(self.now), records }
    }

    fn does(&mut self, record: Record) -> Outcome {
        self.index += 1;
        let batch = self.batch(vec![record]);
        let mut effects = self.ledger.apply_batch(Index(self.index), batch);
        self.ledger.check_invariants().unwrap();
        effects.outcomes.each.remove(0)
    }

    fn state(&self, id: u128) -> StateName {
        self.ledger.job(JobId(id)).unwrap().state.name()
    }

    fn fence(&self, id: u128) -> Fence {
        self.ledger.job(JobId(id)).unwrap().attempts.last().unwrap().fence
    }
}

#[test]
fn a_submit_is_placed_in_its_own_entry_and_a_finish_frees_the_slot_for_the_next() {
    let mut bench = Bench::new(1);
    bench.does(submit(1, JobOptions::default()));
    bench.does(submit(2, JobOptions::default()));
    assert_eq!((bench.state(1), bench.state(2)), (StateName::Running, StateName::Queued));
    let fence = bench.fence(1);
    assert_eq!(bench.does(finish(1, fence, AttemptOutcome::Succeeded)), Outcome::Done);
    assert_eq!((bench.state(1), bench.state(2)), (StateName::Succeeded, StateName::Running));
    let again = bench.does(finish(1, fence, AttemptOutcome::Failed));
    assert_eq!(again, Outcome::Refused(Refusal::JobEnded(StateName::Succeeded)));
}

#[test]
fn a_key_makes_one_job_and_refuses_another_body() {
    let mut bench = Bench::new(1);
    let keyed = JobOptions { idempotency_key: Some("k".into()), ..JobOptions::default() };
    bench.does(submit(1, keyed.clone()));
    let again = bench.does(submit(2, keyed.clone()));
    assert!(matches!(again, Outcome::Submitted { id: JobId(1), deduplicated: true, .. }));
    let Record::Submit(mut other) = submit(3, keyed.clone()) else { unreachable!() };
    other.body_hash = 8;
    assert_eq!(bench.does(Record::Submit(other)), Outcome::Refused(Refusal::KeyReused(JobId(1))));
    bench.now += 25 * 3_600_000;
    bench.does(Record::Audit);
    let later = bench.does(submit(4, keyed));
    assert!(matches!(later, Outcome::Submitted { id: JobId(4), deduplicated: false, .. }));
}

#[test]
fn failures_are_retried_by_the_policy_and_losses_beside_it() {
    let mut bench = Bench::new(1);
    let retry = RetryPolicy { max_attempts: 2, max_lost: 1, ..RetryPolicy::default() };
    bench.does(submit(1, JobOptions { retry, ..JobOptions::default() }));
    let first = bench.fence(1);
    bench.does(finish(1, first, AttemptOutcome::Failed));
    assert_eq!(bench.state(1), StateName::Retrying);
    bench.now += 1_000;
    bench.does(Record::Tick);
    assert_eq!(bench.state(1), StateName::Running);
    let offline = Record::NodeStanding { node: NodeId(1), incarnation: Incarnation(1), standing: Standing::Offline };
    bench.does(offline.clone());
    assert_eq!(bench.state(1), StateName::Queued, "one loss is allowed beside the attempts");
    let lost = bench.fence(1);
    assert_eq!(bench.does(finish(1, first, AttemptOutcome::Succeeded)), Outcome::Refused(Refusal::StaleFence));
    bench.does(up(1, 1, 1));
    assert!(bench.fence(1) > lost);
    bench.does(offline);
    assert_eq!(bench.state(1), StateName::Failed);
    assert_eq!(bench.ledger.job(JobId(1)).unwrap().error.unwrap().kind, ErrorKind::LostTooOften);
    assert_eq!(bench.does(Record::Retry { job: JobId(1) }), Outcome::Done);
}

#[test]
fn a_late_report_counts_until_a_newer_attempt_starts() {
    let mut bench = Bench::new(1);
    bench.does(submit(1, JobOptions::default()));
    let fence = bench.fence(1);
    bench.does(Record::NodeStanding { node: NodeId(1), incarnation: Incarnation(1), standing: Standing::Offline });
    assert_eq!(bench.state(1), StateName::Queued);
    assert_eq!(bench.does(finish(1, fence, AttemptOutcome::Succeeded)), Outcome::Done);
    assert_eq!(bench.state(1), StateName::Succeeded);
}

#[test]
fn an_end_told_twice_counts_once() {
    let mut bench = Bench::new(1);
    let retry = RetryPolicy { max_attempts: 2, ..RetryPolicy::default() };
    bench.does(submit(1, JobOptions { retry, ..JobOptions::default() }));
    let fence = bench.fence(1);
    assert_eq!(bench.does(finish(1, fence, AttemptOutcome::Failed)), Outcome::Done);
    bench.does(Record::Promote { node: NodeId(1), incarnation: Incarnation(2) });
    let again = bench.does(finish(1, fence, AttemptOutcome::Failed));
    assert_eq!(again, Outcome::Refused(Refusal::StaleFence));
    assert_eq!((bench.state(1), bench.ledger.job(JobId(1)).unwrap().failures), (StateName::Retrying, 1));
}

#[test]
fn records_of_a_reign_that_is_over_are_void() {
    let mut bench = Bench::new(1);
    let stale = bench.batch(vec![submit(1, JobOptions::default())]);
    bench.does(Record::Promote { node: NodeId(1), incarnation: Incarnation(2) });
    bench.index += 1;
    let effects = bench.ledger.apply_batch(Index(bench.index), stale);
    assert_eq!(effects.outcomes.each, [Outcome::Refused(Refusal::StaleReign)]);
    assert!(bench.ledger.job(JobId(1)).is_none());
}

#[test]
fn a_cancel_ends_what_waits_and_asks_for_what_runs() {
    let mut bench = Bench::new(1);
    bench.does(submit(1, JobOptions::default()));
    bench.does(submit(2, JobOptions::default()));
    assert_eq!(bench.does(Record::Cancel { job: JobId(2), reason: "no".into() }), Outcome::Cancelled { now: true });
    assert_eq!(bench.does(Record::Cancel { job: JobId(1), reason: "no".into() }), Outcome::Cancelled { now: false });
    assert_eq!(bench.state(1), StateName::Running);
    let fence = bench.fence(1);
    bench.does(finish(1, fence, AttemptOutcome::Cancelled));
    assert_eq!(bench.state(1), StateName::Cancelled);
    let ended = bench.does(Record::Cancel { job: JobId(1), reason: "no".into() });
    assert_eq!(ended, Outcome::Refused(Refusal::JobEnded(StateName::Cancelled)));
}

#[test]
fn an_attempt_that_its_node_stopped_is_lost_and_counts_once() {
    let mut bench = Bench::new(2);
    let retry = RetryPolicy { on_lost: OnLost::Fail, ..RetryPolicy::default() };
    bench.does(submit(1, JobOptions::default()));
    bench.does(submit(2, JobOptions { retry, ..JobOptions::default() }));
    for job in [1, 2] {
        bench.does(finish(job, bench.fence(job), AttemptOutcome::Cancelled));
    }
    let ends =
        |job| bench.ledger.job(JobId(job)).map(|job| (job.attempts[0].end.as_ref().map(|e| e.outcome), job.losses));
    assert_eq!(ends(1), Some((Some(AttemptOutcome::Lost), 1)));
    assert_eq!(ends(2), Some((Some(AttemptOutcome::Lost), 1)));
    assert_eq!((bench.state(1), bench.state(2)), (StateName::Running, StateName::Failed));
}

#[test]
fn a_job_waits_for_its_time_and_not_beyond_its_end() {
    let mut bench = Bench::new(1);
    bench.does(submit(1, JobOptions { start: StartTime::After(500), ..JobOptions::default() }));
    bench.does(submit(
        2,
        JobOptions { start: StartTime::After(900), expires_at: Some(UnixMs(1_600)), ..JobOptions::default() },
    ));
    assert_eq!(bench.ledger.next_due(), Some(UnixMs(1_500)));
    bench.now = 1_700;
    bench.does(Record::Tick);
    assert_eq!((bench.state(1), bench.state(2)), (StateName::Running, StateName::Expired));
}

#[test]
fn settings_are_kept_as_they_came_and_read_as_they_are_known() {
    let rows = Arc::new(MemoryRows::default());
    let mut ledger = Ledger::new(rows.clone());
    assert_eq!(*ledger.settings(), Settings::default());
    let set = |key: &str, value: &str| Record::Setting { key: key.into(), value: value.into() };
    let records = vec![set("voters", "3"), set("lease", "4s"), set("lease", "for ever"), set("of_a_later_build", "1")];
    let batch = Batch {
        rules: RULES,
        generation: Generation(0),
        epoch: Epoch(0),
        stamp: UnixMs(1),
        records: [vec![Record::Found { cluster: ClusterId(9), name: "n1".into() }], records].concat(),
    };
    ledger.apply_batch(Index(1), batch);
    assert_eq!((ledger.settings().voters, ledger.settings().lease_ms), (3, 3_000));
    rows.keep(&ledger.drain_changes());
    let loaded = Ledger::load(rows.clone(), Index(1)).unwrap();
    assert_eq!(loaded.settings(), ledger.settings());
    assert_eq!(loaded.settings.len(), 3);
}

fn any_record() -> impl Strategy<Value = (u8, u8, u8, u16)> {
    (0u8..25, 0u8..12, 1u8..4, 0u16..2_000)
}

fn record_of(ledger: &Ledger, (what, id, node, number): (u8, u8, u8, u16)) -> Record {
    let job = u128::from(id) + 1;
    let fence = ledger.job(JobId(job)).and_then(|j| j.attempts.last().map(|a| a.fence)).unwrap_or_default();
    let retry = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
    let row = ledger.node(NodeId(node.into())).map_or(Incarnation(0), |row| row.incarnation);
    match what {
        0..=2 => submit(job + u128::from(number) * 100, JobOptions { retry, ..JobOptions::default() }),
        3 => submit(
            job,
            JobOptions {
                start: StartTime::After(number.into()),
                expires_at: (number % 3 == 0).then(|| ledger.now().plus(number.into())),
                idempotency_key: Some(format!("k{}", number % 4)),
                ..JobOptions::default()
            },
        ),
        4 | 5 => finish(job, fence, AttemptOutcome::Succeeded),
        6 => finish(job, fence, AttemptOutcome::Failed),
        7 => Record::Cancel { job: JobId(job), reason: String::new() },
        8 => Record::NodeStanding {
            node: NodeId(node.into()),
            incarnation: row,
            standing: if number % 2 == 0 { Standing::Offline } else { Standing::Suspect },
        },
        9 => up(node.into(), row.0 + u64::from(number % 5 == 0), 2),
        10 => {
            if number % 2 == 0 {
                Record::Retry { job: JobId(job) }
            } else {
                Record::Delete { job: JobId(job) }
            }
        }
        11 | 16 => {
            let on = [Condition::Succeeded, Condition::Finished, Condition::Failed][usize::from(number % 3)];
            let parents = [job, u128::from(number % 12) + 1].map(|job| Dependency { job: JobId(job), on });
            submit(100 + u128::from(number % 40), JobOptions { depends_on: parents.to_vec(), ..JobOptions::default() })
        }
        12..=15 => queues::record_of(what, job, number),
        17 => room::record_of(job, node, number),
        18..=23 => groups::step(ledger, 0, (what - 18, id, (number % 6) as u8)),
        _ => Record::Promote { node: NodeId(node.into()), incarnation: Incarnation(1) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// One replica never checkpoints, one does at random, one restarts from its checkpoint and replays.
    #[test]
    fn replicas_agree_whenever_they_checkpoint_or_restart(
        steps in proptest::collection::vec((any_record(), 0u16..400, 0u8..8), 1..120),
    ) {
        let rows = Arc::new(MemoryRows::default());
        let mut bench = Bench::new(2);
        let mut other = Ledger::new(rows.clone());
        let mut log: Vec<Batch> = Vec::new();
        let mut kept = 0usize;
        for node in 2..4u32 {
            bench.ledger.admit_for_test(NodeId(node));
        }
        let mut start = Bench::new(2);
        for node in 2..4u32 {
            start.ledger.admit_for_test(NodeId(node));
        }
        std::mem::swap(&mut other, &mut start.ledger);
        rows.keep(&other.drain_changes());
        let applied = other.applied();
        other = Ledger::load(rows.clone(), applied).unwrap();
        for (seed, wait, act) in steps {
            bench.now += u64::from(wait);
            let batch = bench.batch(vec![record_of(&bench.ledger, seed)]);
            bench.index += 1;
            bench.ledger.apply_batch(Index(bench.index), batch.clone());
            bench.ledger.check_invariants().unwrap();
            other.apply_batch(Index(bench.index), batch.clone());
            log.push(batch);
            if act == 0 {
                rows.keep(&other.drain_changes());
                other.kept();
                kept = log.len();
            }
            if act == 1 {
                let from = bench.index - (log.len() - kept) as u64;
                other = Ledger::load(rows.clone(), Index(from)).unwrap();
                for (n, batch) in log[kept..].iter().enumerate() {
                    other.apply_batch(Index(from + n as u64 + 1), batch.clone());
                }
            }
            other.check_invariants().unwrap();
        }
        prop_assert_eq!(bench.ledger.digest(), other.digest());
    }
}

#[test]
fn bytes_that_are_no_batch_are_skipped() {
    let mut bench = Bench::new(1);
    let effects = bench.ledger.apply(Index(99), b"\x01nonsense");
    assert!(effects.outcomes.each.is_empty());
    assert_eq!(bench.ledger.applied(), Index(99));
    assert_eq!(bench.ledger.reign().generation, Generation(0));
    assert!(matches!(bench.ledger.job(JobId(1)).map(|j| j.state), None::<JobState>));
}
