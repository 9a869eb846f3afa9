//! Tests of nodes that fall silent: suspected, given up, and heard again.

use super::*;

#[test]
fn a_silent_node_is_suspected_then_given_up_one_second_after_its_lease() {
    let mut bench = Bench::new();
    bench.submit(1);
    bench.ms += 1_600;
    bench.input(Input::Tick);
    assert_eq!(bench.ledger.node(NodeId(1)).unwrap().standing, Standing::Suspect);
    bench.ms += 2_300;
    bench.input(Input::Tick);
    assert_eq!(bench.ledger.job(JobId(1)).unwrap().state.name(), StateName::Running);
    bench.ms += 200;
    bench.input(Input::Tick);
    assert_eq!(bench.ledger.job(JobId(1)).unwrap().state.name(), StateName::Queued);
}

/// A bench on which job 1 runs, one second after the end of its node's lease, and the batch that gives it up.
fn given_up() -> (Bench, Batch) {
    let mut bench = Bench::new();
    bench.submit(1);
    bench.ms += 4_100;
    let mut wishes = bench.core.handle(bench.now(), &bench.ledger, Input::Tick);
    let Some(Effect::Propose(batch)) = wishes.pop() else { panic!("{wishes:?}") };
    let gives_up =
        |record: &Record| matches!(record, Record::NodeStanding { standing, .. } if *standing == Standing::Offline);
    assert!(batch.records.iter().any(gives_up), "{batch:?}");
    (bench, batch)
}

#[test]
fn who_is_being_given_up_gets_no_lease_until_that_is_written() {
    let (mut bench, batch) = given_up();
    let report = bench.reported(5, vec![], vec![]);
    let told = bench.core.handle(bench.now(), &bench.ledger, report);
    assert_eq!(told, [Effect::Answer(Ticket(5), ReportAnswer::Busy)]);
    let committed = bench.commit(batch);
    bench.input(Input::Committed(committed));
    assert_eq!(bench.ledger.job(JobId(1)).unwrap().state.name(), StateName::Queued);
    bench.told.clear();
    bench.report(6, vec![], vec![]);
    let leased = |effect: &Effect| matches!(effect, Effect::Answer(Ticket(6), ReportAnswer::Taken { .. }));
    assert!(bench.told.iter().any(leased), "{:?}", bench.told);
    let second = Fence::new(bench.ledger.reign().epoch, 2);
    assert!(matches!(&bench.orders()[..], [Order::Start(start)] if start.fence == second));
}

#[test]
fn a_new_run_of_a_node_that_is_being_given_up_is_taken_in() {
    let (mut bench, batch) = given_up();
    let Input::Report(ticket, mut report) = bench.reported(5, vec![], vec![]) else { panic!("no report") };
    report.incarnation = Incarnation(2);
    assert_eq!(bench.core.handle(bench.now(), &bench.ledger, Input::Report(ticket, report)), []);
    let committed = bench.commit(batch);
    bench.input(Input::Committed(committed));
    let row = bench.ledger.node(NodeId(1)).unwrap();
    assert_eq!((row.incarnation, row.standing), (Incarnation(2), Standing::Online));
}

#[test]
fn a_node_is_given_up_again_when_that_came_to_nothing() {
    let (mut bench, _) = given_up();
    bench.input(Input::Failed(Rejection::NotDispatcher));
    bench.input(Input::Tick);
    assert_eq!(bench.ledger.node(NodeId(1)).unwrap().standing, Standing::Online);
    bench.ms += 1_000;
    bench.input(Input::Tick);
    assert_eq!(bench.ledger.node(NodeId(1)).unwrap().standing, Standing::Offline);
}
