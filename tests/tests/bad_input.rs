//! Bad input over HTTP: each field of a job spec, of a schedule, of a queue and of the settings, wrong in at least
//! three ways. It is refused with a pointer to the field, as a problem document, and nothing comes of it.
//!
//! Which fields there are is not taken from here: the API is asked (it names them when it refuses one that is none),
//! and a field that this table has no row for is a failure.

use relais_tests::bad_input::{Object, all_objects, noop};
use relais_tests::cluster::http::Answer;
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Values that are tried of each field, at least.
const FEWEST: usize = 3;

fn send(object: &Object, cluster: &Cluster, body: &Value) -> Answer {
    ask(cluster, object.method, object.target, &body.to_string())
}

/// The fields that it has, as the API says when it is given one that it does not have.
fn fields(object: &Object, cluster: &Cluster) -> Vec<String> {
    let none = "zzz";
    let answer = send(object, cluster, &object.with(none, &json!(1)));
    check(&answer, &format!("{}/{none}", object.at));
    let detail = answer.json()["errors"][0]["detail"].as_str().expect("a detail").to_owned();
    // ``unknown field `zzz`, expected one of `a`, `b` ``, or `…; it has a, b`.
    let quoted: Vec<String> = detail.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let listed = detail.split("it has ").nth(1).or_else(|| detail.split("there are ").nth(1));
    let names = listed.map_or(quoted, |list| list.split(", ").map(str::to_owned).collect());
    names.into_iter().filter(|name| name != none).collect()
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

#[test]
fn each_field_is_refused_where_it_is_wrong_and_nothing_comes_of_it() {
    let cluster = Cluster::start(1, Options::default());
    let parent = cluster.nodes[0].submit(&noop());
    cluster.await_state(&parent, "succeeded");
    let before = sum_of(&cluster);
    let mut tried = 0;
    for object in all_objects(&parent) {
        let known = fields(&object, &cluster);
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
            check(&send(&object, &cluster, &body), &pointer);
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
