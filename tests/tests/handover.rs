//! The role is handed over by request, under load: clients that retry see no failure, and no job is started
//! anew. (By SIGTERM it is in the rolling restart, F16.)

use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options};
use relais_tests::load::{Gap, Load, Plan, Verdict};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// What a move may take here, where other programs run beside.
const MOVE_MAX: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

fn plans() -> [Plan; 2] {
    let spec = json!({"kind": "noop", "payload": {}});
    let second = json!({"kind": "exec", "payload": {"command": ["sleep", "1"]}});
    [
        Plan { clients: 4, per_second: 50.0, prefix: "quick", spec },
        Plan { clients: 1, per_second: 5.0, prefix: "second", spec: second },
    ]
}

fn await_load(load: &Load) {
    let before = load.acknowledged();
    until("submits", Duration::from_secs(20), || (load.acknowledged() > before + 100).then_some(()));
}

#[test]
fn by_request_it_moves_at_once_and_nothing_is_disturbed() {
    let cluster = Cluster::start(3, Options::default());
    let load = Load::start(&cluster, &plans());
    let (mut gaps, mut answers) = (Gap::default(), Gap::default());
    for _ in 0..ROUNDS {
        await_load(&load);
        let (old, epoch) = cluster.dispatcher();
        let at = Instant::now();
        let answer = cluster.nodes[(old + 1) % 3].ask("POST", "/v1/cluster:handover", "");
        let answer = answer.expect("an answer to the handover");
        answers.0.push(at.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let first = until("a submit after it", MOVE_MAX * 5, || load.first_acknowledged_of_those_sent_after(at));
        gaps.0.push(first - at);
        let (new, after) = cluster.dispatcher();
        assert_ne!(new, old, "the role has moved");
        assert_eq!(after, epoch + 1, "in one step");
        assert_eq!(answer.json()["dispatcher"], cluster.nodes[new].name.as_str());
    }
    let sent = load.finish();
    cluster.await_all_ended(0, Duration::from_secs(60));
    let verdict = Verdict::of(&sent, &cluster.nodes[0].jobs(), &[]);
    println!(
        "handover by request: the role moved in: {answers}; until a later submit was acknowledged: {gaps}; {verdict}"
    );
    assert!(answers.worst() <= MOVE_MAX && gaps.worst() <= MOVE_MAX);
    verdict.assert_flawless();
}
