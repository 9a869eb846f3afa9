//! The role stays where it is, and what a deposed dispatcher said, or was told, counts no more.
//!
//! The late messages are real ones: the relay holds back the packets of one way between two processes, while
//! the role moves, and lets them go while the QUIC connection they belong to still lives.

use nix::sys::signal::Signal;
use relais_tests::cluster::late::Late;
use relais_tests::cluster::wait::{stays, until};
use relais_tests::cluster::{Cluster, Options};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// A role that would move by itself has moved after so long.
const WHILE: Duration = Duration::from_secs(3);
/// Late messages are a race against the connection's idle time-out; so often it may be lost.
const TRIES: usize = 6;

/// The role stays at `who` in `epoch`, as all nodes see it.
fn stays_put(cluster: &Cluster, who: usize, epoch: u64) {
    let all: Vec<usize> = (0..cluster.nodes.len()).collect();
    stays("the role moved", WHILE, || {
        let seen = all.iter().filter_map(|node| cluster.sight(*node));
        seen.filter(|sight| sight.epoch != epoch || sight.dispatcher != Some(who))
            .map(|sight| format!("{sight:?}"))
            .next()
    });
}

#[test]
fn who_comes_back_is_a_worker_and_stays_one() {
    let mut cluster = Cluster::start(3, Options::default());
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let (new, after) = cluster.successor(old, epoch);
    cluster.nodes[old].start();
    cluster.await_whole();
    stays_put(&cluster, new, after);
    let role = |node: usize| {
        let nodes = cluster.nodes[new].read("/v1/nodes").expect("the node table");
        let rows = nodes["nodes"].as_array().expect("rows").clone();
        let name = cluster.nodes[node].name.as_str();
        rows.iter().find(|row| row["name"] == name).map(|row| row["role"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(role(old).as_deref(), Some("worker"));
    assert_eq!(role(new).as_deref(), Some("dispatcher+worker"));
}

#[test]
fn restarted_at_once_it_moves_the_epoch_once_at_most() {
    let mut cluster = Cluster::start(3, Options::default());
    let (old, epoch) = cluster.dispatcher();
    // Back before anybody could miss it: it is a new process all the same, and no dispatcher.
    cluster.nodes[old].kill();
    cluster.nodes[old].start();
    let whole = cluster.until("a dispatcher after the restart", |cluster| {
        cluster.agreed(&[0, 1, 2]).filter(|sight| sight.epoch > epoch && sight.online == 3)
    });
    let new = whole.dispatcher.expect("agreed means that there is one");
    println!("restarted at once: n{} follows n{}, epoch {epoch} to {}", new + 1, old + 1, whole.epoch);
    assert_ne!(new, old, "who was restarted is a worker");
    assert_eq!(whole.epoch, epoch + 1, "one restart, one reign");
    stays_put(&cluster, new, whole.epoch);
}

#[test]
fn after_a_pause_it_follows() {
    let cluster = Cluster::start(3, Options::default());
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].signal(Signal::SIGSTOP);
    let (new, after) = cluster.successor(old, epoch);
    cluster.nodes[old].signal(Signal::SIGCONT);
    let followed = tokio::time::Instant::now();
    until("the paused node to follow", SOON, || {
        cluster.sight(old).filter(|sight| sight.dispatcher == Some(new) && sight.epoch == after)
    });
    println!("after SIGCONT it follows within {:?}", followed.elapsed());
    stays_put(&cluster, new, after);
}

/// Tries until a late message was refused.
fn refused(mut late: impl FnMut() -> Late) -> Vec<Late> {
    let mut tries = Vec::new();
    while tries.len() < TRIES && !matches!(tries.last(), Some(Late::Refused(..))) {
        tries.push(late());
    }
    tries
}

#[test]
fn an_order_of_the_old_epoch_is_refused_and_counted() {
    let cluster = Cluster::start(3, Options { relay: true, ..Options::default() });
    let tries: Vec<Late> = refused(|| cluster.late_order());
    let Some(Late::Refused(stale, refused)) = tries.last().copied() else {
        panic!("no late order was refused: {tries:?}")
    };
    println!("late orders: refused by the worker {stale}, told to the old dispatcher {refused}");
    cluster.await_whole();
    cluster.await_all_ended(0, Duration::from_secs(60));
    let jobs = cluster.nodes[0].jobs();
    assert!(jobs.iter().all(|job| job.state == "succeeded"), "{jobs:#?}");
}

#[test]
fn a_report_of_the_old_epoch_is_refused_and_counted() {
    let cluster = Cluster::start(3, Options { relay: true, ..Options::default() });
    let tries = refused(|| cluster.late_report());
    let Some(Late::Refused(count, _)) = tries.last().copied() else { panic!("no late report was refused: {tries:?}") };
    println!("late reports refused: {count}, tries {tries:?}");
    cluster.await_whole();
}
