//! Notices: one for each end of a job that has a webhook, pending until it is settled, wherever its row goes.

use super::*;
use relais_protocol::notice::{NoticeState, Noticed, Webhook};

fn told() -> JobOptions {
    let notify = Some(Webhook { url: "http://127.0.0.1:1/".into(), secret: None });
    JobOptions { notify, ..JobOptions::default() }
}

fn settle(job: u128, life: u16) -> Record {
    Record::Noticed(Box::new(Noticed { job: JobId(job), life, state: NoticeState::Delivered { status: 204 } }))
}

fn pending(ledger: &Ledger) -> Vec<u128> {
    ledger.pending_notices().map(|job| job.0).collect()
}

impl Bench {
    fn notice(&self, job: u128) -> Option<NoticeState> {
        Some(self.ledger.job(JobId(job))?.notice?.state)
    }
}

#[test]
fn each_end_has_a_notice_and_a_further_life_a_new_one() {
    let mut bench = Bench::new(2);
    bench.does(submit(1, told()));
    bench.does(submit(2, told()));
    bench.does(submit(3, JobOptions::default()));
    assert!(pending(&bench.ledger).is_empty());
    bench.does(Record::Cancel { job: JobId(3), reason: String::new() });
    bench.does(finish(2, bench.fence(2), AttemptOutcome::Failed));
    bench.does(finish(1, bench.fence(1), AttemptOutcome::Succeeded));
    assert_eq!(pending(&bench.ledger), [1, 2]);
    assert_eq!((bench.notice(1), bench.notice(3)), (Some(NoticeState::Pending), None));

    bench.does(settle(1, 0));
    bench.does(settle(1, 0));
    assert_eq!((bench.notice(1), pending(&bench.ledger)), (Some(NoticeState::Delivered { status: 204 }), vec![2]));

    bench.does(Record::Retry { job: JobId(2) });
    assert_eq!((bench.notice(2), pending(&bench.ledger)), (None, vec![]));
    bench.does(settle(2, 0));
    assert_eq!(bench.notice(2), None, "what came of the first life's is late");
    bench.does(finish(2, bench.fence(2), AttemptOutcome::Succeeded));
    bench.does(settle(2, 0));
    assert_eq!((bench.notice(2), pending(&bench.ledger)), (Some(NoticeState::Pending), vec![2]));
    bench.does(settle(2, 1));
    assert_eq!(pending(&bench.ledger), [0; 0]);
}

#[test]
fn what_is_pending_is_found_again_in_the_rows_and_goes_with_its_job() {
    let mut bench = Bench::new(3);
    for job in 1..=3 {
        bench.does(submit(job, told()));
        bench.does(finish(job, bench.fence(job), AttemptOutcome::Succeeded));
    }
    bench.does(settle(2, 0));
    bench.rows.keep(&bench.ledger.drain_changes());
    let mut again = Ledger::load(bench.rows.clone(), Index(bench.index)).unwrap();
    assert_eq!(pending(&again), [1, 3]);
    let batch = bench.batch(vec![Record::Delete { job: JobId(1) }]);
    again.apply_batch(Index(bench.index + 1), batch);
    assert_eq!(pending(&again), [3]);
    bench.now += 20_000;
    let forget = Record::Forget { from: JobId(0), before: UnixMs(u64::MAX), surplus: 0 };
    let batch = bench.batch(vec![forget.clone()]);
    again.apply_batch(Index(bench.index + 2), batch);
    assert_eq!((pending(&again), again.ended_count()), (vec![3], 1), "somebody is still to be told");
    let batch = bench.batch(vec![settle(3, 0), forget]);
    again.apply_batch(Index(bench.index + 3), batch);
    assert_eq!((pending(&again), again.ended_count()), (vec![], 0));
}
