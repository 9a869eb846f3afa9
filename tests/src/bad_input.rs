//! Bodies that the API must refuse: each field of each object that it takes, with values that are wrong.
//!
//! It asks nobody: who uses it compares its fields with those that the API says it has.

use serde_json::{Map, Value, json};

/// An object of the API, and values for its fields that are wrong.
pub struct Object {
    /// How it is sent.
    pub method: &'static str,
    /// Where to.
    pub target: &'static str,
    /// A body that would be taken.
    pub good: Value,
    /// Where in the body it is, as a JSON pointer.
    pub at: &'static str,
    /// Fields, each with what it can't be.
    pub wrong: Vec<(&'static str, Vec<Value>)>,
}

/// A job spec that is taken.
#[must_use]
pub fn noop() -> Value {
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
    ///
    /// # Panics
    /// When there is no object in its place.
    #[must_use]
    pub fn with(&self, field: &str, value: &Value) -> Value {
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
    pub fn bodies(&self) -> impl Iterator<Item = (Value, String)> {
        let each = self.wrong.iter().flat_map(|(field, values)| values.iter().map(move |value| (field, value)));
        each.map(|(field, value)| (self.with(field, value), format!("{}/{field}", self.at)))
    }
}

/// All objects; `parent` is the id of a job that there is.
#[must_use]
pub fn all_objects(parent: &str) -> Vec<Object> {
    let mut objects = vec![job("", json!({}), spec_fields())];
    objects.extend(parts_of_a_spec(parent));
    objects.extend(parts_of_notify());
    objects.extend(payloads());
    objects.extend(others());
    objects
}
