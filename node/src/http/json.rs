//! JSON bodies: read with the place of the first error as a JSON pointer.

use super::problem::{Kind, Problem};
use serde::Deserialize;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

/// Reads a body of a known shape, which is an object.
///
/// # Errors
/// Malformed JSON, or the first field that does not fit.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Problem> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(Kind::Malformed, "the body is empty; it must be a JSON object"));
    }
    // A struct would be read from an array too, as its fields in their order: nobody means that.
    if text.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::field("", "must be an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| of_json(error.path(), error.inner()))?;
    reader.end().map_err(|error| Problem::new(Kind::Malformed, format!("after the JSON object: {error}")))?;
    Ok(value)
}

/// Reads a body that may be left out.
///
/// # Errors
/// As [`read`].
pub(super) fn read_optional<'a, T: Deserialize<'a> + Default>(text: &'a [u8]) -> Result<T, Problem> {
    if text.is_empty() { Ok(T::default()) } else { read(text) }
}

fn of_json(path: &Path, error: &serde_json::Error) -> Problem {
    match error.classify() {
        Category::Data => {
            let text = error.to_string();
            // The pointer says where; line and column would say it again.
            Problem::field(pointer(path), text.split(" at line ").next().unwrap_or_default())
        }
        _ if error.to_string().starts_with("recursion limit") => {
            Problem::new(Kind::Malformed, "the body is nested deeper than 128 levels")
        }
        _ => Problem::new(Kind::Malformed, format!("the body is no JSON: {error}")),
    }
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer += &index.to_string(),
            Segment::Map { key } => pointer += &escaped(key),
            Segment::Enum { variant } => pointer += &escaped(variant),
            Segment::Unknown => pointer.push('?'),
        }
    }
    pointer
}

/// A key as a part of a JSON pointer.
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
