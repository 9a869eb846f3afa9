//! Many rounds in one run: a node, or two, die by kill -9 under load and come back, again and again.

use super::{Blow, Fault, Run, Scene, Variant};
use crate::cluster::Options;
use rand::Rng;
use rand::seq::SliceRandom;
use std::time::Duration;
use tokio::time::Instant;

/// Rounds of the short form.
const ROUNDS: usize = 10;
/// In so many rounds one job may be begun anew although its node was not hit.
const RESTARTED_ONE_IN: usize = 50;
/// How often a long run tells how far it is.
const TELL_EVERY: usize = 10;

/// The short form, a row of the table.
pub(super) const ROW: Fault = Fault {
    id: "rounds",
    title: "kill -9 of a random node or two, round after round",
    variants: &[Variant::quick("", |run| rounds(run, ROUNDS))],
};

/// Clients and their pace in a run of so many rounds: the record of a long one must stay readable.
fn pace(rounds: usize) -> (usize, f64) {
    if rounds > 50 { (4, 10.0) } else { (8, 40.0) }
}

/// Runs so many rounds.
///
/// # Panics
/// When something acknowledged is lost, or has a second end, or a round does not end well.
pub(super) fn rounds(run: &mut Run, count: usize) {
    let cluster = crate::cluster::Cluster::start(3, Options { slots: 16, ..Options::default() });
    let (clients, per_second) = pace(count);
    let mut scene = Scene::with(cluster, clients, per_second);
    scene.await_acknowledged(20);
    let (mut worst, mut doubles, began) = (Duration::ZERO, 0, Instant::now());
    for round in 0..count {
        let gap = one(&mut scene, run, &mut doubles);
        worst = worst.max(gap);
        if (round + 1) % TELL_EVERY == 0 {
            println!(
                "  {} rounds, {} acknowledged, worst wait for service {} ms, {:.0} s",
                round + 1,
                scene.load.acknowledged(),
                worst.as_millis(),
                began.elapsed().as_secs_f64()
            );
        }
    }
    scene.heal();
    let (_, epoch) = scene.cluster.dispatcher();
    let took = began.elapsed().as_secs_f64();
    let (mut closed, violations) = scene.judge(run);
    // In so long a run the machine itself may stand still for longer than a lease.
    let restarted = std::mem::take(&mut closed.verdict.restarted);
    run.note(format!(
        "{count} rounds, {doubles} of them of two nodes, worst wait for service {} ms, epoch {epoch}, {took:.0} s, {} \
         restarted on nodes that were not hit",
        worst.as_millis(),
        restarted.len()
    ));
    assert!(violations.is_empty(), "{} violations, like {}", violations.len(), violations[0]);
    closed.verdict.assert_flawless();
    assert!(restarted.len() <= count.div_ceil(RESTARTED_ONE_IN), "restarted without a blow: {restarted:#?}");
}

/// One round; how long nothing new was acknowledged from the blow on.
fn one(scene: &mut Scene, run: &mut Run, doubles: &mut usize) -> Duration {
    let mut nodes = [0, 1, 2];
    nodes.shuffle(&mut run.random);
    let victims = if run.random.random_ratio(1, 3) { &nodes[..2] } else { &nodes[..1] };
    *doubles += usize::from(victims.len() == 2);
    let blows: Vec<Blow> = victims.iter().map(|node| scene.blow(*node, |node| node.kill())).collect();
    // At once or later: what a supervisor does, and what a person does.
    scene.go_on(Duration::from_millis(run.random.random_range(0..700)));
    victims.iter().for_each(|node| scene.cluster.nodes[*node].start());
    let gap = scene.gap(&blows[blows.len() - 1]);
    scene.cluster.await_whole();
    blows.iter().for_each(|blow| scene.hit(blow));
    scene.await_acknowledged(5);
    gap
}
