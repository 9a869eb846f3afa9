//! The description and the problems as pages for people: written once, without a script, with a style that their policy
//! names by its hash. They ask nothing of any other host, nor of this one.

use crate::http::problem::Kind;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// How they look, in the colours that the reader's system has.
const STYLE: &str = "\
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 20%,transparent);--dim:color-mix(in srgb,currentColor 70%,transparent)}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}\
h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}\
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:.4rem .8rem}\
summary{cursor:pointer}\
summary b{display:inline-block;min-width:4.5rem}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;border-top:1px solid var(--line)}\
th{font-weight:600}\
.dim{color:var(--dim)}\
nav{columns:12rem}";

/// A page, and what its browser may do for it.
pub(super) struct Page {
    pub(super) text: Bytes,
    pub(super) policy: String,
}

fn page(title: &str, body: &str) -> Page {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{title} - Relais</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    );
    Page { text: text.into(), policy }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A sentence, with what stands between backticks as code.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (place, part) in escaped(text).split('`').enumerate() {
        html += &if place % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() };
    }
    html
}

fn said<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn fields(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// All problems, each under its own anchor.
pub(super) fn of_problems() -> Page {
    let mut body = String::from(
        "<h1>Problems</h1>\n<p>An error is <code>application/problem+json</code> (RFC 9457). Its <code>type</code> is \
         <code>urn:relais:problem:</code> and one of these names, and does not change from version to version; \
         <code>detail</code> is for people and may. <a href=\"docs\">The API</a></p>\n",
    );
    for kind in Kind::ALL {
        let slug = kind.slug();
        // Writing to a `String` can't fail.
        let _ = write!(
            body,
            "<h2 id=\"{slug}\"><a href=\"#{slug}\">{slug}</a> <span class=\"dim\">{} {}</span></h2>\n<p><b>Cause.</b> \
             {}</p>\n<p><b>What to do.</b> {}</p>\n",
            kind.status(),
            escaped(kind.title()),
            prose(kind.cause()),
            prose(kind.next())
        );
    }
    page("Problems", &body)
}

/// All operations and shapes of a description.
pub(super) fn of_operations(document: &Value) -> Page {
    let about = prose(document["info"]["description"].as_str().unwrap_or_default());
    let version = said(&document["info"], "version");
    let mut body = format!(
        "<h1>Relais API <span class=\"dim\">{version}</span></h1>\n<p>{about}</p>\n<p><a \
         href=\"openapi.json\">openapi.json</a> - <a href=\"problems\">Problems</a> - <a href=\"#shapes\">Shapes</a></p>\n"
    );
    let mut by_tag: Map<String, Value> = Map::new();
    for (path, methods) in fields(document.get("paths")) {
        for (method, operation) in fields(Some(methods)) {
            let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
            let html = operation_html(&method.to_ascii_uppercase(), path, operation);
            let section = by_tag.entry(tag).or_insert_with(|| Value::String(String::new()));
            *section = Value::String(section.as_str().unwrap_or_default().to_owned() + &html);
        }
    }
    for (tag, section) in &by_tag {
        let _ = write!(body, "<h2 id=\"{tag}\">{tag}</h2>\n{}", section.as_str().unwrap_or_default());
    }
    body += "<h2 id=\"shapes\">Shapes</h2>\n";
    for (name, schema) in fields(document.pointer("/components/schemas")) {
        body += &shape_html(name, schema);
    }
    page("API", &body)
}

fn operation_html(method: &str, path: &str, operation: &Value) -> String {
    let mut html = format!(
        "<details id=\"{}\">\n<summary><b>{method}</b> <code>{}</code> {}</summary>\n",
        said(operation, "operationId"),
        escaped(path),
        prose(said(operation, "summary"))
    );
    let about = said(operation, "description");
    if !about.is_empty() {
        let _ = writeln!(html, "<p>{}</p>", prose(about));
    }
    let parameters = operation.get("parameters").and_then(Value::as_array);
    if let Some(parameters) = parameters {
        html += "<table>\n<tr><th>Parameter</th><th>In</th><th>Value</th><th></th></tr>\n";
        for one in parameters {
            let (name, place) = (said(one, "name"), said(one, "in"));
            let (value, about) = (brief(&one["schema"]), prose(said(one, "description")));
            let _ =
                writeln!(html, "<tr><td><code>{name}</code></td><td>{place}</td><td>{value}</td><td>{about}</td></tr>");
        }
        html += "</table>\n";
    }
    for (media_type, content) in fields(operation.pointer("/requestBody/content")) {
        let _ = writeln!(html, "<p>Body: <code>{media_type}</code> {}</p>", brief(&content["schema"]));
    }
    html += "<table>\n<tr><th>Status</th><th></th><th>Body</th></tr>\n";
    for (status, response) in fields(operation.get("responses")) {
        html += &response_html(status, response);
    }
    html + "</table>\n</details>\n"
}

fn response_html(status: &str, response: &Value) -> String {
    if response.get("$ref").is_some() {
        let kinds = Kind::ALL.iter().filter(|kind| kind.status().to_string() == status);
        let links: Vec<String> = kinds.map(|kind| format!("<a href=\"problems#{0}\">{0}</a>", kind.slug())).collect();
        return format!("<tr><td>{status}</td><td>{}</td><td></td></tr>\n", links.join(", "));
    }
    let bodies: Vec<String> = fields(response.get("content"))
        .map(|(media_type, content)| format!("<code>{media_type}</code> {}", brief(&content["schema"])))
        .collect();
    format!(
        "<tr><td>{status}</td><td>{}</td><td>{}</td></tr>\n",
        prose(said(response, "description")),
        bodies.join("<br>")
    )
}

fn shape_html(name: &str, schema: &Value) -> String {
    let mut html = format!("<details id=\"{name}\">\n<summary><code>{name}</code></summary>\n");
    let about = said(schema, "description");
    if !about.is_empty() {
        let _ = writeln!(html, "<p>{}</p>", prose(about));
    }
    let Some(properties) = schema.get("properties") else {
        return html + "<p>" + &brief(schema) + "</p>\n</details>\n";
    };
    let required = schema.get("required").and_then(Value::as_array);
    html += "<table>\n<tr><th>Field</th><th>Value</th><th></th></tr>\n";
    for (field, schema) in fields(Some(properties)) {
        let always = required.is_some_and(|names| names.iter().any(|name| name == field));
        let may = if always { "" } else { " <span class=\"dim\">may be left out</span>" };
        let (value, about) = (brief(schema), prose(said(schema, "description")));
        let _ = writeln!(html, "<tr><td><code>{field}</code>{may}</td><td>{value}</td><td>{about}</td></tr>");
    }
    html + "</table>\n</details>\n"
}

/// A schema in a few words.
fn brief(schema: &Value) -> String {
    if let Some(name) = said(schema, "$ref").rsplit('/').next().filter(|name| !name.is_empty()) {
        return format!("<a href=\"#{name}\">{name}</a>");
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema.get(key).and_then(Value::as_array) {
            return choices.iter().map(brief).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> =
            words.iter().map(|word| format!("<code>{}</code>", escaped(&word.to_string()))).collect();
        return words.join(" ");
    }
    let kinds = match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    };
    match schema.get("items") {
        Some(items) => format!("{kinds} of {}", brief(items)),
        None => kinds + &limits(schema),
    }
}

fn limits(schema: &Value) -> String {
    let mut text = String::new();
    for (key, word) in
        [("minimum", "from"), ("maximum", "to"), ("minLength", "at least"), ("maxLength", "at most"), ("format", "as")]
    {
        if let Some(limit) = schema.get(key).filter(|limit| **limit != "int32" && **limit != "int64") {
            let limit = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
            let _ = write!(text, " {word} {}", escaped(&limit));
        }
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        let _ = write!(text, " <code>{}</code>", escaped(pattern));
    }
    text
}
