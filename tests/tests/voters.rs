//! Who votes, in clusters of real processes: a voter that is gone for good is replaced, five voters survive the
//! loss of two, and what is told of the failover accounts for every job that ran.

use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options, Turn};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(60);

fn set(cluster: &Cluster, at: usize, settings: &Value) -> Value {
    let answer = cluster.nodes[at].ask("PATCH", "/v1/cluster/settings", &settings.to_string()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The voters as node `at` knows them, by number.
fn voters(cluster: &Cluster, at: usize) -> Option<BTreeSet<usize>> {
    let rows = cluster.nodes[at].read("/v1/nodes?consistency=local")?;
    let voting = rows["nodes"].as_array()?.iter().filter(|row| row["voter"] == true);
    let number = |row: &Value| cluster.nodes.iter().position(|node| row["name"] == node.name.as_str());
    voting.map(number).collect()
}

fn work(cluster: &Cluster, at: usize) -> String {
    until("an acknowledged job", SOON, || {
        let spec = json!({"kind": "noop", "payload": {}}).to_string();
        let answer = cluster.nodes[at].ask("POST", "/v1/jobs?wait=30s", &spec)?;
        (answer.json()["state"] == "succeeded").then(|| answer.json()["id"].as_str().unwrap_or_default().to_owned())
    })
}

#[test]
fn a_voter_that_is_gone_for_good_gives_its_seat_to_another_node() {
    let _turn = Turn::beside();
    let mut cluster = Cluster::start(4, Options::default());
    let settings = set(&cluster, 1, &json!({"replace_after": "2s"}));
    assert_eq!((&settings["replace_after"], &settings["voters"]), (&json!("2s"), &json!(5)));
    let first = cluster.until("three voters", |cluster| voters(cluster, 0).filter(|seats| seats.len() == 3));
    let spare = (0..4).find(|number| !first.contains(number)).expect("a node without a seat");
    let job = work(&cluster, spare);

    let (dispatcher, _) = cluster.dispatcher();
    let gone = first.iter().copied().find(|number| *number != dispatcher).expect("a voter");
    let at = Instant::now();
    cluster.nodes[gone].kill();
    let second = cluster.until("the spare node to vote", |cluster| {
        voters(cluster, dispatcher).filter(|seats| seats.contains(&spare) && !seats.contains(&gone))
    });
    println!("n{} was killed; n{} votes in its place after {:?}: {second:?}", gone + 1, spare + 1, at.elapsed());
    assert_eq!(second.len(), 3);
    assert!(at.elapsed() >= Duration::from_secs(2), "it had its time to come back");

    let (dispatcher, epoch) = cluster.dispatcher_of(&cluster.others(gone));
    cluster.nodes[dispatcher].kill();
    let left: Vec<usize> = second.iter().copied().filter(|number| *number != dispatcher).collect();
    let now = cluster.until("another dispatcher", |cluster| cluster.agreed(&left).filter(|sight| sight.epoch > epoch));
    let reader = now.dispatcher.expect("a dispatcher");
    work(&cluster, left[0]);
    assert!(cluster.nodes[reader].job(&job).is_some_and(|job| job.state == "succeeded"));

    // The first one is back: it has no seat any more, but the one that is free now is its.
    cluster.nodes[gone].start();
    let third = cluster.until("the returned node to vote", |cluster| {
        voters(cluster, reader).filter(|seats| seats.contains(&gone) && !seats.contains(&dispatcher))
    });
    assert_eq!(third.len(), 3, "{third:?}");
    work(&cluster, gone);
}

#[test]
fn five_voters_survive_two_deaths_at_once_and_every_running_job_is_accounted_for() {
    let _turn = Turn::beside();
    let mut cluster = Cluster::start(5, Options { slots: 4, ..Options::default() });
    let seats = cluster.until("five voters", |cluster| voters(cluster, 0).filter(|seats| seats.len() == 5));
    assert_eq!(seats, (0..5).collect());
    let status = cluster.nodes[0].read("/v1/cluster").expect("the cluster");
    assert_eq!(status["mode"], "quorum");
    let survives = status["survives"].as_str().expect("a sentence");
    println!("survives: {survives}");
    assert!(survives.contains("the one machine that all nodes share: no"), "{survives}");
    assert!(survives.contains("any two together: yes") && survives.contains("any three together: no"), "{survives}");

    let (dispatcher, epoch) = cluster.dispatcher();
    let spec = json!({"kind": "exec", "payload": {"command": ["sleep", "20"]}});
    let jobs: Vec<String> = (0..15).map(|_| cluster.nodes[0].submit(&spec)).collect();
    let counted =
        |cluster: &Cluster| cluster.nodes[0].read("/v1/jobs:count").map(|count| count["groups"]["running"].clone());
    cluster.until("fifteen running jobs", |cluster| (counted(cluster) == Some(json!(15))).then_some(()));
    let other = cluster.others(dispatcher)[0];
    let hit = [dispatcher, other];
    for number in hit {
        cluster.nodes[number].signal(nix::sys::signal::Signal::SIGKILL);
    }
    for number in hit {
        cluster.nodes[number].reap(SOON);
    }
    let left: Vec<usize> = (0..5).filter(|number| !hit.contains(number)).collect();
    let now = cluster.until("another dispatcher", |cluster| cluster.agreed(&left).filter(|sight| sight.epoch > epoch));
    work(&cluster, left[0]);

    let tale = cluster.until("the reconciled failover", |cluster| {
        let said = cluster.nodes[left[0]].read("/v1/cluster/failovers")?;
        let told = said["failovers"].as_array()?.iter().find(|one| one["epoch"] == now.epoch)?.clone();
        (!told["reconciled_at"].is_null()).then_some(told)
    });
    println!("failover: {} {} fates: {}", tale["phases_ms"], tale["jobs"], tale["fates"]);
    let ms = |phase: &str| tale["phases_ms"][phase].as_u64().unwrap_or_else(|| panic!("{phase}: {tale}"));
    assert!(ms("confirmed") <= ms("elected") && ms("elected") <= ms("reconciled"), "{tale}");
    let fates = tale["fates"].as_array().expect("fates");
    let dead: Vec<&str> = hit.iter().map(|number| cluster.nodes[*number].name.as_str()).collect();
    for fate in fates {
        let was_hit = dead.contains(&fate["node"].as_str().unwrap_or_default());
        assert_eq!(fate["fate"], if was_hit { "retried" } else { "adopted" }, "{fate}");
    }
    let told: BTreeSet<&str> = fates.iter().filter_map(|fate| fate["job"].as_str()).collect();
    assert_eq!(told, jobs.iter().map(String::as_str).collect(), "every job that ran");
    assert_eq!(tale["jobs"]["running"], 15);
    for id in &jobs {
        let job = until("a job's end", SOON, || cluster.nodes[left[0]].job(id).filter(|job| job.has_ended()));
        assert_eq!(job.state, "succeeded", "{job:?}");
    }
}

#[test]
fn fewer_voters_are_wished_for_and_more_again() {
    let _turn = Turn::beside();
    let cluster = Cluster::start(3, Options::default());
    cluster.until("three voters", |cluster| voters(cluster, 0).filter(|seats| seats.len() == 3));
    set(&cluster, 0, &json!({"voters": 1}));
    let alone = cluster.until("one voter", |cluster| voters(cluster, 0).filter(|seats| seats.len() == 1));
    assert_eq!(alone.first().copied(), Some(cluster.dispatcher().0), "the dispatcher keeps its seat");
    work(&cluster, 2);
    set(&cluster, 2, &json!({"voters": null}));
    cluster.until("three voters again", |cluster| voters(cluster, 0).filter(|seats| seats.len() == 3));
    work(&cluster, 1);
}
