//! The role stays where it is when its former holder comes back. (What a deposed dispatcher said, or was told,
//! is refused: F4.)

use relais_tests::cluster::wait::stays;
use relais_tests::cluster::{Cluster, Options};
use std::time::Duration;

/// A role that would move by itself has moved after so long.
const WHILE: Duration = Duration::from_secs(3);

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
