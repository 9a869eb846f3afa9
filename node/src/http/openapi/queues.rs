//! The operations on queues and schedules, and those of workers in any language.

use super::operation::{Content, Operation, operation};
use super::parameter::CONSISTENCY;
use super::shape::{Shape, shape};
use crate::http::jobs::Nothing;
use crate::http::leases::{Beaten, Ended, LeaseView, RawAsk, RawBeat, RawComplete, RawFail, RawRelease};
use crate::http::queues::{PurgedView, Queues, RawQueue, Row};
use crate::http::schedules::body::RawSchedule;
use crate::http::schedules::view::{FiringsView, ScheduleView, Schedules};
use crate::http::submit::Brief;
use crate::http::view::JobView;

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    [queues(), schedules(), leases()].into_iter().flatten().collect()
}

fn json(shape: Shape) -> Content {
    Content::Json(shape)
}

fn queues() -> Vec<Operation> {
    let row = || json(shape::<Row>());
    vec![
        operation("GET", "/v1/queues", "listQueues", "All queues").query(&[CONSISTENCY]).gives(
            200,
            json(shape::<Queues>()),
            "Each with its settings and what waits in it.",
        ),
        operation("GET", "/v1/queues/{name}", "showQueue", "A queue").query(&[CONSISTENCY]).gives(
            200,
            row(),
            "The queue.",
        ),
        operation("PUT", "/v1/queues/{name}", "setQueue", "Set a queue")
            .about("What is left out is at its default again.")
            .takes(shape::<RawQueue>())
            .gives(200, row(), "The queue."),
        operation("POST", "/v1/queues/{name}:pause", "pauseQueue", "Start nothing of a queue")
            .may_take(shape::<Nothing>())
            .gives(200, row(), "The queue."),
        operation("POST", "/v1/queues/{name}:resume", "resumeQueue", "Start jobs of a queue again")
            .may_take(shape::<Nothing>())
            .gives(200, row(), "The queue."),
        operation("POST", "/v1/queues/{name}:purge", "purgeQueue", "Cancel what has not started of a queue")
            .may_take(shape::<Nothing>())
            .gives(200, json(shape::<PurgedView>()), "How many."),
    ]
}

fn schedules() -> Vec<Operation> {
    let schedule = || json(shape::<ScheduleView<'_>>());
    vec![
        operation("GET", "/v1/schedules", "listSchedules", "All schedules").query(&[CONSISTENCY]).gives(
            200,
            json(shape::<Schedules<'_>>()),
            "Each with its next five times.",
        ),
        operation("GET", "/v1/schedules/{name}", "showSchedule", "A schedule").query(&[CONSISTENCY]).gives(
            200,
            schedule(),
            "The schedule.",
        ),
        operation("PUT", "/v1/schedules/{name}", "setSchedule", "Set a schedule")
            .takes(shape::<RawSchedule<'_>>())
            .gives(201, schedule(), "It is new.")
            .bearing(&["Location"])
            .gives(200, schedule(), "It is changed.")
            .bearing(&["Location"])
            .or(&[409, 422]),
        operation("DELETE", "/v1/schedules/{name}", "removeSchedule", "Remove a schedule")
            .gives_nothing("It is gone; its jobs stay."),
        operation("POST", "/v1/schedules/{name}:trigger", "triggerSchedule", "Run the job of a schedule now")
            .may_take(shape::<Nothing>())
            .gives(201, Content::Either(vec![shape::<JobView<'_>>(), shape::<Brief>()]), "The job.")
            .bearing(&["Location"])
            .or(&[409, 422]),
        operation("POST", "/v1/schedules/{name}:pause", "pauseSchedule", "Fire nothing")
            .may_take(shape::<Nothing>())
            .gives(200, schedule(), "The schedule."),
        operation("POST", "/v1/schedules/{name}:resume", "resumeSchedule", "Fire again")
            .may_take(shape::<Nothing>())
            .gives(200, schedule(), "The schedule."),
        operation("GET", "/v1/schedules/{name}/firings", "listFirings", "What became of the newest slots")
            .query(&[CONSISTENCY])
            .gives(200, json(shape::<FiringsView<'_>>()), "Newest first."),
    ]
}

fn leases() -> Vec<Operation> {
    let ended = || json(shape::<Ended>());
    vec![
        operation("POST", "/v1/leases", "leaseJobs", "Ask for jobs to run")
            .about("For workers in any language. What is not heard of again within its lease goes to another.")
            .may_take(shape::<RawAsk>())
            .gives(200, Content::List(shape::<LeaseView<'_>>()), "The jobs; none, if the wait was over before."),
        operation("POST", "/v1/leases/{id}:heartbeat", "beatLease", "Say that a job is still run")
            .may_take(shape::<RawBeat>())
            .gives(200, json(shape::<Beaten>()), "The lease is longer now.")
            .or(&[409]),
        operation("POST", "/v1/leases/{id}:complete", "completeLease", "Say that a job is done")
            .may_take(shape::<RawComplete<'_>>())
            .gives(200, ended(), "It is committed.")
            .or(&[409]),
        operation("POST", "/v1/leases/{id}:fail", "failLease", "Say that a job failed")
            .may_take(shape::<RawFail>())
            .gives(200, ended(), "It is committed.")
            .or(&[409]),
        operation("POST", "/v1/leases/{id}:release", "releaseLease", "Give a job back")
            .may_take(shape::<RawRelease>())
            .gives(200, ended(), "It is in line again.")
            .or(&[409]),
    ]
}
