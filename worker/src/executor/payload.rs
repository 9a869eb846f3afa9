//! The payloads of the kinds every node has, and how they are checked where a job comes in.
//!
//! Pure: it looks at the JSON and at nothing else, so what it accepts can still fail on a node where a
//! command or a folder is missing.

use relais_protocol::time::parse_duration_ms;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// What is wrong with a payload, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct PayloadError {
    /// A JSON pointer into the job spec, like `/payload/command/0`.
    pub pointer: String,
    /// What is expected there.
    pub message: String,
}

/// Checks the payload of a job of the given kind.
///
/// # Errors
/// With the first thing that is wrong. What jobs of another kind are given is between them and who runs them.
pub fn check(kind: &str, payload: &Value) -> Result<(), PayloadError> {
    match kind {
        "exec" => ExecPayload::parse(payload).map(drop),
        "http" => HttpPayload::parse(payload).map(drop),
        "noop" => NoopPayload::parse(payload).map(drop),
        _ => Ok(()),
    }
}

/// What an `exec` job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecPayload {
    /// The program and its arguments: at least the program.
    pub command: Vec<String>,
    /// What is added to its environment.
    pub env: Vec<(String, String)>,
    /// Where it runs; in a fresh private folder if it does not say.
    pub cwd: Option<String>,
    /// What it reads on standard input.
    pub stdin: Option<String>,
}

/// What an `http` job asks for.
#[derive(Debug, Clone)]
pub struct HttpPayload {
    /// `GET` if it does not say.
    pub method: reqwest::Method,
    /// With scheme `http` or `https`.
    pub url: Url,
    /// In their order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A text as it is, any other JSON as JSON.
    pub body: Option<Body>,
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Sent as it is.
    Text(String),
    /// Sent with `Content-Type: application/json` unless the headers say otherwise.
    Json(String),
}

/// What a `noop` job does instead of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoopPayload {
    /// How long it takes.
    pub sleep_ms: u64,
    /// How many attempts fail before one succeeds.
    pub fail_times: u16,
}

fn wrong<T>(pointer: impl Into<String>, message: impl Into<String>) -> Result<T, PayloadError> {
    Err(PayloadError { pointer: pointer.into(), message: message.into() })
}

/// A key as a part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn fields<'a>(payload: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, PayloadError> {
    let Some(fields) = payload.as_object() else {
        return wrong("/payload", format!("must be an object with {}", known.join(", ")));
    };
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => wrong(
            format!("/payload/{}", escaped(key)),
            format!("is no field of this kind; it has {}", known.join(", ")),
        ),
        None => Ok(fields),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str, PayloadError> {
    match value.as_str() {
        Some(text) if text.contains('\0') => wrong(pointer, "must not hold a NUL byte"),
        Some(text) => Ok(text),
        None => wrong(pointer, "must be a text"),
    }
}

/// A field that may be missing or null.
fn present<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    fields.get(key).filter(|value| !value.is_null())
}

/// An object of texts.
fn texts(fields: &Map<String, Value>, key: &str) -> Result<Vec<(String, String)>, PayloadError> {
    let Some(value) = present(fields, key) else { return Ok(Vec::new()) };
    let Some(entries) = value.as_object() else {
        return wrong(format!("/payload/{key}"), "must be an object of texts");
    };
    entries
        .iter()
        .map(|(name, value)| Ok((name.clone(), text(value, &format!("/payload/{key}/{}", escaped(name)))?.to_owned())))
        .collect()
}

impl ExecPayload {
    /// Reads and checks one.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn parse(payload: &Value) -> Result<Self, PayloadError> {
        let fields = fields(payload, &["command", "env", "cwd", "stdin"])?;
        let command = Self::command(fields.get("command"))?;
        let env = texts(fields, "env")?;
        for (key, _) in &env {
            let pointer = format!("/payload/env/{}", escaped(key));
            if key.is_empty() || key.contains(['=', '\0']) {
                return wrong(pointer, "is no name of an environment variable");
            }
            if key.starts_with("RELAIS_") {
                return wrong(pointer, "is given by Relais itself; choose a name that does not start with RELAIS_");
            }
        }
        let cwd = match present(fields, "cwd") {
            Some(value) => {
                let cwd = text(value, "/payload/cwd")?;
                if !cwd.starts_with('/') {
                    return wrong("/payload/cwd", "must be an absolute path; leave it out for a private folder");
                }
                Some(cwd.to_owned())
            }
            None => None,
        };
        let stdin = match present(fields, "stdin") {
            Some(Value::String(stdin)) => Some(stdin.clone()),
            Some(_) => return wrong("/payload/stdin", "must be a text"),
            None => None,
        };
        Ok(Self { command, env, cwd, stdin: stdin.filter(|text| !text.is_empty()) })
    }

    fn command(value: Option<&Value>) -> Result<Vec<String>, PayloadError> {
        let shape = "must be an array of texts, like [\"python3\", \"report.py\"]";
        let Some(value) = value else {
            return wrong("/payload/command", format!("is missing: it {shape}"));
        };
        let Some(items) = value.as_array() else {
            return wrong("/payload/command", format!("{shape}; for a shell line use [\"sh\", \"-c\", \"…\"]"));
        };
        let command = items
            .iter()
            .enumerate()
            .map(|(place, item)| text(item, &format!("/payload/command/{place}")).map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()?;
        match command.first().map(String::as_str) {
            None => wrong("/payload/command", "must name a program"),
            Some("") => wrong("/payload/command/0", "must name a program"),
            Some(_) => Ok(command),
        }
    }
}

impl HttpPayload {
    /// Reads and checks one.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn parse(payload: &Value) -> Result<Self, PayloadError> {
        let fields = fields(payload, &["method", "url", "headers", "body"])?;
        let method = match present(fields, "method") {
            Some(value) => Self::method(text(value, "/payload/method")?)?,
            None => reqwest::Method::GET,
        };
        let Some(url) = fields.get("url") else {
            return wrong("/payload/url", "is missing: it must be an http or https URL");
        };
        let url = Self::url(text(url, "/payload/url")?)?;
        let headers = texts(fields, "headers")?
            .into_iter()
            .map(|(name, value)| Self::header(&name, &value))
            .collect::<Result<_, _>>()?;
        let body = present(fields, "body").map(|value| match value {
            Value::String(text) => Body::Text(text.clone()),
            other => Body::Json(other.to_string()),
        });
        Ok(Self { method, url, headers, body })
    }

    fn method(name: &str) -> Result<reqwest::Method, PayloadError> {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        match reqwest::Method::from_bytes(name.as_bytes()) {
            Ok(method) if known.contains(&method.as_str()) => Ok(method),
            _ => wrong("/payload/method", format!("must be one of {}", known.join(", "))),
        }
    }

    fn url(text: &str) -> Result<Url, PayloadError> {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
            Ok(_) => wrong("/payload/url", "must be an http or https URL"),
            Err(error) => wrong("/payload/url", format!("must be an http or https URL: {error}")),
        }
    }

    fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), PayloadError> {
        let pointer = format!("/payload/headers/{}", escaped(name));
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            return wrong(pointer, "is no name of an HTTP header");
        };
        match HeaderValue::from_str(value) {
            Ok(value) => Ok((header, value)),
            Err(_) => wrong(pointer, "holds a character that an HTTP header cannot"),
        }
    }
}

impl NoopPayload {
    /// Reads and checks one; null counts as an empty object.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn parse(payload: &Value) -> Result<Self, PayloadError> {
        if payload.is_null() {
            return Ok(Self { sleep_ms: 0, fail_times: 0 });
        }
        let fields = fields(payload, &["sleep", "fail_times"])?;
        let sleep_ms = match present(fields, "sleep") {
            Some(value) => match parse_duration_ms(text(value, "/payload/sleep")?) {
                Ok(ms) => ms,
                Err(message) => return wrong("/payload/sleep", message),
            },
            None => 0,
        };
        let fail_times = match present(fields, "fail_times") {
            Some(value) => match value.as_u64().and_then(|count| u16::try_from(count).ok()) {
                Some(count) => count,
                None => return wrong("/payload/fail_times", "must be a whole number from 0 to 65535"),
            },
            None => 0,
        };
        Ok(Self { sleep_ms, fail_times })
    }
}

#[cfg(test)]
mod tests;
