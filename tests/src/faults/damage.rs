//! F12 and F13: journals that are not as they were left. Also the long round of them, a command of its own
//! (`faults --damage 200`), in [`rounds`].

mod harm;
mod rounds;

pub use rounds::{Report, rounds};

use super::{Fault, Run, Scene, Variant};
use crate::cluster::binary::program;
use crate::cluster::wait::stays;
use crate::cluster::{Cluster, Options};
use crate::load::{Load, Plan, Sent};
use harm::{Dice, Harm};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// For so long nobody may become the dispatcher.
const REFUSES: Duration = Duration::from_secs(5);
/// Further acknowledgements while a journal is made good.
const GOES_ON: usize = 40;

/// A damaged tail, a bit flipped in the middle, a truncated snapshot.
pub(super) const F12: Fault = Fault {
    id: "F12",
    title: "journal tail cut, a bit flipped in the middle, a snapshot truncated",
    variants: &[
        Variant::quick("tail cut", |run| made_good(run, Harm::CutTail)),
        Variant::quick("bit flipped", |run| made_good(run, Harm::FlipRecords)),
        Variant::quick("snapshot truncated", |run| made_good(run, Harm::TruncateSnapshot)),
        Variant::long("page zeroed", |run| made_good(run, Harm::ZeroPage)),
        Variant::long("garbage behind the tail", |run| made_good(run, Harm::GarbageTail)),
    ],
};

/// The same damage on two of three.
pub(super) const F13: Fault =
    Fault { id: "F13", title: "the same damage on 2 of 3", variants: &[Variant::quick("", no_majority)] };

/// The number of a node's journal: another one after each that was put aside.
fn journal_number(cluster: &Cluster, node: usize) -> u64 {
    let text = std::fs::read_to_string(cluster.nodes[node].data_dir.join("node.json")).expect("node.json");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    json["journal"].as_u64().expect("the number of its journal")
}

fn figure(cluster: &Cluster, node: usize, name: &str) -> Option<u64> {
    cluster.nodes[node].figure(name)
}

/// A follower is killed, its journal damaged, and it is started again, under load: what was damaged is moved
/// aside and made good by the others, under a new raft id. Damage that hits nothing that is in use is harmless.
fn made_good(run: &mut Run, harm: Harm) {
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let (dispatcher, _) = scene.cluster.dispatcher();
    let hit = scene.cluster.others(dispatcher)[run.number % 2];
    let number = journal_number(&scene.cluster, hit);
    let votes = || figure(&scene.cluster, hit, "relais_journal_votes_granted_total");
    assert!(votes().is_some(), "votes are counted");
    let mut dice = Dice::new(run.number as u64);
    let mut what = String::new();
    let blow = scene.blow(hit, |node| {
        node.kill();
        what = harm.does(&mut dice, &node.journal().join("current"));
        node.start();
    });
    await_votes(&scene.cluster);
    let detected = journal_number(&scene.cluster, hit) > number;
    run.note(format!("{what}: {}", if detected { "detected" } else { "harmless" }));
    assert_eq!(detected, scene.cluster.nodes[hit].log().contains("the journal is damaged"), "it says so");
    assert!(detected || !harm.always_hits(), "not detected: {what}");
    // Nobody stood since it was started: as a voter or not, it was asked by nobody and gave no vote.
    assert_eq!(figure(&scene.cluster, hit, "relais_journal_votes_granted_total"), Some(0), "votes given");
    scene.await_acknowledged(GOES_ON);
    scene.cluster.until("the node to catch up", |cluster| {
        let index = |node| figure(cluster, node, "relais_journal_applied_index");
        (index(hit)? >= index(dispatcher)?).then_some(())
    });
    scene.hit(&blow);
    scene.heal();
    let _ = scene.close(run);
}

/// Jobs acknowledged by a whole cluster at rest.
fn acknowledged(cluster: &Cluster, count: usize) -> Vec<Sent> {
    let spec = json!({"kind": "noop", "payload": {}, "metadata": {"text": harm::MARKER}});
    let load = Load::start(cluster, &[Plan { clients: 4, per_second: 200.0, prefix: "before", spec }]);
    cluster.until("acknowledged jobs", |_| (load.acknowledged() >= count).then_some(()));
    let sent = load.finish();
    let (dispatcher, _) = cluster.dispatcher();
    cluster.await_all_ended(dispatcher, Duration::from_secs(60));
    sent
}

/// Waits until all nodes have the same journal, and nothing is on its way.
fn await_rest(cluster: &Cluster) -> u64 {
    cluster.until("a cluster at rest", |cluster| {
        let of = |node: usize| {
            Some((
                figure(cluster, node, "relais_journal_last_index")?,
                figure(cluster, node, "relais_journal_applied_index")?,
            ))
        };
        let (last, applied) = of(0)?;
        let same = (1..cluster.nodes.len()).all(|node| of(node) == Some((last, applied)));
        (same && last == applied).then_some(last)
    })
}

/// Waits until every node's present journal is a voter's: one that was put aside is replaced.
fn await_votes(cluster: &Cluster) {
    cluster.until("a vote of every node's present journal", |cluster| {
        let votes = |node: usize| {
            let voters = figure(cluster, node, "relais_journal_voters")?;
            (voters == cluster.nodes.len() as u64).then(|| figure(cluster, node, "relais_journal_votes"))?
        };
        (0..cluster.nodes.len()).all(|node| votes(node) == Some(1)).then_some(())
    });
    cluster.await_whole();
}

fn no_majority(run: &mut Run) {
    let mut cluster = Cluster::start(3, Options::default());
    let sent = acknowledged(&cluster, 200);
    run.tally.acknowledged += sent.len();
    await_rest(&cluster);
    let (dispatcher, _) = cluster.dispatcher();
    // The survivor was the dispatcher, or was not.
    let survivor = if run.number % 2 == 0 { cluster.others(dispatcher)[0] } else { dispatcher };
    let hit = cluster.others(survivor);
    let numbers: Vec<u64> = hit.iter().map(|node| journal_number(&cluster, *node)).collect();
    for node in &hit {
        cluster.nodes[*node].kill();
        let _ = Harm::FlipRecords.does(&mut Dice::new(7), &cluster.nodes[*node].journal().join("current"));
    }
    for node in &hit {
        cluster.nodes[*node].start();
    }
    cluster.until("both journals to be moved aside", |cluster| {
        let moved = |(node, before): (&usize, &u64)| journal_number(cluster, *node) > *before;
        hit.iter().zip(&numbers).all(moved).then_some(())
    });
    let names: Vec<&str> = hit.iter().map(|node| cluster.nodes[*node].name.as_str()).collect();
    let command = format!("relais cluster recover --lost {}", names.join(","));
    let reason = cluster.until("the command that helps", |cluster| {
        let seen = cluster.nodes[survivor].read("/v1/cluster")?;
        let reason = seen["reason"].as_str()?.to_owned();
        (seen["status"] == "no dispatcher" && reason.contains(&command)).then_some(reason)
    });
    run.note(reason.clone());
    // Between the two blows the others may have elected one more.
    let epoch = cluster.sight(survivor).map_or(0, |sight| sight.epoch);
    stays("a majority that is none", REFUSES, || {
        (0..3)
            .filter_map(|node| cluster.sight(node))
            .find_map(|sight| (sight.dispatcher.is_some() || sight.epoch > epoch).then(|| format!("{sight:?}")))
    });
    assert!(cluster.nodes[survivor].log().contains(&command), "the log names it, too");
    for node in &hit {
        assert_eq!(figure(&cluster, *node, "relais_journal_votes_granted_total"), Some(0), "votes given");
    }
    let answer = cluster.nodes[survivor].ask("POST", "/v1/jobs", &json!({"kind": "noop", "payload": {}}).to_string());
    assert_eq!(answer.map(|answer| answer.status), Some(503), "a submit");
    let here = harm::jobs_here(&cluster, survivor);
    let lost = sent.iter().filter_map(|sent| sent.acked.as_ref()).filter(|(_, id, _)| !here.contains_key(id)).count();
    run.tally.lost += lost;
    assert_eq!(lost, 0, "acknowledged jobs that the survivor does not have");
    recovers(run, &cluster, &sent, &reason);
}

/// Does what the survivor said: the command, word by word, and nothing but a yes to it.
fn recovers(run: &mut Run, cluster: &Cluster, sent: &[Sent], reason: &str) {
    let command = reason.split('`').nth(1).expect("a command to run");
    let (env, words) = command.split_once(" relais ").expect("an address, then the program");
    let at = env.strip_prefix("RELAIS_ADDR=").expect("an address");
    let done = Command::new(program()).args(words.split(' ')).arg("--yes").env("RELAIS_ADDR", at).output();
    let done = done.expect("relais can be started");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "`{command}`: {}, it said: {said}", done.status);
    await_votes(cluster);
    await_rest(cluster);
    let (dispatcher, epoch) = cluster.dispatcher();
    for node in 0..cluster.nodes.len() {
        let here = harm::jobs_here(cluster, node);
        let missing = sent.iter().filter_map(|sent| sent.acked.as_ref()).filter(|(_, id, _)| !here.contains_key(id));
        let missing = missing.count();
        run.tally.lost += missing;
        assert_eq!(missing, 0, "acknowledged jobs that n{} does not have", node + 1);
    }
    let _ = cluster.nodes[dispatcher].submit(&json!({"kind": "noop", "payload": {}}));
    run.note(format!(
        "after the command all three vote, under n{} in epoch {epoch}, and have every job",
        dispatcher + 1
    ));
}
