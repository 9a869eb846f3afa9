//! `exec` being stopped: time-outs, cancels, leases, and that nothing of a job outlives it.

use super::node::{Node, is_alive, pids, until};
use relais_worker::executor::{ErrorType, Outcome, Stop};
use std::time::Duration;

#[tokio::test]
async fn a_timeout_ends_with_term() {
    let node = Node::with_grace(Duration::from_secs(60));
    let mut task = node.shell("trap 'echo bye; exit 0' TERM; while true; do sleep 0.02; done");
    task.timeout_ms = Some(200);
    let ended = node.run(task).await;
    assert_eq!((ended.outcome, ended.exit_code, ended.stopped), (Outcome::TimedOut, Some(0), None));
    assert_eq!(ended.error, Some((ErrorType::Timeout, "stopped after its timeout of 200ms".to_owned())));
    assert!(
        ended.output.tail.windows(4).any(|part| part == b"bye\n"),
        "{:?}",
        String::from_utf8_lossy(&ended.output.tail)
    );
}

#[tokio::test]
async fn who_ignores_term_is_killed_with_the_whole_group() {
    let node = Node::start();
    let seen = node.path("pids");
    let script = format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >> {0}; sleep 600 & sleep 601' & echo $$ >> {0}; wait",
        seen.display()
    );
    let mut task = node.shell(&script);
    task.timeout_ms = Some(300);
    let ended = node.run(task).await;
    assert_eq!((ended.outcome, ended.signal), (Outcome::TimedOut, Some(9)));
    assert_eq!(pids(&seen).len(), 2);
    assert!(!pids(&seen).into_iter().any(is_alive), "an end is told when nothing is left");
}

#[tokio::test]
async fn a_stopped_process_hears_the_term() {
    let node = Node::with_grace(Duration::from_secs(60));
    let mut task = node.shell("kill -STOP $$");
    task.timeout_ms = Some(200);
    let ended = node.run(task).await;
    assert_eq!((ended.outcome, ended.signal), (Outcome::TimedOut, Some(15)));
}

#[tokio::test]
async fn a_cancel_ends_with_term_and_a_lost_lease_with_kill() {
    let node = Node::with_grace(Duration::from_secs(60));
    for (reason, signal) in [(Stop::Cancel, 15), (Stop::Shutdown, 15), (Stop::Fenced, 9)] {
        let seen = node.path(&format!("pid-{signal}-{reason:?}"));
        let (ended, stop) = node.begin(node.shell(&format!("echo $$ > {}; exec sleep 600", seen.display())));
        until("it runs", || pids(&seen).len() == 1).await;
        stop.send_replace(Some(reason));
        let ended = ended.await.unwrap();
        assert_eq!((ended.outcome, ended.signal, ended.stopped), (Outcome::Cancelled, Some(signal), Some(reason)));
        assert_eq!(ended.error.unwrap().0, ErrorType::Cancelled);
    }
}

#[tokio::test]
async fn a_lost_lease_overtakes_a_cancel() {
    let node = Node::with_grace(Duration::from_secs(600));
    let seen = node.path("pid");
    let script =
        format!("trap 'echo heard >> {0}.heard' TERM; echo $$ > {0}; while true; do sleep 0.02; done", seen.display());
    let (ended, stop) = node.begin(node.shell(&script));
    until("it runs", || pids(&seen).len() == 1).await;
    stop.send_replace(Some(Stop::Cancel));
    until("it ignores the cancel", || node.path("pid.heard").exists()).await;
    stop.send_replace(Some(Stop::Fenced));
    let ended = ended.await.unwrap();
    assert_eq!((ended.signal, ended.stopped), (Some(9), Some(Stop::Fenced)));
}

#[tokio::test]
async fn the_spawner_ends_leased_processes_by_its_own_count() {
    let node = Node::start();
    let (leased, kept) = (node.path("leased"), node.path("kept"));
    let mut task = node.shell(&format!("echo $$ > {}; exec sleep 600", leased.display()));
    task.leased = true;
    let (ended, _stop) = node.begin(task);
    let (other, stop_other) = node.begin(node.shell(&format!("echo $$ > {}; exec sleep 600", kept.display())));
    until("both run", || pids(&leased).len() == 1 && pids(&kept).len() == 1).await;
    node.spawner.lease(60_000);
    node.spawner.lease(150);
    let ended = ended.await.unwrap();
    assert_eq!((ended.outcome, ended.signal), (Outcome::Failed, Some(9)));
    assert!(is_alive(pids(&kept)[0]), "what does not hang on the lease goes on");
    stop_other.send_replace(Some(Stop::Fenced));
    assert_eq!(other.await.unwrap().signal, Some(9));
}

/// A daemon by the book: forked twice, in a session of its own, its streams closed.
fn daemon(pid_file: &std::path::Path, env: &str) -> String {
    format!(
        "({env} setsid sh -c 'echo $$ >> {0}; exec sleep 600' </dev/null >/dev/null 2>&1 &) ; while [ ! -s {0} ]; do sleep 0.02; done",
        pid_file.display()
    )
}

#[tokio::test]
async fn a_daemon_does_not_survive_its_job() {
    let node = Node::start();
    let seen = node.path("daemon");
    let ended = node.run(node.shell(&daemon(&seen, ""))).await;
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert_eq!(pids(&seen).len(), 1);
    assert!(!is_alive(pids(&seen)[0]), "gone by the time the end is told");
}

#[tokio::test]
async fn a_daemon_goes_with_its_own_job_only() {
    let node = Node::start();
    let (first, second) = (node.path("first"), node.path("second"));
    let (ended, stop) = node.begin(node.shell(&format!("{}; exec sleep 600", daemon(&first, ""))));
    until("the first daemon runs", || pids(&first).len() == 1).await;
    node.run(node.shell(&daemon(&second, ""))).await;
    assert!(!is_alive(pids(&second)[0]));
    assert!(is_alive(pids(&first)[0]), "its job still runs");
    stop.send_replace(Some(Stop::Cancel));
    ended.await.unwrap();
    assert!(!is_alive(pids(&first)[0]));
}

#[tokio::test]
async fn a_daemon_that_hides_its_origin_goes_too() {
    let node = Node::start();
    let seen = node.path("hidden");
    node.run(node.shell(&daemon(&seen, "env -i"))).await;
    until("the daemon is gone", || !is_alive(pids(&seen)[0])).await;
}

#[tokio::test]
async fn a_fork_bomb_is_cleaned_up() {
    let node = Node::start();
    let seen = node.path("bomb");
    let script = format!(
        "i=0; while [ $i -lt 100 ]; do (sh -c 'echo $$ >> {0}; exec sleep 600' &); \
         (setsid sh -c 'echo $$ >> {0}; exec sleep 600' &); i=$((i+1)); done; exec sleep 600",
        seen.display()
    );
    let (ended, stop) = node.begin(node.shell(&script));
    until("all 200 run", || pids(&seen).len() == 200).await;
    stop.send_replace(Some(Stop::Fenced));
    assert_eq!(ended.await.unwrap().signal, Some(9));
    let alive: Vec<i32> = pids(&seen).into_iter().filter(|pid| is_alive(*pid)).collect();
    assert_eq!(alive, [0; 0]);
}
