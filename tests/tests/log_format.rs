//! Logs as JSON: every line on standard error of a node is an object with time, level, message and target, whatever
//! happens to the node.

use relais_tests::cluster::binary::has_planted_bugs;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::time::Duration;

/// All lines of a log, each checked.
fn lines(log: &str) -> Vec<Value> {
    let line = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for name in ["timestamp", "level", "message", "target"] {
            assert!(object[name].as_str().is_some_and(|text| !text.is_empty()), "no {name} in {line}");
        }
        let time =
            object["timestamp"].as_str().and_then(|time| relais_protocol::time::UnixMs::parse_rfc3339(time).ok());
        assert!(time.is_some(), "no time in {line}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&object["level"].as_str().unwrap()), "{line}");
        object
    };
    log.lines().map(line).collect()
}

fn options() -> Options {
    let json = |node| (node, "RELAIS_LOG_FORMAT", "json".to_owned());
    let more = |node| (node, "RELAIS_LOG", "info,relais_node=debug".to_owned());
    Options { env: (0..2).flat_map(|node| [json(node), more(node)]).collect(), ..Options::default() }
}

#[test]
fn each_line_of_a_log_is_an_object() {
    let mut cluster = Cluster::start(2, options());
    let spec = json!({"kind": "exec", "payload": {"command": ["sh", "-c", "echo out; echo err >&2; exit 3"]}});
    let id = cluster.nodes[0].submit(&spec);
    cluster.until("a job that failed", |cluster| (cluster.row(&id)["state"] == "failed").then_some(()));
    cluster.nodes[1].kill();
    cluster.until("that the other is missed", |cluster| (cluster.sight(0)?.status != "running").then_some(()));
    let said = lines(&cluster.nodes[0].log());
    let has = |message: &str| said.iter().any(|line| line["message"].as_str().unwrap().contains(message));
    assert!(has("this node is the dispatcher") && has("peer"), "{said:?}");
    assert!(
        said.iter().any(|line| line["target"] == "relais_node::hub::inbound" && line["node"].is_string()),
        "{said:?}"
    );

    // Why a start is refused is such a line, too: the directory is in use.
    let mut twin = cluster.nodes[0].twin(cluster.nodes[0].data_dir.clone());
    twin.name = "twin".to_owned();
    twin.env = options().env.into_iter().take(2).map(|(_, name, value)| (name.to_owned(), value)).collect();
    twin.start();
    assert!(!twin.reap(Duration::from_secs(60)).success());
    let said = lines(&twin.log());
    let last = said.last().expect("its last words");
    assert_eq!((&last["level"], &last["target"]), (&json!("ERROR"), &json!("last_words")), "{last}");
}

#[test]
fn a_panic_is_one_line_that_names_its_place() {
    if !has_planted_bugs() {
        println!("SKIPPED: no panic can be planted in a `relais` that was built without the feature `planted`");
        return;
    }
    let mut cluster = Cluster::start(1, options());
    let node = &mut cluster.nodes[0];
    node.kill();
    node.env.push(("RELAIS_PLANTED".to_owned(), "dispatcher-panics".to_owned()));
    node.start();
    let ended = node.reap(Duration::from_secs(120));
    assert_eq!(ended.code(), Some(70));
    let said = lines(&node.log());
    let panics: Vec<&Value> = said.iter().filter(|line| line["target"] == "panic").collect();
    assert!(panics.len() >= 5, "{said:?}");
    for panic in panics {
        assert_eq!((&panic["message"], &panic["level"]), (&json!("a planted panic"), &json!("ERROR")));
        assert!(panic["place"].as_str().is_some_and(|place| place.contains("actor.rs:")), "{panic}");
    }
    assert_eq!(said.last().map(|line| &line["target"]), Some(&json!("last_words")));
}
