//! The rules of a job spec beyond its shape, with its defaults.

use super::raw::{RawRetry, RawSpec, Text};
use super::{METADATA_BYTES_MAX, notify, room, shared, unreadable};
use crate::http::json::escaped;
use crate::http::leases::is_type;
use crate::http::problem::FieldError;
use relais_protocol::job::ErrorKind;
use relais_protocol::spec::{
    ATTEMPTS_MAX, Dependency, Jitter, JobOptions, JobSpec, LABELS_MAX, Labels, NAME_CHARS_MAX, OnDisconnect, OnLost,
    QueueName, Requires, RetryPolicy, StartTime,
};
use relais_protocol::time::{UnixMs, parse_duration_ms};
use serde_json::Value;
use serde_json::value::RawValue;

/// Conditions that a policy may name as final.
const NON_RETRYABLE_MAX: usize = 64;
/// Characters of a label's key and of its value.
const LABEL_CHARS_MAX: usize = 200;
/// How far apart waits may grow with each attempt.
const BACKOFF_MAX: f64 = 1_000.0;

pub(super) type Errors = Vec<FieldError>;

/// Notes that the field at `pointer` is wrong.
pub(super) fn push(errors: &mut Errors, pointer: &str, detail: &str) {
    errors.push(FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() });
}

/// What is wrong with a kind, if anything.
pub(super) fn kind_error(kind: &str) -> Option<String> {
    match kind {
        "copy" => Some("`copy` is not supported by this version".to_owned()),
        _ if is_kind(kind) => None,
        _ => Some(
            "a kind is 1 to 64 of a-z 0-9 . _ - and starts with a letter: exec, http, noop, external, or one that a \
             node of yours offers"
                .to_owned(),
        ),
    }
}

/// Whether a text can be the name of a kind. Whether it is one is known only where it is applied.
#[must_use]
pub fn is_kind(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.len() <= 64 && text.chars().all(fits)
}

/// The spec without its payload, or `None` when it has no kind; what is wrong goes to `errors`.
pub(super) fn apply(raw: RawSpec<'_>, depends_on: Vec<Dependency>, errors: &mut Errors) -> Option<JobSpec> {
    match raw.kind.as_ref().map(|kind| kind_error(&kind.0)) {
        None => push(errors, "/kind", "is missing; it is exec, http, noop, external, or a kind of your own"),
        Some(Some(wrong)) => push(errors, "/kind", &wrong),
        Some(None) => {}
    }
    let start = start(&raw, errors);
    let options = JobOptions {
        start,
        expires_at: expiry(raw.expires_at.as_ref(), start, errors),
        timeout_ms: timeout(raw.timeout.as_ref(), errors),
        retry: raw.retry.map_or_else(RetryPolicy::default, |raw| retry(&raw.0, errors)),
        on_disconnect: one_of(
            raw.on_disconnect.as_ref(),
            "/on_disconnect",
            &[("stop", OnDisconnect::Stop), ("continue", OnDisconnect::Continue)],
            errors,
        ),
        idempotency_key: None,
        requires: raw.requires.map_or_else(Requires::default, |raw| room::requires(raw.0, errors)),
        labels: labels(raw.labels, "/labels", errors),
        metadata: metadata(raw.metadata, errors),
        depends_on,
        concurrency: raw.concurrency.and_then(|raw| shared::concurrency(&raw.0, errors)),
        unique: raw.unique.and_then(|raw| shared::unique(&raw.0, errors)),
        placement: room::placement(raw.placement.as_ref(), errors),
        notify: raw.notify.and_then(|raw| notify::webhook(&raw.0, errors)),
        on_complete: None,
        origin: None,
    };
    let spec = JobSpec {
        kind: raw.kind?.0.into_owned(),
        queue: queue(raw.queue.as_ref(), errors),
        priority: bounded(raw.priority, "/priority", 0, 100, 50, errors) as u8,
        name: name(raw.name.as_ref(), errors),
        payload: String::new(),
        options: None,
    };
    Some(spec.with_options(options))
}

fn name(name: Option<&Text<'_>>, errors: &mut Errors) -> String {
    let name = name.map_or("", |name| &name.0);
    if name.chars().count() > NAME_CHARS_MAX {
        push(errors, "/name", "is longer than 200 characters");
    }
    if name.contains('\0') {
        push(errors, "/name", "must not hold a NUL character");
    }
    name.to_owned()
}

fn queue(queue: Option<&Text<'_>>, errors: &mut Errors) -> QueueName {
    let Some(queue) = queue else { return QueueName::default() };
    QueueName::parse(&queue.0).unwrap_or_else(|why| {
        push(errors, "/queue", &why);
        QueueName::default()
    })
}

fn start(raw: &RawSpec<'_>, errors: &mut Errors) -> StartTime {
    match (&raw.run_at, &raw.delay) {
        (None, None) => StartTime::Now,
        (Some(_), Some(_)) => {
            push(errors, "/delay", "stands beside run_at; give one of them");
            StartTime::Now
        }
        (Some(at), None) => time(at, "/run_at", errors).map_or(StartTime::Now, StartTime::At),
        (None, Some(delay)) => duration(delay, "/delay", errors).map_or(StartTime::Now, StartTime::After),
    }
}

fn expiry(text: Option<&Text<'_>>, start: StartTime, errors: &mut Errors) -> Option<UnixMs> {
    let end = time(text?, "/expires_at", errors)?;
    if matches!(start, StartTime::At(at) if end <= at) {
        push(errors, "/expires_at", "is not after run_at: the job would never start");
    }
    Some(end)
}

fn timeout(text: Option<&Text<'_>>, errors: &mut Errors) -> Option<u64> {
    let ms = duration(text?, "/timeout", errors)?;
    if ms == 0 {
        push(errors, "/timeout", "must be longer than 0; leave it out for none");
    }
    Some(ms)
}

fn retry(raw: &RawRetry<'_>, errors: &mut Errors) -> RetryPolicy {
    let defaults = RetryPolicy::default();
    let most = i64::from(ATTEMPTS_MAX);
    let interval = |text: Option<&Text<'_>>, pointer: &str, default: u64, errors: &mut Errors| {
        text.and_then(|text| duration(text, pointer, errors)).unwrap_or(default)
    };
    let initial_interval_ms =
        interval(raw.initial_interval.as_ref(), "/retry/initial_interval", defaults.initial_interval_ms, errors);
    let maximum_interval_ms =
        interval(raw.maximum_interval.as_ref(), "/retry/maximum_interval", defaults.maximum_interval_ms, errors);
    if raw.maximum_interval.is_some() && maximum_interval_ms < initial_interval_ms {
        push(errors, "/retry/maximum_interval", "is shorter than initial_interval");
    }
    let coefficient = raw.backoff_coefficient.unwrap_or(2.0);
    if !(1.0..=BACKOFF_MAX).contains(&coefficient) {
        push(errors, "/retry/backoff_coefficient", "must be from 1 to 1000");
    }
    RetryPolicy {
        max_attempts: bounded(raw.max_attempts, "/retry/max_attempts", 1, most, 1, errors) as u16,
        initial_interval_ms,
        backoff_permille: (coefficient.clamp(1.0, BACKOFF_MAX) * 1_000.0).round() as u32,
        maximum_interval_ms,
        jitter: one_of(raw.jitter.as_ref(), "/retry/jitter", &[("full", Jitter::Full), ("none", Jitter::None)], errors),
        non_retryable: non_retryable(raw.non_retryable.as_deref(), errors),
        on_lost: one_of(
            raw.on_lost.as_ref(),
            "/retry/on_lost",
            &[("retry", OnLost::Retry), ("fail", OnLost::Fail)],
            errors,
        ),
        max_lost: bounded(raw.max_lost, "/retry/max_lost", 0, most, i64::from(defaults.max_lost), errors) as u16,
    }
}

fn non_retryable(conditions: Option<&[Text<'_>]>, errors: &mut Errors) -> Vec<String> {
    let conditions = conditions.unwrap_or_default();
    if conditions.len() > NON_RETRYABLE_MAX {
        push(errors, "/retry/non_retryable", "has more than 64 items");
    }
    for (place, condition) in conditions.iter().enumerate().take(NON_RETRYABLE_MAX) {
        let by_code = condition.0.strip_prefix("exit:").is_some_and(|code| code.parse::<u8>().is_ok());
        let by_type = condition.0.strip_prefix("worker:").is_some_and(is_type);
        if !by_code && !by_type && !ERROR_KINDS.iter().any(|kind| kind.as_str() == condition.0) {
            let pointer = format!("/retry/non_retryable/{place}");
            push(
                errors,
                &pointer,
                "must be `exit:N` with N from 0 to 255, exit, signal, timeout, spawn, http, worker, or `worker:TYPE`",
            );
        }
    }
    conditions.iter().map(|condition| condition.0.to_string()).collect()
}

/// The errors of an attempt that was tried.
const ERROR_KINDS: [ErrorKind; 6] =
    [ErrorKind::Exit, ErrorKind::Signal, ErrorKind::Timeout, ErrorKind::Spawn, ErrorKind::Http, ErrorKind::Worker];

pub(super) fn labels(labels: Option<Labels>, pointer: &str, errors: &mut Errors) -> Labels {
    let labels = labels.unwrap_or_default();
    if labels.len() > LABELS_MAX {
        push(errors, pointer, "has more than 16 labels");
    }
    for (key, value) in labels.iter().take(LABELS_MAX) {
        let fits = |text: &str| text.chars().count() <= LABEL_CHARS_MAX && !text.chars().any(char::is_control);
        if key.is_empty() || key.contains([':', '=']) || !fits(key) {
            let detail = "a label's key has 1 to 200 characters, and no `:`, `=` or control character";
            push(errors, &format!("{pointer}/{}", escaped(key)), detail);
        } else if !fits(value) {
            let detail = "a label's value has at most 200 characters, and no control character";
            push(errors, &format!("{pointer}/{}", escaped(key)), detail);
        }
    }
    labels
}

fn metadata(metadata: Option<&RawValue>, errors: &mut Errors) -> String {
    let Some(metadata) = metadata else { return String::new() };
    let text = metadata.get();
    if text.len() > METADATA_BYTES_MAX {
        push(errors, "/metadata", "is longer than 64 KiB");
        return String::new();
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(object)) if object.is_empty() => return String::new(),
        Ok(Value::Object(_)) => {}
        Ok(_) => push(errors, "/metadata", "must be an object"),
        Err(error) => push(errors, "/metadata", &unreadable(&error)),
    }
    text.to_owned()
}

fn time(text: &Text<'_>, pointer: &str, errors: &mut Errors) -> Option<UnixMs> {
    UnixMs::parse_rfc3339(&text.0).map_err(|why| push(errors, pointer, &why)).ok()
}

pub(super) fn duration(text: &Text<'_>, pointer: &str, errors: &mut Errors) -> Option<u64> {
    parse_duration_ms(&text.0).map_err(|why| push(errors, pointer, &why)).ok()
}

pub(super) fn bounded(
    number: Option<i64>,
    pointer: &str,
    least: i64,
    most: i64,
    default: i64,
    errors: &mut Errors,
) -> i64 {
    let number = number.unwrap_or(default);
    if !(least..=most).contains(&number) {
        push(errors, pointer, &format!("is {number}, but must be a whole number from {least} to {most}"));
    }
    number.clamp(least, most)
}

pub(super) fn one_of<T: Copy + Default>(
    text: Option<&Text<'_>>,
    pointer: &str,
    known: &[(&str, T)],
    errors: &mut Errors,
) -> T {
    let Some(text) = text else { return T::default() };
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == text.0) {
        return *value;
    }
    let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
    push(errors, pointer, &format!("must be {}", names.join(" or ")));
    T::default()
}
