//! F18: a node shows a certificate that is not its own, or not good any more.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::{Node, Options};
use relais_node::identity::{ClusterCa, Identity, NodeKey};
use relais_protocol::ids::NodeId;
use relais_protocol::time::UnixMs;
use std::path::Path;
use std::time::Duration;

/// How long the refused node knocks: many times, were it not for its pauses.
const KNOCKS: Duration = Duration::from_secs(5);
const DAY_MS: u64 = 86_400_000;

/// A certificate is not what it should be.
pub(super) const F18: Fault = Fault {
    id: "F18",
    title: "certificate of a wrong CA, expired, of another node",
    variants: &[
        Variant::quick("wrong CA", wrong_ca),
        Variant::long("expired", expired),
        Variant::long("another node", another_node),
    ],
};

/// An identity like `own`, by `ca`, for `node`, made at `now` for so many days.
fn forge(own: &Identity, ca: ClusterCa, node: NodeId, now: UnixMs, days: u32) -> Identity {
    let key = NodeKey::generate().expect("a key");
    let certificate = ca.admit_own(own.cluster, node, &key, now, days).expect("a certificate");
    Identity::new(ca, certificate, key).expect("they belong together")
}

/// The cluster's CA, with its key.
fn ca(of: &Identity) -> ClusterCa {
    let key = of.ca.key_pem().expect("a voter holds the CA's key");
    ClusterCa::from_pem(&of.ca.certificate_pem(), Some(&key)).expect("a CA")
}

fn wrong_ca(run: &mut Run) {
    refused(run, "wrong_ca", |own, now| {
        forge(own, ClusterCa::create(own.cluster, now).expect("a CA"), own.node, now, 30)
    });
}

fn expired(run: &mut Run) {
    refused(run, "expired", |own, now| forge(own, ca(own), own.node, UnixMs(now.0 - 40 * DAY_MS), 30));
}

fn another_node(run: &mut Run) {
    refused(run, "other_node", |own, now| forge(own, ca(own), NodeId(own.node.0 + 40), now, 30));
}

/// Moves a node's journal out of its way, or back: a process with another node's certificate does not start
/// on it.
fn journal_aside(node: &Node, back: bool) {
    let (journal, aside) = (node.journal(), node.data_dir.with_extension("journal"));
    if back {
        std::fs::remove_dir_all(&journal).expect("the journal in between can be removed");
        std::fs::rename(aside, journal).expect("the journal can be moved back");
    } else {
        std::fs::rename(journal, aside).expect("the journal can be moved");
    }
}

/// Lines of a log that tell of this refusal, after its first `skip` bytes.
fn told(log: &str, skip: usize, refusal: &str) -> Vec<String> {
    let mark = format!("reason={refusal}");
    let lines = log.get(skip..).unwrap_or_default().lines();
    lines.filter(|line| line.contains("no connection") && line.contains(&mark)).map(str::to_owned).collect()
}

/// The peer that a line is about.
fn peer(line: &str) -> &str {
    line.split("peer=").nth(1).unwrap_or_default().split(" reason=").next().unwrap_or_default()
}

fn refused(run: &mut Run, refusal: &str, make: impl FnOnce(&Identity, UnixMs) -> Identity) {
    let mut scene = Scene::start(3, Options::default());
    let (dispatcher, epoch) = scene.cluster.dispatcher();
    let hit = scene.cluster.others(dispatcher)[run.number % 2];
    let folder = scene.cluster.nodes[hit].data_dir.join("identity");
    let own = scene
        .cluster
        .until("the CA's key on a voter", |_| Identity::load(&folder).ok().filter(|identity| identity.ca.can_sign()));
    // It holds each submit for a while, since it knows of no dispatcher.
    scene.load.avoid(hit);
    scene.await_acknowledged(20);
    let blow = scene.blow(hit, |node| node.kill());
    let other = make(&own, scene.cluster.now());
    replace(&folder, &other);
    if other.node != own.node {
        journal_aside(&scene.cluster.nodes[hit], false);
    }
    let logs = |scene: &Scene| scene.cluster.nodes.iter().map(|node| node.log()).collect::<Vec<String>>();
    let before: Vec<usize> = logs(&scene).iter().map(String::len).collect();
    scene.cluster.nodes[hit].start();
    scene.cluster.until("the dispatcher's log to tell of the refusal", |cluster| {
        let log = cluster.nodes[dispatcher].log();
        (!told(&log, before[dispatcher], refusal).is_empty()).then_some(())
    });
    scene.go_on(KNOCKS);
    let sight = scene.cluster.sight(dispatcher).expect("the dispatcher serves");
    assert_eq!(sight.online, 2, "who was refused is not online");
    for (number, log) in logs(&scene).iter().enumerate() {
        let lines = told(log, before[number], refusal);
        let mut peers: Vec<&str> = lines.iter().map(|line| peer(line)).collect();
        peers.sort_unstable();
        let count = peers.len();
        peers.dedup();
        assert_eq!(count, peers.len(), "it is told once a minute for each peer: {lines:#?}");
    }
    let log = scene.cluster.nodes[dispatcher].log();
    let line = told(&log, before[dispatcher], refusal).remove(0);
    run.note(line.split("WARN ").last().unwrap_or_default());
    scene.cluster.nodes[hit].kill();
    replace(&folder, &own);
    if other.node != own.node {
        journal_aside(&scene.cluster.nodes[hit], true);
    }
    scene.cluster.nodes[hit].start();
    scene.cluster.await_whole();
    scene.hit(&blow);
    scene.load.avoid_nobody();
    scene.heal();
    assert_eq!(scene.cluster.dispatcher(), (dispatcher, epoch), "nobody else was elected");
    scene.close(run);
}

fn replace(folder: &Path, identity: &Identity) {
    identity.save(folder).expect("the identity can be written");
}
