//! F1–F3: processes end by kill -9.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::Options;
use std::time::Duration;

/// A dispatcher that is killed is followed within this.
const FOLLOWED: Duration = Duration::from_millis(500);
/// Kills in one run.
const KILLS: usize = 2;

/// The dispatcher is killed again and again.
pub(super) const F1: Fault =
    Fault { id: "F1", title: "kill -9 the dispatcher, again and again", variants: &[Variant::quick("", dispatcher)] };

/// Submits may fail only with 503 or a broken connection: what went wrong otherwise.
fn otherwise(troubles: &[String]) -> Vec<&String> {
    let excused = |text: &&String| {
        let what = text.split_once(": ").map_or("", |(_, what)| what);
        match what.split(' ').next().and_then(|word| word.parse::<u16>().ok()) {
            Some(status) => status == 503,
            // What a read says whose time is over.
            None => !what.contains("temporarily unavailable"),
        }
    };
    troubles.iter().filter(|text| !excused(text)).collect()
}

fn dispatcher(run: &mut Run) {
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let mut gaps = Vec::new();
    for _ in 0..KILLS {
        scene.await_work_everywhere();
        let (old, epoch) = scene.cluster.dispatcher();
        let blow = scene.blow(old, |node| node.kill());
        gaps.push(scene.gap(&blow));
        let (new, after) = scene.cluster.successor(old, epoch);
        scene.cluster.nodes[old].start();
        let whole = scene.cluster.await_whole();
        scene.hit(&blow);
        assert_eq!((whole.dispatcher, whole.epoch), (Some(new), after), "the role stays where it is");
    }
    scene.heal();
    run.note(format!("gaps {gaps:?}"));
    let closed = scene.close(run);
    for sent in &closed.sent {
        let wrong = otherwise(&sent.troubles);
        assert!(wrong.is_empty(), "{}: {wrong:?}", sent.key);
    }
    let bound = run.bound(FOLLOWED);
    assert!(gaps.iter().all(|gap| *gap <= bound), "followed after {gaps:?}");
}
