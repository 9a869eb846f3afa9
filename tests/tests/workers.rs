//! Nodes that only work, in a cluster of real processes: they hold links to the voters alone, and what one of them
//! wants of another goes through a voter.

use relais_tests::cluster::{Cluster, Options, Turn};
use serde_json::{Value, json};

/// The voters as node `at` knows them, by number.
fn voters(cluster: &Cluster, at: usize) -> Option<Vec<usize>> {
    let rows = cluster.nodes[at].read("/v1/nodes?consistency=local")?;
    let voting = rows["nodes"].as_array()?.iter().filter(|row| row["voter"] == true);
    voting.map(|row| cluster.nodes.iter().position(|node| row["name"] == node.name.as_str())).collect()
}

fn links(cluster: &Cluster, at: usize) -> Option<u64> {
    cluster.nodes[at].figure("relais_net_peers_connected")
}

/// What `at` knows of the node `of`, which it asks.
fn seen(cluster: &Cluster, at: usize, of: usize) -> Option<Value> {
    cluster.nodes[at].read(&format!("/v1/nodes/{}", cluster.nodes[of].name))
}

/// Five nodes of which three vote; the other two.
fn three_of_five() -> (Cluster, usize, usize) {
    let cluster = Cluster::start(5, Options::labelled(5, 4));
    cluster.insist("PATCH", "/v1/cluster/settings", &json!({"voters": 3}));
    let seats = cluster.until("three voters, in everybody's sight", |cluster| {
        let seats = voters(cluster, 0).filter(|seats| seats.len() == 3)?;
        (1..5).all(|at| voters(cluster, at).as_ref() == Some(&seats)).then_some(seats)
    });
    let mut workers = (0..5).filter(|number| !seats.contains(number));
    let (one, other) = (workers.next().expect("a worker"), workers.next().expect("a second one"));
    cluster.until("links to the voters alone", |cluster| {
        let between_voters = seats.iter().all(|at| links(cluster, *at) == Some(4));
        (between_voters && [one, other].iter().all(|at| links(cluster, *at) == Some(3))).then_some(())
    });
    (cluster, one, other)
}

#[test]
fn two_nodes_that_only_work_reach_each_other_through_a_voter() {
    let _turn = Turn::beside();
    let (mut cluster, one, other) = three_of_five();
    let spec = json!({"kind": "exec", "payload": {"command": ["echo", "from afar"]}, "requires": cluster.only_on(one)});
    let id = cluster.nodes[other].submit(&spec);
    cluster.await_state(&id, "succeeded");
    let output = cluster.nodes[other].ask("GET", &format!("/v1/jobs/{id}/logs?stream=stdout"), "").expect("an answer");
    assert_eq!((output.status, output.text().as_str()), (200, "from afar\n"));
    let row = seen(&cluster, other, one).expect("a node");
    assert!(row["actors"].as_array().is_some_and(|actors| !actors.is_empty()), "it was asked itself: {row}");

    let index = cluster
        .until("figures by gossip", |cluster| seen(cluster, other, one).and_then(|row| row["journal_index"].as_u64()));
    let more = cluster.submit_all(&[json!({"kind": "noop", "payload": {}})]);
    cluster.await_state(&more[0], "succeeded");
    cluster.until("newer figures by gossip", |cluster| {
        seen(cluster, other, one).filter(|row| row["journal_index"].as_u64() > Some(index))
    });
    let cluster_seen = cluster.nodes[other].read("/v1/cluster?consistency=local").expect("a cluster");
    assert_eq!(cluster_seen["nodes"]["online"], 5, "{cluster_seen}");

    cluster.nodes[one].kill();
    cluster.until("the other worker to know", |cluster| {
        (cluster.nodes[other].read("/v1/cluster?consistency=local")?["nodes"]["online"] == 4).then_some(())
    });
}

#[test]
fn nodes_that_only_work_follow_the_role_and_take_a_seat() {
    let _turn = Turn::beside();
    let (mut cluster, one, other) = three_of_five();
    cluster.insist("PATCH", "/v1/cluster/settings", &json!({"replace_after": "2s"}));
    let (old, epoch) = cluster.dispatcher();
    cluster.nodes[old].kill();
    let (next, _) = cluster.successor(old, epoch);
    for at in [one, other] {
        let spec = json!({"kind": "noop", "payload": {}, "requires": cluster.only_on(at)});
        let id = cluster.nodes[at].submit(&spec);
        cluster.await_state(&id, "succeeded");
    }
    let seats = cluster.until("a worker in the empty seat", |cluster| {
        voters(cluster, next).filter(|seats| seats.len() == 3 && !seats.contains(&old))
    });
    let promoted = if seats.contains(&one) { one } else { other };
    cluster.until("its links to all", |cluster| (links(cluster, promoted) == Some(3)).then_some(()));
    cluster.nodes[old].start();
    cluster.until("links of the node that works now", |cluster| {
        (links(cluster, old) == Some(3) && links(cluster, promoted) == Some(4)).then_some(())
    });
}
