//! F29: markup in names, labels, metadata, output and refusals; what a foreign page can make a browser send; `../`,
//! links and NUL in paths. What comes back is no markup and can't be taken for any, what is foreign is refused and
//! nothing comes of it, and no path leads out of its folder. What a browser makes of it is in `page.rs`.

use relais_tests::cluster::http::Answer;
use relais_tests::cluster::{Cluster, Node, Options, binary};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

const MARKUP: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&";
/// Clears a terminal, and names its window.
const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;taken over\u{7}\u{9b}1m\u{202e}txt\r";

fn send(node: &Node, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let answer = node.client().send(method, target, headers, body.as_bytes());
    answer.unwrap_or_else(|error| panic!("{method} {target} {headers:?}: {error}"))
}

fn get(node: &Node, target: &str) -> Answer {
    // As a browser asks that was led there.
    send(node, "GET", target, &[("Accept", "text/html,*/*;q=0.8")], "")
}

/// No browser takes this for a document of its own to run.
fn is_inert(answer: &Answer, place: &str) {
    let kind = answer.header("content-type").unwrap_or_default();
    let is_data = ["application/json", "application/problem+json", "text/plain", "text/event-stream"]
        .iter()
        .any(|plain| kind.starts_with(plain));
    assert!(is_data, "{place} is {kind}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{place}");
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{place}: {policy}");
}

/// A job with markup wherever there can be text.
fn marked() -> Value {
    let script = "printf '%s' \"$MARK\"; printf '%s' \"$MARK\" >&2; printf '%s' \"$MARK\" > \"$RELAIS_PROGRESS_FILE\"; \
                  printf '{\"said\": \"<script>alert(3)</script>\"}' > \"$RELAIS_RESULT_FILE\"; exit 3";
    json!({"kind": "exec", "name": MARKUP, "labels": {"mark": MARKUP}, "metadata": {MARKUP: MARKUP},
        "payload": {"command": ["sh", "-c", script, MARKUP], "env": {"MARK": MARKUP}},
        "concurrency": {"key": MARKUP, "limit": 2}, "idempotency_key": "<script>alert(4)</script>"})
}

#[test]
fn markup_comes_back_as_data_and_never_as_a_document() {
    let cluster = Cluster::start(1, Options::default());
    let node = &cluster.nodes[0];
    let job = node.submit(&marked());
    let row = cluster.await_state(&job, "failed");
    assert_eq!(row["name"], MARKUP, "it is kept to the letter");
    let later = node.submit(&json!({"kind": "noop", "name": MARKUP, "payload": {}, "delay": "1h"}));
    let reason = json!({"reason": MARKUP}).to_string();
    assert_eq!(node.ask("POST", &format!("/v1/jobs/{later}:cancel"), &reason).expect("an answer").status, 200);
    for part in ["", "/logs", "/logs?stream=stderr", "/events", "/explain", "/result"] {
        let answer = get(node, &format!("/v1/jobs/{job}{part}"));
        is_inert(&answer, part);
        assert_eq!(answer.status, 200, "{part}: {}", answer.text());
    }
    assert!(get(node, &format!("/v1/jobs/{job}/logs")).text().contains(MARKUP), "output is kept to the letter");
    let coded = "%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for target in [
        "/v1/jobs".to_owned(),
        format!("/v1/jobs?name={coded}"),
        format!("/v1/jobs?state={coded}"),
        format!("/v1/jobs?{coded}=1"),
        format!("/v1/jobs?cursor={coded}"),
        format!("/v1/jobs/{coded}"),
        format!("/v1/queues/{coded}"),
        format!("/v1/nodes/{coded}"),
        format!("/v1/schedules/{coded}"),
        format!("/v1/groups/{coded}"),
        format!("/v1/{coded}"),
        format!("/assets/{coded}"),
        format!("/{coded}"),
        "/v1/events?follow=false".to_owned(),
        "/metrics".to_owned(),
    ] {
        is_inert(&get(node, &target), &target);
    }
    // Documents say nothing of what was asked.
    for target in ["/", "/jobs", &format!("/jobs/{coded}"), &format!("/jobs?name={coded}"), "/v1/docs", "/v1/problems"]
    {
        let answer = get(node, target);
        assert!(answer.status == 200 && !answer.text().contains("alert(1)"), "{target}: {}", answer.status);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{target}: {policy}");
    }
    for name in [MARKUP, "<script>", "a/../b", "..", "a\u{0}b", "a b"] {
        let answer = node.ask("POST", "/v1/jobs", &json!({"kind": "noop", "payload": {}, "queue": name}).to_string());
        assert_eq!(answer.expect("an answer").status, 400, "a queue {name:?}");
    }
    assert!(!node.ask("GET", "/metrics", "").expect("metrics").text().contains("alert"), "metrics have no such label");
}

#[test]
fn a_terminal_is_not_told_what_to_do() {
    let cluster = Cluster::start(1, Options::default());
    let node = &cluster.nodes[0];
    let name = format!("a{ESCAPES}b");
    let job = node.submit(&json!({"kind": "exec", "name": name, "metadata": {"mark": name},
        "payload": {"command": ["/no/such/program", name]}}));
    cluster.await_state(&job, "failed");
    let plan = json!({"cron": "0 30 2 * * *", "job": {"kind": "noop", "name": name, "payload": {}}}).to_string();
    assert!(node.ask("PUT", "/v1/schedules/marked", &plan).expect("an answer").status < 300);
    for args in [
        vec!["jobs"],
        vec!["jobs", "--name", &name],
        vec!["job", &job],
        vec!["explain", &job],
        vec!["schedules", "ls"],
        vec!["schedules", "show", "marked"],
        vec!["jobs", "-o", "json"],
        vec!["job", &job, "-o", "json"],
        vec!["wait", &job],
        vec!["doctor"],
    ] {
        let mut command = Command::new(binary::program());
        command.args(&args).env("RELAIS_ADDR", node.http.to_string()).stdin(Stdio::null());
        let output = command.output().expect("the binary runs");
        for said in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(said);
            // JSON is the API's answer unchanged: its own escapes are all that it has.
            let from_c1 = |c: char| ('\u{80}'..='\u{9f}').contains(&c) || c == '\u{202e}';
            let may = |c: char| c == '\n' || (args.contains(&"json") && from_c1(c));
            let wrong = text.chars().find(|c| (c.is_control() || from_c1(*c)) && !may(*c));
            assert!(wrong.is_none(), "{args:?}: {wrong:?} in {text:?}");
        }
    }
}

/// All that a foreign page could have made or changed.
fn sum_of(cluster: &Cluster) -> BTreeMap<&'static str, Value> {
    let targets = ["/v1/jobs:count", "/v1/queues", "/v1/schedules", "/v1/cluster/settings", "/v1/tokens"];
    targets.into_iter().map(|target| (target, cluster.nodes[0].read(target).expect(target))).collect()
}

#[test]
fn what_a_foreign_page_sends_is_refused_and_nothing_comes_of_it() {
    let cluster = Cluster::start(1, Options::default());
    let node = &cluster.nodes[0];
    let job = node.submit(&json!({"kind": "noop", "payload": {}, "delay": "1h"}));
    let before = sum_of(&cluster);
    let (epoch, host) = (cluster.dispatcher().1, node.http.to_string());
    let spec = r#"{"kind":"exec","payload":{"command":["touch","/tmp/taken-over"]}}"#;
    let changes = [
        ("POST", "/v1/jobs".to_owned(), spec),
        ("POST", "/v1/jobs:batch".to_owned(), "[{\"kind\":\"noop\",\"payload\":{}}]"),
        ("POST", format!("/v1/jobs/{job}:cancel"), "{}"),
        ("POST", "/v1/jobs:cancel".to_owned(), "{}"),
        ("POST", "/v1/tokens".to_owned(), "{\"role\":\"admin\"}"),
        ("POST", "/v1/queues/default:purge".to_owned(), "{}"),
        ("POST", "/v1/cluster:handover".to_owned(), "{}"),
        ("POST", format!("/v1/nodes/{}:drain", node.name), "{}"),
        ("PUT", "/v1/queues/q".to_owned(), "{\"concurrency\":1}"),
        ("PUT", "/v1/schedules/s".to_owned(), "{\"cron\":\"* * * * * *\",\"job\":{\"kind\":\"noop\",\"payload\":{}}}"),
        ("PATCH", "/v1/cluster/settings".to_owned(), "{}"),
        ("DELETE", format!("/v1/jobs/{job}"), ""),
    ];
    let json = ("Content-Type", "application/json");
    let other_port = format!("http://{}:1", node.http.ip());
    for (method, target, body) in &changes {
        // What a form can send, with the origin that each browser of today tells with it, and without.
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"]
        {
            if !body.is_empty() {
                let answer = send(node, method, target, &[("Content-Type", kind)], body);
                assert_eq!(answer.status, 415, "{method} {target} as {kind}: {}", answer.text());
            }
            let answer =
                send(node, method, target, &[("Content-Type", kind), ("Origin", "https://evil.example")], body);
            assert_eq!(answer.status, 403, "{method} {target} as {kind} from elsewhere: {}", answer.text());
        }
        for origin in ["https://evil.example", "null", "file://", &other_port, "http://localhost.evil.example"] {
            for text in [body, ""] {
                let answer = send(node, method, target, &[json, ("Origin", origin)], text);
                assert_eq!(answer.status, 403, "{method} {target} of {origin}: {}", answer.text());
                assert_eq!(answer.header("access-control-allow-origin"), None);
            }
        }
        // A browser that keeps the origin to itself still says where the request comes from.
        for site in ["cross-site", "same-site"] {
            let answer = send(node, method, target, &[json, ("Sec-Fetch-Site", site)], body);
            assert_eq!(answer.status, 403, "{method} {target} {site}: {}", answer.text());
        }
        for name in ["evil.example", "relais.evil.example:7700", "127.0.0.1.evil.example", ""] {
            let raw = format!(
                "{method} {target} HTTP/1.1\r\nHost: {name}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let outcome = relais_tests::siege::send(node.http, [raw.into_bytes()]);
            assert!(matches!(outcome.status, Some(400 | 403)), "{method} {target} to {name}: {outcome:?}");
        }
        let asked = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", *method)];
        let answer = send(node, "OPTIONS", target, &asked, "");
        assert!(answer.status >= 400 && answer.header("access-control-allow-origin").is_none(), "{}", answer.status);
    }
    assert_eq!(sum_of(&cluster), before, "something came of it");
    assert_eq!(cluster.dispatcher().1, epoch);
    // The page's own requests, and a link from elsewhere, are served.
    let own = format!("http://{host}");
    let answer = send(
        node,
        "POST",
        "/v1/jobs",
        &[json, ("Origin", &own), ("Sec-Fetch-Site", "same-origin")],
        r#"{"kind":"noop","payload":{}}"#,
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(send(node, "GET", "/", &[("Sec-Fetch-Site", "cross-site")], "").status, 200);
}

#[test]
fn no_path_leads_out_of_its_folder() {
    let cluster = Cluster::start(1, Options::default());
    let node = &cluster.nodes[0];
    let up = ["..", "%2e%2e", ".%2E", "..%2f", "%2e%2e%2f", "..%5c", "%252e%252e"];
    for below in ["", "/assets", "/v1", "/v1/jobs", "/v1/queues", "/v1/nodes", "/v1/schedules", "/v1/groups"] {
        for step in up {
            for end in ["etc/passwd", "etc/passwd%00.js", "%00"] {
                let target = format!("{below}/{}/{end}", vec![step; 8].join("/"));
                let answer = get(node, &target);
                assert!(!answer.text().contains("root:"), "{target}");
                assert!(matches!(answer.status, 400 | 404 | 405), "{target}: {}", answer.status);
                is_inert(&answer, &target);
            }
        }
    }
    for cwd in ["../x", "x", "", "/tmp\u{0}/x"] {
        let spec = json!({"kind": "exec", "payload": {"command": ["true"], "cwd": cwd}}).to_string();
        assert_eq!(node.ask("POST", "/v1/jobs", &spec).expect("an answer").status, 400, "cwd {cwd:?}");
    }
    let spec = json!({"kind": "exec", "payload": {"command": ["echo", "a\u{0}b"]}}).to_string();
    assert_eq!(node.ask("POST", "/v1/jobs", &spec).expect("an answer").status, 400, "NUL in an argument");
    for name in ["../x", "a/b", "..", "a b", "<script>", "", "x\ny"] {
        let output = Command::new(binary::program())
            .args(["start", "--name", name, "--data-dir"])
            .arg(cluster.folder().join("other"))
            .args(["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        assert!(!output.status.success(), "a node of the name {name:?} started");
    }
    assert!(!cluster.folder().join("other").join("journal").exists());
}

/// What an attempt puts where its files are to be leads nowhere, neither when they are read nor when they are removed.
#[test]
fn links_that_a_job_leaves_are_not_followed() {
    let cluster = Cluster::start(1, Options::default());
    let node = &cluster.nodes[0];
    let kept = cluster.folder().join("kept");
    fs::create_dir(&kept).expect("a folder");
    fs::write(kept.join("secret.json"), "{\"outside\": true}").expect("a file");
    let outside = kept.display();
    let scripts = [
        format!(
            "ln -s {outside}/secret.json $RELAIS_RESULT_FILE; ln -s {outside}/secret.json $RELAIS_PROGRESS_FILE; sleep 0.3"
        ),
        format!("ln -s {outside} link; ln -s {outside}/secret.json file; chmod 0 ."),
        format!("d=$PWD; cd /; rmdir $d; ln -s {outside} $d"),
        "mkfifo $RELAIS_RESULT_FILE $RELAIS_PROGRESS_FILE; sleep 0.3".to_owned(),
        "mkdir $RELAIS_RESULT_FILE $RELAIS_PROGRESS_FILE".to_owned(),
        "head -c 3000000 /dev/zero > $RELAIS_RESULT_FILE".to_owned(),
        "printf '{}\\0' > $RELAIS_RESULT_FILE".to_owned(),
        format!("ln -f {outside}/secret.json hard; rm -rf hard"),
    ];
    for script in scripts {
        let job = node.submit(
            &json!({"kind": "exec", "name": "../../../../tmp/x", "payload": {"command": ["sh", "-c", script]}}),
        );
        let row = cluster.await_row(&job, "over", |row| matches!(row["state"].as_str(), Some("succeeded" | "failed")));
        assert!(!row.to_string().contains("outside"), "{script}: {row}");
        let logs = get(node, &format!("/v1/jobs/{job}/logs?attempt=../../x"));
        assert_eq!(logs.status, 400, "{}", logs.text());
    }
    let left = fs::read_to_string(kept.join("secret.json")).expect("what is outside stays");
    assert_eq!(left, "{\"outside\": true}");
    assert_eq!(fs::read_dir(&kept).expect("the folder").count(), 1);
    // A link in the place of the page's files, or of another node's, changes nothing: they are in the program.
    symlink("/etc", cluster.folder().join("assets")).expect("a link");
    assert_eq!(get(node, "/assets/passwd").status, 404);
}
