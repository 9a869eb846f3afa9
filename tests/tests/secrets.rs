//! F30: what is secret stays so, with everything logged that can be logged: variables of jobs, headers of calls, the
//! secrets that webhooks are signed with, API tokens, the token to join with, keys. They are in no log, no answer, no
//! page, no export of the journal, no metrics, no settings shown, nothing that `doctor` says, and no process list.

use relais_tests::cluster::wait::until;
use relais_tests::cluster::{Cluster, Options, binary};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// All that any library logs.
const LOUDEST: &str = "trace,openraft=trace,sled=trace,quinn=debug,foca=trace,actix_server=trace,actix_http=trace";
const LIMIT: Duration = Duration::from_secs(30);

/// What must not be found, by what it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

/// Where it was found.
#[derive(Default)]
struct Found(BTreeMap<String, usize>);

impl Secrets {
    fn add(&mut self, what: &'static str, text: impl Into<String>) -> String {
        let text = text.into();
        self.0.push((what, text.clone()));
        text
    }

    /// Looks at a text for all but some.
    fn seek(&self, place: &str, text: &str, found: &mut Found, but: &[&str]) {
        for (what, secret) in self.0.iter().filter(|(what, _)| !but.contains(what)) {
            if text.contains(secret.as_str()) {
                let at = text.find(secret.as_str()).unwrap_or_default();
                let from = (0..=at.saturating_sub(80)).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0);
                *found.0.entry(format!("{what} in {place}: …{}", &text[from..at])).or_default() += 1;
            }
        }
    }
}

/// A client with a token.
fn ask(cluster: &Cluster, node: usize, token: &str, method: &str, target: &str, body: &Value) -> (u16, String) {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let answer = cluster.nodes[node].client().send(method, target, &headers, text.as_bytes());
    let answer = answer.unwrap_or_else(|error| panic!("{method} {target}: {error}"));
    let heads: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    (answer.status, heads + &answer.text())
}

fn body_of(said: &str) -> Value {
    let body = &said[said.find('{').expect("JSON")..];
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// The command line, as loud as it can be; all that it says.
fn relais(cluster: &Cluster, token: &str, args: &[&str]) -> String {
    let mut command = Command::new(binary::program());
    command.args(args).env("RELAIS_ADDR", cluster.nodes[0].http.to_string()).env("RELAIS_TOKEN", token);
    command.env("RELAIS_LOG", LOUDEST).env("NO_COLOR", "1").stdin(Stdio::null());
    let output = command.output().expect("the binary runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// All command lines of this machine.
fn processes() -> String {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ") + "\n").collect()
}

/// Every file below a folder, as it is.
fn files(folder: &Path, seen: &mut dyn FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), seen),
            Ok(kind) if kind.is_file() => seen(&entry.path(), &fs::read(entry.path()).unwrap_or_default()),
            _ => {}
        }
    }
}

/// A line of each private key that the nodes hold.
fn keys(cluster: &Cluster, secrets: &mut Secrets) {
    let mut count = 0;
    for node in &cluster.nodes {
        files(&node.data_dir.join("identity"), &mut |_, bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Some(rest) = text.split("PRIVATE KEY-----").nth(1) {
                let line = rest.lines().find(|line| line.len() > 20).expect("a line of the key");
                secrets.add("a private key", line);
                count += 1;
            }
        });
    }
    assert!(count >= cluster.nodes.len(), "{count} private keys were found");
}

#[test]
fn secrets_are_told_to_nobody() {
    let loud = |number| (number, "RELAIS_LOG", LOUDEST.to_owned());
    let mut cluster = Cluster::start(3, Options { env: (0..3).map(loud).collect(), ..Options::default() });
    let mut secrets = Secrets::default();
    let mut found = Found::default();
    keys(&cluster, &mut secrets);
    secrets.add("the token to join with", cluster.join_line().expect("a line").1);

    // Tokens. The first one is made while none is needed.
    let made = cluster.nodes[0].ask("POST", "/v1/tokens", r#"{"role": "admin", "name": "ops"}"#).expect("an answer");
    assert_eq!(made.status, 201, "{}", made.text());
    let admin = secrets.add("an API token", made.json()["token"].as_str().expect("a token"));
    until("all nodes to know the token", LIMIT, || {
        (0..3).all(|node| ask(&cluster, node, &admin, "GET", "/v1/tokens", &Value::Null).0 == 200).then_some(())
    });
    let made = ask(&cluster, 1, &admin, "POST", "/v1/tokens", &json!({"role": "read"})).1;
    let read = secrets.add("another API token", body_of(&made)["token"].as_str().expect("a token"));
    let made = ask(&cluster, 2, &admin, "POST", "/v1/tokens", &json!({"role": "join", "ttl": "1h"})).1;
    let join = secrets.add("another token to join with", body_of(&made)["token"].as_str().expect("a token"));
    let wrong = secrets.add("a wrong token", format!("rlt_{}", "ab12".repeat(16)));
    assert_eq!(ask(&cluster, 0, &wrong, "GET", "/v1/jobs", &Value::Null).0, 401);

    let (jobs, said) = work(&cluster, &admin, &mut secrets);
    for (place, text) in said {
        secrets.seek(&place, &text, &mut found, &[]);
    }
    secrets.seek("the process list", &processes(), &mut found, &[]);
    fs::write(cluster.gate("runs").path(), "").expect("a gate");
    let ended = |job: &String| {
        let (_, said) = ask(&cluster, 0, &admin, "GET", &format!("/v1/jobs/{job}"), &Value::Null);
        matches!(body_of(&said)["state"].as_str(), Some("succeeded" | "failed"))
    };
    until("the jobs to end", LIMIT, || jobs.iter().all(ended).then_some(()));
    let (_, said) = ask(&cluster, 0, &admin, "GET", &format!("/v1/jobs/{}", jobs[0]), &Value::Null);
    assert!(body_of(&said)["state"] == "succeeded", "the job itself has its variable: {said}");

    for place in answers(&jobs) {
        for node in 0..3 {
            for token in [&admin, &read] {
                let (_, said) = ask(&cluster, node, token, "GET", &place, &Value::Null);
                secrets.seek(&format!("the answer to {place}"), &said, &mut found, &[]);
            }
        }
    }
    for args in commands(&cluster, &jobs) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let said = relais(&cluster, &admin, &args);
        assert!(!said.contains("unrecognized subcommand"), "{args:?}: {said}");
        secrets.seek(&format!("what `relais {}` says", args.join(" ")), &said, &mut found, &[]);
    }
    let shown = Command::new(binary::program())
        .args(["config", "show", "--origin"])
        .env("RELAIS_JOIN_TOKEN", &join)
        .env("RELAIS_JOIN", "127.0.0.1:1")
        .env("RELAIS_LOG", LOUDEST)
        .output();
    let shown = shown.expect("the binary runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned() + &String::from_utf8_lossy(&shown.stderr);
    assert!(shown.contains("token"), "{shown}");
    secrets.seek("`relais config show`", &shown, &mut found, &[]);

    for node in &mut cluster.nodes {
        let _ = node.stop(Duration::from_secs(20));
    }
    for node in &cluster.nodes {
        let log = node.log();
        assert!(log.contains("TRACE") && log.contains("DEBUG"), "it is loud");
        secrets.seek("a log", &log, &mut found, &[]);
        let folder = node.data_dir.display().to_string();
        for verb in ["verify", "export"] {
            let said = relais(&cluster, &admin, &["journal", verb, "--data-dir", &folder]);
            assert!(verb == "verify" || said.contains(&jobs[0]), "the export has the job");
            secrets.seek(&format!("the journal's {verb}"), &said, &mut found, &[]);
        }
        // Tokens are kept as hashes.
        files(&node.data_dir, &mut |path, bytes| {
            for (what, secret) in secrets.0.iter().filter(|(what, _)| what.contains("token")) {
                let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!holds, "{what} in {}", path.display());
            }
        });
    }
    println!("{} secrets sought", secrets.0.len());
    assert!(found.0.is_empty(), "{:#?}", found.0);
}

/// Jobs with secrets in them, one of which runs still; their ids, and all that was answered.
fn work(cluster: &Cluster, admin: &str, secrets: &mut Secrets) -> (Vec<String>, Vec<(String, String)>) {
    let variable = secrets.add("a variable of a job", "f30-variable-7c1d9e");
    let header = secrets.add("a header of a call", "f30-header-4b8a2f");
    let signed = secrets.add("a webhook's secret", "f30-webhook-9d3c6b");
    let later = secrets.add("a variable of a schedule", "f30-schedule-5e7f1a");
    let refused = secrets.add("a variable of a job that was refused", "f30-refused-2a6b8c");
    let url = |path: &str| format!("http://{}{path}", cluster.nodes[0].http);
    let gate = cluster.gate("runs").path();
    let script = format!("while [ ! -e '{gate}' ]; do sleep 0.02; done; [ -n \"$DB_PASSWORD\" ]");
    let env = json!({"DB_PASSWORD": variable, "TZ": "UTC"});
    let notify = json!({"webhook": {"url": url("/livez"), "secret": signed}});
    let exec = json!({"kind": "exec", "payload": {"command": ["sh", "-c", script], "env": env}, "notify": notify,
        "metadata": {"ticket": 7}});
    let call = json!({"kind": "http", "payload": {"method": "GET", "url": url("/livez"),
        "headers": {"Authorization": format!("Bearer {header}"), "X-Api-Key": header}}, "notify": notify});
    let then = json!({"kind": "noop", "payload": {}, "on_complete": exec});
    let mut ids = Vec::new();
    let mut said = Vec::new();
    for (number, spec) in [&exec, &call, &then].into_iter().enumerate() {
        let (status, text) = ask(cluster, number, admin, "POST", "/v1/jobs", spec);
        assert_eq!(status, 201, "{text}");
        ids.push(body_of(&text)["id"].as_str().expect("an id").to_owned());
        said.push(("the answer to a submit".to_owned(), text));
    }
    until("the job to run", LIMIT, || {
        let (_, text) = ask(cluster, 1, admin, "GET", &format!("/v1/jobs/{}", ids[0]), &Value::Null);
        let job = body_of(&text);
        assert_eq!(job["payload"]["env"]["TZ"], "UTC", "what is no secret is shown");
        (job["state"] == "running").then_some(())
    });
    let batch = json!([exec, call]);
    said.push(("a batch's answer".to_owned(), ask(cluster, 2, admin, "POST", "/v1/jobs:batch", &batch).1));
    let plan = json!({"cron": "0 30 2 * * *", "job": {"kind": "exec", "payload": {"command": ["true"],
        "env": {"KEY": later}}, "notify": notify}});
    said.push(("a schedule's answer".to_owned(), ask(cluster, 0, admin, "PUT", "/v1/schedules/nightly", &plan).1));
    let wrong = [
        json!({"kind": "exec", "payload": {"command": ["true"], "env": {"KEY": [refused]}}}),
        json!({"kind": "exec", "payload": {"command": 5, "env": {"KEY": refused}}}),
        json!({"kind": "http", "payload": {"url": "no url", "headers": {"X-Key": format!("{refused}\u{0}")}}}),
        json!({"kind": "noop", "payload": {}, "notify": {"webhook": {"url": url("/"), "secret": format!("whsec_!{refused}")}}}),
    ];
    for spec in wrong {
        let (status, text) = ask(cluster, 0, admin, "POST", "/v1/jobs", &spec);
        assert_eq!(status, 400, "{text}");
        said.push(("a refusal".to_owned(), text));
    }
    // What was read can't be sent back with what was left out of it.
    let (_, text) = ask(cluster, 0, admin, "GET", &format!("/v1/jobs/{}", ids[0]), &Value::Null);
    let back = json!({"kind": "exec", "payload": body_of(&text)["payload"]});
    let (status, text) = ask(cluster, 0, admin, "POST", "/v1/jobs", &back);
    assert!(status == 400 && text.contains("/payload/env/DB_PASSWORD"), "{text}");
    (ids, said)
}

/// All that can be asked.
fn answers(jobs: &[String]) -> Vec<String> {
    let fixed = [
        "/",
        "/jobs",
        "/metrics",
        "/livez",
        "/readyz?verbose",
        "/v1/openapi.json",
        "/v1/docs",
        "/v1/problems",
        "/v1/version",
        "/v1/jobs",
        "/v1/jobs?limit=500&consistency=local",
        "/v1/jobs:count",
        "/v1/events?follow=false",
        "/v1/queues",
        "/v1/queues/default",
        "/v1/schedules",
        "/v1/schedules/nightly",
        "/v1/schedules/nightly/firings",
        "/v1/nodes",
        "/v1/nodes/n1",
        "/v1/cluster",
        "/v1/cluster/failovers",
        "/v1/cluster/settings",
        "/v1/cluster/journal",
        "/v1/tokens",
    ];
    let of = |job: &String| ["", "/events", "/explain", "/result", "/logs"].map(|part| format!("/v1/jobs/{job}{part}"));
    fixed.into_iter().map(str::to_owned).chain(jobs.iter().flat_map(of)).collect()
}

/// Commands that look.
fn commands(cluster: &Cluster, jobs: &[String]) -> Vec<Vec<String>> {
    let folder = cluster.nodes[0].data_dir.display().to_string();
    let words = |line: String| line.split(' ').map(str::to_owned).collect();
    let mut all: Vec<Vec<String>> = Vec::new();
    for format in ["table", "json"] {
        for line in [
            "jobs",
            "queues",
            "nodes",
            "schedules ls",
            "schedules show nightly",
            "cluster status",
            "cluster failovers",
            "token ls",
        ] {
            all.push(words(format!("{line} -o {format}")));
        }
        all.push(words(format!("doctor --data-dir {folder} -o {format}")));
        all.extend(
            jobs.iter().flat_map(|job| ["job", "explain"].map(|verb| words(format!("{verb} {job} -o {format}")))),
        );
    }
    all
}
