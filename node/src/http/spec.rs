//! The spec edge: JSON text to the checked [`JobSpec`], or all that is wrong with it, each with a JSON
//! pointer. Nothing behind this edge checks a spec again.
//!
//! It looks at the text alone: whether a command or a folder exists is known only where the job runs.

mod group;
mod local;
mod notify;
mod raw;
mod room;
mod rules;
mod shared;

pub(super) use group::Array;
pub(super) use local::{Local, ref_pointer};
pub(super) use raw::{Object, RawSpec};
pub use rules::is_kind;

use super::problem::{FieldError, Kind, Problem};
use relais_protocol::codec;
use relais_protocol::spec::{JobSpec, PAYLOAD_BYTES_MAX};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// Characters an idempotency key may have.
pub(super) const KEY_CHARS_MAX: usize = 256;
/// Bytes that a job's metadata may have.
pub(super) const METADATA_BYTES_MAX: usize = 64 << 10;

/// A spec that was checked.
#[derive(Debug)]
pub(super) struct Checked {
    /// The spec, with its key if it has one.
    pub(super) spec: JobSpec,
    /// A hash of all of it but the key; 0 without a key, where nobody asks.
    pub(super) body_hash: u64,
    /// What it says by names of its batch.
    pub(super) local: Local,
    /// The group that it makes.
    pub(super) array: Option<Array>,
}

/// Checks a job spec. `key` is one given beside the body.
///
/// # Errors
/// A problem with a pointer for each wrong field.
pub(super) fn check(text: &[u8], key: Option<String>) -> Result<Checked, Problem> {
    // Without this an array would be read as the fields in their order.
    if text.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::field("", "must be an object; arrays of jobs go to POST /v1/jobs:batch"));
    }
    let raw: RawSpec<'_> = serde_json::from_slice(text).map_err(|_| first_error(text))?;
    check_raw(raw, key)
}

/// What `POST /v1/jobs` makes of a body: the spec, or the problem document that it answers.
///
/// # Errors
/// The problem document, as JSON text.
pub fn spec_of(body: &[u8]) -> Result<JobSpec, String> {
    check_alone(body, None).map(|checked| checked.spec).map_err(|problem| problem.to_json(None))
}

/// Checks the spec of a job that is submitted by itself: no name of a batch means anything there.
///
/// # Errors
/// As [`check`].
pub(super) fn check_alone(text: &[u8], key: Option<String>) -> Result<Checked, Problem> {
    let checked = check(text, key)?;
    let mut errors = Vec::new();
    if checked.local.name.is_some() {
        rules::push(&mut errors, "/ref", "names a job for others of its batch; leave it out of a single job");
    }
    for (_, _, place) in &checked.local.parents {
        rules::push(&mut errors, &ref_pointer(*place), "names a job of a batch; give the job's id");
    }
    if errors.is_empty() { Ok(checked) } else { Err(refused(errors)) }
}

fn check_raw(raw: RawSpec<'_>, key: Option<String>) -> Result<Checked, Problem> {
    let mut errors = Vec::new();
    let own_key = raw.idempotency_key.as_ref().map(|key| key.0.to_string());
    let key = match (key, own_key) {
        (Some(beside), Some(own)) if beside != own => {
            rules::push(&mut errors, "/idempotency_key", "differs from the Idempotency-Key header; give one of them");
            None
        }
        (beside, own) => own.or(beside),
    };
    if let Some(key) = &key
        && let Err(why) = check_key(key)
    {
        rules::push(&mut errors, "/idempotency_key", why);
    }
    let payload = check_payload(&raw, &mut errors);
    let (depends_on, local) = local::read(raw.reference.as_ref(), raw.depends_on.as_deref(), &mut errors);
    let (array, on_complete) = (group::read(&raw, &mut errors), group::on_complete(&raw, &mut errors));
    let spec = rules::apply(raw, depends_on, &mut errors);
    match (spec, payload) {
        (Some(mut spec), Some(payload)) if errors.is_empty() => {
            if on_complete.is_some() {
                spec.options.get_or_insert_default().on_complete = on_complete;
            }
            Ok(with_key(Checked { spec: JobSpec { payload, ..spec }, body_hash: 0, local, array }, key))
        }
        _ => Err(refused(errors)),
    }
}

/// Whether `key` can be an idempotency key.
pub(super) fn check_key(key: &str) -> Result<(), &'static str> {
    let fits = !key.is_empty() && key.chars().count() <= KEY_CHARS_MAX && !key.chars().any(char::is_control);
    if fits { Ok(()) } else { Err("must have 1 to 256 characters, none of them a control character") }
}

/// The spec under its key, hashed without it.
fn with_key(checked: Checked, key: Option<String>) -> Checked {
    let Some(key) = key else { return checked };
    let Checked { mut spec, local, array, .. } = checked;
    let mut body = codec::encode(codec::FORMAT, &spec);
    if !local.is_empty() {
        body.extend(codec::encode(codec::FORMAT, &local));
    }
    if let Some(array) = &array {
        body.extend(codec::encode(codec::FORMAT, array));
    }
    spec.options.get_or_insert_default().idempotency_key = Some(key);
    Checked { spec, body_hash: xxh3_64(&body), local, array }
}

fn check_payload(raw: &RawSpec<'_>, errors: &mut Vec<FieldError>) -> Option<String> {
    let Some(payload) = raw.payload else {
        rules::push(errors, "/payload", "is missing");
        return None;
    };
    let text = payload.get();
    if text.len() > PAYLOAD_BYTES_MAX {
        rules::push(errors, "/payload", TOO_LONG);
        return None;
    }
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            rules::push(errors, "/payload", &unreadable(&error));
            return None;
        }
    };
    let kind = raw.kind.as_ref().map(|kind| &*kind.0)?;
    if rules::kind_error(kind).is_none()
        && let Err(wrong) = relais_worker::executor::payload::check(kind, &value)
    {
        rules::push(errors, &wrong.pointer, &wrong.message);
        return None;
    }
    if let Some(pointer) = crate::veil::sent_back(&value) {
        rules::push(errors, &pointer, "was left out of the answer that this comes from; give the value anew");
        return None;
    }
    Some(text.to_owned())
}

const TOO_LONG: &str = "is longer than 1 MiB; put the data where the job can fetch it, and name that place";

/// What is wrong with text that serde_json does not take.
fn unreadable(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("recursion limit") {
        return "is nested deeper than 128 levels".to_owned();
    }
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

fn refused(errors: Vec<FieldError>) -> Problem {
    if errors.iter().any(|error| error.detail == TOO_LONG) {
        return Problem::of_fields(Kind::TooLarge, errors);
    }
    Problem::fields(errors)
}

/// Reads the text a second time, slowly, to say where it is wrong.
fn first_error(text: &[u8]) -> Problem {
    match super::json::read::<RawSpec<'_>>(text) {
        Err(problem) => problem,
        Ok(_) => Problem::new(Kind::Malformed, "the body is no job spec"),
    }
}

#[cfg(test)]
pub(super) mod tests;
