//! F15: the power of all nodes fails at once. See [`crate::disk`] for what is left of their disks.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::Options;
use crate::cluster::wait::until;
use crate::disk::{Disk, Kind};
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::time::Instant;

const DISK_MIB: u64 = 128;
/// The load before the power fails.
const LOADED: Duration = Duration::from_secs(3);
/// A dispatcher is there within this, once a majority is up.
const FOLLOWED: Duration = Duration::from_secs(10);

/// A power cut of all nodes at once, under load.
pub(super) const F15: Fault = Fault {
    id: "F15",
    title: "power cut of all nodes at once (unsynced pages dropped)",
    variants: &[Variant::quick("", power_cut)],
};

fn power_cut(run: &mut Run) {
    if let Some(why) = Disk::unavailable() {
        return run.skip(why);
    }
    let mut after = Vec::new();
    let scene = cut(run, &mut after);
    let moved = scene.cluster.nodes.iter().filter(|node| node.log().contains("the journal is damaged")).count();
    assert_eq!(moved, 0, "a power cut is no damage");
    let _ = scene.close(run);
}

/// A cluster under load whose power fails, and which is up again on what is left of its disks, now in `after`.
fn cut(run: &mut Run, after: &mut Vec<Disk>) -> Scene {
    let disks: Vec<Disk> = (0..3).map(|_| Disk::new(Kind::Honest, DISK_MIB)).collect();
    let data_dirs = disks.iter().enumerate().map(|(n, disk)| (n, disk.path().join("node"))).collect();
    let mut scene = Scene::start(3, Options { slots: 16, data_dirs, ..Options::default() });
    scene.go_on(LOADED);
    let from = scene.cluster.now();
    for node in &scene.cluster.nodes {
        node.signal(Signal::SIGKILL);
    }
    for node in &mut scene.cluster.nodes {
        let _ = node.reap(Duration::from_secs(10));
    }
    after.extend(Disk::after_power_cut(&disks));
    for (node, disk) in scene.cluster.nodes.iter_mut().zip(&*after) {
        node.data_dir = disk.path().join("node");
        // It is another device now, and the node would take it for a copy of its disk, which it is.
        node.env.push(("RELAIS_ACCEPT_MOVED".to_owned(), "1".to_owned()));
        node.start();
    }
    let up = |cluster: &crate::cluster::Cluster| (0..3).filter(|number| cluster.sight(*number).is_some()).count();
    scene.cluster.until("a majority that is up", |cluster| (up(cluster) >= 2).then_some(()));
    let majority = Instant::now();
    let bound = run.bound(FOLLOWED);
    let seen = until("a dispatcher in time", bound, || {
        let running: Vec<usize> = (0..3).filter(|number| scene.cluster.sight(*number).is_some()).collect();
        scene.cluster.agreed(&running).filter(|_| running.len() >= 2)
    });
    run.note(format!("a dispatcher, epoch {}, after {:.1} s", seen.epoch, majority.elapsed().as_secs_f64()));
    scene.cluster.await_whole();
    scene.await_acknowledged(50);
    scene.hit_all(from);
    scene.heal();
    scene
}
