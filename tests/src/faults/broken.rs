//! F11: disks that break. The file system refuses every write, or the device below it answers EIO.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::Options;
use crate::disk::{Disk, Kind};
use std::time::Duration;

const DISK_MIB: u64 = 192;
/// Exit code of a node whose stable storage failed.
const EXIT_STORAGE: i32 = 74;
/// Within this a node under load has met the broken disk, and ended.
const ENDED: Duration = Duration::from_secs(30);
const GOES_ON: usize = 60;

/// An I/O error on fsync, a read-only remount.
pub(super) const F11: Fault = Fault {
    id: "F11",
    title: "I/O error on fsync, read-only remount",
    variants: &[
        Variant::quick("read-only, follower", |run| breaks(run, 3, false, Kind::Small, Disk::turn_read_only)),
        Variant::quick("EIO, dispatcher", |run| breaks(run, 3, true, Kind::Failing, Disk::fail_new_blocks)),
        Variant::quick("EIO, one node alone", |run| breaks(run, 1, true, Kind::Failing, Disk::fail_new_blocks)),
        Variant::long("read-only, dispatcher", |run| breaks(run, 3, true, Kind::Small, Disk::turn_read_only)),
        Variant::long("EIO, follower", |run| breaks(run, 3, false, Kind::Failing, Disk::fail_new_blocks)),
    ],
};

/// Breaks the disk of the dispatcher or of a follower. Of one node alone nobody else has what it acknowledged:
/// whatever it said after a failed sync would be missing afterwards, since the broken file system is unmounted
/// and what is left is read from its image.
fn breaks(run: &mut Run, nodes: usize, dispatcher: bool, kind: Kind, harm: fn(&Disk)) {
    if let Some(why) = Disk::unavailable() {
        return run.skip(why);
    }
    let disks: Vec<Disk> = (0..nodes).map(|_| Disk::new(kind, DISK_MIB)).collect();
    let data_dirs = disks.iter().enumerate().map(|(n, disk)| (n, disk.path().join("node"))).collect();
    let mut scene = Scene::start(nodes, Options { slots: 16, data_dirs, ..Options::default() });
    let (leader, _) = scene.cluster.dispatcher();
    let hit = if dispatcher { leader } else { scene.cluster.others(leader)[run.number % 2] };
    let blow = scene.blow(hit, |_| harm(&disks[hit]));
    let ended = scene.cluster.nodes[hit].reap(ENDED);
    assert_eq!(ended.code(), Some(EXIT_STORAGE), "its end: {ended}");
    run.note(format!("ended with 74 after {:.1} s", blow.at.elapsed().as_secs_f64()));
    let log = scene.cluster.nodes[hit].log();
    assert!(log.contains("stable storage failed"), "it says why");
    if nodes > 1 {
        scene.await_acknowledged(GOES_ON);
    }
    disks[hit].mend();
    // Mounted again it may be another device, and the node would take it for a copy of its disk.
    scene.cluster.nodes[hit].env.push(("RELAIS_ACCEPT_MOVED".to_owned(), "1".to_owned()));
    scene.cluster.nodes[hit].start();
    scene.cluster.await_whole();
    scene.await_acknowledged(GOES_ON);
    scene.hit(&blow);
    scene.heal();
    let _ = scene.close(run);
}
