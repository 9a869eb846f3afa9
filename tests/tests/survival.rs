//! What was acknowledged outlives all processes, because it was on two disks before it was acknowledged; and
//! a node that dies takes its jobs' processes with it.

use relais_tests::cluster::wait::{look_for, until};
use relais_tests::cluster::{Cluster, Options};
use relais_tests::load::{Hit, Load, Plan, Verdict};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn all_nodes_are_killed_at_once_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3, Options::default());
    let spec = json!({"kind": "noop", "payload": {}});
    let second = json!({"kind": "exec", "payload": {"command": ["sleep", "1"]}});
    let plans = [
        Plan { clients: 8, per_second: 50.0, prefix: "quick", spec },
        Plan { clients: 1, per_second: 5.0, prefix: "second", spec: second },
    ];
    let load = Load::start(&cluster, &plans);
    until("acknowledged jobs", SOON, || (load.acknowledged() > 500).then_some(()));
    let from = cluster.now();
    let pids = cluster.nodes.iter().map(|node| nix::unistd::Pid::from_raw(i32::try_from(node.pid()).expect("a pid")));
    pids.for_each(|pid| nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs"));
    for node in &mut cluster.nodes {
        node.reap(SOON);
    }
    let before = load.acknowledged();
    cluster.nodes.iter_mut().for_each(relais_tests::cluster::Node::start);
    cluster.await_whole();
    let until_ms = cluster.now();
    until("acknowledged jobs after the restart", SOON, || (load.acknowledged() > before + 100).then_some(()));
    let sent = load.finish();
    cluster.await_all_ended(0, Duration::from_secs(60));
    let hits = cluster.nodes.iter().map(|node| Hit { node: node.name.clone(), from, until: until_ms });
    let verdict = Verdict::of(&sent, &cluster.nodes[0].jobs(), &hits.collect::<Vec<_>>());
    println!(
        "all killed at once with {before} jobs acknowledged, whole again after {} ms: {verdict}",
        until_ms.since(from)
    );
    verdict.assert_flawless();
}

/// Watches the syncs of a running process.
struct Watch {
    strace: Child,
    files: PathBuf,
}

impl Watch {
    fn of(pid: u32, files: PathBuf) -> Self {
        let told = std::fs::File::create(files.with_extension("told")).expect("a file");
        let strace = Command::new("strace")
            .args(["-f", "-ff", "-ttt", "-T", "-e", "trace=fdatasync,fsync", "-o"])
            .arg(&files)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(told)
            .spawn();
        Self { strace: strace.expect("strace runs"), files }
    }

    /// Whether it has taken hold of the process.
    fn holds(&self) -> bool {
        std::fs::read_to_string(self.files.with_extension("told")).unwrap_or_default().contains("attached")
    }

    /// Ends it; when each `fdatasync` that went well began and ended, in seconds of the wall clock.
    fn end(mut self) -> Vec<(f64, f64)> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.strace.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("strace runs");
        self.strace.wait().expect("strace ends");
        let folder = self.files.parent().expect("a folder").to_owned();
        let name = self.files.file_name().expect("a name").to_string_lossy().into_owned() + ".";
        let entries = std::fs::read_dir(folder).expect("the folder").flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name));
        ours.flat_map(|entry| syncs(&entry.path())).collect()
    }
}

/// `1700000000.123456 fdatasync(7) = 0 <0.000812>`
fn syncs(file: &Path) -> Vec<(f64, f64)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains(" fdatasync(") && line.contains("= 0 <"));
    let read = |line: &str| {
        let began: f64 = line.split(' ').next()?.parse().ok()?;
        let took: f64 = line.rsplit('<').next()?.trim_end_matches('>').parse().ok()?;
        Some((began, began + took))
    };
    lines.filter_map(read).collect()
}

#[expect(clippy::disallowed_methods, reason = "it is compared with the wall clock of another program, strace")]
fn wall() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn two_voters_have_synced_before_the_acknowledgement_leaves() {
    if !is_installed("strace") {
        println!("SKIPPED: strace is not installed, so nothing was shown about the order of syncs and answers");
        return;
    }
    let cluster = Cluster::start(3, Options::default());
    let watch =
        |number: usize| Watch::of(cluster.nodes[number].pid(), cluster.folder().join(format!("strace-{number}")));
    let watches: Vec<Watch> = (0..3).map(watch).collect();
    until("strace to take hold", SOON, || watches.iter().all(Watch::holds).then_some(()));
    let (dispatcher, _) = cluster.dispatcher();
    let at = cluster.others(dispatcher)[0];
    let later = json!({"kind": "noop", "payload": {}, "delay": "1h"});
    let mut windows = Vec::new();
    for _ in 0..10 {
        let began = wall();
        let _ = cluster.nodes[at].submit(&later);
        windows.push((began, wall()));
    }
    let syncs: Vec<Vec<(f64, f64)>> = watches.into_iter().map(Watch::end).collect();
    let within = |window: &(f64, f64)| {
        let synced =
            |syncs: &Vec<(f64, f64)>| syncs.iter().any(|(began, ended)| *began >= window.0 && *ended <= window.1);
        syncs.iter().filter(|syncs| synced(syncs)).count()
    };
    let counts: Vec<usize> = windows.iter().map(within).collect();
    let longest = windows.iter().map(|(began, ended)| (ended - began) * 1e3).fold(0.0, f64::max);
    println!(
        "strace: voters with an fdatasync begun after the submit was sent and ended before its 201: {counts:?} (windows of at \
         most {longest:.1} ms; fdatasyncs seen in all: {:?})",
        syncs.iter().map(Vec::len).collect::<Vec<_>>()
    );
    assert!(counts.iter().all(|count| *count >= 2), "an acknowledgement without two synced voters: {counts:?}");
}

/// Processes whose command line holds `marker`.
fn processes(marker: &str) -> Vec<String> {
    let folders = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = folders.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // A job's process, and not the shell of somebody who looks for it.
        (line.contains(marker) && line.contains("sleep"))
            .then(|| format!("{}: {line}", entry.file_name().to_string_lossy()))
    });
    lines.collect()
}

#[test]
fn a_killed_node_leaves_no_process_of_its_jobs() {
    let mut cluster = Cluster::start(3, Options::default());
    let marker = format!("4000.{:06}", std::process::id());
    // One that stays in its group, one that leaves it, one that ignores what it is told.
    let script = format!("trap '' TERM; setsid sleep {marker} & (setsid sleep {marker} &) ; sleep {marker}");
    let spec = json!({"kind": "exec", "payload": {"command": ["sh", "-c", script]}, "retry": {"on_lost": "fail"}});
    let id = cluster.nodes[0].submit(&spec);
    until("three processes of the job", SOON, || (processes(&format!("sleep {marker}")).len() >= 4).then_some(()));
    let name = cluster.nodes[0].job(&id).expect("the job").attempts[0].node.clone();
    let hit = cluster.nodes.iter().position(|node| node.name == name).expect("a node of ours");
    cluster.nodes[hit].kill();
    let at = tokio::time::Instant::now();
    let gone = look_for(SOON, || processes(&marker).is_empty().then_some(()));
    println!("kill -9 of a node: its job's processes were gone after {:?}", at.elapsed());
    assert!(gone.is_some(), "left behind: {:#?}", processes(&marker));
    let reader = cluster.others(hit)[0];
    until("the end of the job", SOON, || cluster.nodes[reader].job(&id).filter(|job| job.state == "failed"));
    assert!(processes(&marker).is_empty(), "it was not to be run again");
}
