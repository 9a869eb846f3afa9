//! The fleet with shell scripts for nodes.

use super::*;
use crate::cli::screen::Format;
use std::os::unix::fs::PermissionsExt;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);
const SCREEN: Screen = Screen { format: Format::Table, terminal: false, error_terminal: false, colour: false };

/// A fleet of one, whose node runs `script`; its arguments end up in `args` of the folder.
fn fleet(folder: &tempfile::TempDir, script: &str) -> Fleet {
    let program = folder.path().join("node.sh");
    let text =
        format!("#!/bin/sh\necho \"$@ token=$RELAIS_JOIN_TOKEN\" >> {}/args\n{script}\n", folder.path().display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let address = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let plan = Plan::make(Some(1), address(7700), address(7800), folder.path(), Some(4)).unwrap();
    Fleet::new(program, plan, SCREEN)
}

fn started(folder: &tempfile::TempDir) -> usize {
    std::fs::read_to_string(folder.path().join("args")).map_or(0, |text| text.lines().count())
}

async fn until_started(folder: &tempfile::TempDir, times: usize) {
    let all = async {
        while started(folder) < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, all).await.expect("the node is started");
}

#[tokio::test]
async fn a_killed_node_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = fleet(&folder, "exec cat");
    fleet.start_first().unwrap();
    until_started(&folder, 1).await;
    fleet.berths[0].child.as_ref().unwrap().signal(Signal::SIGKILL);
    let next = timeout(LIMIT, fleet.next()).await.unwrap().unwrap();
    assert_eq!((next, fleet.running()), (Next::Going, 0));
    timeout(LIMIT, fleet.next()).await.unwrap().unwrap();
    assert_eq!(fleet.running(), 1);
    until_started(&folder, 2).await;
    timeout(LIMIT, fleet.stop(std::future::pending())).await.unwrap();
    assert_eq!(fleet.running(), 0);
    let args = std::fs::read_to_string(folder.path().join("args")).unwrap();
    let expected = "--http 127.0.0.1:7700 --listen 127.0.0.1:7800 --advertise 127.0.0.1:7800 --slots 4 token=";
    assert!(args.starts_with("start --exit-with-stdin --name n1 --data-dir "), "{args}");
    assert!(args.lines().all(|line| line.ends_with(expected)), "{args}");
}

#[tokio::test]
async fn a_node_that_fails_before_the_cluster_is_up_ends_dev() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = fleet(&folder, "echo the disk is full >&2; exit 74");
    fleet.start_first().unwrap();
    let error = timeout(LIMIT, fleet.next()).await.unwrap().unwrap_err().to_string();
    assert_eq!(
        error,
        "n1 ended with exit code 74 before the cluster was up: the disk is full; correct that and start again"
    );
}

#[tokio::test]
async fn a_node_that_was_told_to_stop_stays_down() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = fleet(&folder, "exit 0");
    fleet.is_up();
    fleet.start_first().unwrap();
    assert_eq!(timeout(LIMIT, fleet.next()).await.unwrap().unwrap(), Next::NobodyLeft);
}

#[tokio::test]
async fn a_node_that_ignores_sigterm_is_killed_when_hurried() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = fleet(&folder, &format!("trap '' TERM; touch {}/ready; cat", folder.path().display()));
    fleet.start_first().unwrap();
    let ready = folder.path().join("ready");
    let all = async {
        while !ready.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, all).await.expect("the node ignores SIGTERM by now");
    let hurry = tokio::time::sleep(Duration::from_millis(50));
    timeout(Duration::from_secs(5), fleet.stop(hurry)).await.expect("it does not take ten seconds");
    assert_eq!(fleet.running(), 0);
}

#[tokio::test]
async fn a_joining_node_gets_its_token_by_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = fleet(&folder, "exec cat");
    fleet.plan.nodes[0].entry = Entry::Joins;
    let joining = Joining { address: "127.0.0.1:9".to_owned(), token: "rl1.t".to_owned() };
    fleet.start_joiners(Some(joining)).unwrap();
    until_started(&folder, 1).await;
    let args = std::fs::read_to_string(folder.path().join("args")).unwrap();
    assert!(args.ends_with("--slots 4 --join 127.0.0.1:9 token=rl1.t\n"), "{args}");
    timeout(LIMIT, fleet.stop(std::future::pending())).await.unwrap();
}
