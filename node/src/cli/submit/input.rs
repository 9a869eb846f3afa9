//! Job specs from a file or standard input: one object, an array, or objects one after another (NDJSON).
//!
//! All of it is read and parsed before anything is sent, so that a slip in the last line costs nothing.
//! It looks at JSON, not at jobs: what a job may be, the server says, item by item.

use crate::cli::failure::Failure;
use serde_json::value::RawValue;
use std::io::Read;
use std::path::Path;

/// What was read; each text is one JSON object, as it was written.
#[derive(Debug)]
pub(crate) enum Input {
    /// One object: one job.
    One(String),
    /// An array or several objects.
    Many(Vec<String>),
}

impl Input {
    /// Reads `path`, or standard input when it is `-`.
    ///
    /// # Errors
    /// When it can't be read, or holds anything but objects; with line and column.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let from_stdin = path == Path::new("-");
        let name = if from_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let mut text = String::new();
        let read = if from_stdin {
            std::io::stdin().lock().read_to_string(&mut text).map(drop)
        } else {
            std::fs::read_to_string(path).map(|whole| text = whole)
        };
        read.map_err(|error| Failure::Usage(format!("can't read {name}: {error}; give -f a readable JSON file")))?;
        Self::parse(&text).map_err(|reason| Failure::Usage(format!("{name}: {reason}")))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let is_array = text.trim_start().starts_with('[');
        let not_json = |error: serde_json::Error| format!("not JSON: {error}; nothing was submitted");
        let raw: Vec<&RawValue> = if is_array {
            serde_json::from_str(text).map_err(not_json)?
        } else {
            let stream = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
            stream.collect::<Result<_, _>>().map_err(not_json)?
        };
        for (index, value) in raw.iter().enumerate() {
            if !value.get().starts_with('{') {
                let start: String = value.get().chars().take(30).collect();
                return Err(format!(
                    "item {index} is `{start}`, not a job spec; write {{\"kind\": …, \"payload\": …}}"
                ));
            }
        }
        let mut jobs: Vec<String> = raw.iter().map(|value| value.get().to_owned()).collect();
        match jobs.len() {
            0 => Err("no job in it; write {\"kind\": …, \"payload\": …}".to_owned()),
            1 if !is_array => Ok(Self::One(jobs.remove(0))),
            _ => Ok(Self::Many(jobs)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_arrays_and_lines_are_told_apart() {
        let many = |text: &str| match Input::parse(text).unwrap() {
            Input::Many(jobs) => jobs,
            Input::One(job) => panic!("one: {job}"),
        };
        assert!(matches!(Input::parse("{\n \"kind\": \"noop\"\n}\n").unwrap(), Input::One(_)));
        assert_eq!(many("{\"a\":1}\n{\"b\":2}\n"), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(many("[{\"a\":1}, {\"b\":2}]"), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(many("[{\"a\":1}]").len(), 1);
    }

    #[test]
    fn what_is_no_job_is_told_with_its_place() {
        let table = [
            ("", "no job in it"),
            ("[]", "no job in it"),
            ("{\"a\":1}\n{\"b\":\n", "not JSON: EOF while parsing"),
            ("{\"a\":1}\n{oops}\n", "line 2"),
            ("{\"a\":1}\n17\n", "item 1 is `17`, not a job spec"),
            ("[{\"a\":1}, \"x\"]", "item 1 is `\"x\"`, not a job spec"),
        ];
        for (text, expected) in table {
            let error = Input::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
