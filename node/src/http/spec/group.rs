//! The rules of what makes more than one job of a submit: `array`, `placement: every`, and `on_complete`.

use super::raw::{RawArray, RawSpec};
use super::rules::{Errors, bounded, push};
use super::{Checked, check};
use crate::http::problem::FieldError;
use relais_protocol::group::{ARRAY_PAYLOAD_BYTES_MAX, GroupSize, INPUTS_BYTES_MAX, MEMBERS_MAX};
use relais_protocol::spec::{JobSpec, StartTime};
use serde::Serialize;

/// The highest index that a first member may have.
const FIRST_MAX: i64 = 1_000_000_000;

/// That a spec makes a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::http) struct Array {
    /// How many jobs.
    pub(in crate::http) size: GroupSize,
    /// The index of the first.
    pub(in crate::http) first: u32,
    /// After more failures than this the rest is cancelled.
    pub(in crate::http) max_failures: Option<u32>,
}

/// The group that a spec makes, if it makes one; what does not go with it is refused.
pub(super) fn read(raw: &RawSpec<'_>, errors: &mut Errors) -> Option<Array> {
    let every = raw.placement.as_ref().is_some_and(|placement| placement.0 == "every");
    let array = match (&raw.array, every) {
        (Some(_), true) => {
            push(errors, "/placement", "`every` makes a job for each node, and `array` others; give one of them");
            return None;
        }
        (Some(array), false) => array_of(&array.0, errors)?,
        (None, true) => Array { size: GroupSize::EveryNode, first: 0, max_failures: None },
        (None, false) => return None,
    };
    if raw.unique.is_some() {
        let detail = "is for one job, and this makes many; an Idempotency-Key makes the whole group one";
        push(errors, "/unique", detail);
    }
    if raw.notify.is_some() {
        push(errors, "/notify", "would tell of each job of the group; give it to its on_complete");
    }
    if raw.payload.is_some_and(|payload| payload.get().len() > ARRAY_PAYLOAD_BYTES_MAX) {
        push(errors, "/payload", "is longer than 64 KiB, and each job of the group bears it; name a file instead");
    }
    Some(array)
}

fn array_of(raw: &RawArray<'_>, errors: &mut Errors) -> Option<Array> {
    let most = i64::from(MEMBERS_MAX);
    let max_failures =
        raw.max_failures.map(|most_failed| bounded(Some(most_failed), "/array/max_failures", 0, most, 0, errors));
    let first = bounded(raw.first, "/array/first", 0, FIRST_MAX, 0, errors) as u32;
    let size = match (raw.count, &raw.inputs) {
        (Some(_), None) => GroupSize::Count(bounded(raw.count, "/array/count", 1, most, 1, errors) as u32),
        (None, Some(inputs)) => {
            let texts: Vec<&str> = inputs.iter().map(|input| input.get()).collect();
            GroupSize::Inputs(lines(&texts, errors)?)
        }
        _ => {
            push(errors, "/array", "must have either `count` or `inputs`");
            return None;
        }
    };
    Some(Array { size, first, max_failures: max_failures.map(|most| most as u32) })
}

/// One JSON text a line. A line break between two parts of one is as good as a space, and in a string there is none.
fn lines(inputs: &[&str], errors: &mut Errors) -> Option<String> {
    if inputs.is_empty() {
        push(errors, "/array/inputs", "is empty; give one input for each job");
        return None;
    }
    if inputs.len() > MEMBERS_MAX as usize {
        push(errors, "/array/inputs", "has more than 1000000 items; submit them in parts");
        return None;
    }
    if inputs.iter().map(|input| input.len() + 1).sum::<usize>() > INPUTS_BYTES_MAX {
        push(errors, "/array/inputs", "are longer than 2 MiB together; put the data into files, and name those");
        return None;
    }
    Some(inputs.iter().map(|input| input.replace(['\n', '\r'], " ")).collect::<Vec<_>>().join("\n"))
}

/// What is submitted when the job has ended: a spec like any, without what could keep it from being submitted then.
pub(super) fn on_complete(raw: &RawSpec<'_>, errors: &mut Errors) -> Option<Box<JobSpec>> {
    let text = raw.on_complete?.get();
    let under = |error: FieldError| FieldError { pointer: format!("/on_complete{}", error.pointer), ..error };
    let Checked { spec, local, array, .. } = match check(text.as_bytes(), None) {
        Ok(checked) => checked,
        Err(problem) => {
            errors.extend(problem.into_errors().into_iter().map(under));
            return None;
        }
    };
    let options = spec.options();
    let refused = [
        (options.on_complete.is_some(), "/on_complete", "can't be nested"),
        (array.is_some(), "/array", "one job follows, and no group"),
        (options.idempotency_key.is_some(), "/idempotency_key", "leave it out: it is submitted once"),
        (options.unique.is_some(), "/unique", "leave it out: it is submitted in any case"),
        (!options.depends_on.is_empty(), "/depends_on", "leave it out: it waits for the end of this job"),
        (!local.is_empty(), "/ref", "names belong to the jobs of a batch"),
        (matches!(options.start, StartTime::At(_)), "/run_at", "is one point in time; use delay"),
    ];
    for (_, pointer, why) in refused.iter().filter(|(is_there, ..)| *is_there) {
        push(errors, &format!("/on_complete{pointer}"), why);
    }
    Some(Box::new(spec))
}
