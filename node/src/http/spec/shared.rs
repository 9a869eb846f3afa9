//! The rules of what a job shares with others by a key: `concurrency` and `unique`.

use super::raw::{RawConcurrency, RawUnique, Text};
use super::rules::{Errors, bounded, duration, one_of, push};
use super::{KEY_CHARS_MAX, check_key};
use relais_protocol::queue::CONCURRENCY_MAX;
use relais_protocol::spec::{Concurrency, OnConflict, Unique};

/// How many with one key may run at once; one if no limit is given.
pub(super) fn concurrency(raw: &RawConcurrency<'_>, errors: &mut Errors) -> Option<Concurrency> {
    let most = i64::from(CONCURRENCY_MAX);
    let limit = bounded(raw.limit, "/concurrency/limit", 1, most, 1, errors) as u32;
    Some(Concurrency { key: key(raw.key.as_ref(), "/concurrency/key", errors)?, limit })
}

/// What the job is to be the only one of.
pub(super) fn unique(raw: &RawUnique<'_>, errors: &mut Errors) -> Option<Unique> {
    let known = [("return", OnConflict::Return), ("reject", OnConflict::Reject), ("replace", OnConflict::Replace)];
    let on_conflict = one_of(raw.on_conflict.as_ref(), "/unique/on_conflict", &known, errors);
    let for_ms = raw.window.as_ref().and_then(|text| duration(text, "/unique/for", errors));
    if for_ms == Some(0) {
        push(errors, "/unique/for", "must be longer than 0; leave it out to hold the key until the job has ended");
    }
    Some(Unique { key: key(raw.key.as_ref(), "/unique/key", errors)?, for_ms, on_conflict })
}

fn key(text: Option<&Text<'_>>, pointer: &str, errors: &mut Errors) -> Option<String> {
    let Some(text) = text else {
        push(errors, pointer, &format!("is missing; give 1 to {KEY_CHARS_MAX} characters"));
        return None;
    };
    if let Err(why) = check_key(&text.0) {
        push(errors, pointer, why);
    }
    Some(text.0.to_string())
}
