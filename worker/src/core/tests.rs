//! Tests of the worker's core: leases, fencing, settling, late orders.

use super::*;
use relais_protocol::ids::{Epoch, Generation};
use relais_protocol::message::StartOrder;

const ME: NodeId = NodeId(2);
const BOSS: NodeId = NodeId(1);

fn reign(epoch: u64) -> Reign {
    Reign { generation: Generation(0), epoch: Epoch(epoch) }
}

fn start(job: u128, epoch: u64, on_disconnect: OnDisconnect) -> Order {
    Order::Start(Box::new(StartOrder {
        job: JobId(job),
        fence: Fence::new(Epoch(epoch), 1),
        kind: "noop".into(),
        payload: "{}".into(),
        timeout_ms: None,
        on_disconnect,
        slots: 1,
        origin: None,
        traced: None,
    }))
}

fn orders(epoch: u64, orders: Vec<Order>) -> Input {
    Input::Orders(Orders { reign: reign(epoch), incarnation: Incarnation(1), orders })
}

fn finish(job: u128, epoch: u64) -> Input {
    Input::Ended(Box::new(Finish {
        job: JobId(job),
        fence: Fence::new(Epoch(epoch), 1),
        node: ME,
        outcome: AttemptOutcome::Succeeded,
        exit_code: Some(0),
        signal: None,
        error: None,
        result: None,
        progress: None,
        output_tail: vec![],
    }))
}

fn taken(number: u64, epoch: u64, settled: Vec<(JobId, Fence)>) -> Input {
    Input::Answered(number, ReportAnswer::Taken { reign: reign(epoch), lease_ms: 3_000, settled, stop: vec![] })
}

/// A worker with a lease from 0 to 3,000 ms under epoch 5.
fn leased() -> Worker {
    let mut worker = Worker::new(WorkerConfig::default(), ME, Incarnation(1), reign(4), vec![]);
    worker.handle(Mono(0), Input::Facts(NodeFacts { name: "n2".into(), slots: 4, ..NodeFacts::default() }));
    let heard = worker.handle(Mono(0), Input::Heard(reign(5), BOSS));
    assert!(matches!(&heard[..], [Effect::Remember(_), Effect::Report(BOSS, 1, _)]), "{heard:?}");
    worker.handle(Mono(10), taken(1, 5, vec![]));
    worker
}

fn answer_of(effects: &[Effect]) -> OrdersAnswer {
    effects.iter().find_map(|e| if let Effect::Answer(answer) = e { Some(*answer) } else { None }).unwrap()
}

#[test]
fn orders_of_a_lower_reign_are_refused_and_counted() {
    let mut worker = leased();
    let effects = worker.handle(Mono(20), orders(4, vec![start(1, 4, OnDisconnect::Stop)]));
    assert_eq!(effects, [Effect::Answer(OrdersAnswer::StaleReign(reign(5)))]);
    assert_eq!((worker.running(), worker.counts().stale_orders), (0, 1));
}

#[test]
fn nothing_runs_without_a_lease_and_nothing_outlives_it_but_what_may() {
    let mut worker = leased();
    let both = vec![start(1, 5, OnDisconnect::Stop), start(2, 5, OnDisconnect::Continue)];
    assert_eq!(answer_of(&worker.handle(Mono(20), orders(5, both))), OrdersAnswer::Accepted);
    worker.handle(Mono(600), Input::Tick);
    let before = worker.handle(Mono(2_690), Input::Tick);
    assert!(!before.iter().any(|e| matches!(e, Effect::Stop { .. })));
    let effects = worker.handle(Mono(2_701), Input::Tick);
    let killed = Effect::Stop { job: JobId(1), fence: Fence::new(Epoch(5), 1), kill: true };
    assert!(effects.contains(&killed), "{effects:?}");
    assert_eq!((worker.running(), worker.counts().fenced), (1, 1));
    let refused = worker.handle(Mono(2_800), orders(5, vec![start(3, 5, OnDisconnect::Stop)]));
    assert_eq!(answer_of(&refused), OrdersAnswer::NoLease);
}

#[test]
fn an_end_is_reported_until_it_is_settled_and_never_run_again() {
    let mut worker = leased();
    worker.handle(Mono(20), orders(5, vec![start(1, 5, OnDisconnect::Stop)]));
    let reported =
        |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Report(_, _, r) if r.finished.len() == 1));
    assert!(reported(&worker.handle(Mono(30), finish(1, 5))));
    worker.handle(Mono(40), Input::Unanswered(2));
    assert!(reported(&worker.handle(Mono(100), Input::Tick)), "again after no answer");
    assert_eq!(worker.unsettled().len(), 1);
    worker.handle(Mono(110), taken(3, 5, vec![(JobId(1), Fence::new(Epoch(5), 1))]));
    assert_eq!(worker.unsettled().len(), 0);
    worker.handle(Mono(120), orders(5, vec![start(1, 5, OnDisconnect::Stop)]));
    assert_eq!(worker.running(), 0, "a late copy of the order");
}

#[test]
fn what_was_killed_for_its_lease_is_reported_as_lost_and_never_run_again() {
    let mut worker = leased();
    worker.handle(Mono(20), orders(5, vec![start(1, 5, OnDisconnect::Stop)]));
    worker.handle(Mono(600), Input::Tick);
    worker.handle(Mono(700), Input::Unanswered(2));
    let effects = worker.handle(Mono(2_701), Input::Tick);
    let lost = effects
        .iter()
        .any(|e| matches!(e, Effect::Report(_, _, r) if r.finished.iter().any(|f| f.outcome == AttemptOutcome::Lost)));
    assert!(lost, "{effects:?}");
    worker.handle(Mono(2_710), taken(3, 5, vec![]));
    let again = worker.handle(Mono(2_720), orders(5, vec![start(1, 5, OnDisconnect::Stop)]));
    assert!(!again.iter().any(|e| matches!(e, Effect::Start(_))), "{again:?}");
}

#[test]
fn what_the_spawner_killed_while_this_process_was_stopped_is_lost_and_has_not_failed() {
    let reported = |on_disconnect, outcome| {
        let mut worker = leased();
        worker.handle(Mono(20), orders(5, vec![start(1, 5, on_disconnect)]));
        let Input::Ended(end) = finish(1, 5) else { unreachable!("it is an end") };
        worker.handle(Mono(9_000), Input::Ended(Box::new(Finish { outcome, ..*end })));
        worker.unsettled().map(|finish| finish.outcome).collect::<Vec<_>>()
    };
    assert_eq!(reported(OnDisconnect::Stop, AttemptOutcome::Failed), [AttemptOutcome::Lost]);
    assert_eq!(reported(OnDisconnect::Stop, AttemptOutcome::Succeeded), [AttemptOutcome::Succeeded]);
    assert_eq!(reported(OnDisconnect::Continue, AttemptOutcome::Failed), [AttemptOutcome::Failed]);
}

#[test]
fn an_answer_to_an_earlier_report_says_nothing_of_a_later_one() {
    let mut worker = leased();
    worker.handle(Mono(20), orders(5, vec![start(1, 5, OnDisconnect::Stop)]));
    let number = |effects: &[Effect]| {
        effects.iter().find_map(|e| if let Effect::Report(_, number, _) = e { Some(*number) } else { None }).unwrap()
    };
    let old = number(&worker.handle(Mono(30), finish(1, 5)));
    let new = number(&worker.handle(Mono(2_000), Input::Heard(reign(6), NodeId(3))));
    assert_eq!(worker.handle(Mono(2_010), taken(old, 5, vec![])), []);
    assert_eq!(worker.handle(Mono(2_020), Input::Unanswered(old)), []);
    assert_eq!(worker.lease_left_ms(Mono(2_020)), 980, "that of the first report");
    worker.handle(Mono(2_030), taken(new, 6, vec![(JobId(1), Fence::new(Epoch(5), 1))]));
    assert_eq!((worker.lease_left_ms(Mono(2_030)), worker.unsettled().len()), (2_970, 0));
}

#[test]
fn an_order_that_comes_after_its_own_end_is_void() {
    let mut worker = leased();
    let fence = Fence::new(Epoch(5), 1);
    worker.handle(Mono(20), orders(5, vec![Order::Stop { job: JobId(1), fence, report: false }]));
    worker.handle(Mono(30), orders(5, vec![start(1, 5, OnDisconnect::Stop)]));
    assert_eq!(worker.running(), 0);
}

#[test]
fn a_new_dispatcher_is_told_at_once_what_runs() {
    let mut worker = leased();
    worker.handle(Mono(20), orders(5, vec![start(1, 5, OnDisconnect::Stop)]));
    let effects = worker.handle(Mono(30), Input::Heard(reign(6), NodeId(3)));
    let Some(Effect::Report(NodeId(3), _, report)) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(report.running, Some(vec![(JobId(1), Fence::new(Epoch(5), 1))]));
    assert_eq!(worker.running(), 1, "it goes on");
}

#[test]
fn a_cancel_asks_once_and_a_leave_kills_all_and_says_goodbye() {
    let mut worker = leased();
    worker.handle(Mono(20), orders(5, vec![start(1, 5, OnDisconnect::Stop)]));
    let fence = Fence::new(Epoch(5), 1);
    let stop = || orders(5, vec![Order::Stop { job: JobId(1), fence, report: true }]);
    let asked = Effect::Stop { job: JobId(1), fence, kill: false };
    assert!(worker.handle(Mono(30), stop()).contains(&asked));
    assert!(!worker.handle(Mono(40), stop()).contains(&asked));
    let effects = worker.handle(Mono(50), Input::Leave);
    assert!(effects.contains(&Effect::Stop { job: JobId(1), fence, kill: true }));
    assert!(effects.iter().any(|e| matches!(e, Effect::Report(_, _, report) if report.goodbye)));
    assert_eq!(worker.handle(Mono(60), taken(2, 5, vec![])), [Effect::Left]);
}

#[test]
fn an_end_that_was_taken_but_not_settled_is_told_again_in_a_while() {
    let mut worker = leased();
    worker.handle(Mono(20), orders(5, vec![start(1, 5, OnDisconnect::Stop)]));
    let reports = |effects: Vec<Effect>| {
        let finished =
            effects.into_iter().find_map(|e| if let Effect::Report(_, n, r) = e { Some((n, r)) } else { None });
        finished.map(|(number, report)| (number, report.finished.len()))
    };
    let (number, count) = reports(worker.handle(Mono(30), finish(1, 5))).unwrap();
    assert_eq!(count, 1);
    assert_eq!(reports(worker.handle(Mono(40), taken(number, 5, vec![]))), None, "not at once");
    let again = (50..2_000).step_by(10).find_map(|ms| reports(worker.handle(Mono(ms), Input::Tick)).map(|r| (ms, r)));
    let (ms, (number, count)) = again.unwrap();
    assert!(ms >= 540 && count == 1, "after {ms} ms, with {count} ends");
    worker.handle(Mono(ms), taken(number, 5, vec![(JobId(1), Fence::new(Epoch(5), 1))]));
    assert_eq!(worker.unsettled().count(), 0);
}
