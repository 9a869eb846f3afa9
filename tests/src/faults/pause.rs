//! F4 and F5: processes are stopped for a while and go on as if nothing had been.

use super::{Closed, Fault, Run, Scene, Variant};
use crate::cluster::late::Late;
use crate::cluster::wait::until;
use crate::cluster::{Cluster, Options};
use crate::load::Verdict;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::Duration;

/// How long the dispatcher is stopped: in the table, and in the test run, past its leases.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_SHORT: Duration = Duration::from_secs(5);
/// How soon it must follow afterwards.
const FOLLOWS: Duration = Duration::from_secs(1);
/// A dispatcher that is silent is followed within this: a lease of 0.4 s, and the election.
const FOLLOWED: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(30);
/// A job that ends while its node is stopped, and one that does not, in seconds.
const SHORT_S: u32 = 2;
const LONG_S: u32 = 7;
/// How soon what runs on a stopped node is dead: its lease.
const KILLED: Duration = Duration::from_millis(3_500);

/// The dispatcher is stopped, and goes on.
pub(super) const F4: Fault = Fault {
    id: "F4",
    title: "SIGSTOP the dispatcher 10 s, SIGCONT",
    variants: &[
        Variant::quick("pause", dispatcher),
        Variant::quick("late order", late_order),
        Variant::quick("late report", late_report),
    ],
};

/// A worker is stopped past its lease, and goes on.
pub(super) const F5: Fault =
    Fault { id: "F5", title: "SIGSTOP a worker past its lease", variants: &[Variant::quick("", worker)] };

fn dispatcher(run: &mut Run) {
    let mut scene = Scene::start(3, Options::default());
    let (old, epoch) = scene.cluster.dispatcher();
    // Its kernel still takes connections; a client that tried it would measure its own patience.
    scene.load.avoid(old);
    scene.await_acknowledged(50);
    let blow = scene.blow(old, |node| node.signal(Signal::SIGSTOP));
    let gap = scene.gap(&blow);
    let (new, after) = scene.cluster.successor(old, epoch);
    let pause = if run.is_long() { PAUSE } else { PAUSE_SHORT };
    until("the end of the pause", pause * 2, || (blow.at.elapsed() >= pause).then_some(()));
    let goes_on = scene.blow(old, |node| node.signal(Signal::SIGCONT));
    until("the paused node to follow", SOON, || {
        scene.cluster.sight(old).filter(|sight| sight.dispatcher == Some(new) && sight.epoch == after)
    });
    let followed = goes_on.at.elapsed();
    run.note(format!("followed after {} ms, it follows {} ms after SIGCONT", gap.as_millis(), followed.as_millis()));
    let whole = scene.cluster.await_whole();
    scene.hit(&blow);
    scene.load.avoid_nobody();
    scene.heal();
    assert_eq!((whole.dispatcher, whole.epoch), (Some(new), after), "the role stays where it is");
    scene.close(run);
    assert!(gap <= run.bound(FOLLOWED), "followed after {gap:?}");
    assert!(followed <= run.bound(FOLLOWS), "it followed {followed:?} after SIGCONT");
}

fn late(run: &mut Run, what: &str, late: fn(&Cluster) -> Late) {
    let cluster = Cluster::start(3, Options { relay: true, ..Options::default() });
    let tries = cluster.until_refused(late);
    let Some(Late::Refused(arrived, told)) = tries.last() else { panic!("no late {what} was refused: {tries:?}") };
    run.note(format!("refused and counted where it arrived {arrived}, where it came from {told}"));
    cluster.await_whole();
    cluster.await_all_ended(0, SOON);
    let jobs = cluster.nodes[0].jobs();
    run.tally.acknowledged += jobs.len();
    assert!(jobs.iter().all(|job| job.state == "succeeded"), "{jobs:#?}");
}

fn late_order(run: &mut Run) {
    late(run, "order", Cluster::late_order);
}

fn late_report(run: &mut Run) {
    late(run, "report", Cluster::late_report);
}

/// The job's attempts: node and outcome.
fn attempts(cluster: &Cluster, reader: usize, id: &str) -> Option<Vec<(String, Option<String>)>> {
    let job = cluster.nodes[reader].job(id)?;
    Some(job.attempts.into_iter().map(|attempt| (attempt.node, attempt.outcome)).collect())
}

/// Submits jobs until one runs on the node.
fn job_on(scene: &mut Scene, reader: usize, node: usize, seconds: u32) -> String {
    let spec = scene.marked(seconds);
    place(scene, reader, node, &spec)
}

/// Submits jobs of a kind until one runs on the node.
pub(super) fn place(scene: &mut Scene, reader: usize, node: usize, spec: &Value) -> String {
    let name = scene.cluster.nodes[node].name.clone();
    for _ in 0..20 {
        let id = scene.submit(reader, spec);
        let at =
            scene.cluster.until("a job to run", |cluster| Some(attempts(cluster, reader, &id)?.first()?.0.clone()));
        if at == name {
            return id;
        }
    }
    panic!("of 20 jobs none was given to {name}");
}

fn worker(run: &mut Run) {
    let mut scene = Scene::start(3, Options { slots: 32, ..Options::default() });
    let (reader, epoch) = scene.cluster.dispatcher();
    let hit = scene.cluster.others(reader)[run.number % 2];
    let name = scene.cluster.nodes[hit].name.clone();
    let long = job_on(&mut scene, reader, hit, LONG_S);
    scene.load.avoid(hit);
    scene.await_acknowledged(20);
    let short = job_on(&mut scene, reader, hit, SHORT_S);
    let script = scene.cluster.folder().join("marks").display().to_string();
    let left = || processes_of(&script, &long, &name);
    assert!(left() > 0, "the job has no process");
    let blow = scene.blow(hit, |node| node.signal(Signal::SIGSTOP));
    // Who stands still can't kill; what keeps its processes does, when the lease is over.
    until("the process group to be killed", SOON, || (left() == 0).then_some(()));
    for id in [&short, &long] {
        scene.cluster.until("a newer attempt elsewhere", |cluster| {
            let attempts = attempts(cluster, reader, id)?;
            (attempts.first()?.1.as_deref() == Some("lost") && attempts.get(1)?.0 != name).then_some(())
        });
    }
    let lost = blow.at.elapsed();
    // The short one is over there, and has been begun anew elsewhere: its report comes too late.
    scene.cluster.nodes[hit].signal(Signal::SIGCONT);
    until("the node to have no report left", SOON, || {
        scene.cluster.nodes[hit].figure("relais_reports_unsettled").filter(|count| *count == 0)
    });
    let stopped = scene.at(blow.at);
    scene.cluster.await_whole();
    scene.hit(&blow);
    scene.load.avoid_nobody();
    scene.heal();
    assert_eq!(scene.cluster.dispatcher(), (reader, epoch), "nobody else was elected");
    let closed = scene.close(run);
    shown_in_history(&closed.jobs, &[&short, &long], &name, &closed.verdict);
    let killed = dead_before_the_next(&closed, &long).saturating_sub(Duration::from_millis(stopped.0));
    run.note(format!("dead after {} ms, run elsewhere after {} ms", killed.as_millis(), lost.as_millis()));
    assert!(killed <= run.bound(KILLED), "killed only after {killed:?}");
}

/// No execution of the job lives when the next one begins; when, in the history, the first one was dead.
fn dead_before_the_next(closed: &Closed, job: &str) -> Duration {
    let mut executions: Vec<_> = closed.executions.iter().filter(|one| one.job.to_string() == job).collect();
    executions.sort_by_key(|one| one.began);
    for pair in executions.windows(2) {
        assert!(pair[0].ended.is_some_and(|end| end < pair[1].began), "two at once: {pair:?}");
    }
    assert!(executions.len() > 1, "it left marks of {} executions", executions.len());
    Duration::from_millis(executions[0].ended.map_or(u64::MAX, |end| end.0))
}

/// The first attempt stays lost, whatever its node said later; another one is what the job ended with.
fn shown_in_history(jobs: &[crate::cluster::job::Job], ids: &[&String], name: &str, verdict: &Verdict) {
    for id in ids {
        let job = jobs.iter().find(|job| job.id == **id).expect("it is in the record");
        let (first, last) = (&job.attempts[0], &job.attempts[job.attempts.len() - 1]);
        assert_eq!((first.node.as_str(), first.outcome.as_deref()), (name, Some("lost")), "{job:?}");
        assert!(last.node != name && last.outcome.as_deref() == Some("succeeded"), "{job:?}");
    }
    assert!(verdict.lost_attempts >= ids.len(), "{verdict}");
}

/// Processes of a job's attempt on a node.
fn processes_of(script: &str, job: &str, node: &str) -> usize {
    let folders = std::fs::read_dir("/proc").expect("/proc").flatten();
    let holds = |path: std::path::PathBuf, text: &str| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let ours = folders.filter(|entry| {
        let path = entry.path();
        holds(path.join("cmdline"), script)
            && holds(path.join("environ"), job)
            && holds(path.join("environ"), &format!("RELAIS_NODE={node}\0"))
    });
    ours.count()
}
