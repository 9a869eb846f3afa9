//! A schedule as the API shows it: what was set, with the job's defaults filled in so that it can be sent back,
//! and when it is due.

use crate::http::notified::ToldView;
use crate::http::openapi::words;
use crate::http::view::{
    ConcurrencyView, Duration, Id, RequiresView, RetryView, Time, UniqueView, given, on_disconnect, placement, raw,
    retry, veiled,
};
use relais_dispatcher::cron::Cron;
use relais_protocol::schedule::{Firing, FiringLog, FiringOutcome, ScheduleRow};
use relais_protocol::spec::{JobSpec, Labels, StartTime};
use relais_protocol::time::UnixMs;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use utoipa::ToSchema;

/// Slots to come that are shown.
const NEXT_SHOWN: usize = 5;

/// All of them.
#[derive(Serialize, ToSchema)]
#[schema(as = SchedulePage)]
pub(in crate::http) struct Schedules<'a> {
    pub(super) schedules: Vec<ScheduleView<'a>>,
}

/// A schedule.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(in crate::http) struct ScheduleView<'a> {
    name: &'a str,
    cron: &'a str,
    time_zone: &'a str,
    job: SpecView<'a>,
    #[schema(value_type = words::Missed)]
    missed: &'static str,
    #[schema(value_type = words::Overlap)]
    overlap: &'static str,
    paused: bool,
    created_at: Time,
    /// When it is due; empty while it is paused.
    next: Vec<Time>,
    last: Option<FiringView<'a>>,
    counts: Counts,
}

/// How often what happened, of all time.
#[derive(Serialize, ToSchema)]
#[schema(as = FiringCounts)]
struct Counts {
    fired: u64,
    triggered: u64,
    skipped: u64,
    missed: u64,
    refused: u64,
}

/// What each slot submits.
#[derive(Serialize, ToSchema)]
#[schema(as = JobTemplate)]
pub(in crate::http) struct SpecView<'a> {
    #[schema(value_type = words::Kind)]
    kind: &'a str,
    name: Option<&'a str>,
    #[schema(value_type = words::QueueName)]
    queue: &'a str,
    #[schema(value_type = words::Priority)]
    priority: u8,
    #[schema(value_type = Value)]
    payload: Cow<'a, RawValue>,
    delay: Option<Duration>,
    timeout: Option<Duration>,
    retry: RetryView<'a>,
    #[schema(value_type = words::OnDisconnect)]
    on_disconnect: &'static str,
    unique: Option<UniqueView<'a>>,
    concurrency: Option<ConcurrencyView<'a>>,
    requires: RequiresView<'a>,
    #[schema(value_type = words::Placement)]
    placement: &'static str,
    #[schema(value_type = words::Labels)]
    labels: &'a Labels,
    #[schema(value_type = words::Anything)]
    metadata: &'a RawValue,
    notify: Option<ToldView<'a>>,
    #[schema(no_recursion)]
    on_complete: Option<Box<SpecView<'a>>>,
}

/// The newest firings.
#[derive(Serialize, ToSchema)]
#[schema(as = FiringPage)]
pub(in crate::http) struct FiringsView<'a> {
    firings: Vec<FiringView<'a>>,
}

/// What became of a slot.
#[derive(Serialize, ToSchema)]
#[schema(as = Firing)]
struct FiringView<'a> {
    slot: Time,
    at: Time,
    #[schema(value_type = words::FiringOutcome)]
    outcome: &'static str,
    /// The job that it made.
    job: Option<Id>,
    /// The earlier job that had not ended.
    running: Option<Id>,
    /// How many slots were missed, this one the newest of them.
    missed: Option<u64>,
    /// Whether somebody fired it by hand, and who.
    triggered: bool,
    triggered_by: Option<&'a str>,
}

impl<'a> ScheduleView<'a> {
    pub(super) fn of(row: &'a ScheduleRow, log: &'a FiringLog, now: UnixMs) -> Self {
        let (schedule, counts) = (&row.schedule, log.counts);
        // A text that this build can't read was checked by another one.
        let cron = Cron::parse(&schedule.cron, &schedule.time_zone).ok().filter(|_| !row.paused);
        let next = cron.map_or_else(Vec::new, |cron| cron.some_after(now.max(log.settled), NEXT_SHOWN));
        Self {
            name: schedule.name.as_str(),
            cron: &schedule.cron,
            time_zone: &schedule.time_zone,
            job: spec(&schedule.job),
            missed: schedule.missed.as_str(),
            overlap: schedule.overlap.as_str(),
            paused: row.paused,
            created_at: Time(row.created_at),
            next: next.into_iter().map(Time).collect(),
            last: log.firings.last().map(firing),
            counts: Counts {
                fired: counts.fired,
                triggered: counts.by_hand,
                skipped: counts.skipped,
                missed: counts.missed,
                refused: counts.refused,
            },
        }
    }
}

impl<'a> FiringsView<'a> {
    /// Newest first.
    pub(super) fn of(log: &'a FiringLog) -> Self {
        Self { firings: log.firings.iter().rev().map(firing).collect() }
    }
}

fn firing(one: &Firing) -> FiringView<'_> {
    let (outcome, job, running, missed) = match one.outcome {
        FiringOutcome::Job(job) => ("fired", Some(Id(job)), None, None),
        FiringOutcome::Skipped(running) => ("skipped", None, Some(Id(running)), None),
        FiringOutcome::Missed(count) => ("missed", None, None, Some(count)),
        FiringOutcome::Refused => ("refused", None, None, None),
    };
    let by = one.by_hand.as_deref();
    FiringView {
        slot: Time(one.slot),
        at: Time(one.at),
        outcome,
        job,
        running,
        missed,
        triggered: by.is_some(),
        triggered_by: by.and_then(given),
    }
}

/// A spec, so that it can be sent back.
pub(in crate::http) fn spec(spec: &JobSpec) -> SpecView<'_> {
    let options = spec.options();
    SpecView {
        kind: &spec.kind,
        name: given(&spec.name),
        queue: spec.queue.as_str(),
        priority: spec.priority,
        payload: veiled(&spec.payload),
        delay: match options.start {
            StartTime::After(ms) => Some(Duration(ms)),
            StartTime::Now | StartTime::At(_) => None,
        },
        timeout: options.timeout_ms.map(Duration),
        retry: retry(options),
        on_disconnect: on_disconnect(options),
        unique: options.unique.as_ref().map(UniqueView::of),
        concurrency: options.concurrency.as_ref().map(ConcurrencyView::of),
        requires: RequiresView::of(&options.requires),
        placement: placement(options),
        labels: &options.labels,
        metadata: raw(given(&options.metadata).unwrap_or("{}")),
        notify: options.notify.as_ref().map(ToldView::of),
        on_complete: options.on_complete.as_deref().map(|follows| Box::new(self::spec(follows))),
    }
}
