//! F10: disks that are full. Each node has a small disk of its own; a filler takes its space away.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::wait::until;
use crate::cluster::{Cluster, Options};
use crate::disk::{Disk, Kind};
use crate::load::Sent;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const DISK_MIB: u64 = 128;
/// The floor of each node, and what a filler leaves: less.
const FLOOR: &str = "24MiB";
const LEFT: u64 = 12 << 20;
/// Within this a node knows that its disk is full, or has room again, and the others know it too.
const NOTICED: Duration = Duration::from_secs(30);
/// Acknowledgements that show that service goes on.
const GOES_ON: usize = 60;

/// A disk full on a follower, on the dispatcher, on two of three, and to the last byte.
pub(super) const F10: Fault = Fault {
    id: "F10",
    title: "disk full on a follower, on the dispatcher",
    variants: &[
        Variant::quick("follower", follower),
        Variant::quick("dispatcher", dispatcher),
        Variant::quick("majority", majority),
        Variant::long("to the last byte", last_byte),
    ],
};

/// Three nodes, each on a disk of its own; `None` where there can be none.
fn stage(run: &mut Run) -> Option<(Vec<Disk>, Scene)> {
    if let Some(why) = Disk::unavailable() {
        run.skip(why);
        return None;
    }
    let disks: Vec<Disk> = (0..3).map(|_| Disk::new(Kind::Small, DISK_MIB)).collect();
    let data_dirs = disks.iter().enumerate().map(|(n, disk)| (n, disk.path().join("node"))).collect();
    let env = (0..3).map(|n| (n, "RELAIS_MIN_FREE", FLOOR.to_owned())).collect();
    let scene = Scene::start(3, Options { slots: 16, env, data_dirs, ..Options::default() });
    Some((disks, scene))
}

/// What node `viewer` says of node `of`: status and reason.
fn said(cluster: &Cluster, viewer: usize, of: usize) -> Option<(String, String)> {
    let list = cluster.nodes[viewer].read("/v1/nodes?consistency=local")?;
    let row = list["nodes"].as_array()?.iter().find(|row| row["name"] == cluster.nodes[of].name.as_str())?.clone();
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}

/// Waits until all running nodes say that `of` is limited, for want of disk space; or is online.
fn until_all_say(cluster: &Cluster, of: usize, limited: bool) {
    let wanted = if limited { "limited" } else { "online" };
    until(&format!("all say that {} is {wanted}", cluster.nodes[of].name), NOTICED, || {
        let agrees = |viewer: usize| {
            let (status, reason) = said(cluster, viewer, of)?;
            (status == wanted && (!limited || reason.contains("disk space"))).then_some(())
        };
        cluster.running().into_iter().all(|viewer| agrees(viewer).is_some()).then_some(())
    });
}

fn last_index(cluster: &Cluster, node: usize) -> u64 {
    cluster.nodes[node].figure("relais_journal_last_index").expect("a figure")
}

/// Waits until a node has all that the dispatcher has now.
fn until_caught_up(cluster: &Cluster, node: usize) {
    let (dispatcher, _) = cluster.dispatcher();
    let wanted = last_index(cluster, dispatcher);
    cluster.until("a node that has caught up", |cluster| (last_index(cluster, node) >= wanted).then_some(()));
}

/// What nobody may be told while a majority has room.
fn assert_no_507(sent: &[Sent]) {
    let told = sent.iter().flat_map(|sent| &sent.troubles).find(|trouble| trouble.contains(": 507"));
    assert!(told.is_none(), "507 while a majority had room: {told:?}");
}

/// Submits one job at a node.
fn forwards(cluster: &Cluster, node: usize) -> Sent {
    let (key, at) = ("forwarded".to_owned(), Instant::now());
    let id = cluster.nodes[node].submit(&json!({"kind": "noop", "payload": {}, "idempotency_key": key}));
    Sent { key, at, acked: Some((Instant::now(), id, node)), tries: 1, troubles: Vec::new() }
}

fn follower(run: &mut Run) {
    let Some((disks, mut scene)) = stage(run) else { return };
    let (dispatcher, epoch) = scene.cluster.dispatcher();
    let full = scene.cluster.others(dispatcher)[run.number % 2];
    let blow = scene.blow(full, |_| disks[full].fill(LEFT));
    until_all_say(&scene.cluster, full, true);
    let stands = last_index(&scene.cluster, full);
    scene.await_acknowledged(GOES_ON);
    assert_eq!(last_index(&scene.cluster, full), stands, "a closed journal takes no entries");
    let forwarded = forwards(&scene.cluster, full);
    let id = forwarded.acked.as_ref().map(|(_, id, _)| id.clone());
    scene.also_sent(vec![forwarded]);
    let ready = scene.cluster.nodes[full].ask("GET", "/readyz", "").map(|answer| answer.status);
    assert_eq!(ready, Some(503), "a limited node is not ready");
    disks[full].empty();
    until_all_say(&scene.cluster, full, false);
    until_caught_up(&scene.cluster, full);
    scene.hit(&blow);
    assert_eq!(scene.cluster.dispatcher(), (dispatcher, epoch), "nobody else was elected");
    scene.heal();
    let closed = scene.close(run);
    assert!(closed.jobs.iter().any(|job| Some(&job.id) == id.as_ref()), "what it forwarded is there");
    assert_no_507(&closed.sent);
}

fn cause_of_last(cluster: &Cluster, reader: usize) -> Value {
    let list = cluster.nodes[reader].read("/v1/cluster/failovers").unwrap_or_default();
    let records = list["failovers"].as_array().cloned().unwrap_or_default();
    records.into_iter().max_by_key(|record| record["epoch"].as_u64()).unwrap_or_default()
}

fn dispatcher(run: &mut Run) {
    let Some((disks, mut scene)) = stage(run) else { return };
    let (full, epoch) = scene.cluster.dispatcher();
    let blow = scene.blow(full, |_| disks[full].fill(LEFT));
    let (new, after) = scene.cluster.successor(full, epoch);
    run.note(format!("handed over in {:.1} s", blow.at.elapsed().as_secs_f64()));
    until_all_say(&scene.cluster, full, true);
    scene.await_acknowledged(GOES_ON);
    let record = scene.cluster.until("the record of the failover", |cluster| {
        Some(cause_of_last(cluster, new)).filter(|record| record["epoch"].as_u64() == Some(after))
    });
    assert_eq!(record["cause"], "handover", "{record}");
    disks[full].empty();
    until_all_say(&scene.cluster, full, false);
    until_caught_up(&scene.cluster, full);
    scene.hit(&blow);
    assert_eq!(scene.cluster.dispatcher(), (new, after), "the role stays where it is");
    scene.heal();
    assert_no_507(&scene.close(run).sent);
}

fn majority(run: &mut Run) {
    let Some((disks, mut scene)) = stage(run) else { return };
    let (dispatcher, _) = scene.cluster.dispatcher();
    // The dispatcher is one of them in every other run.
    let full: Vec<usize> = scene.cluster.nodes.iter().enumerate().map(|(number, _)| number).collect();
    let spared = if run.number % 2 == 0 { dispatcher } else { scene.cluster.others(dispatcher)[0] };
    let full: Vec<usize> = full.into_iter().filter(|number| *number != spared).collect();
    let blows: Vec<_> = full.iter().map(|n| scene.blow(*n, |_| disks[*n].fill(LEFT))).collect();
    // Any change is answered so; one of a job that is over does nothing when there is room.
    let list = scene.cluster.nodes[spared].read("/v1/jobs?state=succeeded&limit=1&consistency=local");
    let over = list.and_then(|list| Some(list["jobs"][0]["id"].as_str()?.to_owned())).expect("a job that is over");
    for number in 0..3 {
        let answer = until("a change that is answered 507", NOTICED, || {
            let answer = scene.cluster.nodes[number].ask("POST", &format!("/v1/jobs/{over}:cancel"), "{}");
            answer.filter(|answer| answer.status == 507)
        });
        assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    for disk in &full {
        disks[*disk].empty();
    }
    for number in &full {
        until_all_say(&scene.cluster, *number, false);
    }
    scene.await_acknowledged(GOES_ON);
    for (number, blow) in full.iter().zip(&blows) {
        until_caught_up(&scene.cluster, *number);
        scene.hit(blow);
    }
    scene.cluster.await_whole();
    scene.heal();
    let closed = scene.close(run);
    let full = closed.sent.iter().flat_map(|sent| &sent.troubles).filter(|trouble| trouble.contains(": 507 ")).count();
    assert!(full > 0, "no submit was answered 507");
    run.note(format!("{full} submits were answered 507"));
    let other = closed.sent.iter().flat_map(|sent| &sent.troubles).find(|trouble| {
        let told = |status: &str| trouble.contains(&format!(": {status} "));
        !told("507") && !told("503")
    });
    assert!(other.is_none(), "a client was told otherwise: {other:?}");
}

fn last_byte(run: &mut Run) {
    let Some((disks, mut scene)) = stage(run) else { return };
    let (dispatcher, _) = scene.cluster.dispatcher();
    let full = scene.cluster.others(dispatcher)[run.number % 2];
    let blow = scene.blow(full, |_| disks[full].fill(0));
    // It may have written into the wall before it looked.
    let node = &mut scene.cluster.nodes[full];
    if node.runs() {
        node.kill();
    } else {
        let ended = node.reap(Duration::from_secs(10));
        assert_eq!(ended.code(), Some(74), "its end");
    }
    disks[full].fill(0);
    scene.cluster.nodes[full].start();
    until_all_say(&scene.cluster, full, true);
    scene.await_acknowledged(GOES_ON);
    disks[full].empty();
    until_all_say(&scene.cluster, full, false);
    until_caught_up(&scene.cluster, full);
    scene.cluster.await_whole();
    scene.hit(&blow);
    scene.heal();
    let _ = scene.close(run);
    let ballast = disks[full].path().join("node/journal/current/ballast");
    assert!(ballast.is_file(), "the ballast is made again");
}
