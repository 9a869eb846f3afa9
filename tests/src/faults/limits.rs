//! F35: what a process may run out of, and parts of it that keep dying.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::Options;
use crate::cluster::binary::has_planted_bugs;
use crate::cluster::wait::{look_for, until};
use std::net::TcpStream;
use std::time::Duration;

/// Open files that the node may have.
const FILES: &str = "ulimit -n 256; exec \"$@\"";
/// Connections that nobody says anything on.
const CONNECTIONS: usize = 400;
/// Exit code of a process that can't keep a part running.
const EXIT_SOFTWARE: i32 = 70;
const LIMIT: Duration = Duration::from_secs(40);
const GOES_ON: usize = 60;

/// Descriptors run out; an actor panics as often as it is started.
pub(super) const F35: Fault = Fault {
    id: "F35",
    title: "`ulimit -n 256`; an actor that panics again and again",
    variants: &[
        Variant::quick("descriptors", descriptors),
        Variant::quick("panics, dispatcher", |run| panics(run, true)),
        Variant::long("panics, follower", |run| panics(run, false)),
    ],
};

/// Whether the health probe of a node is green: it is not, too, when no answer comes.
fn is_ready(scene: &Scene, node: usize) -> bool {
    scene.cluster.nodes[node].ask("GET", "/readyz", "").is_some_and(|answer| answer.status == 200)
}

fn descriptors(run: &mut Run) {
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let (dispatcher, _) = scene.cluster.dispatcher();
    let poor = scene.cluster.others(dispatcher)[run.number % 2];
    scene.load.avoid(poor);
    let blow = scene.blow(poor, |node| {
        node.kill();
        node.under = ["sh", "-c", FILES, "sh"].map(str::to_owned).to_vec();
        node.start();
    });
    scene.cluster.await_whole();
    let open = scene.cluster.nodes[poor].figure("process_open_fds");
    let addr = scene.cluster.nodes[poor].http;
    let held: Vec<TcpStream> = (0..CONNECTIONS).filter_map(|_| TcpStream::connect(addr).ok()).collect();
    until("a probe that is red", LIMIT, || (!is_ready(&scene, poor)).then_some(()));
    let said = scene.cluster.until("a clear error", |cluster| {
        let log = cluster.nodes[poor].log();
        log.lines().find(|line| line.contains("file descriptors are in use")).map(str::to_owned)
    });
    run.note(format!("of 256 descriptors {open:?} are in use at rest; under the flood: {said}"));
    scene.await_acknowledged(GOES_ON);
    assert!(scene.cluster.nodes[poor].runs(), "it goes on");
    drop(held);
    until("a probe that is green again", LIMIT, || is_ready(&scene, poor).then_some(()));
    scene.load.avoid_nobody();
    scene.cluster.await_whole();
    scene.hit(&blow);
    scene.heal();
    let _ = scene.close(run);
}

fn panics(run: &mut Run, dispatcher: bool) {
    if !has_planted_bugs() {
        return run
            .skip("this `relais` was built without the feature `planted`, so no part of it can be made to panic");
    }
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let (leader, epoch) = scene.cluster.dispatcher();
    let hit = if dispatcher { leader } else { scene.cluster.others(leader)[run.number % 2] };
    scene.load.avoid(hit);
    let blow = scene.blow(hit, |node| {
        node.kill();
        node.env.push(("RELAIS_PLANTED".to_owned(), "dispatcher-panics".to_owned()));
        node.start();
    });
    let mut reds = 0;
    let ended = look_for(LIMIT, || {
        let answer = scene.cluster.nodes[hit].ask("GET", "/readyz", "");
        assert!(answer.as_ref().is_none_or(|answer| answer.status != 200) || reds == 0, "green again while it dies");
        reds += usize::from(answer.is_some_and(|answer| answer.text().contains("dispatcher: died")));
        (!scene.cluster.nodes[hit].runs()).then_some(())
    });
    assert!(ended.is_some(), "it half-lives");
    let ended = scene.cluster.nodes[hit].reap(Duration::from_secs(1));
    assert_eq!(ended.code(), Some(EXIT_SOFTWARE), "its end: {ended}");
    let log = scene.cluster.nodes[hit].log();
    let pauses: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("a part died and is started again"))
        .filter_map(|line| line.split("pause=").nth(1)?.split_whitespace().next())
        .collect();
    run.note(format!("started again after {pauses:?}, then ended with 70; the probe was red {reds} times"));
    assert!(pauses.len() >= 4 && reds > 0, "{pauses:?}, {reds}");
    if dispatcher {
        let _ = scene.cluster.successor(leader, epoch);
    }
    scene.await_acknowledged(GOES_ON);
    let node = &mut scene.cluster.nodes[hit];
    node.env.retain(|(name, _)| name != "RELAIS_PLANTED");
    node.start();
    scene.cluster.await_whole();
    scene.load.avoid_nobody();
    scene.hit(&blow);
    scene.heal();
    let _ = scene.close(run);
}
