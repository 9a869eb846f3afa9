//! What is not shown of a job: the values of its variables and headers. They are its submitter's, and may be secrets;
//! their names stay. Who runs the job gets them, of course: a worker, an executor, nobody who only looks.
//!
//! It does not look for secrets anywhere else: what a job writes to its output, or has among its arguments, is shown.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Put in the place of a value.
pub(crate) const HIDDEN: &str = "(left out)";
/// Fields of a payload whose values may be secrets.
pub(crate) const PRIVATE: [&str; 2] = ["env", "headers"];
/// Names whose values say nothing that need be kept from anyone, in lower case.
const HARMLESS: [&str; 13] = [
    "path",
    "home",
    "lang",
    "language",
    "tz",
    "term",
    "pwd",
    "accept",
    "accept-language",
    "content-type",
    "content-encoding",
    "cache-control",
    "user-agent",
];

/// The fields of a JSON object as they stand, one that stands twice twice.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push((Cow::Owned(name), value));
                }
                Ok(Fields(fields))
            }
        }
        reader.deserialize_map(Reader)
    }
}

fn is_harmless(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    HARMLESS.contains(&name.as_str()) || name.starts_with("lc_")
}

/// The JSON text of a payload without what is not shown; all else stays to the letter.
pub(crate) fn veiled(payload: &str) -> Cow<'_, str> {
    // A name may be written with escapes.
    if !PRIVATE.iter().any(|name| payload.contains(name)) && !payload.contains("\\u") {
        return Cow::Borrowed(payload);
    }
    let Ok(Fields(fields)) = serde_json::from_str::<Fields<'_>>(payload) else { return Cow::Borrowed(payload) };
    let mut shown = String::new();
    let mut from = 0;
    let private = fields.iter().filter(|(name, _)| PRIVATE.contains(&&**name));
    for value in private.flat_map(|(_, value)| hidden_of(value)) {
        // Both are parts of one text, in their order.
        let start = value.as_ptr() as usize - payload.as_ptr() as usize;
        shown.push_str(&payload[from..start]);
        shown.push_str(&format!("\"{HIDDEN}\""));
        from = start + value.len();
    }
    if from == 0 {
        return Cow::Borrowed(payload);
    }
    shown.push_str(&payload[from..]);
    Cow::Owned(shown)
}

/// The values within a private field that are not shown.
fn hidden_of(field: &RawValue) -> Vec<&str> {
    let text = field.get();
    match serde_json::from_str::<Fields<'_>>(text) {
        Ok(Fields(fields)) => {
            fields.into_iter().filter(|(name, _)| !is_harmless(name)).map(|(_, value)| value.get()).collect()
        }
        Err(_) if text == "null" => Vec::new(),
        Err(_) => vec![text],
    }
}

/// Where a payload that was sent has, in the place of a value, what is shown in its place: whoever sends back what
/// was read would lose the value unawares. As a JSON pointer.
pub(crate) fn sent_back(payload: &Value) -> Option<String> {
    PRIVATE.iter().find_map(|field| {
        let values = payload.get(field)?.as_object()?;
        let (name, _) = values.iter().find(|(_, value)| *value == HIDDEN)?;
        Some(format!("/payload/{field}/{}", name.replace('~', "~0").replace('/', "~1")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_left_out_and_all_else_stays_to_the_letter() {
        for (payload, shown) in [
            (r#"{"command":["a"],  "env":{}}"#, r#"{"command":["a"],  "env":{}}"#),
            (
                r#"{"env":{"TZ":"UTC", "KEY" : "s3"}, "cwd":"/"}"#,
                r#"{"env":{"TZ":"UTC", "KEY" : "(left out)"}, "cwd":"/"}"#,
            ),
            (r#"{"\u0065nv":{"KEY":"s3"}}"#, r#"{"\u0065nv":{"KEY":"(left out)"}}"#),
            (
                r#"{"env":{"A":"s3","A":"s3"},"env":{"B":"s3"}}"#,
                r#"{"env":{"A":"(left out)","A":"(left out)"},"env":{"B":"(left out)"}}"#,
            ),
            (
                r#"{"headers":{"Accept":"x","Authorization":"s3"}}"#,
                r#"{"headers":{"Accept":"x","Authorization":"(left out)"}}"#,
            ),
            (r#"{"headers":[["a","s3"]],"env":null}"#, r#"{"headers":"(left out)","env":null}"#),
            (r#"["env"]"#, r#"["env"]"#),
        ] {
            assert_eq!(veiled(payload), shown);
        }
    }

    #[test]
    fn what_was_left_out_is_no_value() {
        assert_eq!(sent_back(&json!({"env": {"A/B": HIDDEN}})), Some("/payload/env/A~1B".to_owned()));
        assert_eq!(sent_back(&json!({"env": {"A": "x"}, "headers": null, "stdin": HIDDEN})), None);
    }
}
