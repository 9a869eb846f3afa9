//! F1–F3: processes end by kill -9.

use super::pause::place;
use super::{Blow, Closed, Fault, Run, Scene, Variant};
use crate::cluster::Options;
use crate::cluster::job::{Attempt, Job};
use serde_json::{Value, json};
use std::time::Duration;

/// A dispatcher that is killed is followed within this.
const FOLLOWED: Duration = Duration::from_millis(500);
/// What ran on a dead node runs elsewhere within this: its lease, a second, and the way.
const MOVED: Duration = Duration::from_secs(6);
/// How long the jobs run that are to be caught in the middle.
const LONG_S: u32 = 5;
/// Kills in one run.
const KILLS: usize = 2;

/// The dispatcher is killed again and again.
pub(super) const F1: Fault =
    Fault { id: "F1", title: "kill -9 the dispatcher, again and again", variants: &[Variant::quick("", dispatcher)] };

/// A worker is killed in mid-job.
pub(super) const F2: Fault =
    Fault { id: "F2", title: "kill -9 a worker in mid-job", variants: &[Variant::quick("", worker)] };

/// The dispatcher's node runs jobs too, and dies with both roles.
pub(super) const F3: Fault = Fault {
    id: "F3",
    title: "dispatcher and its worker role die at once",
    variants: &[Variant::quick("", both_roles)],
};

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

/// The job's first attempt, once there is one.
fn first_attempt(scene: &Scene, reader: usize, id: &str) -> Option<Attempt> {
    scene.cluster.nodes[reader].job(id)?.attempts.into_iter().next()
}

/// Submits two jobs for each node and waits until they run, one at least on `needed`; each with the number of its
/// node.
fn spread(scene: &mut Scene, reader: usize, spec: &Value, needed: usize) -> Vec<(String, usize)> {
    let count = scene.cluster.nodes.len() * 2;
    let ids: Vec<String> = (0..count).map(|_| scene.submit(reader, spec)).collect();
    let placed = |scene: &Scene, id: &String| {
        let attempt = scene.cluster.until("a job to run", |_| first_attempt(scene, reader, id));
        scene.cluster.nodes.iter().position(|node| node.name == attempt.node).expect("a node of ours")
    };
    let mut jobs: Vec<(String, usize)> = ids.into_iter().map(|id| (id.clone(), placed(scene, &id))).collect();
    if !jobs.iter().any(|(_, node)| *node == needed) {
        jobs.push((place(scene, reader, needed, spec), needed));
    }
    jobs
}

/// Waits until what ran on `dead` is written down as lost and runs elsewhere; how long that took at most.
fn moved(scene: &Scene, reader: usize, jobs: &[(String, usize)], blow: &Blow) -> Duration {
    for (id, _) in jobs.iter().filter(|(_, node)| *node == blow.node) {
        scene.cluster.until("a lost attempt and the next one elsewhere", |cluster| {
            let job = cluster.nodes[reader].job(id)?;
            let lost = job.attempts.first()?.outcome.as_deref() == Some("lost");
            (lost && job.attempts.get(1)?.node != cluster.nodes[blow.node].name).then_some(())
        });
    }
    blow.at.elapsed()
}

fn worker(run: &mut Run) {
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let (reader, epoch) = scene.cluster.dispatcher();
    let hit = scene.cluster.others(reader)[run.number % 2];
    let long = scene.marked(LONG_S);
    let jobs = spread(&mut scene, reader, &long, hit);
    let mut once = long.clone();
    once["retry"] = json!({"on_lost": "fail"});
    let singles = spread(&mut scene, reader, &once, hit);
    let blow = scene.blow(hit, |node| node.kill());
    let took = moved(&scene, reader, &jobs, &blow);
    for (id, _) in singles.iter().filter(|(_, node)| *node == hit) {
        let job = scene.cluster.until("the end of a job that is not retried", |cluster| {
            cluster.nodes[reader].job(id).filter(Job::has_ended)
        });
        assert_eq!((job.state.as_str(), job.attempts.len()), ("failed", 1), "its policy is to fail: {job:?}");
        scene.expect_failed(id);
    }
    run.note(format!("lost and run elsewhere after {} ms", took.as_millis()));
    scene.hit(&blow);
    scene.cluster.nodes[hit].start();
    scene.cluster.await_whole();
    scene.heal();
    assert_eq!(scene.cluster.dispatcher(), (reader, epoch), "nobody else was elected");
    let closed = scene.close(run);
    untouched(&closed, &jobs, hit);
    assert!(took <= run.bound(MOVED), "run elsewhere only after {took:?}");
}

/// What did not run on the node that was hit has one attempt.
fn untouched(closed: &Closed, jobs: &[(String, usize)], hit: usize) {
    for (id, _) in jobs.iter().filter(|(_, node)| *node != hit) {
        let job = closed.jobs.iter().find(|job| job.id == *id).expect("it is in the record");
        assert_eq!(job.attempts.len(), 1, "its node was well: {job:?}");
    }
}

fn both_roles(run: &mut Run) {
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let (old, epoch) = scene.cluster.dispatcher();
    let reader = scene.cluster.others(old)[0];
    let long = scene.marked(LONG_S);
    let jobs = spread(&mut scene, reader, &long, old);
    let blow = scene.blow(old, |node| node.kill());
    let gap = scene.gap(&blow);
    let (new, after) = scene.cluster.successor(old, epoch);
    let took = moved(&scene, reader, &jobs, &blow);
    run.note(format!("followed after {} ms, its jobs run elsewhere after {} ms", gap.as_millis(), took.as_millis()));
    scene.hit(&blow);
    scene.cluster.nodes[old].start();
    let whole = scene.cluster.await_whole();
    scene.heal();
    assert_eq!((whole.dispatcher, whole.epoch), (Some(new), after), "the role stays where it is");
    let closed = scene.close(run);
    untouched(&closed, &jobs, old);
    assert!(gap <= run.bound(FOLLOWED), "followed after {gap:?}");
    assert!(took <= run.bound(MOVED), "run elsewhere only after {took:?}");
}
