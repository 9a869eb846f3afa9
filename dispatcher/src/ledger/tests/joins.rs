//! Histories that part: a common start, then random lives of their own on two or three sides; and the laws
//! of the joins on all rows that come of it.

use super::super::merge::*;
use super::*;
use crate::ledger::read::JobFilter;
use relais_protocol::history::{Side, Takeover, TakeoverCause};
use relais_protocol::job::Job;
use relais_protocol::notice::{NoticeState, Noticed, Webhook};
use relais_protocol::record::{Token, TokenRole};
use relais_protocol::spec::{Concurrency, OnConflict, OnLost, Requires, Unique};

/// What may happen: a kind and two numbers that say to what.
pub(super) type Step = (u8, u8, u8);

pub(super) fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((0u8..29, 0u8..12, 0u8..6), 0..count)
}

/// Of the job with this number: one id is one body on every side.
fn options(kind: u8) -> JobOptions {
    let with_key = (kind % 3 == 0).then_some(kind / 3 % 2);
    let retry = RetryPolicy {
        max_attempts: u16::from(kind % 3) + 1,
        on_lost: if kind % 5 == 4 { OnLost::Fail } else { OnLost::Retry },
        ..RetryPolicy::default()
    };
    let concurrency = (kind % 5 == 2).then(|| Concurrency { key: format!("c{}", kind % 2), limit: 1 });
    let unique = (kind % 4 == 1).then(|| Unique {
        key: format!("u{}", kind % 8 / 4),
        for_ms: (kind % 3 == 1).then_some(5_000),
        on_conflict: [OnConflict::Return, OnConflict::Reject, OnConflict::Replace][usize::from(kind / 3 % 3)],
    });
    let start = if kind % 6 == 5 { StartTime::After(4_000) } else { StartTime::Now };
    let on = [Condition::Succeeded, Condition::Finished, Condition::Failed][usize::from(kind / 4)];
    let parent = (kind % 4 == 3).then(|| Dependency { job: JobId(u128::from(kind) * 10), on });
    let depends_on = parent.into_iter().collect();
    let idempotency_key = with_key.map(|key| format!("k{key}"));
    let requires = Requires { memory_bytes: u64::from(kind % 4) << 30, ..Requires::default() };
    let notify = (kind % 2 == 0).then(|| Webhook { url: "http://h/".into(), secret: None });
    let options =
        JobOptions { retry, start, idempotency_key, depends_on, concurrency, unique, ..JobOptions::default() };
    JobOptions { requires, notify, ..options }
}

impl Bench {
    /// Two nodes with two slots each.
    pub(super) fn pair() -> Self {
        let mut bench = Self::new(2);
        bench.ledger.admit_for_test(NodeId(2));
        bench.does(up(2, 1, 2));
        bench
    }

    /// One step in the life of a side; jobs that begin on it have ids of its own.
    pub(super) fn step(&mut self, side: u128, (kind, a, b): Step) {
        self.now += 500;
        let id = (u128::from(a) + 1) * 10 + if b % 2 == 0 { 0 } else { side };
        let job = self.ledger.job(JobId(id));
        let last = job.as_ref().and_then(|job| job.attempts.last()).map(|attempt| attempt.fence);
        let record = match (kind, last) {
            // An id is never given again.
            (0..=3, _) if self.ledger.graves.has_job(JobId(id), 0) => Record::Tick,
            (0..=3, _) => submit(id, options(a)),
            (4 | 5, Some(fence)) => finish(id, fence, AttemptOutcome::Succeeded),
            (6, Some(fence)) => finish(id, fence, AttemptOutcome::Failed),
            (7, _) => Record::Cancel { job: JobId(id), reason: format!("by side {side}") },
            (8, _) => Record::Retry { job: JobId(id) },
            (9, _) => Record::Delete { job: JobId(id) },
            (10, _) => Record::Setting { key: format!("s{}", a % 3), value: format!("{b} on side {side}") },
            (11, _) => {
                let id = u64::from(a % 4) * 10 + side as u64;
                Record::TokenMade(Box::new(Token {
                    id,
                    name: format!("t{id}"),
                    role: TokenRole::Read,
                    hash: [0; 32],
                    created_at: UnixMs(1),
                    expires_at: None,
                }))
            }
            (12, _) => Record::TokenRevoked { id: u64::from(a % 4) * 10 + u64::from(b % 3) },
            (14, _) => queues::set(["default", "q"][usize::from(a % 2)], |config| config.concurrency = Some(b.into())),
            (15, _) => queues::pause(["default", "q"][usize::from(a % 2)], b % 3 == 0),
            (16, _) if b == 0 => queues::purge("default"),
            (13, _) => Record::NodeStanding {
                node: NodeId(u32::from(a % 2) + 1),
                incarnation: Incarnation(1),
                standing: [Standing::Offline, Standing::Online, Standing::Suspect][usize::from(b % 3)],
            },
            (22, _) => room::set_on(u32::from(a % 2) + 1, side, b),
            (21, _) => {
                let states = [NoticeState::GivenUp { reason: "no".into() }, NoticeState::Delivered { status: 200 }];
                let state = states[usize::from(b % 2)].clone();
                Record::Noticed(Box::new(Noticed { job: JobId(id), life: u16::from(b / 3), state }))
            }
            (23..=28, _) => groups::step(&self.ledger, side, (kind - 23, a, b)),
            (17..=20, _) => schedules::step(&self.ledger, side, self.now, (kind - 3, a, b)),
            _ => Record::Tick,
        };
        self.does(record);
    }

    pub(super) fn steps(&mut self, side: u128, steps: &[Step]) {
        for step in steps {
            self.step(side, *step);
        }
    }

    /// This node goes on alone.
    pub(super) fn takes_over(&mut self, node: u32, generation: u64, side: Side, common: u64) {
        let takeover = Takeover {
            node: NodeId(node),
            generation: Generation(generation),
            side,
            cause: TakeoverCause::Takeover,
            common: Index(common),
            at: UnixMs(self.now),
        };
        self.index += 1;
        let mut batch = self.batch(vec![
            Record::Takeover(Box::new(takeover)),
            Record::Promote { node: NodeId(node), incarnation: Incarnation(1) },
        ]);
        batch.generation = Generation(generation);
        let effects = self.ledger.apply_batch(Index(self.index), batch);
        assert_eq!(effects.outcomes.each, [Outcome::Done, Outcome::Done]);
        assert_eq!(self.ledger.reign().generation, Generation(generation));
    }

    pub(super) fn jobs(&self) -> Vec<Job> {
        self.ledger.list(&JobFilter::default(), None, usize::MAX, usize::MAX).0
    }
}

/// Sides of one common past, each with its own numbers.
pub(super) fn sides<const N: usize>(past: &[Step], lives: [&[Step]; N]) -> [Bench; N] {
    let mut number = 0;
    lives.map(|life| {
        let mut bench = Bench::pair();
        bench.steps(0, past);
        let common = bench.index;
        let generation = [5, 6, 9][number];
        let side = [Side::Odd, Side::Even, Side::Odd][number];
        number += 1;
        bench.takes_over(number as u32, generation, side, common);
        bench.steps(number as u128, life);
        bench
    })
}

proptest! {
    #[test]
    fn joins_of_jobs_keep_the_laws(past in steps(24), one in steps(24), two in steps(24), three in steps(24)) {
        let sides = sides(&past, [&one, &two, &three]);
        let rows: Vec<Vec<Job>> = sides.iter().map(Bench::jobs).collect();
        let of = |side: usize, id: JobId| rows[side].iter().find(|job| job.id == id);
        for a in &rows[0] {
            prop_assert_eq!(&join_jobs(a, a), a);
            let Some(b) = of(1, a.id) else { continue };
            let ab = join_jobs(a, b);
            prop_assert_eq!(&ab, &join_jobs(b, a));
            prop_assert_eq!(&join_jobs(&ab, a), &ab);
            prop_assert_eq!(&join_jobs(&ab, b), &ab);
            let fences = |job: &Job| job.attempts.iter().map(|attempt| attempt.fence).collect::<Vec<_>>();
            let all = fences(&ab);
            prop_assert!(fences(a).iter().chain(&fences(b)).all(|fence| all.contains(fence)), "an attempt is dropped");
            if a.life == b.life && (a.state.is_terminal() || b.state.is_terminal()) {
                prop_assert!(ab.state.is_terminal());
            }
            let Some(c) = of(2, a.id) else { continue };
            prop_assert_eq!(join_jobs(&ab, c), join_jobs(a, &join_jobs(b, c)));
        }
    }

    #[test]
    fn joins_of_small_rows_keep_the_laws(past in steps(16), one in steps(16), two in steps(16), three in steps(16)) {
        let [a, b, c] = sides(&past, [&one, &two, &three]);
        for row in a.ledger.nodes() {
            let (b, c) = (b.ledger.node(row.id).unwrap(), c.ledger.node(row.id).unwrap());
            prop_assert_eq!(join_nodes(row, b), join_nodes(b, row));
            prop_assert_eq!(join_nodes(&join_nodes(row, b), c), join_nodes(row, &join_nodes(b, c)));
            prop_assert_eq!(&join_nodes(row, row), row);
        }
        for (key, row) in &a.ledger.settings {
            let (Some(b), Some(c)) = (b.ledger.settings.get(key), c.ledger.settings.get(key)) else { continue };
            prop_assert_eq!(join_settings(row, b), join_settings(b, row));
            prop_assert_eq!(join_settings(&join_settings(row, b), c), join_settings(row, &join_settings(b, c)));
        }
        schedules::laws_hold([&a.ledger, &b.ledger, &c.ledger])?;
        for key in (0..4).map(|key| format!("k{key}")) {
            let rows = [&a, &b, &c].map(|side| side.ledger.key_row(&key));
            let [Some(a), Some(b), Some(c)] = rows else { continue };
            prop_assert_eq!(join_keys(&a, &b), join_keys(&b, &a));
            prop_assert_eq!(join_keys(&join_keys(&a, &b), &c), join_keys(&a, &join_keys(&b, &c)));
        }
    }
}
