//! F8: a bad network that is not apart: packets are lost and late, a link comes and goes.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::{Cluster, Options};
use crate::relay::Rule;
use std::time::Duration;
use tokio::time::Instant;

/// How long it is bad: in the table, in the test run.
const BAD: Duration = Duration::from_secs(20);
const BAD_SHORT: Duration = Duration::from_secs(8);
/// Of what is offered, so much must be acknowledged.
const SHARE_MIN: f64 = 0.5;
/// Clients, each with one submit a second: few of them wait, whatever an answer takes.
const CLIENTS: usize = 60;
/// A link is up, and down, for so long.
const FLAP: Duration = Duration::from_secs(2);
/// In so long the epoch may change once.
const EPOCH_EVERY_S: u64 = 10;

/// A bad network.
pub(super) const F8: Fault = Fault {
    id: "F8",
    title: "20 % loss, 100 ± 50 ms; a link flapping 2 s up, 2 s down",
    variants: &[Variant::quick("loss", loss), Variant::long("flapping", flapping)],
};

/// Lets `bad` have its way with the network for a while: how much of the load got through.
fn through(run: &mut Run, bad: impl FnOnce(&Scene, Duration), good: impl FnOnce(&Cluster)) {
    let cluster = Cluster::start(3, Options { relay: true, ..Options::default() });
    let mut scene = Scene::with(cluster, CLIENTS, 1.0);
    scene.await_acknowledged(CLIENTS);
    let time = if run.is_long() { BAD } else { BAD_SHORT };
    let (_, epoch) = scene.cluster.dispatcher();
    let (before, from, began) = (scene.load.acknowledged(), scene.cluster.now(), Instant::now());
    bad(&scene, time);
    let took = began.elapsed().as_secs_f64();
    let acknowledged = scene.load.acknowledged() - before;
    good(&scene.cluster);
    scene.heal();
    let whole = scene.cluster.await_whole();
    // Leases may end, if enough heartbeats are lost.
    scene.hit_all(from);
    let share = acknowledged as f64 / (took * CLIENTS as f64);
    let epochs = whole.epoch - epoch;
    run.note(format!("{:.0} % of what was offered, epochs {epochs} in {took:.0} s", share * 100.0));
    scene.close(run);
    assert!(share >= SHARE_MIN, "only {:.0} % of what was offered came through", share * 100.0);
    let allowed = (took as u64).div_ceil(EPOCH_EVERY_S);
    assert!(epochs <= allowed, "{epochs} epochs in {took:.0} s");
}

fn loss(run: &mut Run) {
    let rule = Rule {
        drop: 0.2,
        double: 0.05,
        delay: Duration::from_millis(50),
        jitter: Duration::from_millis(100),
        ..Rule::default()
    };
    let bad = |scene: &Scene, time| {
        scene.cluster.relay.as_ref().expect("a relay").set_all(rule);
        scene.go_on(time);
    };
    through(run, bad, |cluster| cluster.relay.as_ref().expect("a relay").set_all(Rule::pass()));
}

fn flapping(run: &mut Run) {
    let number = run.number;
    let bad = |scene: &Scene, time| {
        let (dispatcher, _) = scene.cluster.dispatcher();
        let other = scene.cluster.others(dispatcher)[number % 2];
        let relay = scene.cluster.relay.as_ref().expect("a relay");
        let end = Instant::now() + time;
        while Instant::now() < end {
            for rule in [Rule::cut(), Rule::pass()] {
                relay.set((dispatcher, other), rule);
                relay.set((other, dispatcher), rule);
                scene.go_on(FLAP);
            }
        }
    };
    through(run, bad, |cluster| cluster.relay.as_ref().expect("a relay").set_all(Rule::pass()));
}
