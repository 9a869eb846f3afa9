//! F14: disks that are slow: each sync takes 200 ms longer.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::Options;
use crate::cluster::wait::stays;
use crate::load::Sent;
use std::time::Duration;
use tokio::time::Instant;

const DELAY: (&str, &str) = ("RELAIS_TEST_SYNC_DELAY_MS", "200");
const DELAYED: Duration = Duration::from_millis(200);
/// How long latencies are gathered.
const LOOK: Duration = Duration::from_secs(3);
/// Records in a batch, on average, beside which a slow disk can still keep up.
const BATCH_MIN: u64 = 4;
/// For so long the role must stay where it went.
const STICKS: Duration = Duration::from_secs(4);

/// A slow disk on a follower, on the dispatcher.
pub(super) const F14: Fault = Fault {
    id: "F14",
    title: "slow disk (200 ms fsync) on a follower, on the dispatcher",
    variants: &[Variant::quick("follower", follower), Variant::quick("dispatcher", dispatcher)],
};

/// How long acknowledgements took of what was sent in between: the share `of` of all.
fn percentile(sent: &[Sent], from: Instant, to: Instant, of: f64) -> Duration {
    let within = sent.iter().filter(|sent| sent.at >= from && sent.at < to);
    let mut waits: Vec<Duration> = within.filter_map(|sent| Some(sent.acked.as_ref()?.0 - sent.at)).collect();
    waits.sort();
    assert!(waits.len() > 50, "only {} jobs were sent in that time", waits.len());
    waits[((waits.len() - 1) as f64 * of) as usize]
}

fn follower(run: &mut Run) {
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let before = Instant::now();
    scene.go_on(LOOK);
    let between = Instant::now();
    let (dispatcher, epoch) = scene.cluster.dispatcher();
    let slow = scene.cluster.others(dispatcher)[run.number % 2];
    let blow = scene.blow(slow, |node| {
        node.kill();
        node.env.push((DELAY.0.to_owned(), DELAY.1.to_owned()));
        node.start();
    });
    scene.cluster.await_whole();
    scene.hit(&blow);
    let after = Instant::now();
    scene.go_on(LOOK);
    let end = Instant::now();
    assert_eq!(scene.cluster.dispatcher(), (dispatcher, epoch), "nobody else was elected");
    scene.heal();
    let long = run.is_long();
    let sent = scene.close(run).sent;
    let figures = |of| (percentile(&sent, before, between, of), percentile(&sent, after, end, of));
    let (p50, p99) = (figures(0.5), figures(0.99));
    run.note(format!("p50 {:.0?} became {:.0?}, p99 {:.0?} became {:.0?}", p50.0, p50.1, p99.0, p99.1));
    // One sync of the follower in the way of an acknowledgement would show in every one of them.
    assert!(p50.1 < DELAYED, "half of the submits waited for {:?}", p50.1);
    if long {
        assert!(p99.1 < DELAYED.max(p99.0 * 2), "p99 was {:?}, beside a slow follower {:?}", p99.0, p99.1);
    }
}

fn dispatcher(run: &mut Run) {
    let env = vec![(0, DELAY.0, DELAY.1.to_owned())];
    let scene = Scene::start(3, Options { slots: 16, env, ..Options::default() });
    let (slow, epoch) = scene.cluster.dispatcher();
    let mut scene = scene;
    if slow == 0 {
        let figure = |name: &str| scene.cluster.nodes[0].figure(name).unwrap_or(0);
        let before = (figure("relais_records_total"), figure("relais_batches_total"));
        scene.await_acknowledged(200);
        let after = (figure("relais_records_total"), figure("relais_batches_total"));
        let batch = (after.0 - before.0) / (after.1 - before.1).max(1);
        run.note(format!("{batch} records in a batch"));
        assert!(batch >= BATCH_MIN, "batches do not grow: {batch} records in each");
        let began = Instant::now();
        let (new, _) = scene.cluster.successor(slow, epoch);
        run.note(format!("handed over to n{} after {:.0} s", new + 1, began.elapsed().as_secs_f64()));
    } else {
        run.note("handed over while the cluster came up");
    }
    let now = scene.cluster.dispatcher();
    assert_ne!(now.0, 0, "the role is not on the slow disk");
    stays("the role moves again", STICKS, || {
        let seen = scene.cluster.sight(now.0)?;
        (seen.epoch != now.1).then(|| format!("{seen:?}"))
    });
    let causes = scene.cluster.nodes[now.0].read("/v1/cluster/failovers").unwrap_or_default();
    let records = causes["failovers"].as_array().cloned().unwrap_or_default();
    let cause = records.iter().find(|record| record["epoch"].as_u64() == Some(now.1)).map(|record| &record["cause"]);
    assert!(cause.is_none_or(|cause| cause == "handover"), "{causes}");
    scene.heal();
    let _ = scene.close(run);
}
