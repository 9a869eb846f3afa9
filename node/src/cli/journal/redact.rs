//! What an export leaves out. Hashes of secrets never leave the journal; the values of variables and headers
//! of a job are its submitter's, and are shown only to who asks for them by name.

use crate::veil::{HIDDEN, PRIVATE};
use serde_json::Value;

/// Fields of records and rows that hold hashes of secrets.
const HASHES: [&str; 3] = ["hash", "secret_hash", "key_hash"];
/// The field of a webhook that its messages are signed with.
const SIGNED_WITH: &str = "secret";

/// Makes `value`, a record or a row, fit to be shown.
pub(super) fn redact(value: &mut Value, with_values: bool) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| !(HASHES.contains(&name.as_str()) && field.is_array()));
            for (name, field) in fields.iter_mut() {
                match name.as_str() {
                    "payload" => payload(field, with_values),
                    SIGNED_WITH if !with_values => hide(Some(field)),
                    "output_tail" => *field = Value::from(text(field)),
                    _ => redact(field, with_values),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, with_values)),
        _ => {}
    }
}

/// The JSON text of a payload as JSON.
fn payload(field: &mut Value, with_values: bool) {
    let parsed = field.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(mut parsed) = parsed else { return };
    if !with_values && let Value::Object(fields) = &mut parsed {
        for name in PRIVATE {
            hide(fields.get_mut(name));
        }
    }
    *field = parsed;
}

/// Hides values, however they are given; names stay.
fn hide(field: Option<&mut Value>) {
    match field {
        Some(Value::Object(values)) => values.values_mut().for_each(|value| *value = Value::from(HIDDEN)),
        Some(other) if !other.is_null() => *other = Value::from(HIDDEN),
        _ => {}
    }
}

/// Bytes as text, as far as they are.
fn text(bytes: &Value) -> String {
    let bytes: Vec<u8> =
        bytes.as_array().into_iter().flatten().filter_map(Value::as_u64).map(|byte| byte as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record() -> Value {
        json!({"Submit": {"spec": {"payload": "{\"program\":\"x\",\"env\":{\"KEY\":\"s3cret\"},\"headers\":[[\"a\",\"s3cret\"]]}"}},
            "tokens": [{"id": 1, "hash": [1, 2, 3], "name": "t"}], "output_tail": [104, 105], "body_hash": 7, "notify": {"url": "http://x", "secret": "s3cret"}})
    }

    #[test]
    fn hashes_and_private_values_are_left_out() {
        let mut shown = record();
        redact(&mut shown, false);
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        assert_eq!(shown["Submit"]["spec"]["payload"]["env"], json!({"KEY": HIDDEN}));
        assert_eq!(shown["tokens"][0], json!({"id": 1, "name": "t"}));
        assert_eq!((&shown["output_tail"], &shown["body_hash"]), (&json!("hi"), &json!(7)));
    }

    #[test]
    fn values_are_shown_to_who_asks_but_hashes_never() {
        let mut shown = record();
        redact(&mut shown, true);
        assert_eq!(shown["Submit"]["spec"]["payload"]["env"]["KEY"], "s3cret");
        assert_eq!(shown["tokens"][0].get("hash"), None);
    }
}
