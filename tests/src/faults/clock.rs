//! F9: a wall clock is wrong. Leases count on another clock; the node's row says what is wrong; if it is the
//! dispatcher's, the role goes to another; and a schedule of every second has each of its slots once, at its time.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::Options;
use crate::cluster::schedule::{body, seconds_amiss};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

const HOUR_MS: i64 = 3_600_000;
/// How much a drifting clock gains in each look.
const DRIFT_MS: i64 = 50;
/// How long a clock stays wrong: longer than a lease, and the second after it.
const WRONG: Duration = Duration::from_secs(6);
/// The schedule that is looked at, and how far ahead of its time a slot may be fired until the end of the test.
const SCHEDULE: &str = "each-second";
const AHEAD_MAX_MS: u64 = 60_000;
/// The switch of the program for tests.
const CLOCK_FILE: &str = "RELAIS_TEST_CLOCK_FILE";

/// A wall clock is wrong.
pub(super) const F9: Fault = Fault {
    id: "F9",
    title: "clock +1 h, −1 h, drifting",
    variants: &[Variant::quick("ahead", ahead), Variant::long("behind", behind), Variant::long("drifting", drifting)],
};

fn ahead(run: &mut Run) {
    wrong(run, 0, |_| HOUR_MS);
}

fn behind(run: &mut Run) {
    wrong(run, 1, |_| -HOUR_MS);
}

fn drifting(run: &mut Run) {
    let node = run.number % 2;
    wrong(run, node, |look| DRIFT_MS * look);
}

fn set(file: &Path, ms: i64) {
    std::fs::write(file, ms.to_string()).expect("the clock's file can be written");
}

/// What the node table of `reader` says is wrong with a node.
fn reason(scene: &Scene, reader: usize, node: usize) -> Option<String> {
    let row = scene.cluster.nodes[reader].read(&format!("/v1/nodes/{}", scene.cluster.nodes[node].name))?;
    row["reason"].as_str().filter(|reason| reason.contains("clock")).map(str::to_owned)
}

fn wrong(run: &mut Run, node: usize, skew: fn(i64) -> i64) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    set(file.path(), 0);
    let env = vec![(node, CLOCK_FILE, file.path().display().to_string())];
    let mut scene = Scene::start(3, Options { env, ..Options::default() });
    scene.await_work_everywhere();
    scene.cluster.nodes[2].set_schedule(SCHEDULE, &body(SCHEDULE, "* * * * * *", "all", "allow", &json!({})));
    let before = scene.cluster.dispatcher();
    let began = Instant::now();
    let mut told: [Option<(Duration, String)>; 3] = [None, None, None];
    let mut look = 0;
    scene.cluster.until("all nodes to tell of the wrong clock", |_| {
        look += 1;
        set(file.path(), skew(look));
        for (reader, told) in told.iter_mut().enumerate() {
            let said = || reason(&scene, reader, node).map(|reason| (began.elapsed(), reason));
            *told = told.take().or_else(said);
        }
        (told.iter().all(Option::is_some) && began.elapsed() > WRONG).then_some(())
    });
    let (took, reason) = told.into_iter().flatten().max().expect("three of them");
    if before.0 == node {
        let (next, _) = scene.cluster.successor(before.0, before.1);
        run.note(format!("the role went to n{}", next + 1));
    } else {
        assert_eq!(scene.cluster.dispatcher(), before, "nobody else was elected");
    }
    let now = scene.cluster.now().0;
    let ahead = move |slot: u64| slot > now + AHEAD_MAX_MS;
    let warned = scene.cluster.nodes.iter().filter(|node| node.log().contains("clock")).count();
    assert!(warned > 0, "no log tells of it");
    set(file.path(), 0);
    scene.cluster.until("nobody to tell of it any more", |_| {
        (0..3).all(|reader| self::reason(&scene, reader, node).is_none()).then_some(())
    });
    scene.cluster.nodes[2].pause_schedule(SCHEDULE, true);
    let slots = scene.cluster.nodes[2].slots(SCHEDULE);
    let (left_out, twice) = seconds_amiss(&slots);
    assert_eq!((left_out, twice), (Vec::new(), Vec::new()), "each slot is fired once");
    let early = slots.keys().filter(|slot| ahead(slot.0)).count();
    assert_eq!(early, 0, "slots were fired before their time");
    assert!(slots.len() as u64 >= WRONG.as_secs(), "only {} slots were fired", slots.len());
    // The checkers know what the clients submitted, and nothing else.
    scene.cluster.nodes[2].forget_jobs(SCHEDULE);
    scene.heal();
    run.note(format!("told by all after {} ms: {reason}", took.as_millis()));
    // Nothing was hit: an attempt that was lost or begun anew is a failure.
    scene.close(run);
}
