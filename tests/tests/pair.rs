//! Two nodes without a witness, and clusters that lost their majority: who goes on, who waits and says why.
//! What happens when a node of a pair dies, or the cable is cut, is among the faults (F33, F34).

use relais_tests::cluster::wait::stays;
use relais_tests::cluster::{Cluster, Options, Turn};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Duration;

/// A planned stop ends within this.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Longer than the silence after which a survivor takes over in these tests.
const LONGER: Duration = Duration::from_millis(2_500);

/// A pair that takes over after a second, in the way of `takeover`.
fn pair(takeover: &str) -> Cluster {
    let cluster = Cluster::start(2, Options::default());
    cluster.nodes[0].set(&json!({"takeover": takeover, "takeover_after": "1s", "pair_lease": "3500ms"}));
    // Both know the settings before anything breaks.
    cluster.until("the settings at both", |cluster| {
        let known = |settings: &Value| settings["takeover"] == takeover && settings["takeover_after"] == "1s";
        let at = |node: &relais_tests::cluster::Node| node.read("/v1/cluster/settings?consistency=local");
        cluster.nodes.iter().all(|node| at(node).is_some_and(|settings| known(&settings))).then_some(())
    });
    cluster
}

fn never_dispatches(cluster: &Cluster, node: usize) {
    stays("it goes on alone", LONGER, || {
        let sight = cluster.nodes[node].cluster()?;
        (sight["status"] != "no dispatcher").then(|| sight.to_string())
    });
    let answer = cluster.nodes[node].ask("POST", "/v1/jobs", &json!({"kind": "noop", "payload": {}}).to_string());
    assert_eq!(answer.expect("an answer").status, 503);
}

#[test]
fn with_takeover_off_the_survivor_refuses_and_says_why_until_its_peer_is_back() {
    let _turn = Turn::beside();
    let mut cluster = pair("off");
    cluster.nodes[1].kill();
    let reason = cluster.await_reason(0, &["`off`", "relais cluster recover --lost n2"]);
    println!("takeover = off: {reason}");
    never_dispatches(&cluster, 0);
    cluster.nodes[1].start();
    cluster.await_whole();
    assert_eq!(cluster.nodes[0].generation(), Some(0), "nothing was forked");
}

#[test]
fn a_cold_node_waits_and_says_why_and_a_recovery_forces_it() {
    let _turn = Turn::beside();
    let mut cluster = pair("available");
    let (status, kept) = cluster.nodes[0].submit_noop("before");
    assert_eq!(status, 201);
    cluster.nodes.iter_mut().for_each(relais_tests::cluster::Node::kill);
    cluster.nodes[1].start();
    let reason = cluster.await_reason(1, &["since its own start", "relais cluster recover --lost n1"]);
    println!("cold: {reason}");
    never_dispatches(&cluster, 1);
    let refused = cluster.nodes[1].relais(&["cluster", "recover", "--lost", "n1"]);
    assert_eq!(refused.status.code(), Some(2), "nobody can be asked, and --yes is not given: {refused:?}");
    let done = cluster.nodes[1].relais(&["cluster", "recover", "--lost", "n1", "--yes"]);
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    let alone = cluster.await_alone(1);
    assert!(alone["generation"].as_u64().is_some_and(|generation| generation >= 1_000), "{alone}");
    let id = kept["id"].as_str().expect("an id");
    assert!(cluster.nodes[1].job(id).is_some(), "what both had is there");
    cluster.nodes[0].start();
    let whole = cluster.await_whole();
    assert_eq!(whole.dispatcher, Some(1));
}

#[test]
fn a_tie_break_and_a_fence_decide() {
    let _turn = Turn::beside();
    let gateway = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = gateway.local_addr().expect("an address").to_string();
    let mut cluster = pair(&format!("tiebreak:{address}"));
    drop(gateway);
    cluster.nodes[1].kill();
    cluster.await_reason(0, &["the tie-break", address.as_str()]);
    never_dispatches(&cluster, 0);
    let gateway = TcpListener::bind(&address).expect("the same port");
    cluster.await_alone(0);
    drop(gateway);
    cluster.nodes[1].start();
    cluster.await_whole();
    let proof = cluster.folder().join("fenced");
    let fence = format!("fence:test -e {p}.on && echo $RELAIS_PEER > {p}", p = proof.display());
    cluster.nodes[0].set(&json!({"takeover": fence}));
    let (dispatcher, _) = cluster.dispatcher();
    let dead = 1 - dispatcher;
    cluster.nodes[dead].kill();
    cluster.await_reason(dispatcher, &["the fence"]);
    std::fs::write(proof.with_extension("on"), "").expect("a file");
    cluster.until("a takeover after the fence", |cluster| cluster.nodes[dispatcher].dispatches().then_some(()));
    let peer = std::fs::read_to_string(&proof).expect("the fence left a mark");
    assert_eq!(peer.trim(), cluster.nodes[dead].name);
}

#[test]
fn a_planned_stop_does_not_fork_and_a_degraded_survivor_restarts_and_goes_on() {
    let _turn = Turn::beside();
    let mut cluster = pair("available");
    let (old, _) = cluster.dispatcher();
    let rest = 1 - old;
    cluster.nodes[old].stop(STOP_LIMIT);
    cluster.until("the other to go on", |cluster| cluster.nodes[rest].dispatches().then_some(()));
    stays("it forks", LONGER, || {
        let generation = cluster.nodes[rest].generation()?;
        (generation != 0).then(|| format!("generation {generation}"))
    });
    let (status, job) = cluster.nodes[rest].submit_noop("alone by plan");
    assert_eq!((status, &job["durability"]), (201, &json!("single")), "{job}");
    cluster.nodes[old].start();
    let whole = cluster.await_whole();
    assert_eq!((whole.dispatcher, cluster.nodes[rest].generation()), (Some(rest), Some(0)), "a voter again");
    // Now a loss, and a restart of the survivor while it is alone.
    cluster.nodes[old].kill();
    let alone = cluster.await_alone(rest);
    cluster.nodes[rest].kill();
    cluster.nodes[rest].start();
    let again = cluster.await_alone(rest);
    assert_eq!(again["generation"], alone["generation"], "it goes on in the same history");
    // The stale one does not go on by itself, and comes back as a worker.
    cluster.nodes[rest].kill();
    cluster.nodes[old].start();
    cluster.await_reason(old, &["recover --lost"]);
    never_dispatches(&cluster, old);
    cluster.nodes[rest].start();
    let whole = cluster.await_whole();
    assert_eq!(whole.dispatcher, Some(rest));
}

#[test]
fn a_peer_that_comes_back_without_its_journal_counts_as_lost_though_it_is_up() {
    let _turn = Turn::beside();
    let mut cluster = pair("available");
    // Longer than a restart takes: the peer is up again before its silence would count.
    cluster.nodes[0].set(&json!({"takeover_after": "4s", "pair_lease": "7s"}));
    let (status, job) = cluster.nodes[0].submit_noop("before");
    assert_eq!(status, 201);
    cluster.nodes[1].kill();
    let vote = cluster.nodes[1].journal().join("current/vote");
    std::fs::write(&vote, b"this is no vote").expect("its file can be spoilt");
    cluster.nodes[1].start();
    cluster.until("a journal put aside", |cluster| (!cluster.nodes[1].put_aside().is_empty()).then_some(()));
    cluster.await_alone(0);
    let whole = cluster.await_whole();
    assert_eq!(whole.dispatcher, Some(0));
    let id = job["id"].as_str().expect("an id");
    cluster.until("the job at the other", |cluster| cluster.nodes[1].job(id));
}

#[test]
fn a_majority_that_is_lost_is_recovered_from_a_survivor_and_no_guess_is_made() {
    let _turn = Turn::beside();
    let mut cluster = Cluster::start(3, Options::default());
    let jobs: Vec<String> = (0..20)
        .map(|n| cluster.nodes[0].submit_noop(&format!("job {n}")).1["id"].as_str().expect("an id").to_owned())
        .collect();
    let recover = |cluster: &Cluster, node: usize, lost: &str| {
        let output = cluster.nodes[node].relais(&["cluster", "recover", "--lost", lost, "--yes"]);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), said)
    };
    let (code, said) = recover(&cluster, 0, "n2,n3");
    assert!(code == Some(1) && said.contains("there is a dispatcher"), "{said}");
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    cluster.until("no dispatcher", |cluster| (cluster.nodes[0].cluster()?["status"] == "no dispatcher").then_some(()));
    let (code, said) = recover(&cluster, 0, "n2");
    assert!(code == Some(1) && said.contains("`n3`") && said.contains("--lost"), "it refuses to guess: {said}");
    let (code, said) = recover(&cluster, 0, "n2,n3");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("most complete") && said.contains("in doubt"), "{said}");
    let alone = cluster.await_alone(0);
    assert_eq!(alone["generation"], 1_000, "{alone}");
    assert!(jobs.iter().all(|id| cluster.nodes[0].job(id).is_some()));
    // A lost one was not so lost: it comes back as a part of the new history.
    cluster.nodes[2].start();
    cluster.until("a second node", |cluster| {
        let sight = cluster.nodes[2].cluster()?;
        (sight["dispatcher"] == "n1" && sight["generation"] == 1_000 && !cluster.nodes[2].put_aside().is_empty())
            .then_some(())
    });
    cluster.nodes[1].start();
    let whole = cluster.await_whole();
    assert_eq!(whole.dispatcher, Some(0));
    assert!(jobs.iter().all(|id| cluster.nodes[1].job(id).is_some()));
}
