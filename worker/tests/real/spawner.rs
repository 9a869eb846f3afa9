//! The spawner process: that its end, and its node's, leave no process behind.

use super::node::{Node, PROBE, is_alive, pids, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use relais_worker::executor::{ErrorType, Outcome, Stop};
use std::process::Command;

#[tokio::test]
async fn killing_the_node_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("pids");
    let script = format!(
        "echo $$ $PPID >> {0}; trap '' TERM INT HUP; (setsid sh -c 'echo $$ >> {0}; sleep 600 & echo $! >> {0}; wait' &); \
         (env -i setsid sh -c 'echo $$ >> {0}; exec sleep 600' &); sh -c 'echo $$ >> {0}; exec sleep 600' & wait",
        seen.display()
    );
    let mut holder = Command::new(PROBE).args(["hold", "/bin/sh", "-c", &script]).spawn().unwrap();
    until("all run", || pids(&seen).len() == 6).await;
    assert!(pids(&seen).into_iter().all(is_alive));
    kill(Pid::from_raw(holder.id() as i32), Signal::SIGKILL).unwrap();
    holder.wait().unwrap();
    until("none is left, nor the spawner", || !pids(&seen).into_iter().any(is_alive)).await;
}

#[tokio::test]
async fn the_spawner_shrugs_off_what_a_terminal_sends() {
    let node = Node::start();
    let seen = node.path("pid");
    let (ended, _stop) =
        node.begin(node.shell(&format!("echo $PPID > {}; while [ ! -e go ]; do sleep 0.02; done", seen.display())));
    until("it runs", || pids(&seen).len() == 1).await;
    let spawner = pids(&seen)[0];
    assert_eq!(spawner as u32, node.spawner.pid());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(Pid::from_raw(spawner), signal).unwrap();
    }
    // A second job goes through the same spawner after the signals were delivered.
    assert_eq!(node.run(node.shell("exit 0")).await.outcome, Outcome::Succeeded);
    assert!(is_alive(spawner));
    let folder = std::fs::read_dir(node.work()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(folder.join("go"), "").unwrap();
    assert_eq!(ended.await.unwrap().outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_dead_spawner_fails_its_jobs_and_is_replaced() {
    let node = Node::start();
    let seen = node.path("pids");
    let script =
        format!("echo $$ >> {0}; (setsid sh -c 'echo $$ >> {0}; exec sleep 600' &); exec sleep 600", seen.display());
    let (ended, _stop) = node.begin(node.shell(&script));
    until("both run", || pids(&seen).len() == 2).await;
    let before = node.spawner.pid();
    kill(Pid::from_raw(before as i32), Signal::SIGKILL).unwrap();
    let ended = ended.await.unwrap();
    let (error_type, message) = ended.error.unwrap();
    assert_eq!((ended.outcome, error_type), (Outcome::Failed, ErrorType::Spawn));
    assert!(message.contains("spawner process of this node died"), "{message}");
    until("what it left is killed", || !pids(&seen).into_iter().any(is_alive)).await;
    assert_eq!(node.run(node.shell("exit 0")).await.outcome, Outcome::Succeeded);
    assert_ne!(node.spawner.pid(), before);
}

#[tokio::test]
async fn letting_go_of_the_spawner_ends_it() {
    let node = Node::start();
    let seen = node.path("pid");
    let (ended, _stop) = node.begin(node.shell(&format!("echo $$ $PPID > {}; exec sleep 600", seen.display())));
    until("it runs", || pids(&seen).len() == 2).await;
    ended.abort();
    let alive = |place: usize| is_alive(pids(&seen)[place]);
    until("a dropped attempt is killed", || !alive(0)).await;
    assert!(alive(1), "the spawner is still held");
    let Node { executors, spawner, folder, .. } = node;
    drop((executors, spawner));
    let spawner = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    let spawner: i32 = spawner.split_whitespace().nth(1).unwrap().parse().unwrap();
    until("the spawner is gone", || !is_alive(spawner)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_all_end() {
    let node = Node::start();
    let mut running = tokio::task::JoinSet::new();
    for n in 0..300 {
        let (ended, stop) = node.begin(node.shell(&format!("echo {n}; exit {}", n % 256)));
        running.spawn(async move {
            let ended = ended.await.unwrap();
            drop(stop);
            (n, ended)
        });
    }
    while let Some(done) = running.join_next().await {
        let (n, ended) = done.unwrap();
        assert_eq!(ended.exit_code, Some(n % 256));
        assert_eq!(ended.output.tail, format!("{n}\n").into_bytes());
    }
}

#[tokio::test]
async fn a_job_that_succeeded_before_its_cancel_stays_succeeded() {
    let node = Node::start();
    let seen = node.path("pid");
    let go = node.path("go");
    let script = format!("echo $$ > {}; while [ ! -e {} ]; do sleep 0.02; done", seen.display(), go.display());
    let (ended, stop) = node.begin(node.shell(&script));
    until("it runs", || pids(&seen).len() == 1).await;
    let spawner = Pid::from_raw(node.spawner.pid() as i32);
    kill(spawner, Signal::SIGSTOP).unwrap();
    std::fs::write(&go, "").unwrap();
    until("it has ended, unseen", || !is_alive(pids(&seen)[0])).await;
    stop.send_replace(Some(Stop::Cancel));
    // The cancel is on its way when the spawner goes on: the executor sends it before it can hear of the end.
    tokio::task::yield_now().await;
    kill(spawner, Signal::SIGCONT).unwrap();
    let ended = ended.await.unwrap();
    assert_eq!((ended.outcome, ended.exit_code, ended.stopped), (Outcome::Succeeded, Some(0), None));
}

#[tokio::test]
async fn a_spawner_out_of_descriptors_fails_the_one_job() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let node = Node::start();
    assert_eq!(node.run(node.shell("exit 0")).await.outcome, Outcome::Succeeded);
    let spawner = Pid::from_raw(node.spawner.pid() as i32);
    let held = std::fs::read_dir(format!("/proc/{}/fd", node.spawner.pid())).unwrap().count() as u64;
    let (running, stop) = node.begin(node.shell("exec sleep 600"));
    until("it runs", || std::fs::read_dir(node.work()).is_ok_and(|entries| entries.count() == 1)).await;
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit = |current| prlimit(spawner, Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap();
    let before = limit(held + 1);
    let failed = node.run(node.shell("exit 0")).await;
    let (error_type, message) = failed.error.unwrap();
    assert_eq!(error_type, ErrorType::Spawn);
    assert!(message.contains("ulimit -n"), "{message}");
    limit(before.current.unwrap());
    assert_eq!(node.run(node.shell("exit 0")).await.outcome, Outcome::Succeeded);
    stop.send_replace(Some(Stop::Cancel));
    assert_eq!(running.await.unwrap().outcome, Outcome::Cancelled, "the other job was not touched");
}
