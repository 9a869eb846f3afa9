//! F7: the network falls apart, by the relay; [`super::cable`] does the same to real interfaces.

use super::pause::place;
use super::{Blow, Fault, Run, Scene, Variant, cable};
use crate::cluster::{Cluster, Options};
use crate::relay::{Relay, Rule};
use serde_json::json;
use std::time::Duration;

/// A connected majority has a dispatcher within this.
const FOLLOWED: Duration = Duration::from_secs(5);
/// How long the network stays apart: longer than any lease, and what comes of its end.
const APART: Duration = Duration::from_secs(5);
/// How long the job runs whose result arrives after the heal, in seconds.
const CUT_OFF_S: u32 = 3;

/// The network falls apart.
pub(super) const F7: Fault = Fault {
    id: "F7",
    title: "partitions: alone; 1|1|1; one-way; bridge",
    variants: &[
        Variant::quick("alone", alone),
        Variant::quick("1|1|1", thirds),
        Variant::long("one-way out", one_way_out),
        Variant::long("one-way in", one_way_in),
        Variant::quick("bridge", bridge),
        Variant::long("cable, DROP", cable::dropped),
        Variant::long("cable, REJECT", cable::rejected),
    ],
};

fn scene(count: usize) -> Scene {
    Scene::start(count, Options { relay: true, ..Options::default() })
}

fn relay(cluster: &Cluster) -> &Relay {
    cluster.relay.as_ref().expect("a relay")
}

/// Nodes of a minority answer a submit with 503, and say when to try again.
pub(super) fn refuse(cluster: &Cluster, nodes: &[usize]) {
    let spec = json!({"kind": "noop", "payload": {}}).to_string();
    std::thread::scope(|scope| {
        for node in nodes.iter().map(|number| &cluster.nodes[*number]) {
            let spec = &spec;
            scope.spawn(move || {
                let answer = node.ask("POST", "/v1/jobs", spec);
                let answer = answer.unwrap_or_else(|| panic!("{} does not answer", node.name));
                assert_eq!(answer.status, 503, "{} is in a minority and says: {}", node.name, answer.text());
                assert!(answer.header("retry-after").is_some(), "{} does not say when to try again", node.name);
            });
        }
    });
}

/// The dispatcher `old` is out of the others' reach: another follows, what runs there and may go on arrives
/// after the heal. `cut` and `heal` do what they say to the network.
pub(super) fn out_of_reach(
    mut scene: Scene,
    run: &mut Run,
    cut: impl FnOnce(&Cluster, usize),
    heal: impl FnOnce(&Cluster, usize),
) {
    let (old, epoch) = scene.cluster.dispatcher();
    scene.load.avoid(old);
    let mut patient = scene.marked(CUT_OFF_S);
    patient["on_disconnect"] = json!("continue");
    let patient = place(&mut scene, old, old, &patient);
    let blow = Blow { node: old, from: scene.cluster.now(), at: tokio::time::Instant::now() };
    cut(&scene.cluster, old);
    let gap = scene.gap(&blow);
    let (new, after) = scene.cluster.successor(old, epoch);
    refuse(&scene.cluster, &[old]);
    scene.go_on(APART.saturating_sub(blow.at.elapsed()));
    heal(&scene.cluster, old);
    scene.heal();
    let whole = scene.cluster.await_whole();
    scene.hit(&blow);
    scene.load.avoid_nobody();
    assert_eq!((whole.dispatcher, whole.epoch), (Some(new), after), "the role stays where it is");
    run.note(format!("followed after {} ms", gap.as_millis()));
    let closed = scene.close(run);
    let job = closed.jobs.iter().find(|job| job.id == patient).expect("it is in the record");
    assert_eq!((job.state.as_str(), job.attempts.len()), ("succeeded", 1), "its result arrives late: {job:?}");
    assert!(gap <= run.bound(FOLLOWED), "followed after {gap:?}");
}

fn alone(run: &mut Run) {
    let cut = |cluster: &Cluster, node| relay(cluster).set_around(node, Rule::cut());
    out_of_reach(scene(3), run, cut, |cluster, node| relay(cluster).set_around(node, Rule::pass()));
}

fn one_way(run: &mut Run, way: fn(usize, usize) -> (usize, usize)) {
    let set = |cluster: &Cluster, node, rule| {
        cluster.others(node).into_iter().for_each(|other| relay(cluster).set(way(node, other), rule));
    };
    out_of_reach(
        scene(3),
        run,
        |cluster, node| set(cluster, node, Rule::cut()),
        |cluster, node| set(cluster, node, Rule::pass()),
    );
}

/// Others do not hear the dispatcher, which hears them.
fn one_way_out(run: &mut Run) {
    one_way(run, |node, other| (node, other));
}

/// The dispatcher does not hear the others, who hear it.
fn one_way_in(run: &mut Run) {
    one_way(run, |node, other| (other, node));
}

fn thirds(run: &mut Run) {
    let mut scene = scene(3);
    let epoch = scene.cluster.dispatcher().1;
    let from = scene.cluster.now();
    relay(&scene.cluster).set_all(Rule::cut());
    scene.cluster.until("nobody to be the dispatcher", |cluster| {
        (0..3).all(|node| cluster.sight(node).is_some_and(|sight| sight.dispatcher.is_none())).then_some(())
    });
    refuse(&scene.cluster, &[0, 1, 2]);
    let healed = tokio::time::Instant::now();
    relay(&scene.cluster).set_all(Rule::pass());
    scene.heal();
    let (_, after) = scene.cluster.dispatcher();
    let back = healed.elapsed();
    scene.cluster.await_whole();
    scene.hit_all(from);
    run.note(format!("a dispatcher {} ms after the heal, epoch {epoch} became {after}", back.as_millis()));
    scene.close(run);
    assert!(back <= run.bound(FOLLOWED), "a dispatcher only {back:?} after the heal");
}

/// The numbers of the nodes that vote.
fn voters(cluster: &Cluster) -> Vec<usize> {
    let table = cluster.nodes[0].read("/v1/nodes").expect("the node table");
    let rows = table["nodes"].as_array().expect("rows").iter().filter(|row| row["voter"] == true);
    let names: Vec<&str> = rows.filter_map(|row| row["name"].as_str()).collect();
    (0..cluster.nodes.len()).filter(|number| names.contains(&cluster.nodes[*number].name.as_str())).collect()
}

/// Two sides that do not hear each other, and one node that hears both: whoever has it has a majority.
fn bridge(run: &mut Run) {
    let mut scene = scene(5);
    let (old, epoch) = scene.cluster.dispatcher();
    let voters = voters(&scene.cluster);
    let others: Vec<usize> = voters.iter().copied().filter(|node| *node != old).collect();
    let middle = others[0];
    let rest: Vec<usize> = (0..5).filter(|node| ![old, middle, others[1]].contains(node)).collect();
    let (near, far) = ([old, rest[0]], [others[1], rest[1]]);
    let ways: Vec<(usize, usize)> =
        near.iter().flat_map(|a| far.iter().flat_map(move |b| [(*a, *b), (*b, *a)])).collect();
    scene.load.avoid_all(&far);
    scene.await_acknowledged(20);
    let blows = far.map(|node| scene.blow(node, |_| ()));
    ways.iter().for_each(|way| relay(&scene.cluster).set(*way, Rule::cut()));
    let gap = scene.gap(&blows[0]);
    scene.go_on(APART);
    let seen = scene.cluster.dispatcher_of(&[near[0], near[1], middle]);
    ways.iter().for_each(|way| relay(&scene.cluster).set(*way, Rule::pass()));
    scene.heal();
    let whole = scene.cluster.await_whole();
    blows.iter().for_each(|blow| scene.hit(blow));
    scene.load.avoid_nobody();
    run.note(format!("{} voters; epoch {epoch} became {}", voters.len(), whole.epoch));
    scene.close(run);
    assert_eq!(seen, (old, epoch), "a majority heard the dispatcher all the time");
    assert_eq!((whole.dispatcher, whole.epoch), (Some(old), epoch), "the role stays where it is");
    assert!(gap <= run.bound(FOLLOWED), "an acknowledgement only after {gap:?}");
}
