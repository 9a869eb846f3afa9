//! The body of `POST /v1/leases`: JSON to a checked ask, or all that is wrong with it, each with a JSON pointer.

use crate::http::openapi::words;
use crate::http::problem::{FieldError, Problem};
use crate::http::view;
use crate::http::{Api, json};
use relais_protocol::lease::{AskId, EXTERNAL, GRANT_MAX, LEASE_MS, LEASE_MS_MAX, LEASE_MS_MIN, LeaseAsk};
use relais_protocol::spec::{EVERYWHERE, LABELS_MAX, Labels, QueueName};
use relais_protocol::time::parse_duration_ms;
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// The longest wait for a job, in ms.
const WAIT_MS_MAX: u64 = 600_000;
/// Queues and kinds that an ask may name.
const NAMES_MAX: usize = 64;
/// Characters of a worker's name.
const WORKER_CHARS_MAX: usize = 200;

/// An ask as it stands in JSON. `null` counts as left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = LeaseAsk)]
pub(in crate::http) struct RawAsk {
    #[schema(value_type = Option<Vec<words::QueueName>>, min_items = 1, max_items = 64)]
    queues: Option<Vec<String>>,
    #[schema(min_items = 1, max_items = 64)]
    kinds: Option<Vec<String>>,
    #[schema(value_type = Option<words::Labels>)]
    labels: Option<Labels>,
    #[schema(minimum = 1, maximum = 100, default = 1)]
    max: Option<i64>,
    #[schema(value_type = Option<view::Duration>)]
    wait: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    worker: Option<String>,
    #[schema(value_type = Option<view::Duration>)]
    lease: Option<String>,
}

type Errors = Vec<FieldError>;

fn push(errors: &mut Errors, pointer: &str, detail: &str) {
    errors.push(FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() });
}

/// Checks a body; the ask, and how long it may wait.
///
/// # Errors
/// A problem with a pointer for each wrong field.
pub(super) fn check(body: &[u8], id: u128) -> Result<(LeaseAsk, Duration), Problem> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::field("", "must be an object"));
    }
    let raw: RawAsk = json::read_optional(body)?;
    let mut errors = Errors::new();
    let wait_ms = duration(raw.wait.as_deref(), "/wait", 0, 0, WAIT_MS_MAX, &mut errors);
    let ask = LeaseAsk {
        id: AskId(id),
        worker: worker(raw.worker, &mut errors),
        queues: queues(raw.queues, &mut errors),
        kinds: kinds(raw.kinds, &mut errors),
        labels: labels(raw.labels, &mut errors),
        max: max(raw.max, &mut errors),
        lease_ms: duration(raw.lease.as_deref(), "/lease", LEASE_MS, LEASE_MS_MIN, LEASE_MS_MAX, &mut errors),
    };
    if errors.is_empty() { Ok((ask, Duration::from_millis(wait_ms))) } else { Err(Problem::fields(errors)) }
}

/// Whether each kind is known. A kind is known to the journal first: before one is refused, this node catches up.
pub(super) async fn check_kinds(api: &Api, ask: &LeaseAsk) -> Result<(), Problem> {
    let unknown = || {
        let ledger = api.backend.ledger();
        ask.kinds.iter().position(|kind| !ledger.knows_kind(kind))
    };
    if unknown().is_none() {
        return Ok(());
    }
    // Who can't be asked refuses by what it knows.
    let _ = api.backend.fresh().await;
    match unknown() {
        None => Ok(()),
        Some(place) => {
            let detail = format!("no node has ever offered the kind `{}`; start one that does", ask.kinds[place]);
            Err(Problem::field(format!("/kinds/{place}"), detail))
        }
    }
}

fn duration(text: Option<&str>, pointer: &str, default: u64, least: u64, most: u64, errors: &mut Errors) -> u64 {
    let Some(text) = text else { return default };
    match parse_duration_ms(text) {
        Ok(ms) if (least..=most).contains(&ms) => ms,
        Ok(_) => {
            let shown = relais_protocol::time::duration_text;
            let range = if least == 0 { "at most".to_owned() } else { format!("from {} to", shown(least)) };
            push(errors, pointer, &format!("is `{text}`, but must be {range} {}", shown(most)));
            default
        }
        Err(why) => {
            push(errors, pointer, &why);
            default
        }
    }
}

fn worker(name: Option<String>, errors: &mut Errors) -> String {
    let name = name.unwrap_or_else(|| EXTERNAL.to_owned());
    if !(1..=WORKER_CHARS_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        push(errors, "/worker", "must have 1 to 200 characters, none of them a control character");
    }
    name
}

fn max(max: Option<i64>, errors: &mut Errors) -> u16 {
    let max = max.unwrap_or(1);
    if !(1..=i64::from(GRANT_MAX)).contains(&max) {
        push(errors, "/max", &format!("is {max}, but must be a whole number from 1 to {GRANT_MAX}"));
    }
    max.clamp(1, i64::from(GRANT_MAX)) as u16
}

/// A list that is not empty, where it is given.
fn listed(names: Option<Vec<String>>, pointer: &str, errors: &mut Errors) -> Option<Vec<String>> {
    let names = names?;
    if names.is_empty() || names.len() > NAMES_MAX {
        push(errors, pointer, &format!("must have 1 to {NAMES_MAX} items; leave it out for all"));
    }
    Some(names)
}

fn queues(names: Option<Vec<String>>, errors: &mut Errors) -> Vec<QueueName> {
    let names = listed(names, "/queues", errors).unwrap_or_default();
    let mut queues = Vec::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        match QueueName::parse(name) {
            Ok(queue) => queues.push(queue),
            Err(why) => push(errors, &format!("/queues/{place}"), &why),
        }
    }
    queues.sort_unstable();
    queues.dedup();
    queues
}

fn kinds(names: Option<Vec<String>>, errors: &mut Errors) -> Vec<String> {
    let Some(names) = listed(names, "/kinds", errors) else { return vec![EXTERNAL.to_owned()] };
    for (place, kind) in names.iter().enumerate() {
        if EVERYWHERE.contains(&kind.as_str()) {
            push(errors, &format!("/kinds/{place}"), &format!("jobs of kind `{kind}` are run by the nodes themselves"));
        }
    }
    names
}

fn labels(labels: Option<Labels>, errors: &mut Errors) -> Labels {
    let labels = labels.unwrap_or_default();
    if labels.len() > LABELS_MAX {
        push(errors, "/labels", "has more than 16 labels");
    }
    labels
}
