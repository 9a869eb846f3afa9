//! What an attempt is told of where its job comes from: its place in an array, or what it follows on.

use relais_protocol::group::{GroupId, Origin};
use relais_protocol::ids::JobId;

/// The variable with the group's id.
pub(super) const GROUP: &str = "RELAIS_GROUP_ID";
/// The variable with the member's index.
pub(super) const INDEX: &str = "RELAIS_ARRAY_INDEX";
/// The variable with the member's input.
pub(super) const INPUT: &str = "RELAIS_ARRAY_INPUT";

/// Variables for the environment of an attempt of `job`. An input that is a text is given as it is, any other as
/// JSON text.
#[must_use]
pub fn variables(job: JobId, origin: Option<&Origin>) -> Vec<(String, String)> {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    match origin {
        None => Vec::new(),
        Some(Origin::Member { index, input }) => {
            let mut all = vec![pair(GROUP, GroupId::of(job).to_string()), pair(INDEX, index.to_string())];
            all.extend(input.as_ref().map(|input| pair(INPUT, plain(input))));
            all
        }
        Some(Origin::Completion { of, state }) => {
            vec![pair("RELAIS_ENDED_ID", of.to_string()), pair("RELAIS_ENDED_STATE", state.as_str().to_owned())]
        }
    }
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
            let all = variables(job, Some(&Origin::Member { index: 7, input: Some(input.to_owned()) }));
            assert_eq!(all[1..], [(INDEX.to_owned(), "7".to_owned()), (INPUT.to_owned(), told.to_owned())]);
        }
        assert!(variables(job, None).is_empty());
        let follows = variables(job, Some(&Origin::Completion { of: JobId(1), state: StateName::Failed }));
        assert_eq!(follows[1].1, "failed");
    }
}
