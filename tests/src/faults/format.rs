//! F36: a data directory that another version wrote.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::{Node, Options};
use relais_dispatcher::journal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Within this a node that will not start has ended.
const ENDED: Duration = Duration::from_secs(20);
const GOES_ON: usize = 60;

/// An old journal opened by a newer version, and the other way round.
pub(super) const F36: Fault = Fault {
    id: "F36",
    title: "an old journal opened by a newer version, and the other way round",
    variants: &[
        Variant::quick("newer journal", |run| refused(run, newer_journal)),
        Variant::quick("newer node.json", |run| refused(run, newer_node_file)),
        Variant::quick("older journal", older),
    ],
};

/// All files below a folder, with what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).expect("a file"));
        }
    }
    found
}

fn current(node: &Node) -> PathBuf {
    node.journal().join("current")
}

/// Makes the journal one of a newer version; its format then.
fn newer_journal(node: &Node) -> u32 {
    journal::put_format(&current(node), journal::FORMAT + 1).expect("a format file");
    journal::FORMAT + 1
}

fn newer_node_file(node: &Node) -> u32 {
    let file = node.data_dir.join("node.json");
    let text = std::fs::read_to_string(&file).expect("node.json");
    std::fs::write(&file, text.replacen("\"format\": 1", "\"format\": 2", 1)).expect("node.json");
    2
}

/// A node whose files are newer than it is refuses them, says so, and changes nothing; with what they were
/// before it starts.
fn refused(run: &mut Run, make_newer: fn(&Node) -> u32) {
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let (dispatcher, _) = scene.cluster.dispatcher();
    let old = scene.cluster.others(dispatcher)[run.number % 2];
    let blow = scene.blow(old, |node| node.kill());
    let folder = scene.cluster.nodes[old].data_dir.clone();
    let good = contents(&folder);
    let format = make_newer(&scene.cluster.nodes[old]);
    let before = contents(&folder);
    assert!(good != before, "nothing was made newer");
    scene.cluster.nodes[old].start();
    let ended = scene.cluster.nodes[old].reap(ENDED);
    assert_eq!(ended.code(), Some(1), "its end: {ended}");
    let after = contents(&folder);
    let changed: Vec<_> =
        before.iter().filter(|(path, bytes)| after.get(*path) != Some(bytes)).map(|(p, _)| p).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "it changed {changed:?}");
    let log = scene.cluster.nodes[old].log();
    let said = log.lines().rev().find(|line| line.starts_with("relais: ")).unwrap_or_default().to_owned();
    assert!(said.contains(&format!("has format {format}")) && said.contains("newer version"), "it says: {said}");
    run.note(said);
    scene.await_acknowledged(GOES_ON);
    for (path, bytes) in &good {
        if before.get(path) != Some(bytes) {
            std::fs::write(path, bytes).expect("the old content");
        }
    }
    scene.cluster.nodes[old].start();
    scene.cluster.await_whole();
    scene.hit(&blow);
    scene.heal();
    let _ = scene.close(run);
}

/// A journal of a version that wrote no format file is opened as it is, and gets one.
fn older(run: &mut Run) {
    let mut scene = Scene::start(3, Options { slots: 16, ..Options::default() });
    let (dispatcher, _) = scene.cluster.dispatcher();
    let old = scene.cluster.others(dispatcher)[run.number % 2];
    let blow = scene.blow(old, |node| node.kill());
    let file = current(&scene.cluster.nodes[old]).join("format");
    std::fs::remove_file(&file).expect("a format file");
    scene.cluster.nodes[old].start();
    scene.cluster.await_whole();
    assert!(file.is_file(), "it has a format file again");
    assert!(!scene.cluster.nodes[old].log().contains("the journal is damaged"), "it is no damage");
    scene.hit(&blow);
    scene.heal();
    let _ = scene.close(run);
}
