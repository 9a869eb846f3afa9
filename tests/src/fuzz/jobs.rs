//! Job specs over HTTP: one in a body, an array of them, or one a line.

use super::Came;
use relais_node::http::{spec_of, specs_of};
use relais_protocol::codec;
use relais_protocol::spec::JobSpec;
use serde_json::Value;

/// The most bytes of a spec once it is checked.
const SPEC_BYTES_MAX: usize = 4 << 20;

/// The first byte says in which of the three ways the rest is read.
pub(super) fn take(bytes: &[u8]) -> Came {
    let Some((way, body)) = bytes.split_first() else { return Came::Refused };
    if way.is_multiple_of(3) {
        let one = spec_of(body);
        assert_eq!(one, spec_of(body), "the same body is read in two ways");
        return Came::from(holds(&one));
    }
    match specs_of(body, way % 3 == 2) {
        Ok(items) => Came::from(items.iter().fold(false, |any, item| holds(item) || any)),
        Err(problem) => Came::from(is_problem(&problem)),
    }
}

/// A checked spec goes through the codec as it is; a problem is a problem document. Whether it is a spec.
fn holds(item: &Result<JobSpec, String>) -> bool {
    match item {
        Ok(spec) => {
            let written = codec::encode(codec::FORMAT, spec);
            let read: JobSpec = codec::decode(codec::FORMAT, &written, SPEC_BYTES_MAX).expect("a checked spec is read");
            assert_eq!(read, *spec, "a checked spec comes back otherwise");
            assert!(serde_json::from_str::<Value>(&spec.payload).is_ok(), "a checked payload is no JSON");
            true
        }
        Err(problem) => is_problem(problem),
    }
}

/// Always `false`, once it was looked at.
fn is_problem(text: &str) -> bool {
    let problem: Value = serde_json::from_str(text).expect("a problem is JSON");
    let status = problem["status"].as_u64().expect("a problem has a status");
    assert!((400..500).contains(&status), "a body made the server fail: {text}");
    false
}
