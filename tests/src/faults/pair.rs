//! F33 and F34: two nodes without a witness. One of them goes on alone; both do, and are made one again.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::wait::look_for;
use crate::cluster::{Cluster, Options};
use crate::relay::Rule;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long the peer is silent before a survivor takes over: of the design, and in the test run.
const AFTER: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(1)];
/// The reign begins so much later at most.
const LATER: Duration = Duration::from_secs(1);
/// Jobs on each side of a cut.
const JOBS: usize = 100;

/// One of the pair dies.
pub(super) const F33: Fault = Fault {
    id: "F33",
    title: "pair: kill either node; restart it",
    variants: &[Variant::quick("the dispatcher", dispatcher), Variant::quick("the other", other)],
};

/// The cable between the two is cut.
pub(super) const F34: Fault = Fault {
    id: "F34",
    title: "pair: cut the cable, 100 jobs on each side, heal",
    variants: &[Variant::quick("", cable)],
};

/// Sets the times of the run; after what silence the survivor takes over.
fn settle(cluster: &Cluster, run: &Run) -> Duration {
    let after = AFTER[usize::from(!run.is_long())];
    if !run.is_long() {
        cluster.nodes[0].set(&json!({"takeover_after": "1s", "pair_lease": "3500ms"}));
    }
    after
}

fn dispatcher(run: &mut Run) {
    killed(run, true);
}

fn other(run: &mut Run) {
    killed(run, false);
}

fn killed(run: &mut Run, the_dispatcher: bool) {
    let mut scene = Scene::start(2, Options { slots: 16, ..Options::default() });
    let after = settle(&scene.cluster, run);
    assert_eq!(scene.cluster.nodes[0].cluster().expect("an answer")["mode"], "pair");
    let (old, _) = scene.cluster.dispatcher();
    let dead = if the_dispatcher { old } else { 1 - old };
    let survivor = 1 - dead;
    let blow = scene.blow(dead, |node| node.kill());
    let alone = scene.cluster.await_alone(survivor);
    let took = blow.at.elapsed();
    let gap = scene.gap(&blow);
    run.note(format!("dispatched alone after {} ms, a submit waited for {} ms", took.as_millis(), gap.as_millis()));
    says_it_is_alone(&scene.cluster, survivor, &alone);
    scene.cluster.nodes[dead].start();
    let whole = scene.cluster.await_whole();
    let name = scene.cluster.nodes[survivor].name.clone();
    assert_eq!(whole.dispatcher, Some(survivor), "who returns is a worker and stays one");
    let sight = scene.cluster.nodes[dead].cluster().expect("an answer");
    assert_eq!((&sight["mode"], &sight["dispatcher"]), (&json!("pair"), &json!(name)), "{sight}");
    let (status, job) = scene.cluster.nodes[dead].submit_noop("whole again");
    assert_eq!((status, &job["durability"]), (201, &json!("majority")), "{job}");
    scene.hit(&blow);
    scene.heal();
    scene.close(run);
    assert!(took <= run.bound(after + LATER), "it dispatched only after {took:?}");
}

/// The survivor says everywhere that it is one.
fn says_it_is_alone(cluster: &Cluster, survivor: usize, sight: &Value) {
    let node = &cluster.nodes[survivor];
    let expected = (&json!("running (limited)"), &json!("pair"), &json!(false));
    assert_eq!((&sight["status"], &sight["mode"], &sight["high_availability"]), expected, "{sight}");
    assert!(sight["reason"].as_str().is_some_and(|reason| reason.contains("one disk")), "{sight}");
    assert_eq!(node.generation(), sight["generation"].as_u64());
    let (status, job) = node.submit_noop("alone");
    assert_eq!((status, &job["durability"]), (201, &json!("single")), "{job}");
    let failover = cluster.until("the record of the takeover", |_| {
        let failovers = node.read("/v1/cluster/failovers")?;
        failovers["failovers"].as_array()?.iter().find(|one| one["cause"] == "takeover").cloned()
    });
    assert_eq!(failover["generation"], sight["generation"], "{failover}");
}

/// All jobs as one node has them, by id; without what only this moment shows.
fn record(cluster: &Cluster, node: usize) -> BTreeMap<String, Value> {
    let mut jobs = BTreeMap::new();
    let mut target = "/v1/jobs?limit=500".to_owned();
    loop {
        let page = cluster.until("a page of jobs", |cluster| cluster.nodes[node].read(&target));
        for job in page["jobs"].as_array().expect("jobs") {
            jobs.insert(job["id"].as_str().expect("an id").to_owned(), job.clone());
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => target = format!("/v1/jobs?limit=500&cursor={cursor}"),
            None => return jobs,
        }
    }
}

fn cut(cluster: &Cluster, is_cut: bool) {
    cluster.relay.as_ref().expect("a relay").set_all(if is_cut { Rule::cut() } else { Rule::pass() });
}

/// Waits until both sides dispatch.
fn await_both(cluster: &Cluster) {
    cluster.until("a dispatcher on each side", |cluster| cluster.nodes.iter().all(|node| node.dispatches()).then_some(()));
}

fn submit_all(cluster: &Cluster) -> BTreeSet<String> {
    let side = |number: usize| {
        let node = &cluster.nodes[number];
        let ids = (0..JOBS).map(move |n| {
            let (status, job) = node.submit_noop(&format!("side {number} job {n}"));
            assert_eq!((status, &job["durability"]), (201, &json!("single")), "{job}");
            job["id"].as_str().expect("an id").to_owned()
        });
        ids.collect::<Vec<_>>()
    };
    let sides = std::thread::scope(|scope| {
        [0, 1].map(|number| scope.spawn(move || side(number))).map(|side| side.join().expect("its jobs are taken"))
    });
    sides.into_iter().flatten().collect()
}

/// A job that runs when the cable is cut: its own side goes on with it, the other gives it up and runs it, too.
fn runs_on_both(cluster: &Cluster) -> String {
    let spec = json!({"kind": "exec", "payload": {"command": ["sleep", "6"]}});
    let id = cluster.nodes[0].submit(&spec);
    cluster.until("the job to run", |cluster| {
        cluster.nodes.iter().all(|node| node.job(&id).is_some_and(|job| job.state == "running")).then_some(())
    });
    id
}

fn cable(run: &mut Run) {
    let cluster = Cluster::start(2, Options { relay: true, ..Options::default() });
    let after = settle(&cluster, run);
    let twice = runs_on_both(&cluster);
    let began = Instant::now();
    cut(&cluster, true);
    await_both(&cluster);
    run.note(format!("both sides dispatched after {} ms", began.elapsed().as_millis()));
    assert!(began.elapsed() <= run.bound(after + LATER), "only after {:?}", began.elapsed());
    let mut all = submit_all(&cluster);
    all.insert(twice.clone());
    cluster.until("all jobs to end on both sides", |cluster| {
        cluster.nodes.iter().all(|node| node.jobs_open() == Some(0)).then_some(())
    });
    let healed = Instant::now();
    cut(&cluster, false);
    let whole = cluster.await_whole();
    run.note(format!("one again after {} ms", healed.elapsed().as_millis()));
    let winner = whole.dispatcher.expect("a dispatcher");
    let record_now = record(&cluster, winner);
    run.tally.acknowledged += all.len();
    let lost: Vec<&String> = all.iter().filter(|id| !record_now.contains_key(*id)).collect();
    run.tally.lost += lost.len();
    assert!(lost.is_empty(), "{} of {} are lost, like {}", lost.len(), all.len(), lost[0]);
    assert_eq!(record_now.len(), all.len(), "the union, and nothing else");
    assert!(record_now.values().all(|job| job["state"] == "succeeded"), "each ended once, and well");
    let double = &record_now[&twice];
    assert_eq!(double["duplicate_executions"], 1, "it ran on both sides, and that is shown: {double}");
    run.tally.duplicates += record_now.values().filter(|job| job["duplicate_executions"] != 0).count() - 1;
    assert_eq!(record(&cluster, 1 - winner), record_now, "both nodes have the same");
    again(&cluster, run, &record_now);
}

/// A second cut and heal, without jobs, changes nothing.
fn again(cluster: &Cluster, run: &Run, before: &BTreeMap<String, Value>) {
    let done = |cluster: &Cluster| cluster.nodes.iter().map(crate::cluster::Node::exports_done).sum::<usize>();
    assert!(done(cluster) >= 1, "what one side alone had was kept in a file");
    cut(cluster, true);
    await_both(cluster);
    cut(cluster, false);
    let whole = cluster.await_whole();
    let node = whole.dispatcher.expect("a dispatcher");
    let same = look_for(run.bound(LATER), || (record(cluster, node) == *before).then_some(()));
    assert!(same.is_some(), "a second heal changed the record");
    assert!(done(cluster) >= 2, "and it was healed by a second merge");
}
