//! The schedule edge: a body and a name to a checked schedule, or all that is wrong with them, each with a JSON
//! pointer. Nothing behind it checks a schedule again.

use crate::http::json;
use crate::http::openapi::words;
use crate::http::problem::{FieldError, Problem};
use crate::http::spec;
use crate::http::spec::RawSpec;
use relais_dispatcher::cron::{Cron, CronError};
use relais_protocol::schedule::{Missed, Overlap, Schedule, ScheduleName, ScheduleSet};
use relais_protocol::spec::{JobSpec, StartTime};
use relais_protocol::time::UnixMs;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A schedule as it stands in JSON. `null` counts as left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ScheduleSpec)]
pub(in crate::http) struct RawSchedule<'a> {
    #[schema(required = true, value_type = words::Cron)]
    cron: Option<String>,
    #[schema(value_type = Option<words::TimeZone>, default = "UTC")]
    time_zone: Option<String>,
    #[schema(required = true, value_type = RawSpec)]
    #[serde(borrow)]
    job: Option<&'a RawValue>,
    #[schema(value_type = Option<words::Missed>)]
    missed: Option<String>,
    #[schema(value_type = Option<words::Overlap>)]
    overlap: Option<String>,
    paused: Option<bool>,
}

/// Checks the body of a `PUT`; `now` tells whether the schedule will ever be due.
///
/// # Errors
/// A problem with a pointer for each wrong field; `/name` is the one in the path.
pub(super) fn check(text: &[u8], name: &str, now: UnixMs) -> Result<ScheduleSet, Problem> {
    if text.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::field("", "must be an object"));
    }
    let raw: RawSchedule<'_> = json::read(text)?;
    let mut errors = Vec::new();
    let name = ScheduleName::parse(name).map_err(|why| push(&mut errors, "/name", &why)).ok();
    let time_zone = raw.time_zone.unwrap_or_else(|| "UTC".to_owned());
    let cron = cron(raw.cron, &time_zone, now, &mut errors);
    let missed = one_of(raw.missed, "/missed", &Missed::ALL.map(|one| (one.as_str(), one)), &mut errors);
    let overlap = one_of(raw.overlap, "/overlap", &Overlap::ALL.map(|one| (one.as_str(), one)), &mut errors);
    let job = job(raw.job, &mut errors);
    match (name, cron, job) {
        (Some(name), Some(cron), Some(job)) if errors.is_empty() => {
            let schedule = Schedule { name, cron, time_zone, job, missed, overlap };
            Ok(ScheduleSet { schedule, paused: raw.paused })
        }
        _ => Err(Problem::fields(errors)),
    }
}

fn push(errors: &mut Vec<FieldError>, pointer: &str, detail: &str) {
    errors.push(FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() });
}

fn cron(text: Option<String>, time_zone: &str, now: UnixMs, errors: &mut Vec<FieldError>) -> Option<String> {
    let Some(text) = text else {
        push(errors, "/cron", "is missing; it is like `0 30 2 * * *`: second minute hour day month weekday");
        return None;
    };
    match Cron::parse(&text, time_zone) {
        Ok(cron) if cron.next_after(now).is_none() => {
            push(errors, "/cron", &format!("`{text}` names no time that is still to come"));
        }
        Ok(_) => {}
        Err(error @ CronError::Text(_)) => push(errors, "/cron", &error.to_string()),
        Err(error @ CronError::Zone(_)) => push(errors, "/time_zone", &error.to_string()),
    }
    Some(text)
}

/// The job that each slot submits: a spec without what holds for one point in time, or for one job, only.
fn job(text: Option<&RawValue>, errors: &mut Vec<FieldError>) -> Option<JobSpec> {
    let Some(text) = text else {
        push(errors, "/job", "is missing; it is a job spec, as POST /v1/jobs takes it");
        return None;
    };
    let spec = match spec::check_alone(text.get().as_bytes(), None) {
        Ok(checked) => {
            if checked.array.is_some() {
                push(errors, "/job/array", "a schedule makes one job for each slot; have that one submit the array");
            }
            checked.spec
        }
        Err(problem) => {
            let under_job = |error: FieldError| FieldError { pointer: format!("/job{}", error.pointer), ..error };
            errors.extend(problem.into_errors().into_iter().map(under_job));
            return None;
        }
    };
    let options = spec.options();
    if matches!(options.start, StartTime::At(_)) {
        push(errors, "/job/run_at", "is one point in time, and the schedule says when; leave it out, or use delay");
    }
    if options.expires_at.is_some() {
        push(errors, "/job/expires_at", "is one point in time: all firings after it would expire; leave it out");
    }
    if options.idempotency_key.is_some() {
        push(errors, "/job/idempotency_key", "would make all firings one job; leave it out, each slot has its own id");
    }
    if !options.depends_on.is_empty() {
        push(errors, "/job/depends_on", "names jobs that end once, and the schedule goes on; leave it out");
    }
    Some(spec)
}

fn one_of<T: Copy + Default>(
    text: Option<String>,
    pointer: &str,
    known: &[(&str, T)],
    errors: &mut Vec<FieldError>,
) -> T {
    let Some(text) = text else { return T::default() };
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
        return *value;
    }
    let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
    push(errors, pointer, &format!("must be {}", names.join(" or ")));
    T::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pointers(body: &Value) -> Vec<String> {
        let checked = check(body.to_string().as_bytes(), "a", UnixMs(1_795_000_000_000));
        let Err(problem) = checked else { return Vec::new() };
        assert_eq!(problem.status(), 400, "{body}");
        problem.into_errors().into_iter().map(|error| error.pointer).collect()
    }

    fn with(field: &str, value: Value) -> Value {
        let mut body = json!({"cron": "0 30 2 * * *", "job": {"kind": "noop", "payload": {}}});
        body[field] = value;
        body
    }

    #[test]
    fn defaults_are_filled_in() {
        let text = with("time_zone", Value::Null).to_string();
        let set = check(text.as_bytes(), "nightly", UnixMs(0)).unwrap();
        let schedule = set.schedule;
        assert_eq!((schedule.time_zone.as_str(), set.paused), ("UTC", None));
        assert_eq!((schedule.missed, schedule.overlap), (Missed::Skip, Overlap::Allow));
    }

    #[test]
    fn each_wrong_field_is_pointed_at() {
        let job = |field: &str, value: Value| {
            let mut job = json!({"kind": "noop", "payload": {}});
            job[field] = value;
            with("job", job)
        };
        let cases = [
            (with("cron", Value::Null), "/cron"),
            (with("cron", json!("61 * * * *")), "/cron"),
            (with("cron", json!("0 0 30 2 *")), "/cron"),
            (with("cron", json!(5)), "/cron"),
            (with("time_zone", json!("Europe/Atlantis")), "/time_zone"),
            (with("time_zone", json!("")), "/time_zone"),
            (with("time_zone", json!(2)), "/time_zone"),
            (with("missed", json!("never")), "/missed"),
            (with("missed", json!("")), "/missed"),
            (with("missed", json!(1)), "/missed"),
            (with("overlap", json!("maybe")), "/overlap"),
            (with("overlap", json!("ALLOW")), "/overlap"),
            (with("overlap", json!([])), "/overlap"),
            (with("paused", json!("yes")), "/paused"),
            (with("colour", json!("red")), "/colour"),
            (with("job", Value::Null), "/job"),
            (with("job", json!("echo")), "/job"),
            (with("job", json!([])), "/job"),
            (job("kind", json!("Dance!")), "/job/kind"),
            (job("queue", json!("A B")), "/job/queue"),
            (job("priority", json!(101)), "/job/priority"),
            (job("run_at", json!("2027-01-01T00:00:00Z")), "/job/run_at"),
            (job("expires_at", json!("2027-01-01T00:00:00Z")), "/job/expires_at"),
            (job("idempotency_key", json!("k")), "/job/idempotency_key"),
        ];
        for (body, pointer) in cases {
            assert_eq!(pointers(&body), [pointer], "{body}");
        }
        assert!(check(b"[]", "a", UnixMs(0)).is_err() && check(b"", "a", UnixMs(0)).is_err());
        let text = with("paused", json!(true)).to_string();
        let problem = check(text.as_bytes(), "Bad Name", UnixMs(0)).unwrap_err();
        assert_eq!(problem.into_errors()[0].pointer, "/name");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let body = json!({"cron": "x", "time_zone": "x", "job": {"kind": "X", "priority": -1}, "missed": "x"});
        let found = pointers(&body);
        assert!(found.len() >= 4 && found.contains(&"/job/priority".to_owned()), "{found:?}");
    }
}
