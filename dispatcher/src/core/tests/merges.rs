//! Merges that raise the epoch while much else is on its way: nothing of it is lost.

use super::*;
use relais_protocol::lease::{AskId, EXTERNAL, LeaseAsk, LeaseWish};
use relais_protocol::merge::Merge;
use relais_protocol::spec::{JobOptions, Labels};
use std::collections::VecDeque;

const LEASE_MS: u64 = 10_000;
/// The external worker's job, and those of the node.
const OUTSIDE: u128 = 9;
const OWN: std::ops::RangeInclusive<u128> = 1..=3;

/// A merge whose epochs are higher than any here.
fn merge() -> Record {
    let from = Reign { generation: Generation(0), epoch: Epoch(40) };
    Record::Merge(Box::new(Merge {
        from,
        since: (Generation(0), Index(0)),
        rows: Vec::new(),
        last: true,
        now: UnixMs(0),
    }))
}

impl Bench {
    /// Three jobs run here and one outside, whose lease was not renewed and is over now.
    fn busy() -> Self {
        let mut bench = Self::new();
        bench.slots = 3;
        bench.report(2, vec![], vec![]);
        OWN.for_each(|job| bench.submit(job));
        let spec = JobSpec {
            kind: EXTERNAL.into(),
            queue: QueueName::default(),
            priority: 50,
            name: String::new(),
            payload: "{}".into(),
            options: None,
        };
        let spec = spec.with_options(JobOptions::default());
        let submit = Submit { id: JobId(OUTSIDE), spec, body_hash: 0, submitted_by: String::new() };
        bench.input(Input::Propose(Ticket(3), vec![Record::Submit(Box::new(submit))]));
        let ask = LeaseAsk {
            id: AskId(1),
            worker: "w".into(),
            queues: Vec::new(),
            kinds: vec![EXTERNAL.into()],
            labels: Labels::new(),
            max: 1,
            lease_ms: LEASE_MS,
        };
        bench.input(Input::Ask(Ticket(4), Box::new(LeaseWish { ask, wait_ms: 0, again: false })));
        bench.ms += LEASE_MS + 1_000;
        assert!([1, 2, 3, OUTSIDE].iter().all(|job| bench.state_of(*job) == StateName::Running));
        bench.told.clear();
        bench
    }

    fn state_of(&self, job: u128) -> StateName {
        self.ledger.job(JobId(job)).unwrap().state.name()
    }

    /// All three have ended.
    fn ends(&self) -> Input {
        let fence = Fence::new(self.ledger.job(JobId(1)).unwrap().attempts[0].fence.epoch(), 1);
        self.reported(5, vec![], OWN.map(|job| finish(job, fence)).collect())
    }

    /// Takes an input; what is proposed waits in `journal`.
    fn take(&mut self, input: Input, journal: &mut VecDeque<Batch>) {
        for effect in self.core.handle(self.now(), &self.ledger, input) {
            match effect {
                Effect::Propose(batch) => journal.push_back(batch),
                told => self.told.push(told),
            }
        }
    }

    fn answers(&self) -> Vec<&ReportAnswer> {
        self.told
            .iter()
            .filter_map(|told| if let Effect::Answer(_, answer) = told { Some(answer) } else { None })
            .collect()
    }
}

#[test]
fn what_comes_behind_a_merge_waits_for_it() {
    let mut bench = Bench::busy();
    bench.core.config.overlap_records = 4;
    let mut journal = VecDeque::new();
    bench.take(Input::Propose(Ticket(7), vec![merge()]), &mut journal);
    let ends = bench.ends();
    bench.take(ends, &mut journal);
    bench.take(Input::Tick, &mut journal);
    while let Some(batch) = journal.pop_front() {
        let committed = bench.commit(batch);
        bench.take(Input::Committed(committed), &mut journal);
    }
    assert_eq!(bench.ledger.reign().epoch, Epoch(41));
    assert!(OWN.into_iter().all(|job| bench.state_of(job) == StateName::Succeeded));
    assert!(matches!(bench.answers()[..], [ReportAnswer::Taken { settled, .. }] if settled.len() == 3));
    assert_eq!(bench.state_of(OUTSIDE), StateName::Queued, "its lease is over");
}

#[test]
fn what_was_refused_for_its_reign_is_said_again() {
    let mut bench = Bench::busy();
    bench.core.config.overlap_records = 1;
    let mut journal = VecDeque::new();
    bench.take(Input::Propose(Ticket(7), vec![merge()]), &mut journal);
    // Nobody knows what became of it: it is entered after all.
    bench.take(Input::Failed(Rejection::Unknown), &mut journal);
    let ends = bench.ends();
    bench.take(ends, &mut journal);
    bench.take(Input::Tick, &mut journal);
    assert!(journal.len() >= 3, "{journal:?}");
    let merging = journal.pop_front().unwrap();
    bench.commit(merging);
    while let Some(batch) = journal.pop_front() {
        let committed = bench.commit(batch);
        bench.take(Input::Committed(committed), &mut journal);
    }
    assert_eq!(bench.answers(), [&ReportAnswer::Busy], "the worker must keep what it has to tell");
    assert!(OWN.into_iter().all(|job| bench.state_of(job) == StateName::Running));
    bench.told.clear();
    let ends = bench.ends();
    bench.input(ends);
    bench.input(Input::Tick);
    assert!(OWN.into_iter().all(|job| bench.state_of(job) == StateName::Succeeded));
    assert!(matches!(bench.answers()[..], [ReportAnswer::Taken { settled, .. }] if settled.len() == 3));
    assert_eq!(bench.state_of(OUTSIDE), StateName::Queued, "its lease is over");
}
