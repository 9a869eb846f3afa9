//! The page that every node serves, in a real browser on a real cluster; and that what is built of it is what its
//! source makes. Node.js and a Chromium are needed for that, on whose absence it is skipped, aloud. What the browser
//! is made to do is in `node/page/tests`; this holds the processes, and kills and starts nodes when that asks for it.
//!
//! Pictures of every view are left in `target/tmp/page`.

use relais_tests::cluster::{Cluster, Options};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The oldest Node.js that the build takes.
const NODE_LEAST: (u32, u32) = (20, 19);
/// What npm says when nobody is there to ask.
const OFFLINE: [&str; 5] = ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH"];

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/page")
}

fn run(program: &str, arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(program).args(arguments).current_dir(home()).stdin(Stdio::null()).output()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether there is a Node.js that is new enough, and what it needs is installed, once for all tests; else why not.
fn prepared() -> Result<(), &'static str> {
    static PREPARED: OnceLock<Result<(), String>> = OnceLock::new();
    PREPARED.get_or_init(prepare).as_ref().copied().map_err(String::as_str)
}

fn prepare() -> Result<(), String> {
    let Ok(version) = run("node", &["--version"]) else { return Err("there is no Node.js".to_owned()) };
    let version = said(&version);
    let mut parts = version.trim().trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < NODE_LEAST {
        return Err(format!("Node.js is {}, and {}.{} is needed", version.trim(), NODE_LEAST.0, NODE_LEAST.1));
    }
    let Ok(installed) = run("npm", &["ci", "--no-audit", "--no-fund"]) else {
        return Err("there is no npm".to_owned());
    };
    if installed.status.success() {
        return Ok(());
    }
    let words = said(&installed);
    assert!(OFFLINE.iter().any(|word| words.contains(word)), "npm ci failed:\n{words}");
    Err("what the page is built with can't be fetched: there is no network".to_owned())
}

/// A browser: the one that `RELAIS_CHROMIUM` names, or one of the path.
fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("RELAIS_CHROMIUM") {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|file| file.is_file())
}

fn skipped(why: &str) {
    println!("SKIPPED: {why}");
}

/// Runs one part of the browser's test, and does to the nodes what it asks for.
fn browse(part: &str) {
    if let Err(why) = prepared() {
        return skipped(why);
    }
    let Some(chromium) = chromium() else { return skipped("there is no Chromium; `apt-get install chromium`") };
    let mut cluster = Cluster::start(3, Options::default());
    let nodes = cluster.nodes.iter().map(|node| json!({"name": node.name, "url": format!("http://{}/", node.http)}));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    let given = json!({"nodes": nodes.collect::<Vec<_>>(), "out": out, "chromium": chromium, "part": part});
    let mut script = Command::new("node");
    script.args(["tests/browser.mjs", &given.to_string()]).current_dir(home());
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node runs");
    let (mut input, output) = (script.stdin.take().expect("its input"), script.stdout.take().expect("its output"));
    for line in BufReader::new(output).lines() {
        let line = line.expect("text");
        println!("{line}");
        if let Some((verb @ ("kill" | "start"), name)) = line.split_once(' ') {
            let node = cluster.nodes.iter_mut().find(|node| node.name == name).expect("a node of the cluster");
            if verb == "kill" {
                node.kill()
            } else {
                node.start()
            }
            writeln!(input, "done").expect("it listens");
        }
    }
    let status = script.wait().expect("its end");
    assert!(status.success(), "the browser's test failed: {status}; the pictures are in {}", out.display());
}

#[test]
fn the_built_page_is_what_its_source_makes() {
    if let Err(why) = prepared() {
        return skipped(why);
    }
    for script in ["tests/unit.mjs", "tests/fresh.mjs"] {
        let output = run("node", &[script]).expect("node runs");
        println!("{}", said(&output));
        assert!(output.status.success(), "{script} failed:\n{}", said(&output));
    }
}

#[test]
fn every_view_opens_and_keeps_to_the_rules() {
    browse("walk");
}

#[test]
fn the_page_shows_what_happens_and_outlives_its_nodes() {
    browse("live");
}

#[test]
fn a_list_of_a_hundred_thousand_jobs_scrolls() {
    browse("list");
}

#[test]
fn markup_from_jobs_is_shown_and_does_nothing() {
    browse("hostile");
}
