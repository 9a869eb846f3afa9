//! Names that hold within one batch: a job's `ref`, and the `ref`s of jobs that it depends on. Ids are given
//! when the whole batch has been read; until then a job only says whom it means.

use super::raw::{Object, RawDependency, Text};
use super::rules::{one_of, push};
use crate::http::problem::FieldError;
use relais_protocol::ids::JobId;
use relais_protocol::spec::{Condition, DEPENDENCIES_MAX, Dependency};
use serde::Serialize;

/// Characters that a `ref` may have.
const REF_CHARS_MAX: usize = 100;

/// What a spec says of itself and others by names of its batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(in crate::http) struct Local {
    /// Its own name.
    pub(in crate::http) name: Option<String>,
    /// Whom it depends on, how they must end, and at which place of `depends_on` that stands.
    pub(in crate::http) parents: Vec<(String, Condition, usize)>,
}

impl Local {
    /// Whether it uses no such name.
    pub(in crate::http) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The pointer of a dependency's `ref`.
pub(in crate::http) fn ref_pointer(place: usize) -> String {
    format!("/depends_on/{place}/ref")
}

fn reference(text: &Text<'_>, pointer: &str, errors: &mut Vec<FieldError>) -> String {
    let fits = !text.0.is_empty() && text.0.chars().count() <= REF_CHARS_MAX && !text.0.chars().any(char::is_control);
    if !fits {
        push(errors, pointer, "must have 1 to 100 characters, none of them a control character");
    }
    text.0.to_string()
}

/// Reads `ref` and `depends_on`: the dependencies that are known by id, and what is left to the batch.
pub(super) fn read(
    own: Option<&Text<'_>>,
    depends_on: Option<&[Object<RawDependency<'_>>]>,
    errors: &mut Vec<FieldError>,
) -> (Vec<Dependency>, Local) {
    let mut local = Local { name: own.map(|own| reference(own, "/ref", errors)), parents: Vec::new() };
    let mut known = Vec::new();
    let depends_on = depends_on.unwrap_or_default();
    if depends_on.len() > DEPENDENCIES_MAX {
        push(errors, "/depends_on", "has more than 1000 jobs; put a job between that gathers some of them");
        return (known, local);
    }
    for (place, Object(one)) in depends_on.iter().enumerate() {
        let pointer = format!("/depends_on/{place}");
        let conditions =
            [("succeeded", Condition::Succeeded), ("finished", Condition::Finished), ("failed", Condition::Failed)];
        let on = one_of(one.on.as_ref(), &format!("{pointer}/on"), &conditions, errors);
        match (&one.id, &one.reference) {
            (Some(id), None) => match id.0.parse::<JobId>() {
                Ok(job) => known.push(Dependency { job, on }),
                Err(_) => push(errors, &format!("{pointer}/id"), "is no job id"),
            },
            (None, Some(name)) => {
                local.parents.push((reference(name, &ref_pointer(place), errors), on, place));
            }
            _ => push(errors, &pointer, "must have either `id` or `ref`"),
        }
    }
    (known, local)
}
