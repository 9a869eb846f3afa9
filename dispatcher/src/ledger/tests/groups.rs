//! Groups: members made by and by, each once; ends, aborts, cancels, what follows on an end.

use super::*;
use relais_protocol::group::{GroupId, GroupSize, GroupSubmit, Origin, completion_of};
use relais_protocol::job::Job;

pub(super) fn group(number: u128) -> GroupId {
    GroupId::of(JobId(number << 20))
}

pub(super) fn submit_group(number: u128, size: GroupSize, options: JobOptions) -> Record {
    submit_limited(number, size, options, None, 1_000)
}

fn submit_limited(
    number: u128,
    size: GroupSize,
    options: JobOptions,
    max_failures: Option<u32>,
    window: u32,
) -> Record {
    let submitted_by = "t".to_owned();
    Record::SubmitGroup(Box::new(GroupSubmit {
        id: group(number),
        spec: spec(options),
        size,
        first: 0,
        window,
        max_failures,
        body_hash: 7,
        submitted_by,
    }))
}

fn followed() -> JobOptions {
    JobOptions { on_complete: Some(Box::new(spec(JobOptions::default()))), ..JobOptions::default() }
}

/// What of groups must be the same whoever merges whom.
pub(super) fn faces(ledger: &Ledger) -> String {
    let face = |id| {
        let view = ledger.group(id).unwrap();
        let row = &view.row;
        let halt = row.halt.as_ref().map(|halt| (halt.aborted, halt.wish.at));
        format!("{id} {} {halt:?} {:?} {:?} {}", row.made, view.counts, view.state, row.completed)
    };
    ledger.groups().map(face).collect::<Vec<_>>().join("; ")
}

/// A step of a random life: groups that come, and what is done to them and their members.
pub(super) fn step(ledger: &Ledger, side: u128, (kind, a, b): (u8, u8, u8)) -> Record {
    // One id is one body on every side; some groups begin on one side only.
    let number = u128::from(a % 4) * 10 + 10 + if b % 2 == 0 { 0 } else { side };
    let members = ledger.jobs_between(group(number).as_job(), group(number).last(), 10);
    let member = members.get(usize::from(b) % members.len().max(1));
    let running = member.and_then(|job| Some((job.id.0, job.attempts.last()?.fence)));
    match (kind, running) {
        (0 | 1, _) => {
            let on_complete = (a % 2 == 0).then(|| Box::new(spec(JobOptions::default())));
            let retry = RetryPolicy { max_attempts: u16::from(a % 3) + 1, ..RetryPolicy::default() };
            let idempotency_key = (a % 4 == 3).then(|| "g".to_owned());
            let options = JobOptions { on_complete, retry, idempotency_key, ..JobOptions::default() };
            let limit = (a % 3 == 1).then_some(0);
            submit_limited(number, GroupSize::Count(u32::from(a % 4) * 2 + 1), options, limit, u32::from(a % 3) + 1)
        }
        (2, Some((id, fence))) => finish(id, fence, AttemptOutcome::Succeeded),
        (3, Some((id, fence))) => finish(id, fence, AttemptOutcome::Failed),
        (4, _) if b > 2 => Record::CancelGroup { group: group(number), reason: format!("by side {side}") },
        (5, _) => match member {
            Some(job) if b % 3 == 0 => Record::Retry { job: job.id },
            Some(job) if b % 3 == 1 => Record::Cancel { job: job.id, reason: String::new() },
            Some(job) => Record::Delete { job: job.id },
            None => Record::Tick,
        },
        _ => Record::Tick,
    }
}

impl Bench {
    fn view(&self, number: u128) -> GroupView {
        self.ledger.group(group(number)).unwrap()
    }

    fn count(&self, number: u128, state: StateName) -> u64 {
        self.view(number).counts[state as usize]
    }

    fn runs(&self) -> Vec<Job> {
        self.jobs().into_iter().filter(|job| matches!(job.state, JobState::Running { .. })).collect()
    }

    /// Ends everything that runs, all as one entry.
    fn ends_running(&mut self, outcome: AttemptOutcome) -> usize {
        let running = self.runs();
        let ends: Vec<Record> =
            running.iter().map(|job| finish(job.id.0, job.attempts.last().unwrap().fence, outcome)).collect();
        self.index += 1;
        let batch = self.batch(ends);
        self.ledger.apply_batch(Index(self.index), batch);
        running.len()
    }

    fn runs_to_the_end(&mut self) {
        while self.ends_running(AttemptOutcome::Succeeded) > 0 || self.ledger.next_due() == Some(self.ledger.now()) {
            self.does(Record::Tick);
        }
    }
}

#[test]
fn a_large_array_waits_in_a_window_and_each_member_runs_once() {
    let mut bench = Bench::new(400);
    let inputs: Vec<String> = (0..5_000).map(|n| format!("\"in {n}\"")).collect();
    let made = bench.does(submit_group(1, GroupSize::Inputs(inputs.join("\n")), followed()));
    assert_eq!(made, Outcome::Grouped { id: group(1), count: 5_000, deduplicated: false });
    assert_eq!((bench.view(1).row.made, bench.runs().len()), (1_000, 400), "a window of them is there");
    assert_eq!(bench.count(1, StateName::Queued), 4_600, "those to be made are counted");
    let unmade = bench.ledger.job(group(1).member(4_321)).unwrap();
    let origin = Some(Origin::Member { index: 4_321, input: Some("\"in 4321\"".into()) });
    assert_eq!((unmade.state, unmade.spec.options().origin.clone()), (JobState::Queued, origin.clone()));
    let refused = bench.does(Record::Cancel { job: group(1).member(4_321), reason: String::new() });
    assert_eq!(refused, Outcome::Refused(Refusal::NotMade(group(1))));
    bench.runs_to_the_end();
    let view = bench.view(1);
    assert_eq!((view.state, view.ended(), bench.count(1, StateName::Succeeded)), (StateName::Succeeded, 5_000, 5_000));
    let jobs = bench.jobs();
    assert_eq!(jobs.len(), 5_001, "one each, and what follows");
    assert!(jobs.iter().all(|job| job.attempts.len() == 1));
    assert_eq!(bench.ledger.job(group(1).member(4_321)).unwrap().spec.options().origin, origin);
    let order = bench.ledger.start_order(JobId(0), Fence::default());
    assert!(order.is_none());
}

#[test]
fn an_array_under_a_key_is_one_group() {
    let mut bench = Bench::new(1);
    let keyed = || JobOptions { idempotency_key: Some("k".into()), ..JobOptions::default() };
    bench.does(submit_group(1, GroupSize::Count(3), keyed()));
    let again = bench.does(submit_group(2, GroupSize::Count(3), keyed()));
    assert_eq!(again, Outcome::Grouped { id: group(1), count: 3, deduplicated: true });
    let same_id = bench.does(submit_group(1, GroupSize::Count(3), JobOptions::default()));
    assert_eq!(same_id, Outcome::Grouped { id: group(1), count: 3, deduplicated: true });
    let Record::Submit(mut other) = submit(9, keyed()) else { unreachable!() };
    other.body_hash = 8;
    assert_eq!(bench.does(Record::Submit(other)), Outcome::Refused(Refusal::KeyReused(group(1).as_job())));
}

#[test]
fn more_failures_than_allowed_end_the_rest() {
    let mut bench = Bench::new(2);
    bench.does(submit_limited(1, GroupSize::Count(3_000), followed(), Some(3), 1_000));
    bench.ends_running(AttemptOutcome::Failed);
    bench.ends_running(AttemptOutcome::Succeeded);
    let running = bench.runs();
    let fence = |n: usize| (running[n].id.0, running[n].attempts.last().unwrap().fence);
    bench.does(finish(fence(0).0, fence(0).1, AttemptOutcome::Failed));
    assert_eq!(bench.view(1).row.halt, None, "three failures are allowed");
    bench.does(finish(fence(1).0, fence(1).1, AttemptOutcome::Failed));
    assert!(bench.view(1).row.halt.is_some_and(|halt| halt.aborted));
    while bench.ledger.next_due() == Some(bench.ledger.now()) {
        bench.does(Record::Tick);
    }
    bench.ends_running(AttemptOutcome::Cancelled);
    bench.does(Record::Tick);
    let view = bench.view(1);
    assert_eq!((view.state, view.ended()), (StateName::Failed, 3_000));
    assert_eq!((bench.count(1, StateName::Failed), bench.count(1, StateName::Succeeded)), (4, 2));
    assert_eq!(bench.count(1, StateName::Cancelled), 2_994, "also those that were never made");
    let follows = bench.ledger.job(completion_of(group(1).as_job())).unwrap();
    let of = Some(Origin::Completion { of: group(1).as_job(), state: StateName::Failed });
    assert_eq!(follows.spec.options().origin, of);
}

#[test]
fn a_cancel_ends_a_group_and_a_member_run_again_opens_it() {
    let mut bench = Bench::new(2);
    bench.does(submit_group(1, GroupSize::Count(10), followed()));
    let cancel = Record::CancelGroup { group: group(1), reason: "enough".into() };
    assert_eq!(bench.does(cancel.clone()), Outcome::Cancelled { now: false }, "two run");
    assert_eq!(bench.runs().iter().filter(|job| job.cancel.is_some()).count(), 2);
    bench.ends_running(AttemptOutcome::Cancelled);
    bench.does(Record::Tick);
    assert_eq!((bench.view(1).state, bench.view(1).ended()), (StateName::Cancelled, 10));
    assert_eq!(bench.does(cancel), Outcome::Refused(Refusal::GroupEnded(StateName::Cancelled)));
    let follows = completion_of(group(1).as_job());
    let follows = |bench: &Bench| bench.jobs().iter().filter(|job| job.id == follows).count();
    assert_eq!(follows(&bench), 1);
    assert_eq!(bench.does(Record::Retry { job: group(1).member(3) }), Outcome::Done);
    assert_eq!(bench.view(1).state, StateName::Running);
    bench.runs_to_the_end();
    assert_eq!((bench.view(1).state, bench.count(1, StateName::Succeeded)), (StateName::Cancelled, 1));
    assert_eq!(follows(&bench), 1, "only the first end counts");
}

#[test]
fn members_are_kept_until_their_group_has_ended_and_it_goes_with_the_last() {
    let mut bench = Bench::new(1);
    bench.does(submit_group(1, GroupSize::Count(2), JobOptions::default()));
    bench.ends_running(AttemptOutcome::Succeeded);
    let first = group(1).member(0);
    assert_eq!(bench.does(Record::Delete { job: first }), Outcome::Refused(Refusal::GroupGoesOn(group(1))));
    let forget = |now: u64| Record::Forget { from: JobId(0), before: UnixMs(now), surplus: 0 };
    bench.now += 100_000;
    assert_eq!(bench.does(forget(bench.now)), Outcome::Forgot { count: 0, next: None });
    bench.runs_to_the_end();
    let ended = bench.now;
    bench.now += 100_000;
    assert_eq!(bench.does(forget(ended)), Outcome::Forgot { count: 0, next: None }, "the group's end counts");
    bench.does(Record::Delete { job: first });
    assert_eq!((bench.view(1).forgotten, bench.view(1).ended()), (1, 2));
    assert_eq!(bench.does(forget(ended + 1)), Outcome::Forgot { count: 1, next: None });
    assert!(bench.ledger.group(group(1)).is_none() && bench.ledger.job(group(1).member(1)).is_none());
    let left: Vec<u8> =
        bench.ledger.drain_changes().iter().filter(|(_, row)| row.is_some()).map(|(k, _)| k[0]).collect();
    assert!(![keys::GROUP, keys::GROUP_SPEC, keys::JOB].iter().any(|table| left.contains(table)), "{left:?}");
}

#[test]
fn an_array_waits_for_what_it_depends_on_and_is_given_up_with_it() {
    let mut bench = Bench::new(1);
    for (parent, outcome) in [(1, AttemptOutcome::Succeeded), (2, AttemptOutcome::Failed)] {
        bench.does(submit(parent, JobOptions::default()));
        let depends_on = vec![Dependency { job: JobId(parent), on: Condition::Succeeded }];
        bench.does(submit_group(parent, GroupSize::Count(2_000), JobOptions { depends_on, ..JobOptions::default() }));
        assert_eq!(bench.count(parent, StateName::Blocked), 2_000);
        let fence = bench.fence(parent);
        bench.does(finish(parent, fence, outcome));
        while bench.ledger.next_due() == Some(bench.ledger.now()) {
            bench.does(Record::Tick);
        }
        if outcome == AttemptOutcome::Succeeded {
            assert_eq!((bench.runs().len(), bench.count(parent, StateName::Blocked)), (1, 0));
            bench.does(Record::CancelGroup { group: group(parent), reason: String::new() });
            bench.ends_running(AttemptOutcome::Cancelled);
            bench.does(Record::Tick);
        }
    }
    assert_eq!((bench.view(2).state, bench.view(2).ended()), (StateName::Failed, 2_000));
}

#[test]
fn a_single_job_is_followed_once_however_it_ends() {
    let mut bench = Bench::new(1);
    bench.does(submit(1, followed()));
    bench.does(submit(2, followed()));
    bench.does(Record::Cancel { job: JobId(2), reason: String::new() });
    let state = |bench: &Bench, of: u128| bench.ledger.job(completion_of(JobId(of))).map(|job| job.state.name());
    assert_eq!((state(&bench, 1), state(&bench, 2)), (None, Some(StateName::Queued)));
    bench.ends_running(AttemptOutcome::Failed);
    bench.runs_to_the_end();
    bench.does(Record::Retry { job: JobId(1) });
    bench.runs_to_the_end();
    assert_eq!((state(&bench, 1), state(&bench, 2)), (Some(StateName::Succeeded), Some(StateName::Succeeded)));
    assert_eq!(bench.jobs().len(), 4);
    assert_eq!(bench.does(Record::Delete { job: completion_of(JobId(1)) }), Outcome::Done);
    bench.does(Record::Tick);
    assert_eq!(bench.jobs().len(), 3);
}

#[test]
fn every_node_runs_its_own_member() {
    let mut bench = Bench::pair();
    bench.does(Record::Drain { node: NodeId(1), on: true });
    let refused = JobOptions {
        requires: relais_protocol::spec::Requires { slots: 99, ..Default::default() },
        ..JobOptions::default()
    };
    let refused = bench.does(submit_group(1, GroupSize::EveryNode, refused));
    assert_eq!(refused, Outcome::Refused(Refusal::NoNodeMatches));
    bench.does(Record::Drain { node: NodeId(1), on: false });
    let made = bench.does(submit_group(2, GroupSize::EveryNode, JobOptions::default()));
    assert_eq!(made, Outcome::Grouped { id: group(2), count: 2, deduplicated: false });
    let mut nodes: Vec<NodeId> = bench.runs().iter().map(|job| job.attempts[0].node).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [NodeId(1), NodeId(2)]);
}

#[test]
fn a_group_goes_on_where_a_restart_left_it() {
    let mut bench = Bench::new(300);
    bench.does(submit_group(1, GroupSize::Count(2_500), followed()));
    for _ in 0..3 {
        bench.ends_running(AttemptOutcome::Succeeded);
    }
    bench.rows.keep(&bench.ledger.drain_changes());
    bench.ledger = Ledger::load(bench.rows.clone(), Index(bench.index)).unwrap();
    bench.ledger.check_invariants().unwrap();
    bench.runs_to_the_end();
    assert_eq!((bench.view(1).state, bench.jobs().len()), (StateName::Succeeded, 2_501));
}
