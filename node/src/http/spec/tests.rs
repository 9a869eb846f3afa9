//! Every field of a job spec, wrong in several ways; and what its defaults come to.

use super::*;
use relais_protocol::spec::{Jitter, JobOptions, OnConflict, Placement, StartTime};
use serde_json::json;

fn pointers(problem: &Problem) -> Vec<String> {
    let problem: Value = serde_json::from_str(&problem.to_json(None)).unwrap();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
}

fn wrong(text: &str) -> Vec<String> {
    match check(text.as_bytes(), None) {
        Ok(checked) => panic!("{text} is taken as {checked:?}"),
        Err(problem) => {
            assert!([400, 413].contains(&problem.status()), "{text}");
            pointers(&problem)
        }
    }
}

/// A field's name and value beside a good kind and payload, and where it is refused.
pub(in crate::http) const FIELDS: &[(&str, &str, &str)] = &[
    ("name", "5", "/name"),
    ("name", "[]", "/name"),
    ("name", "\"a\\u0000b\"", "/name"),
    ("queue", "5", "/queue"),
    ("queue", "\"\"", "/queue"),
    ("queue", "\"A\"", "/queue"),
    ("queue", "\".a\"", "/queue"),
    ("queue", "\"a b\"", "/queue"),
    ("queue", "\"ü\"", "/queue"),
    ("priority", "-1", "/priority"),
    ("priority", "101", "/priority"),
    ("priority", "1.5", "/priority"),
    ("priority", "\"high\"", "/priority"),
    ("priority", "99999999999999999999", "/priority"),
    ("run_at", "5", "/run_at"),
    ("run_at", "\"tomorrow\"", "/run_at"),
    ("run_at", "\"2026-13-01T00:00:00Z\"", "/run_at"),
    ("run_at", "\"1969-01-01T00:00:00Z\"", "/run_at"),
    ("delay", "5", "/delay"),
    ("delay", "\"\"", "/delay"),
    ("delay", "\"5\"", "/delay"),
    ("delay", "\"-5s\"", "/delay"),
    ("delay", "\"200000d\"", "/delay"),
    ("expires_at", "true", "/expires_at"),
    ("expires_at", "\"never\"", "/expires_at"),
    ("timeout", "90", "/timeout"),
    ("timeout", "\"0s\"", "/timeout"),
    ("timeout", "\"1 hour\"", "/timeout"),
    ("retry", "5", "/retry"),
    ("retry", "[]", "/retry"),
    ("retry", "{\"attempts\":1}", "/retry/attempts"),
    ("retry", "{\"max_attempts\":0}", "/retry/max_attempts"),
    ("retry", "{\"max_attempts\":10001}", "/retry/max_attempts"),
    ("retry", "{\"max_attempts\":\"3\"}", "/retry/max_attempts"),
    ("retry", "{\"initial_interval\":1}", "/retry/initial_interval"),
    ("retry", "{\"initial_interval\":\"1x\"}", "/retry/initial_interval"),
    ("retry", "{\"backoff_coefficient\":0.5}", "/retry/backoff_coefficient"),
    ("retry", "{\"backoff_coefficient\":1001}", "/retry/backoff_coefficient"),
    ("retry", "{\"backoff_coefficient\":\"2\"}", "/retry/backoff_coefficient"),
    ("retry", "{\"maximum_interval\":\"\"}", "/retry/maximum_interval"),
    ("retry", "{\"initial_interval\":\"2m\",\"maximum_interval\":\"1m\"}", "/retry/maximum_interval"),
    ("retry", "{\"jitter\":\"some\"}", "/retry/jitter"),
    ("retry", "{\"jitter\":true}", "/retry/jitter"),
    ("retry", "{\"non_retryable\":\"exit:2\"}", "/retry/non_retryable"),
    ("retry", "{\"non_retryable\":[\"exit:2\",\"exit:256\"]}", "/retry/non_retryable/1"),
    ("retry", "{\"non_retryable\":[5]}", "/retry/non_retryable/0"),
    ("retry", "{\"non_retryable\":[\"lost\"]}", "/retry/non_retryable/0"),
    ("retry", "{\"on_lost\":\"ignore\"}", "/retry/on_lost"),
    ("retry", "{\"on_lost\":1}", "/retry/on_lost"),
    ("retry", "{\"max_lost\":-1}", "/retry/max_lost"),
    ("retry", "{\"max_lost\":1.0}", "/retry/max_lost"),
    ("on_disconnect", "\"pause\"", "/on_disconnect"),
    ("on_disconnect", "false", "/on_disconnect"),
    ("idempotency_key", "5", "/idempotency_key"),
    ("idempotency_key", "\"\"", "/idempotency_key"),
    ("idempotency_key", "\"a\\nb\"", "/idempotency_key"),
    ("unique", "\"k\"", "/unique"),
    ("unique", "{}", "/unique/key"),
    ("unique", "{\"key\":5}", "/unique/key"),
    ("unique", "{\"key\":\"\"}", "/unique/key"),
    ("unique", "{\"key\":\"a\\nb\"}", "/unique/key"),
    ("unique", "{\"key\":\"k\",\"for\":\"soon\"}", "/unique/for"),
    ("unique", "{\"key\":\"k\",\"for\":\"0s\"}", "/unique/for"),
    ("unique", "{\"key\":\"k\",\"for\":24}", "/unique/for"),
    ("unique", "{\"key\":\"k\",\"on_conflict\":\"skip\"}", "/unique/on_conflict"),
    ("unique", "{\"key\":\"k\",\"on_conflict\":null,\"else\":1}", "/unique/else"),
    ("concurrency", "[\"k\",1]", "/concurrency"),
    ("concurrency", "{\"limit\":1}", "/concurrency/key"),
    ("concurrency", "{\"key\":\"\"}", "/concurrency/key"),
    ("concurrency", "{\"key\":\"k\",\"limit\":0}", "/concurrency/limit"),
    ("concurrency", "{\"key\":\"k\",\"limit\":\"2\"}", "/concurrency/limit"),
    ("concurrency", "{\"key\":\"k\",\"limit\":1000001}", "/concurrency/limit"),
    ("concurrency", "{\"key\":\"k\",\"per\":\"1s\"}", "/concurrency/per"),
    ("requires", "[]", "/requires"),
    ("requires", "[1,null,null,{}]", "/requires"),
    ("requires", "{\"gpu\":1}", "/requires/gpu"),
    ("requires", "{\"slots\":0}", "/requires/slots"),
    ("requires", "{\"slots\":65536}", "/requires/slots"),
    ("requires", "{\"slots\":\"1\"}", "/requires/slots"),
    ("requires", "{\"cpu\":\"1.0\"}", "/requires/cpu"),
    ("requires", "{\"cpu\":0}", "/requires/cpu"),
    ("requires", "{\"cpu\":-0.5}", "/requires/cpu"),
    ("requires", "{\"cpu\":1.0005}", "/requires/cpu"),
    ("requires", "{\"cpu\":65536.001}", "/requires/cpu"),
    ("requires", "{\"cpu\":1e300}", "/requires/cpu"),
    ("requires", "{\"cpu\":[1]}", "/requires/cpu"),
    ("requires", "{\"memory\":512}", "/requires/memory"),
    ("requires", "{\"memory\":\"\"}", "/requires/memory"),
    ("requires", "{\"memory\":\"0MiB\"}", "/requires/memory"),
    ("requires", "{\"memory\":\"512MB\"}", "/requires/memory"),
    ("requires", "{\"memory\":\"-1MiB\"}", "/requires/memory"),
    ("requires", "{\"memory\":\"1048577TiB\"}", "/requires/memory"),
    ("requires", "{\"labels\":{\"zone\":5}}", "/requires/labels/zone"),
    ("requires", "{\"labels\":[]}", "/requires/labels"),
    ("requires", "{\"labels\":{\"\":\"x\"}}", "/requires/labels/"),
    ("placement", "\"Pack\"", "/placement"),
    ("placement", "\"best\"", "/placement"),
    ("placement", "5", "/placement"),
    ("depends_on", "5", "/depends_on"),
    ("depends_on", "{}", "/depends_on"),
    ("depends_on", "[5]", "/depends_on/0"),
    ("depends_on", "[{}]", "/depends_on/0"),
    ("depends_on", "[{\"id\":\"x\"}]", "/depends_on/0/id"),
    ("depends_on", "[{\"ref\":\"\"}]", "/depends_on/0/ref"),
    ("depends_on", "[{\"id\":\"x\",\"ref\":\"a\"}]", "/depends_on/0"),
    ("depends_on", "[{\"ref\":\"a\",\"on\":\"done\"}]", "/depends_on/0/on"),
    ("ref", "5", "/ref"),
    ("ref", "\"\"", "/ref"),
    ("ref", "\"a\\nb\"", "/ref"),
    ("array", "5", "/array"),
    ("array", "[]", "/array"),
    ("array", "{}", "/array"),
    ("array", "{\"count\":2,\"inputs\":[1]}", "/array"),
    ("array", "{\"size\":2}", "/array/size"),
    ("array", "{\"count\":0}", "/array/count"),
    ("array", "{\"count\":1000001}", "/array/count"),
    ("array", "{\"count\":\"2\"}", "/array/count"),
    ("array", "{\"inputs\":5}", "/array/inputs"),
    ("array", "{\"inputs\":{}}", "/array/inputs"),
    ("array", "{\"inputs\":[]}", "/array/inputs"),
    ("array", "{\"count\":2,\"first\":-1}", "/array/first"),
    ("array", "{\"count\":2,\"first\":1000000001}", "/array/first"),
    ("array", "{\"count\":2,\"first\":\"1\"}", "/array/first"),
    ("array", "{\"count\":2,\"max_failures\":-1}", "/array/max_failures"),
    ("array", "{\"count\":2,\"max_failures\":1.5}", "/array/max_failures"),
    ("array", "{\"count\":2,\"max_failures\":1000001}", "/array/max_failures"),
    ("on_complete", "5", "/on_complete"),
    ("on_complete", "[]", "/on_complete"),
    ("on_complete", "{\"kind\":\"noop\"}", "/on_complete/payload"),
    ("on_complete", "{\"kind\":\"noop\",\"payload\":{},\"priority\":101}", "/on_complete/priority"),
    ("on_complete", "{\"kind\":\"noop\",\"payload\":{},\"array\":{\"count\":2}}", "/on_complete/array"),
    ("on_complete", "{\"kind\":\"noop\",\"payload\":{},\"unique\":{\"key\":\"k\"}}", "/on_complete/unique"),
    ("on_complete", "{\"kind\":\"noop\",\"payload\":{},\"idempotency_key\":\"k\"}", "/on_complete/idempotency_key"),
    ("on_complete", "{\"kind\":\"noop\",\"payload\":{},\"ref\":\"a\"}", "/on_complete/ref"),
    ("on_complete", "{\"kind\":\"noop\",\"payload\":{},\"run_at\":\"2026-11-23T02:00:00Z\"}", "/on_complete/run_at"),
    ("labels", "{\"team\":5}", "/labels/team"),
    ("labels", "{\"a/b\":\"x\\ny\"}", "/labels/a~1b"),
    ("labels", "{\"a:b\":\"x\"}", "/labels/a:b"),
    ("labels", "[\"team\"]", "/labels"),
    ("labels", "\"team\"", "/labels"),
    ("metadata", "5", "/metadata"),
    ("metadata", "[]", "/metadata"),
    ("notify", "5", "/notify"),
    ("notify", "{}", "/notify/webhook"),
    ("notify", "{\"mail\":{}}", "/notify/mail"),
    ("notify", "{\"webhook\":\"http://x\"}", "/notify/webhook"),
    ("notify", "{\"webhook\":{}}", "/notify/webhook/url"),
    ("notify", "{\"webhook\":{\"url\":5}}", "/notify/webhook/url"),
    ("notify", "{\"webhook\":{\"url\":\"x\"}}", "/notify/webhook/url"),
    ("notify", "{\"webhook\":{\"url\":\"ftp://x/\"}}", "/notify/webhook/url"),
    ("notify", "{\"webhook\":{\"url\":\"http://x\",\"secret\":5}}", "/notify/webhook/secret"),
    ("notify", "{\"webhook\":{\"url\":\"http://x\",\"secret\":\"\"}}", "/notify/webhook/secret"),
    ("notify", "{\"webhook\":{\"url\":\"http://x\",\"secret\":\"whsec_%\"}}", "/notify/webhook/secret"),
    ("shell", "true", "/shell"),
    ("Kind", "\"noop\"", "/Kind"),
    ("state", "\"queued\"", "/state"),
    ("id", "\"x\"", "/id"),
];

#[test]
fn each_field_is_refused_where_it_is_wrong() {
    for &(field, value, pointer) in FIELDS {
        let text = format!(r#"{{"kind":"noop","payload":{{}},"{field}":{value}}}"#);
        assert_eq!(wrong(&text), [pointer], "{text}");
    }
}

#[test]
fn kind_and_payload_are_refused_where_they_are_wrong() {
    let table = [
        (r#"{"payload":{}}"#, vec!["/kind"]),
        (r#"{"kind":null,"payload":{}}"#, vec!["/kind"]),
        (r#"{"kind":5,"payload":{}}"#, vec!["/kind"]),
        (r#"{"kind":"","payload":{}}"#, vec!["/kind"]),
        (r#"{"kind":"Exe","payload":{}}"#, vec!["/kind"]),
        (r#"{"kind":"copy","payload":{}}"#, vec!["/kind"]),
        (r#"{"kind":"copy","payload":{}}"#, vec!["/kind"]),
        (r#"{"kind":"noop"}"#, vec!["/payload"]),
        (r#"{"kind":"noop","payload":null}"#, vec!["/payload"]),
        (r#"{"kind":"noop","payload":5}"#, vec!["/payload"]),
        (r#"{"kind":"noop","payload":{"sleep":5}}"#, vec!["/payload/sleep"]),
        (r#"{"kind":"noop","payload":{"nap":"5s"}}"#, vec!["/payload/nap"]),
        (r#"{"kind":"exec","payload":{}}"#, vec!["/payload/command"]),
        (r#"{"kind":"exec","payload":{"command":"true"}}"#, vec!["/payload/command"]),
        (r#"{"kind":"exec","payload":{"command":[]}}"#, vec!["/payload/command"]),
        (r#"{"kind":"exec","payload":{"command":["a",5]}}"#, vec!["/payload/command/1"]),
        (r#"{"kind":"exec","payload":{"command":["a"],"env":{"A=B":"x"}}}"#, vec!["/payload/env/A=B"]),
        (r#"{"kind":"exec","payload":{"command":["a"],"cwd":"here"}}"#, vec!["/payload/cwd"]),
        (r#"{"kind":"http","payload":{"url":"ftp://x"}}"#, vec!["/payload/url"]),
        (r#"{"kind":"http","payload":{"url":"http://x","method":"FLY"}}"#, vec!["/payload/method"]),
        (r#"{}"#, vec!["/payload", "/kind"]),
        (r#"{"kind":"noop","payload":{},"priority":101,"queue":"A"}"#, vec!["/queue", "/priority"]),
    ];
    for (text, expected) in table {
        assert_eq!(wrong(text), expected, "{text}");
    }
}

#[test]
fn fields_that_exclude_each_other_are_refused() {
    let both = r#"{"kind":"noop","payload":{},"run_at":"2026-11-23T02:00:00Z","delay":"10m"}"#;
    assert_eq!(wrong(both), ["/delay"]);
    let early = r#"{"kind":"noop","payload":{},"run_at":"2026-11-23T02:00:00Z","expires_at":"2026-11-23T02:00:00Z"}"#;
    assert_eq!(wrong(early), ["/expires_at"]);
}

#[test]
fn limits_hold_at_their_edge() {
    let named = |length: usize| json!({"kind": "noop", "payload": {}, "name": "ü".repeat(length)}).to_string();
    assert!(check(named(200).as_bytes(), None).is_ok());
    assert_eq!(wrong(&named(201)), ["/name"]);
    let labelled = |count: usize| {
        let labels: serde_json::Map<String, Value> = (0..count).map(|n| (format!("l{n}"), "v".into())).collect();
        json!({"kind": "noop", "payload": {}, "labels": labels, "requires": {"labels": labels}}).to_string()
    };
    assert!(check(labelled(16).as_bytes(), None).is_ok());
    assert_eq!(wrong(&labelled(17)), ["/requires/labels", "/labels"]);
    let keyed =
        |length: usize| json!({"kind": "noop", "payload": {}, "idempotency_key": "k".repeat(length)}).to_string();
    assert!(check(keyed(256).as_bytes(), None).is_ok());
    assert_eq!(wrong(&keyed(257)), ["/idempotency_key"]);
    let sized = |bytes: usize| {
        format!(r#"{{"kind":"exec","payload":{{"command":["{}"]}}}}"#, "x".repeat(bytes - r#"{"command":[""]}"#.len()))
    };
    assert_eq!(check(sized(1 << 20).as_bytes(), None).unwrap().spec.payload.len(), 1 << 20);
    let over = check(sized((1 << 20) + 1).as_bytes(), None).unwrap_err();
    assert_eq!((over.status(), pointers(&over)), (413, vec!["/payload".to_owned()]));
    let metadata = json!({"kind": "noop", "payload": {}, "metadata": {"x": "y".repeat(70_000)}}).to_string();
    assert_eq!(wrong(&metadata), ["/metadata"]);
}

#[test]
fn deep_json_is_refused_in_words() {
    for depth in [130, 100_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for (field, pointer) in [("payload", "/payload"), ("metadata", "/metadata")] {
            let payload = if field == "payload" { "" } else { r#""payload":{},"# };
            let text = format!(r#"{{"kind":"noop",{payload}"{field}":{deep}}}"#);
            let problem = check(text.as_bytes(), None).unwrap_err();
            // What is too long by then says that instead.
            if depth == 130 {
                assert!(problem.to_json(None).contains("nested deeper than 128"), "{field}");
            }
            assert_eq!(pointers(&problem), [pointer]);
        }
        assert!(check(deep.as_bytes(), None).is_err());
        let in_kind = format!(r#"{{"kind":{deep},"payload":{{}}}}"#);
        assert!(check(in_kind.as_bytes(), None).is_err());
    }
}

#[test]
fn a_small_spec_comes_to_the_defaults() {
    let spec = check(br#"{"kind":"noop","payload":{}}"#, None).unwrap().spec;
    assert_eq!((spec.kind.as_str(), spec.queue.as_str(), spec.priority), ("noop", "default", 50));
    assert_eq!((spec.payload.as_str(), &spec.options), ("{}", &None));
    let nulls = br#"{"kind":"noop","payload":{},"expires_at":null,"timeout":null,"retry":null,"unique":null,
        "labels":null,"metadata":{},"placement":"spread"}"#;
    assert_eq!(check(nulls, None).unwrap().spec, spec);
}

#[test]
fn a_full_spec_keeps_all_that_it_says() {
    let text = br#"{"kind":"exec","name":"caf\u00e9","queue":"q","priority":0,"payload":{"command":["a"]},
        "delay":"1h30m","expires_at":"2026-11-23T04:00:00+02:00","timeout":"250ms","on_disconnect":"continue",
        "retry":{"max_attempts":5,"initial_interval":"2s","backoff_coefficient":1.5,"maximum_interval":"1m",
        "jitter":"none","non_retryable":["exit:2","spawn"],"on_lost":"fail","max_lost":0},
        "requires":{"slots":2,"cpu":0.25,"memory":"1.5GiB","labels":{"zone":"eu"}},"placement":"pack","labels":{"team":"data"},"metadata":{"x":1},
        "concurrency":{"key":"tenant-7","limit":2},"unique":{"key":"r","for":"24h","on_conflict":"replace"}}"#;
    let spec = check(text, Some("k".into())).unwrap().spec;
    let (concurrency, unique) = (spec.options().concurrency.clone().unwrap(), spec.options().unique.clone().unwrap());
    assert_eq!((concurrency.key.as_str(), concurrency.limit), ("tenant-7", 2));
    let (window, on_conflict) = (unique.for_ms, unique.on_conflict);
    assert_eq!((unique.key.as_str(), window, on_conflict), ("r", Some(86_400_000), OnConflict::Replace));
    let JobOptions { start, expires_at, timeout_ms, retry, requires, idempotency_key, metadata, .. } =
        spec.options().clone();
    assert_eq!((spec.name.as_str(), start), ("café", StartTime::After(5_400_000)));
    assert_eq!(expires_at.unwrap().rfc3339(), "2026-11-23T02:00:00.000Z");
    assert_eq!((timeout_ms, retry.backoff_permille, retry.jitter), (Some(250), 1_500, Jitter::None));
    assert_eq!((retry.max_attempts, retry.max_lost, retry.non_retryable.len()), (5, 0, 2));
    assert_eq!((requires.slots, requires.labels["zone"].as_str()), (2, "eu"));
    assert_eq!((requires.cpu_millis, requires.memory_bytes, spec.options().placement), (250, 3 << 29, Placement::Pack));
    assert_eq!((idempotency_key.as_deref(), metadata.as_str()), (Some("k"), r#"{"x":1}"#));
}

#[test]
fn the_hash_is_of_the_spec_and_not_of_its_text_or_key() {
    let hash = |text: &str, key: &str| check(text.as_bytes(), Some(key.to_owned())).unwrap().body_hash;
    let one = hash(r#"{"kind":"noop","payload":{}}"#, "a");
    assert_eq!(one, hash(r#" { "payload":{}, "kind":"noop", "priority": 50 } "#, "b"));
    assert_ne!(one, hash(r#"{"kind":"noop","payload":{"fail_times":1}}"#, "a"));
    assert_ne!(one, hash(r#"{"kind":"noop","payload":{},"labels":{"a":"b"}}"#, "a"));
}
