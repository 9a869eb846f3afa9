//! `noop`: that it takes as long, and fails as often, as it is told.

use super::node::Node;
use relais_worker::executor::{ErrorType, Outcome, Stop};
use serde_json::json;

#[tokio::test]
async fn it_does_nothing_or_fails_as_told() {
    let node = Node::start();
    assert_eq!(node.run(node.task("noop", json!({}))).await.outcome, Outcome::Succeeded);
    for (attempt, outcome) in [(1, Outcome::Failed), (2, Outcome::Failed), (3, Outcome::Succeeded)] {
        let mut task = node.task("noop", json!({"fail_times": 2}));
        task.attempt = attempt;
        let ended = node.run(task).await;
        assert_eq!(ended.outcome, outcome, "attempt {attempt}");
        assert_eq!(ended.error.is_some_and(|(t, _)| t == ErrorType::Exit), outcome == Outcome::Failed);
    }
}

#[tokio::test]
async fn it_sleeps_until_it_is_stopped() {
    let node = Node::start();
    let begun = tokio::time::Instant::now();
    node.run(node.task("noop", json!({"sleep": "150ms"}))).await;
    assert!(begun.elapsed().as_millis() >= 150);

    let mut task = node.task("noop", json!({"sleep": "1h"}));
    task.timeout_ms = Some(50);
    let ended = node.run(task).await;
    assert_eq!(ended.outcome, Outcome::TimedOut);

    let (ended, stop) = node.begin(node.task("noop", json!({"sleep": "1000d"})));
    stop.send_replace(Some(Stop::Cancel));
    let ended = ended.await.unwrap();
    assert_eq!((ended.outcome, ended.stopped), (Outcome::Cancelled, Some(Stop::Cancel)));
}
