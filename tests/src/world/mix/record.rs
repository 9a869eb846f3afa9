//! What the record makes use of with each of its entries, by the names of [`FEATURES`](super::FEATURES).

use relais_protocol::group::GroupSize;
use relais_protocol::ids::JobId;
use relais_protocol::job::AttemptOutcome;
use relais_protocol::lease::LeaseOutcome;
use relais_protocol::queue::QueueAct;
use relais_protocol::record::{Outcome, Record, Refusal};
use relais_protocol::schedule::{Missed, Overlap};
use relais_protocol::spec::{Condition, JobOptions, OnConflict, OnLost, Placement, StartTime};

/// What one record made use of.
pub(super) fn features_of(record: &Record, outcome: &Outcome) -> Vec<&'static str> {
    match (record, outcome) {
        (Record::Submit(submit), _) => features_of_submit(submit.id, submit.spec.options(), outcome),
        (Record::Finish(finish), Outcome::Done) => {
            let timed_out = finish.outcome == AttemptOutcome::TimedOut;
            let all = [("retry: timed out", timed_out), ("progress", finish.progress.is_some())];
            chosen(all.into_iter().chain([("result", finish.result.is_some())]))
        }
        (Record::Cancel { .. }, Outcome::Cancelled { now: true }) => vec!["cancel: at once"],
        (Record::Cancel { .. }, Outcome::Cancelled { now: false }) => vec!["cancel: of what runs"],
        (Record::Retry { .. }, Outcome::Done) => vec!["retry: by wish"],
        (Record::Queue(change), Outcome::Done | Outcome::Purged(_)) => features_of_queue(&change.act),
        (Record::Setting { key, .. }, Outcome::Done) => match key.as_str() {
            "priority_aging" => vec!["priority: aging set"],
            "lease" => vec!["setting: lease"],
            "retention" | "retention_count" => vec!["setting: retention"],
            _ => Vec::new(),
        },
        (Record::NodeSet(change), Outcome::Done) => {
            chosen([("node: slots set", change.slots.is_some()), ("node: labels set", !change.labels.is_empty())])
        }
        (Record::Drain { on: true, .. }, Outcome::Done) => vec!["node: drained"],
        (Record::Noticed(_), Outcome::Done) => vec!["webhook: told"],
        (Record::CancelGroup { .. }, Outcome::Cancelled { .. }) => vec!["array: cancelled"],
        (Record::SubmitGroup(submit), Outcome::Grouped { deduplicated: false, .. }) => {
            let size = match submit.size {
                GroupSize::Count(_) => "array: count",
                GroupSize::Inputs(_) => "array: inputs",
                GroupSize::EveryNode => "array: every node",
            };
            chosen([(size, true), ("array: max_failures", submit.max_failures.is_some())])
        }
        (Record::SubmitGroup(_), Outcome::Refused(Refusal::NoNodeMatches)) => vec!["array: no node matched"],
        (Record::Lease(_), Outcome::Leased(granted)) if !granted.is_empty() => vec!["lease: granted"],
        (Record::LeaseEnd(end), Outcome::LeaseEnded(_)) => match &end.how {
            LeaseOutcome::Completed { .. } => vec!["lease: completed"],
            LeaseOutcome::Failed(_) => vec!["lease: failed"],
            LeaseOutcome::Released => vec!["lease: released"],
            LeaseOutcome::Over => vec!["lease: over"],
        },
        _ => features_of_schedule(record, outcome),
    }
}

fn chosen(all: impl IntoIterator<Item = (&'static str, bool)>) -> Vec<&'static str> {
    all.into_iter().filter(|(_, is_there)| *is_there).map(|(feature, _)| feature).collect()
}

fn features_of_queue(act: &QueueAct) -> Vec<&'static str> {
    match act {
        QueueAct::Set(config) => chosen([
            ("queue: limit", config.concurrency.is_some()),
            ("queue: weight", config.weight != 1),
            ("queue: rate", config.rate.is_some()),
            ("queue: retention", config.retention.age_ms.is_some() || config.retention.count.is_some()),
        ]),
        QueueAct::Pause(true) => vec!["queue: paused"],
        QueueAct::Pause(false) => vec!["queue: resumed"],
        QueueAct::Purge { .. } => vec!["cancel: purge"],
    }
}

fn features_of_schedule(record: &Record, outcome: &Outcome) -> Vec<&'static str> {
    match (record, outcome) {
        (Record::ScheduleSet(set), Outcome::Done) => {
            let missed = match set.schedule.missed {
                Missed::Skip => "schedule: missed skip",
                Missed::Once => "schedule: missed once",
                Missed::All => "schedule: missed all",
            };
            let overlap = match set.schedule.overlap {
                Overlap::Allow => "schedule: overlap allow",
                Overlap::Forbid => "schedule: overlap forbid",
                Overlap::Replace => "schedule: overlap replace",
            };
            vec![missed, overlap]
        }
        (Record::ScheduleFired(_), Outcome::Submitted { .. }) => vec!["schedule: fired"],
        (Record::ScheduleMissed(..), Outcome::Done) => vec!["schedule: slots missed"],
        (Record::SchedulePaused { on, .. }, Outcome::Done) => {
            vec![if *on { "schedule: paused" } else { "schedule: resumed" }]
        }
        (Record::ScheduleTriggered { .. }, Outcome::Submitted { .. }) => vec!["schedule: triggered"],
        _ => Vec::new(),
    }
}

fn features_of_submit(sent_as: JobId, options: &JobOptions, outcome: &Outcome) -> Vec<&'static str> {
    let unique = options.unique.as_ref();
    match outcome {
        Outcome::Refused(Refusal::UniqueHeld(_)) => vec!["unique: rejected"],
        Outcome::Submitted { id, deduplicated: true, .. } if *id != sent_as => match unique {
            Some(unique) if unique.on_conflict == OnConflict::Return => vec!["unique: returned"],
            _ => vec!["key: repeat known"],
        },
        Outcome::Submitted { deduplicated: false, .. } => {
            let on = |condition| options.depends_on.iter().any(|one| one.on == condition);
            let asks = &options.requires;
            chosen([
                ("retry: non_retryable", !options.retry.non_retryable.is_empty()),
                ("retry: on_lost fail", options.retry.on_lost == OnLost::Fail),
                ("time: run_at", matches!(options.start, StartTime::At(_))),
                ("time: delay", matches!(options.start, StartTime::After(_))),
                ("time: expires_at", options.expires_at.is_some()),
                ("time: timeout", options.timeout_ms.is_some()),
                ("key: concurrency", options.concurrency.is_some()),
                ("key: idempotency", options.idempotency_key.is_some()),
                ("unique: asked for", unique.is_some()),
                ("unique: for a while", unique.is_some_and(|unique| unique.for_ms.is_some())),
                ("depends_on: succeeded", on(Condition::Succeeded)),
                ("depends_on: finished", on(Condition::Finished)),
                ("depends_on: failed", on(Condition::Failed)),
                ("depends_on: several", options.depends_on.len() > 1),
                ("placement: labels", !asks.labels.is_empty()),
                ("placement: several slots", asks.slots > 1),
                ("placement: cpu", asks.cpu_millis > 0),
                ("placement: memory", asks.memory_bytes > 0),
                ("placement: spread", options.placement == Placement::Spread),
                ("placement: pack", options.placement == Placement::Pack),
                ("webhook: wanted", options.notify.is_some()),
            ])
        }
        _ => Vec::new(),
    }
}
