//! What an attempt is told of where its job comes from: its place in an array, what it follows on, the trace that it
//! was submitted in.

use relais_protocol::group::{GroupId, Origin};
use relais_protocol::ids::JobId;
use relais_protocol::trace::Trace;
use serde::Deserialize;

/// The variable with the group's id.
pub(super) const GROUP: &str = "RELAIS_GROUP_ID";
/// The variable with the member's index.
pub(super) const INDEX: &str = "RELAIS_ARRAY_INDEX";
/// The variable with the member's input.
pub(super) const INPUT: &str = "RELAIS_ARRAY_INPUT";

/// The variable with the W3C trace context.
pub(super) const TRACE_PARENT: &str = "TRACEPARENT";
/// The variable with what vendors add to it.
pub(super) const TRACE_STATE: &str = "TRACESTATE";

/// Variables for the environment of an attempt of `job`. An input that is a text is given as it is, any other as
/// JSON text. `traced` is metadata that may say a trace.
#[must_use]
pub fn variables(job: JobId, origin: Option<&Origin>, traced: Option<&str>) -> Vec<(String, String)> {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let mut all = match origin {
        None => Vec::new(),
        Some(Origin::Member { index, input }) => {
            let mut all = vec![pair(GROUP, GroupId::of(job).to_string()), pair(INDEX, index.to_string())];
            all.extend(input.as_ref().map(|input| pair(INPUT, plain(input))));
            all
        }
        Some(Origin::Completion { of, state }) => {
            vec![pair("RELAIS_ENDED_ID", of.to_string()), pair("RELAIS_ENDED_STATE", state.as_str().to_owned())]
        }
    };
    if let Some(trace) = traced.and_then(trace) {
        all.push(pair(TRACE_PARENT, trace.parent().to_owned()));
        all.extend(trace.state().map(|state| pair(TRACE_STATE, state.to_owned())));
    }
    all
}

/// What of a job's metadata is its trace.
#[derive(Deserialize)]
struct Said {
    traceparent: Option<String>,
    tracestate: Option<String>,
}

/// The trace that metadata says, if it is one: nobody checked what a job says of itself.
fn trace(metadata: &str) -> Option<Trace> {
    let said: Said = serde_json::from_str(metadata).ok()?;
    Trace::read(&said.traceparent?, said.tracestate.as_deref())
}

/// Whether a variable is of the trace: a job that names its own has neither of ours.
pub(super) fn is_of_trace(name: &str) -> bool {
    [TRACE_PARENT, TRACE_STATE].contains(&name)
}

/// No variable can hold a NUL: it is left out.
fn plain(input: &str) -> String {
    serde_json::from_str::<String>(input).map_or_else(|_| input.to_owned(), |text| text.replace('\0', ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use relais_protocol::job::StateName;

    #[test]
    fn a_member_hears_its_index_and_its_input() {
        let job = GroupId::of(JobId(5 << 20)).member(7);
        for (input, told) in
            [(r#""a b""#, "a b"), ("7", "7"), (r#"{"x": [1]}"#, r#"{"x": [1]}"#), (r#""a\u0000""#, "a")]
        {
            let all = variables(job, Some(&Origin::Member { index: 7, input: Some(input.to_owned()) }), None);
            assert_eq!(all[1..], [(INDEX.to_owned(), "7".to_owned()), (INPUT.to_owned(), told.to_owned())]);
        }
        assert!(variables(job, None, None).is_empty());
        let follows = variables(job, Some(&Origin::Completion { of: JobId(1), state: StateName::Failed }), None);
        assert_eq!(follows[1].1, "failed");
    }

    #[test]
    fn an_attempt_hears_the_trace_that_its_job_says() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let told = |metadata: &str| variables(JobId(1), None, Some(metadata));
        let both = told(&format!(r#"{{"traceparent":"{parent}","tracestate":"a=b","x":{{"traceparent":1}}}}"#));
        let wanted = [(TRACE_PARENT, parent), (TRACE_STATE, "a=b")];
        assert_eq!(both, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for none in [r#"{"traceparent":"mine"}"#, r#"{"traceparent":1}"#, r#"{"x":"\"traceparent\""}"#, "5", ""] {
            assert!(told(none).is_empty(), "{none}");
        }
    }
}
