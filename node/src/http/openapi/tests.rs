//! That the description misses no route and no parameter, that its copy in the tree is the same, and that its pages
//! have all that they are to have and ask nothing of anybody.

use super::{docs, document, operations, text};
use crate::http::problem::Kind;
use crate::http::route::ROUTES;
use crate::http::tests::rig::Served;
use relais_protocol::settings::Settings;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("openapi.json")
}

#[test]
fn the_copy_in_the_tree_is_what_is_served() {
    let text = text();
    if std::env::var_os("RELAIS_GOLDEN").is_some() {
        std::fs::write(golden(), &text).unwrap();
    }
    let kept = std::fs::read_to_string(golden()).unwrap_or_default();
    assert!(
        kept == text,
        "node/openapi.json is not what the code says; if that is meant: RELAIS_GOLDEN=1 cargo test -p relais-node --lib \
         openapi, and look at the difference"
    );
}

#[test]
fn each_route_has_an_operation_and_each_operation_a_route() {
    let mut seen = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for operation in operations() {
        let route = operation.route();
        let what = format!("{} {}", operation.method, operation.path);
        let (place, name) = route.unwrap_or_else(|| panic!("{what} is no route")).named();
        assert!(place < ROUTES);
        seen.insert(place);
        let pattern = name.rsplit(' ').next().unwrap();
        // Verbs that one route has in common are counted under the first of them.
        let stem = |path: &str| path.rsplit_once(':').map_or(path, |(stem, _)| stem).to_owned();
        assert_eq!(stem(pattern), stem(operation.path), "{what} is counted as {name}");
        assert!(ids.insert(operation.to_json()["operationId"].to_string()), "{what}: its id stands twice");
    }
    let missing: Vec<usize> = (0..ROUTES).filter(|place| !seen.contains(place)).collect();
    assert!(missing.is_empty(), "routes without an operation, by their number in Route::named: {missing:?}");
}

/// Each route is asked with a parameter that none has, and says which it has.
#[actix_web::test]
async fn each_parameter_of_a_route_is_named() {
    let served = Served::with_slots(1);
    for operation in operations() {
        let what = format!("{} {}", operation.method, operation.path);
        let named: BTreeSet<String> = operation.query.iter().map(|one| one.name.to_owned()).collect();
        if ["/", "/livez"].contains(&operation.path) {
            assert!(named.is_empty(), "{what} minds no parameter");
            continue;
        }
        let path = format!("{}?no_such=1", operation.sample_path());
        let said = served.send(served.request(operation.method, &path)).await;
        let detail = said.problem(400)["detail"].as_str().unwrap().to_owned();
        let taken: BTreeSet<String> = match detail.split_once("; it has ") {
            Some((_, names)) => names.split(", ").map(str::to_owned).collect(),
            None => {
                assert!(detail.ends_with("it has none"), "{what}: {detail}");
                BTreeSet::new()
            }
        };
        assert_eq!(named, taken, "{what}");
    }
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn what_is_referred_to_is_there_and_says_something() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 500);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (name, schema) in document.pointer("/components/schemas").unwrap().as_object().unwrap() {
        assert!(schema.as_object().is_some_and(|schema| !schema.is_empty()), "{name} is empty");
    }
}

#[test]
fn the_settings_are_those_there_are() {
    let document = document();
    for name in ["Settings", "SettingsPatch"] {
        let fields = document.pointer(&format!("/components/schemas/{name}/properties")).unwrap().as_object().unwrap();
        let names: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(names, Settings::KEYS.into_iter().collect());
    }
}

#[test]
fn what_is_asked_is_closed_and_what_is_answered_is_whole() {
    let document = document();
    let schema = |name: &str| document.pointer(&format!("/components/schemas/{name}")).unwrap().clone();
    let job = schema("JobSpec");
    assert_eq!(job["additionalProperties"], Value::Bool(false));
    assert_eq!(job["required"], serde_json::json!(["kind", "payload"]));
    assert_eq!(job["properties"]["priority"]["maximum"], 100);
    let shown = schema("Job");
    let required: Vec<&str> = shown["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(required.contains(&"finished_at") && required.contains(&"result") && !required.contains(&"deduplicated"));
}

#[test]
fn each_problem_is_explained_under_its_anchor() {
    let page = docs::of_problems();
    let html = std::str::from_utf8(&page.text).unwrap();
    let mut slugs = BTreeSet::new();
    for kind in Kind::ALL {
        assert!(html.contains(&format!("<h2 id=\"{}\">", kind.slug())), "{}", kind.slug());
        assert!(kind.cause().len() > 20 && kind.next().len() > 20);
        assert!(slugs.insert(kind.slug()), "{} stands twice", kind.slug());
    }
    assert!(slugs.len() >= 20);
}

#[actix_web::test]
async fn the_pages_are_served_to_anybody_and_ask_nothing_of_anybody() {
    let served = Served::with_slots(1);
    let made = served.post("/v1/tokens", r#"{"role":"admin"}"#).await;
    assert_eq!(made.status, 201);
    for path in ["/v1/docs", "/v1/problems"] {
        let said = served.get(path).await;
        assert_eq!((said.status, said.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        let policy = said.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && said.headers.get_all("content-security-policy").iter().count() == 1);
        for word in ["<script", "http://", "https://", "src=", " style=", " onclick="] {
            assert!(!said.text.contains(word), "{path} has {word}");
        }
    }
    assert!(served.get("/v1/docs").await.text.contains("/v1/jobs/{id}:cancel"));
    let said = served.get("/v1/openapi.json").await;
    assert_eq!((said.status, said.header("content-type")), (200, "application/json"));
    assert_eq!(said.json()["openapi"], "3.1.0");
    assert_eq!(served.get("/v1/jobs").await.status, 401);
}
