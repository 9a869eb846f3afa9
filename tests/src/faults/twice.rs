//! F6: one node's identity in two processes.

use super::{Fault, Run, Scene, Variant};
use crate::cluster::{Node, Options};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A start that is to be refused may take so long; one that is not would go on for ever.
const REFUSED: Duration = Duration::from_secs(30);

/// A second process with the identity of a node that runs.
pub(super) const F6: Fault = Fault {
    id: "F6",
    title: "a second process on one data directory; a copied one",
    variants: &[
        Variant::quick("second process", second),
        Variant::quick("copied directory", copied),
        Variant::quick("copy taken by force", forced),
    ],
};

/// The command that starts `node` on ports that nobody has, with `data_dir`.
fn elsewhere(node: &Node, data_dir: &Path) -> Command {
    let mut command = node.twin(data_dir.to_owned()).command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that must end by itself.
fn ends(mut command: Command) -> Output {
    let mut child = command.spawn().expect("relais can be started");
    let ended = crate::cluster::wait::look_for(REFUSED, || child.try_wait().expect("a child can be waited for"));
    if ended.is_none() {
        // It may end just now.
        let _ = child.kill();
    }
    let output = child.wait_with_output().expect("its output can be read");
    assert!(ended.is_some(), "it was not refused: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn refused(command: Command, because: &str) -> String {
    let output = ends(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it ended well: {said}");
    assert!(said.contains(because), "the reason is not clear: {said}");
    said.lines().find(|line| line.contains(because)).unwrap_or_default().trim().to_owned()
}

/// The cluster still fails over as if nothing had been: each voter has one vote.
fn still_fails_over(mut scene: Scene, run: &mut Run) {
    let (old, epoch) = scene.cluster.dispatcher();
    let blow = scene.blow(old, |node| node.kill());
    let (new, after) = scene.cluster.successor(old, epoch);
    scene.cluster.nodes[old].start();
    let whole = scene.cluster.await_whole();
    scene.hit(&blow);
    scene.heal();
    assert_eq!((whole.dispatcher, whole.epoch), (Some(new), after), "one failover, one reign");
    scene.close(run);
}

fn second(run: &mut Run) {
    let scene = Scene::start(3, Options::default());
    let (dispatcher, epoch) = scene.cluster.dispatcher();
    let node = scene.cluster.others(dispatcher)[run.number % 2];
    let twin = |scene: &Scene| elsewhere(&scene.cluster.nodes[node], &scene.cluster.nodes[node].data_dir);
    let said = refused(twin(&scene), "is in use by process");
    assert!(said.contains(&scene.cluster.nodes[node].pid().to_string()), "it names the holder: {said}");
    // Who sleeps still holds what is its own.
    scene.cluster.nodes[node].signal(Signal::SIGSTOP);
    let command = twin(&scene);
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| refused(command, "is in use by process")));
    scene.cluster.nodes[node].signal(Signal::SIGCONT);
    if let Err(panic) = again {
        std::panic::resume_unwind(panic);
    }
    run.note(format!("refused: {said}"));
    scene.cluster.await_whole();
    assert_eq!(scene.cluster.dispatcher(), (dispatcher, epoch), "nobody else was elected");
    still_fails_over(scene, run);
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    // Files that the node removes meanwhile are missed; what matters is there.
    assert!(to.join("node.json").is_file(), "{status}: {} was not copied", from.display());
}

fn copied(run: &mut Run) {
    let scene = Scene::start(3, Options::default());
    let (dispatcher, epoch) = scene.cluster.dispatcher();
    let node = scene.cluster.others(dispatcher)[run.number % 2];
    let target: PathBuf = scene.cluster.folder().join("copied");
    copy(&scene.cluster.nodes[node].data_dir, &target);
    let said = refused(elsewhere(&scene.cluster.nodes[node], &target), "was copied or moved");
    run.note(format!("refused: {said}"));
    assert_eq!(scene.cluster.dispatcher(), (dispatcher, epoch), "nobody else was elected");
    still_fails_over(scene, run);
}

fn forced(run: &mut Run) {
    let scene = Scene::start(3, Options::default());
    let (dispatcher, epoch) = scene.cluster.dispatcher();
    let node = scene.cluster.others(dispatcher)[run.number % 2];
    let target: PathBuf = scene.cluster.folder().join("forced");
    copy(&scene.cluster.nodes[node].data_dir, &target);
    let mut command = elsewhere(&scene.cluster.nodes[node], &target);
    command.env("RELAIS_ACCEPT_MOVED", "1");
    let said = refused(command, "the original of the data directory");
    run.note(format!("refused: {said}"));
    let seen = scene.cluster.await_whole();
    assert_eq!((seen.dispatcher, seen.epoch), (Some(dispatcher), epoch), "nobody was displaced");
    still_fails_over(scene, run);
}
