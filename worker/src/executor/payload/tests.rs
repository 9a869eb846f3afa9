//! What payload checks accept and refuse, as tables.

use super::*;
use serde_json::json;

#[test]
fn what_is_right_is_accepted() {
    let right = [
        ("exec", json!({"command": ["true"]})),
        ("exec", json!({"command": ["sh", "-c", "exit 1"], "env": {"A": "b"}, "cwd": "/srv", "stdin": "x"})),
        ("exec", json!({"command": ["true"], "env": null, "cwd": null, "stdin": null})),
        ("http", json!({"url": "http://127.0.0.1:1/x"})),
        ("http", json!({"method": "POST", "url": "https://a.example", "headers": {"X-A": "b"}, "body": {"a": 1}})),
        ("noop", json!({})),
        ("noop", Value::Null),
        ("noop", json!({"sleep": "1s", "fail_times": 2})),
    ];
    for (kind, payload) in right {
        assert_eq!(check(kind, &payload), Ok(()), "{kind} {payload}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_a_pointer() {
    let wrong = [
        ("exec", json!(null), "/payload"),
        ("exec", json!([]), "/payload"),
        ("exec", json!({}), "/payload/command"),
        ("exec", json!({"command": "true"}), "/payload/command"),
        ("exec", json!({"command": []}), "/payload/command"),
        ("exec", json!({"command": [""]}), "/payload/command/0"),
        ("exec", json!({"command": [1]}), "/payload/command/0"),
        ("exec", json!({"command": ["a", null]}), "/payload/command/1"),
        ("exec", json!({"command": ["a\u{0}"]}), "/payload/command/0"),
        ("exec", json!({"command": ["a"], "shell": true}), "/payload/shell"),
        ("exec", json!({"command": ["a"], "a/b~c": 1}), "/payload/a~1b~0c"),
        ("exec", json!({"command": ["a"], "env": ["A=b"]}), "/payload/env"),
        ("exec", json!({"command": ["a"], "env": {"A": 1}}), "/payload/env/A"),
        ("exec", json!({"command": ["a"], "env": {"A=": "1"}}), "/payload/env/A="),
        ("exec", json!({"command": ["a"], "env": {"": "1"}}), "/payload/env/"),
        ("exec", json!({"command": ["a"], "env": {"RELAIS_FENCE": "1"}}), "/payload/env/RELAIS_FENCE"),
        ("exec", json!({"command": ["a"], "cwd": 1}), "/payload/cwd"),
        ("exec", json!({"command": ["a"], "cwd": "srv"}), "/payload/cwd"),
        ("exec", json!({"command": ["a"], "cwd": ""}), "/payload/cwd"),
        ("exec", json!({"command": ["a"], "stdin": {}}), "/payload/stdin"),
        ("http", json!({}), "/payload/url"),
        ("http", json!({"url": 1}), "/payload/url"),
        ("http", json!({"url": "ftp://a"}), "/payload/url"),
        ("http", json!({"url": "/x"}), "/payload/url"),
        ("http", json!({"url": "http://a", "method": "BREW"}), "/payload/method"),
        ("http", json!({"url": "http://a", "method": 1}), "/payload/method"),
        ("http", json!({"url": "http://a", "headers": {"a b": "c"}}), "/payload/headers/a b"),
        ("http", json!({"url": "http://a", "headers": {"a": "c\nd"}}), "/payload/headers/a"),
        ("http", json!({"url": "http://a", "headers": {"a": 1}}), "/payload/headers/a"),
        ("http", json!({"url": "http://a", "timeout": 1}), "/payload/timeout"),
        ("noop", json!(1), "/payload"),
        ("noop", json!({"sleep": 1}), "/payload/sleep"),
        ("noop", json!({"sleep": "soon"}), "/payload/sleep"),
        ("noop", json!({"fail_times": -1}), "/payload/fail_times"),
        ("noop", json!({"fail_times": "1"}), "/payload/fail_times"),
        ("noop", json!({"fail_times": 65536}), "/payload/fail_times"),
        ("noop", json!({"nap": "1s"}), "/payload/nap"),
    ];
    for (kind, payload, pointer) in wrong {
        let refused = check(kind, &payload).expect_err(&format!("{kind} {payload}"));
        assert_eq!(refused.pointer, pointer, "{kind} {payload}: {}", refused.message);
        assert!(!refused.message.is_empty());
    }
}

#[test]
fn a_body_is_text_or_json() {
    let body = |body: Value| HttpPayload::parse(&json!({"url": "http://a", "body": body})).unwrap().body;
    assert_eq!(body(json!("a=b")), Some(Body::Text("a=b".to_owned())));
    assert_eq!(body(json!([1])), Some(Body::Json("[1]".to_owned())));
    assert_eq!(body(Value::Null), None);
}
