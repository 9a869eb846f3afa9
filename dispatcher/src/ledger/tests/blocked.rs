//! Jobs that depend on others: released, ended without a chance, run again, reloaded.

use super::*;
use relais_protocol::job::ErrorKind;
use relais_protocol::spec::{Condition, Dependency};

fn after(parents: &[(u128, Condition)]) -> JobOptions {
    let depends_on = parents.iter().map(|(job, on)| Dependency { job: JobId(*job), on: *on }).collect();
    JobOptions { depends_on, ..JobOptions::default() }
}

fn end(bench: &mut Bench, id: u128, outcome: AttemptOutcome) {
    let fence = bench.fence(id);
    assert_eq!(bench.does(finish(id, fence, outcome)), Outcome::Done);
}

#[test]
fn a_job_starts_when_the_last_of_its_parents_has_ended_as_it_must() {
    let mut bench = Bench::new(9);
    bench.does(submit(1, JobOptions::default()));
    bench.does(submit(2, JobOptions::default()));
    let both = [(1, Condition::Succeeded), (2, Condition::Finished)];
    let outcome = bench.does(submit(3, after(&both)));
    assert!(matches!(outcome, Outcome::Submitted { state: StateName::Blocked, .. }));
    let needed = bench.does(Record::Delete { job: JobId(1) });
    assert_eq!(needed, Outcome::Refused(Refusal::JobNotEnded(StateName::Running)));
    end(&mut bench, 1, AttemptOutcome::Succeeded);
    assert_eq!(bench.state(3), StateName::Blocked);
    assert_eq!(bench.does(Record::Delete { job: JobId(1) }), Outcome::Refused(Refusal::JobNeeded(JobId(3))));
    end(&mut bench, 2, AttemptOutcome::Failed);
    assert_eq!(bench.state(3), StateName::Running);
    assert_eq!(bench.does(Record::Delete { job: JobId(1) }), Outcome::Done);
}

#[test]
fn a_job_that_can_never_run_is_cancelled_and_so_is_what_depends_on_it() {
    let mut bench = Bench::new(1);
    bench.does(submit(1, JobOptions::default()));
    for id in 2..200 {
        bench.does(submit(id, after(&[(id - 1, Condition::Succeeded)])));
    }
    bench.does(submit(300, after(&[(1, Condition::Failed)])));
    bench.does(submit(301, after(&[(50, Condition::Failed)])));
    end(&mut bench, 1, AttemptOutcome::Failed);
    let last = bench.ledger.job(JobId(199)).unwrap();
    let error = last.error.unwrap();
    assert_eq!((last.state, error.kind), (JobState::Cancelled, ErrorKind::Dependency));
    assert!(error.message.contains("ended as cancelled, not as succeeded"), "{}", error.message);
    assert_eq!(bench.state(300), StateName::Running, "it was to run if the first failed");
    assert_eq!(bench.state(301), StateName::Cancelled, "a cancel is no failure");
}

#[test]
fn what_is_known_at_the_submit_decides_at_once() {
    let mut bench = Bench::new(9);
    let unknown = bench.does(submit(2, after(&[(1, Condition::Succeeded)])));
    assert_eq!(unknown, Outcome::Refused(Refusal::NoSuchParent(JobId(1))));
    bench.does(submit(1, JobOptions::default()));
    end(&mut bench, 1, AttemptOutcome::Failed);
    bench.does(submit(3, after(&[(1, Condition::Failed)])));
    bench.does(submit(4, after(&[(1, Condition::Succeeded)])));
    assert_eq!((bench.state(3), bench.state(4)), (StateName::Running, StateName::Cancelled));
    let mut later = after(&[(1, Condition::Finished)]);
    later.start = StartTime::After(500);
    bench.does(submit(5, later));
    assert_eq!(bench.state(5), StateName::Scheduled);
}

#[test]
fn a_parent_that_is_run_again_is_waited_for_again() {
    let mut bench = Bench::new(9);
    bench.does(submit(1, JobOptions::default()));
    bench.does(submit(2, after(&[(1, Condition::Succeeded)])));
    end(&mut bench, 1, AttemptOutcome::Failed);
    let refused = bench.does(Record::Retry { job: JobId(2) });
    assert_eq!(refused, Outcome::Refused(Refusal::ParentEnded(JobId(1), StateName::Failed)));
    bench.does(Record::Retry { job: JobId(1) });
    assert_eq!(bench.does(Record::Retry { job: JobId(2) }), Outcome::Done);
    assert_eq!(bench.state(2), StateName::Blocked);
    end(&mut bench, 1, AttemptOutcome::Succeeded);
    assert_eq!(bench.state(2), StateName::Running);
}

#[test]
fn a_blocked_job_can_be_cancelled_and_expires() {
    let mut bench = Bench::new(9);
    bench.does(submit(1, JobOptions::default()));
    bench.does(submit(2, after(&[(1, Condition::Succeeded)])));
    let end = Some(UnixMs(bench.now + 100));
    bench.does(submit(3, JobOptions { expires_at: end, ..after(&[(1, Condition::Succeeded)]) }));
    assert_eq!(bench.does(Record::Cancel { job: JobId(2), reason: "no".into() }), Outcome::Cancelled { now: true });
    bench.now += 101;
    bench.does(Record::Tick);
    assert_eq!((bench.state(2), bench.state(3)), (StateName::Cancelled, StateName::Expired));
}
