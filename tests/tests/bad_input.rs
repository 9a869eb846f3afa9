//! Bad input over HTTP: each field of a job spec, of a schedule, of a queue and of the settings, wrong in at least
//! three ways. It is refused with a pointer to the field, as a problem document, and nothing comes of it.
//!
//! Which fields there are is not taken from here: the API is asked (it names them when it refuses one that is none),
//! and a field that this table has no row for is a failure.

use relais_tests::cluster::http::Answer;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Values that are tried of each field, at least.
const FEWEST: usize = 3;

/// An object of the API, and values for its fields that are wrong.
struct Object {
    /// How it is sent.
    method: &'static str,
    /// Where to.
    target: &'static str,
    /// A body that would be taken.
    good: Value,
    /// Where in the body it is, as a JSON pointer.
    at: &'static str,
    /// Fields, each with what it can't be.
    wrong: Vec<(&'static str, Vec<Value>)>,
}

fn noop() -> Value {
    json!({"kind": "noop", "payload": {}})
}

fn job(at: &'static str, good: Value, wrong: Vec<(&'static str, Vec<Value>)>) -> Object {
    let mut body = noop();
    body.as_object_mut().expect("a spec").extend(good.as_object().expect("fields").clone());
    Object { method: "POST", target: "/v1/jobs", good: body, at, wrong }
}

macro_rules! wrong {
    ($($field:literal: [$($value:tt)*]),* $(,)?) => {
        vec![$(($field, json!([$($value)*]).as_array().expect("an array").clone())),*]
    };
}

/// The fields of a job spec.
fn spec_fields() -> Vec<(&'static str, Vec<Value>)> {
    let long = "x".repeat(201);
    let many: Map<String, Value> = (0..17).map(|n| (format!("l{n}"), json!("v"))).collect();
    wrong! {
        "kind": [5, "", "no-such-kind!", [], {"exec": 1}],
        "name": [5, [], "a\u{0}b", long],
        "queue": [5, "", "A", ".a", "a b", "x\u{e9}", "q".repeat(65)],
        "priority": [-1, 101, 1.5, "high", 18_446_744_073_709_551_615u64],
        "payload": [5, "x", [], true],
        "run_at": [5, "tomorrow", "2026-13-01T00:00:00Z", "1969-01-01T00:00:00Z", "2026-11-23 02:00"],
        "delay": [5, "", "5", "-5s", "200000d", "1.5s"],
        "expires_at": [true, "never", "", 1_795_000_000],
        "timeout": [90, "0s", "1 hour", "", []],
        "retry": [5, [], "twice", [1, "1s"]],
        "on_disconnect": ["pause", false, ""],
        "idempotency_key": [5, "", "a\nb", "k".repeat(257)],
        "unique": ["k", {}, [], ["k", "1h", "return"]],
        "concurrency": [["k", 1], {}, 5, "k"],
        "requires": [[], [1, null, null, {}], 5, "gpu"],
        "placement": ["best", 5, "", []],
        "depends_on": [5, {}, [5], [{}], ["x"], [["x"]]],
        "ref": [5, "", "a\nb", []],
        "array": [5, "x", [], [1], {}],
        "on_complete": [5, "x", [], {}],
        "labels": [5, "team", ["team"], {"team": 5}, {"": "x"}, {"a:b": "x"}, {"a/b": "x\ny"}, many],
        "metadata": [5, [], "x", {"x": "y".repeat(70_000)}],
        "notify": [5, "x", [], {}],
    }
}

fn parts_of_a_spec(parent: &str) -> Vec<Object> {
    let labels = |name: &'static str| (name, vec![json!(5), json!([]), json!({"zone": 5}), json!({"": "x"})]);
    let mut requires = wrong! {
        "slots": [0, 65_536, "1", 1.5, -1],
        "cpu": ["x", -1, [], true],
        "memory": ["x", -1, [], true, "12 apples"],
    };
    requires.push(labels("labels"));
    vec![
        job(
            "/retry",
            json!({"retry": {}}),
            wrong! {
                "max_attempts": [0, 10_001, "3", 1.5, -1],
                "initial_interval": [1, "1x", "", "-1s"],
                "backoff_coefficient": [0.5, 1_001, "2", [], -2],
                "maximum_interval": [1, "", "1ms", "x"],
                "jitter": ["some", true, ""],
                "non_retryable": ["exit:2", ["exit:2", "exit:256"], [5], ["lost"], ["exit:"], [""]],
                "on_lost": ["ignore", 1, ""],
                "max_lost": [-1, 1.0, "1", 10_001],
            },
        ),
        job(
            "/unique",
            json!({"unique": {"key": "k"}}),
            wrong! {
                "key": [5, "", "a\nb", null, "k".repeat(257)],
                "for": ["soon", "0s", 24, ""],
                "on_conflict": ["skip", 5, ""],
            },
        ),
        job(
            "/concurrency",
            json!({"concurrency": {"key": "k"}}),
            wrong! {
                "key": [5, "", "a\nb", null],
                "limit": [0, "2", 1_000_001, -1],
            },
        ),
        job("/requires", json!({"requires": {}}), requires),
        job(
            "/depends_on/0",
            json!({"depends_on": [{"id": parent}]}),
            wrong! {
                "id": [5, "x", "", "0196"],
                "ref": [5, "", "a\nb"],
                "on": ["done", 5, ""],
            },
        ),
    ]
}

fn parts_of_notify() -> Vec<Object> {
    let notify = json!({"notify": {"webhook": {"url": "http://127.0.0.1:1/"}}});
    vec![
        job(
            "/notify",
            notify.clone(),
            wrong! {
                "webhook": [5, "http://x", {}, [], ["http://x"]],
            },
        ),
        job(
            "/notify/webhook",
            notify,
            wrong! {
                "url": [5, "", "x", "ftp://x/", null],
                "secret": [5, "", "whsec_%"],
            },
        ),
    ]
}

fn payloads() -> Vec<Object> {
    vec![
        job(
            "/payload",
            json!({"kind": "noop", "payload": {}}),
            wrong! {
                "sleep": [5, "soon", "", []],
                "fail_times": [-1, 65_536, "1", 1.5],
            },
        ),
        job(
            "/payload",
            json!({"kind": "exec", "payload": {"command": ["true"]}}),
            wrong! {
                "command": ["true", [], ["a", 5], [""], ["a\u{0}"], null],
                "env": [5, ["A"], {"A=B": "x"}, {"": "x"}, {"RELAIS_JOB_ID": "x"}, {"A": 5}, {"A": "\u{0}"}],
                "cwd": [5, "here", "", "/a\u{0}"],
                "stdin": [5, [], {}],
            },
        ),
        job(
            "/payload",
            json!({"kind": "http", "payload": {"url": "http://127.0.0.1:1/"}}),
            wrong! {
                "method": [5, "FLY", "", "get it"],
                "url": [5, "", "ftp://x", "http://", "x", null],
                "headers": [5, ["a"], {"a b": "x"}, {"a": 5}, {"a": "x\ny"}],
                "body": [],
            },
        ),
    ]
}

fn others() -> Vec<Object> {
    let schedule = json!({"cron": "0 30 2 * * *", "job": noop()});
    let queue = json!({"weight": 2, "rate": {"count": 1, "per": "1s"}, "retention": {}});
    let queue = |at, wrong| Object { method: "PUT", target: "/v1/queues/bad", good: queue.clone(), at, wrong };
    let settings = ["name", "takeover", "takeover_after", "lease", "pair_lease", "voters", "replace_after", "drill"];
    let settings = settings.into_iter().chain(["retention", "retention_count", "priority_aging"]);
    let no_setting = vec![json!([]), json!({}), json!(""), json!("?\u{0}")];
    vec![
        Object {
            method: "PUT",
            target: "/v1/schedules/bad",
            good: schedule,
            at: "",
            wrong: wrong! {
                "cron": [5, "", "61 * * * *", "0 0 30 2 *", "sometimes", null, "x".repeat(201)],
                "time_zone": ["Europe/Atlantis", "", 2, "+25:00"],
                "job": [5, "echo", [], null, {}],
                "missed": ["never", "", 1],
                "overlap": ["maybe", "ALLOW", []],
                "paused": ["yes", 1, []],
            },
        },
        queue(
            "",
            wrong! {
                "weight": [0, -1, "2", 1.5, 10_000_000],
                "concurrency": [0, "4", 1_000_001, []],
                "rate": [5, "1/s", [1, "1s"], {}, {"count": 1}, {"per": "1s"}],
                "retention": [5, "7d", ["7d", 5], {"for": "7d"}],
            },
        ),
        queue(
            "/rate",
            wrong! {
                "count": [0, "1", -1, null, 1.5],
                "per": [1, "", "0s", "32d", null, "often"],
            },
        ),
        queue(
            "/retention",
            wrong! {
                "age": [7, "", "0s", "old"],
                "count": ["1", -1, 1.5],
            },
        ),
        Object {
            method: "PATCH",
            target: "/v1/cluster/settings",
            good: json!({}),
            at: "",
            wrong: settings.map(|name| (name, no_setting.clone())).collect(),
        },
    ]
}

impl Object {
    /// A body with one field of it set.
    fn with(&self, field: &str, value: &Value) -> Value {
        let mut body = self.good.clone();
        let object = body.pointer_mut(self.at).and_then(Value::as_object_mut).expect("an object");
        if field == "ref" {
            // It stands in the place of an id.
            object.remove("id");
        }
        object.insert(field.to_owned(), value.clone());
        body
    }

    /// Each wrong body, and where it is wrong.
    fn bodies(&self) -> impl Iterator<Item = (Value, String)> {
        let each = self.wrong.iter().flat_map(|(field, values)| values.iter().map(move |value| (field, value)));
        each.map(|(field, value)| (self.with(field, value), format!("{}/{field}", self.at)))
    }

    fn send(&self, cluster: &Cluster, body: &Value) -> Answer {
        ask(cluster, self.method, self.target, &body.to_string())
    }

    /// The fields that it has, as the API says when it is given one that it does not have.
    fn fields(&self, cluster: &Cluster) -> Vec<String> {
        let none = "zzz";
        let answer = self.send(cluster, &self.with(none, &json!(1)));
        check(&answer, &format!("{}/{none}", self.at));
        let detail = answer.json()["errors"][0]["detail"].as_str().expect("a detail").to_owned();
        // ``unknown field `zzz`, expected one of `a`, `b` ``, or `…; it has a, b`.
        let quoted: Vec<String> = detail.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let listed = detail.split("it has ").nth(1).or_else(|| detail.split("there are ").nth(1));
        let names = listed.map_or(quoted, |list| list.split(", ").map(str::to_owned).collect());
        names.into_iter().filter(|name| name != none).collect()
    }
}

fn ask(cluster: &Cluster, method: &str, target: &str, body: &str) -> Answer {
    let headers = [("Content-Type", "application/json")];
    let answer = cluster.nodes[0].client().send(method, target, &headers, body.as_bytes());
    answer.unwrap_or_else(|error| panic!("no answer to {method} {target} {body}: {error}"))
}

/// Whether a list of errors says that the field at `pointer` is wrong, and no other.
fn says(errors: &Value, pointer: &str) -> bool {
    let errors = errors.as_array().map(Vec::as_slice).unwrap_or_default();
    let fits = |error: &Value| {
        let said = error["pointer"].as_str().unwrap_or("none");
        let at_or_below = said.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        at_or_below && error["detail"].as_str().is_some_and(|detail| !detail.is_empty())
    };
    !errors.is_empty() && errors.iter().all(fits)
}

fn is_problem(answer: &Answer) -> bool {
    let problem = answer.json();
    let texts = ["type", "title", "detail", "instance"].iter().all(|field| problem[*field].is_string());
    let kind = answer.header("content-type");
    answer.status == 400 && problem["status"] == 400 && kind == Some("application/problem+json") && texts
}

fn check(answer: &Answer, pointer: &str) {
    assert!(is_problem(answer), "{pointer}: {} {}", answer.status, answer.text());
    assert!(says(&answer.json()["errors"], pointer), "{pointer}: {}", answer.text());
}

/// All that a bad request could have made or changed.
fn sum_of(cluster: &Cluster) -> BTreeMap<&'static str, Value> {
    let targets = ["/v1/jobs:count", "/v1/queues", "/v1/schedules", "/v1/cluster/settings", "/v1/tokens"];
    targets.into_iter().map(|target| (target, cluster.nodes[0].read(target).expect(target))).collect()
}

/// What is no body of its route at all.
const NO_BODY: [&str; 12] = [
    "",
    " ",
    "{",
    "[",
    "[]",
    "5",
    "null",
    "\"x\"",
    "[1, 2]",
    "[[]]",
    "{} {}",
    "{\"kind\": \"noop\", \"kind\": \"noop\"}",
];

fn all_objects(parent: &str) -> Vec<Object> {
    let mut objects = vec![job("", json!({}), spec_fields())];
    objects.extend(parts_of_a_spec(parent));
    objects.extend(parts_of_notify());
    objects.extend(payloads());
    objects.extend(others());
    objects
}

#[test]
fn each_field_is_refused_where_it_is_wrong_and_nothing_comes_of_it() {
    let cluster = Cluster::start(1, Options::default());
    let parent = cluster.nodes[0].submit(&noop());
    cluster.await_state(&parent, "succeeded");
    let before = sum_of(&cluster);
    let mut tried = 0;
    for object in all_objects(&parent) {
        let known = object.fields(&cluster);
        assert!(!known.is_empty(), "{} {} says no fields", object.target, object.at);
        for field in &known {
            let row = object.wrong.iter().find(|(name, _)| name == field);
            let count = row.map_or(0, |(_, values)| values.len());
            // The body of a call may be any JSON.
            assert!(
                count >= FEWEST || field == "body",
                "{} {}/{field}: {count} wrong values",
                object.target,
                object.at
            );
        }
        for (body, pointer) in object.bodies() {
            check(&object.send(&cluster, &body), &pointer);
            tried += 1;
            if object.target == "/v1/jobs" {
                let schedule = json!({"cron": "0 30 2 * * *", "job": body}).to_string();
                check(&ask(&cluster, "PUT", "/v1/schedules/bad", &schedule), &format!("/job{pointer}"));
            }
        }
        if object.target == "/v1/jobs" {
            refused_in_a_batch(&cluster, &object);
        }
    }
    println!("{tried} wrong values");
    assert_eq!(sum_of(&cluster), before, "something came of it");
}

/// The same in one batch: each item is refused for itself.
fn refused_in_a_batch(cluster: &Cluster, object: &Object) {
    let (bodies, pointers): (Vec<Value>, Vec<String>) = object.bodies().unzip();
    let answer = ask(cluster, "POST", "/v1/jobs:batch", &Value::from(bodies).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let results = answer.json()["results"].as_array().expect("results").clone();
    assert_eq!(results.len(), pointers.len());
    for (result, pointer) in results.iter().zip(pointers) {
        let problem = &result["problem"];
        assert!(result["status"] == 400 && says(&problem["errors"], &pointer), "{pointer}: {result}");
    }
}

#[test]
fn what_is_no_body_at_all_is_refused_and_nothing_comes_of_it() {
    let cluster = Cluster::start(1, Options::labelled(1, 2));
    let gate = cluster.gate("runs");
    let job = cluster.nodes[0].submit(&json!({"kind": "exec", "payload": gate.payload("exit 0")}));
    cluster.await_state(&job, "running");
    let cancel = format!("/v1/jobs/{job}:cancel");
    let before = sum_of(&cluster);
    for text in NO_BODY {
        for (method, target) in [
            ("POST", "/v1/jobs"),
            ("PUT", "/v1/schedules/bad"),
            ("PUT", "/v1/queues/bad"),
            ("PATCH", "/v1/cluster/settings"),
            ("POST", "/v1/tokens"),
            ("POST", "/v1/cluster:handover"),
            ("POST", &cancel),
        ] {
            let may_be_left_out = target.contains(':') && text.is_empty();
            if !may_be_left_out {
                let answer = ask(&cluster, method, target, text);
                assert!(is_problem(&answer), "{method} {target} {text}: {} {}", answer.status, answer.text());
            }
        }
    }
    for body in [json!({"reason": 5}), json!({"reason": []}), json!({"reason": "x".repeat(501)})] {
        check(&ask(&cluster, "POST", &cancel, &body.to_string()), "/reason");
    }
    check(
        &ask(&cluster, "PUT", "/v1/schedules/Bad", &json!({"cron": "* * * * * *", "job": noop()}).to_string()),
        "/name",
    );
    assert_eq!(ask(&cluster, "PUT", "/v1/queues/Bad", "{}").status, 400);
    let wait = |name: &str, on: &str| json!({"kind": "noop", "payload": {}, "ref": name, "depends_on": [{"ref": on}]});
    let circle = json!([wait("a", "b"), wait("b", "c"), wait("c", "a"), wait("d", "d"), wait("e", "nobody")]);
    let answer = ask(&cluster, "POST", "/v1/jobs:batch", &circle.to_string()).json();
    for result in answer["results"].as_array().expect("results") {
        assert!(result["status"] == 400 && says(&result["problem"]["errors"], "/depends_on"), "{result}");
    }
    assert_eq!(sum_of(&cluster), before, "something came of it");
    assert!(cluster.row(&job)["cancel_requested"].is_null());
    gate.open();
    cluster.await_state(&job, "succeeded");
}
