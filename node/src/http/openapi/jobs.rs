//! The operations on jobs and groups.

use super::operation::{Content, Operation, operation};
use super::parameter::{
    ALL, ATOMIC, ATTEMPT, CONSISTENCY, CURSOR, DRY_RUN, FILTER, FOLLOW_LOGS, GROUP_BY, IDEMPOTENCY_KEY, LAST_EVENT_ID,
    LIMIT, OFFSET, PREFER, STREAM, TAIL, TRACEPARENT, TRACESTATE, WAIT,
};
use super::shape::shape;
use super::words;
use crate::http::bulk::Tally;
use crate::http::explain::Explanation;
use crate::http::groups::{Shown, Submitted};
use crate::http::jobs::{CancelBody, Counts, Nothing, Page};
use crate::http::logs::{End, Missing, Output};
use crate::http::spec::RawSpec;
use crate::http::story::Story;
use crate::http::submit::Brief;
use crate::http::view::JobView;

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    [submits(), lists(), changes(), reads(), groups()].into_iter().flatten().collect()
}

fn job() -> Content {
    Content::Either(vec![shape::<JobView<'_>>(), shape::<Brief>()])
}

fn submits() -> Vec<Operation> {
    vec![
        operation("POST", "/v1/jobs", "submitJob", "Submit a job, or an array of jobs")
            .about(
                "An `array`, or the placement `every`, makes a group. While there is no dispatcher the request is held \
                 for up to 3 s and sent again under the same id.",
            )
            .query(&[WAIT])
            .header(&[IDEMPOTENCY_KEY, PREFER, TRACEPARENT, TRACESTATE])
            .takes(shape::<RawSpec<'_>>())
            .gives(201, submitted(), "It is committed.")
            .bearing(&["Location"])
            .gives(200, submitted(), "It was there before, under the same key: the first one.")
            .bearing(&["Location"])
            .gives(202, job(), "The wait was over before the job was.")
            .bearing(&["Location"])
            .or(&[409, 422]),
        operation("POST", "/v1/jobs:batch", "submitBatch", "Submit many jobs")
            .about(
                "A JSON array, or a job a line: 10,000 jobs and 16 MiB at most. A bad item spoils only itself and those \
                 that depend on it, unless the batch is atomic.",
            )
            .query(&[ATOMIC])
            .header(&[IDEMPOTENCY_KEY, TRACEPARENT, TRACESTATE])
            .takes(shape::<words::JobSpecs>())
            .or_lines()
            .gives(200, Content::Json(shape::<words::BatchResults>()), "What each item came to, in order.")
            .or(&[409, 422]),
    ]
}

fn submitted() -> Content {
    Content::Either(vec![shape::<JobView<'_>>(), shape::<Brief>(), shape::<Submitted>()])
}

fn lists() -> Vec<Operation> {
    vec![
        operation("GET", "/v1/jobs", "listJobs", "Jobs, newest first")
            .query(&FILTER)
            .query(&[CURSOR, LIMIT, CONSISTENCY])
            .gives(200, Content::Json(shape::<Page<'_>>()), "A page of jobs."),
        operation("GET", "/v1/jobs:count", "countJobs", "How many jobs there are")
            .query(&[GROUP_BY, CONSISTENCY])
            .gives(200, Content::Json(shape::<Counts>()), "All of them, and by state or queue."),
    ]
}

fn changes() -> Vec<Operation> {
    let tally = || Content::Json(shape::<Tally>());
    vec![
        operation("POST", "/v1/jobs:cancel", "cancelJobs", "Cancel all jobs that pass a filter")
            .query(&FILTER)
            .query(&[DRY_RUN, ALL])
            .may_take(shape::<CancelBody>())
            .gives(200, tally(), "How many."),
        operation("POST", "/v1/jobs:retry", "retryJobs", "Run all jobs again that pass a filter")
            .query(&FILTER)
            .query(&[DRY_RUN, ALL])
            .may_take(shape::<Nothing>())
            .gives(200, tally(), "How many."),
        operation("DELETE", "/v1/jobs/{id}", "deleteJob", "Delete an ended job")
            .gives_nothing("It is gone.")
            .or(&[409]),
        operation("POST", "/v1/jobs/{id}:cancel", "cancelJob", "Cancel a job")
            .may_take(shape::<CancelBody>())
            .gives(200, job(), "It is cancelled.")
            .gives(202, job(), "It runs, and its worker is told to stop it.")
            .or(&[409]),
        operation("POST", "/v1/jobs/{id}:retry", "retryJob", "Run a job again")
            .may_take(shape::<Nothing>())
            .gives(200, job(), "It is in line again.")
            .or(&[409, 422]),
    ]
}

fn reads() -> Vec<Operation> {
    vec![
        operation("GET", "/v1/jobs/{id}", "showJob", "A job, at once or when it has ended")
            .query(&[WAIT, CONSISTENCY])
            .gives(200, Content::Json(shape::<JobView<'_>>()), "The job.")
            .or(&[409]),
        operation("GET", "/v1/jobs/{id}/logs", "showLogs", "The output of a job, from whichever node holds it")
            .query(&[STREAM, ATTEMPT, OFFSET, TAIL, FOLLOW_LOGS, CONSISTENCY])
            .header(&[LAST_EVENT_ID])
            .gives(200, Content::Text, "The output; with `follow` as it comes, to the job's end.")
            .bearing(&["Relais-Attempt", "Relais-Output-Total", "Relais-Output-Truncated"])
            .gives(
                200,
                Content::Events(vec![
                    ("output", shape::<Output<'_>>()),
                    ("missing", shape::<Missing>()),
                    ("end", shape::<End>()),
                ]),
                "",
            )
            .or(&[409]),
        operation("GET", "/v1/jobs/{id}/events", "listJobEvents", "What happened to a job, oldest first")
            .query(&[CONSISTENCY])
            .gives(200, Content::Json(shape::<Story<'_>>()), "Its events.")
            .or(&[409]),
        operation("GET", "/v1/jobs/{id}/result", "showResult", "The JSON that a job left")
            .query(&[CONSISTENCY])
            .gives(200, Content::AnyJson, "What it left, as it is.")
            .or(&[409]),
        operation("GET", "/v1/jobs/{id}/explain", "explainJob", "Why a job is where it is")
            .query(&[CONSISTENCY])
            .gives(200, Content::Json(shape::<Explanation>()), "In words.")
            .or(&[409]),
    ]
}

fn groups() -> Vec<Operation> {
    let group = || Content::Json(shape::<Shown<'_>>());
    vec![
        operation("GET", "/v1/groups/{id}", "showGroup", "A group of jobs, at once or when all have ended")
            .query(&[WAIT, CONSISTENCY])
            .gives(200, group(), "The group."),
        operation("POST", "/v1/groups/{id}:cancel", "cancelGroup", "Cancel all jobs of a group")
            .may_take(shape::<CancelBody>())
            .gives(200, group(), "None of it runs any more.")
            .gives(202, group(), "Some of it runs, and is told to stop.")
            .or(&[409]),
    ]
}
