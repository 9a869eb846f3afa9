//! F16: all nodes are stopped and started again, one by one, under load.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::Options;
use std::time::Duration;

/// How long a node may take to stop: what runs there has a second.
const STOP: Duration = Duration::from_secs(30);

/// What a move of the role may keep clients waiting.
const MOVED: Duration = Duration::from_secs(1);

/// A rolling restart.
pub(super) const F16: Fault =
    Fault { id: "F16", title: "rolling restart under load", variants: &[Variant::quick("", rolling)] };

fn rolling(run: &mut Run) {
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let (_, first) = scene.cluster.dispatcher();
    let mut dispatchers = 0;
    // The role moves to a node that is still to be restarted, or not: both are good.
    for node in 0..3 {
        scene.await_work_everywhere();
        let (old, epoch) = scene.cluster.dispatcher();
        let blow = scene.blow(node, |_| ());
        let status = scene.cluster.nodes[node].stop(STOP);
        assert!(status.success(), "a node that is told to stop ends well: {status}");
        scene.cluster.nodes[node].start();
        let whole = scene.cluster.await_whole();
        scene.hit(&blow);
        let moved = u64::from(old == node);
        dispatchers += moved;
        assert_eq!(whole.epoch, epoch + moved, "n{} was restarted, n{} was the dispatcher", node + 1, old + 1);
    }
    scene.heal();
    let (_, last) = scene.cluster.dispatcher();
    let closed = scene.close(run);
    let (failed, again) = (closed.verdict.given_up.len(), closed.verdict.sent_again);
    let gap = run.tally.unavailable;
    run.note(format!("{failed} failed submits, {again} sent again, epoch {first} to {last}"));
    assert!(gap <= run.bound(MOVED), "nothing was acknowledged for {gap:?}");
    assert_eq!(last, first + dispatchers, "one epoch for each restart of a dispatcher");
}
