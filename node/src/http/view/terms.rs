//! What a job and the job of a schedule show alike of their spec.

use super::Duration;
use crate::http::openapi::words;
use relais_protocol::size::bytes_text;
use relais_protocol::spec::{
    Concurrency, Jitter, JobOptions, Labels, OnConflict, OnDisconnect, OnLost, Placement, Requires, Unique,
};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[schema(as = Unique)]
pub(in crate::http) struct UniqueView<'a> {
    key: &'a str,
    #[serde(rename = "for")]
    window: Option<Duration>,
    #[schema(value_type = words::OnConflict)]
    on_conflict: &'static str,
}

impl<'a> UniqueView<'a> {
    pub(in crate::http) fn of(unique: &'a Unique) -> Self {
        let on_conflict = match unique.on_conflict {
            OnConflict::Return => "return",
            OnConflict::Reject => "reject",
            OnConflict::Replace => "replace",
        };
        Self { key: &unique.key, window: unique.for_ms.map(Duration), on_conflict }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Concurrency)]
pub(in crate::http) struct ConcurrencyView<'a> {
    key: &'a str,
    limit: u32,
}

impl<'a> ConcurrencyView<'a> {
    pub(in crate::http) fn of(concurrency: &'a Concurrency) -> Self {
        Self { key: &concurrency.key, limit: concurrency.limit }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Retry)]
pub(in crate::http) struct RetryView<'a> {
    max_attempts: u16,
    initial_interval: Duration,
    backoff_coefficient: f64,
    maximum_interval: Duration,
    #[schema(value_type = words::Jitter)]
    jitter: &'static str,
    #[schema(value_type = Vec<String>)]
    non_retryable: &'a [String],
    #[schema(value_type = words::OnLost)]
    on_lost: &'static str,
    max_lost: u16,
}

/// What a node must have.
#[derive(Serialize, ToSchema)]
#[schema(as = Requires)]
pub(in crate::http) struct RequiresView<'a> {
    slots: u32,
    cpu: Option<f64>,
    #[schema(value_type = Option<words::Size>)]
    memory: Option<String>,
    #[schema(value_type = words::Labels)]
    labels: &'a Labels,
}

impl<'a> RequiresView<'a> {
    pub(in crate::http) fn of(requires: &'a Requires) -> Self {
        Self {
            slots: requires.slots,
            cpu: (requires.cpu_millis > 0).then(|| f64::from(requires.cpu_millis) / 1_000.0),
            memory: (requires.memory_bytes > 0).then(|| bytes_text(requires.memory_bytes)),
            labels: &requires.labels,
        }
    }
}

pub(in crate::http) fn retry(options: &JobOptions) -> RetryView<'_> {
    let policy = &options.retry;
    RetryView {
        max_attempts: policy.max_attempts,
        initial_interval: Duration(policy.initial_interval_ms),
        backoff_coefficient: f64::from(policy.backoff_permille) / 1_000.0,
        maximum_interval: Duration(policy.maximum_interval_ms),
        jitter: match policy.jitter {
            Jitter::Full => "full",
            Jitter::None => "none",
        },
        non_retryable: &policy.non_retryable,
        on_lost: match policy.on_lost {
            OnLost::Retry => "retry",
            OnLost::Fail => "fail",
        },
        max_lost: policy.max_lost,
    }
}

pub(in crate::http) fn placement(options: &JobOptions) -> &'static str {
    match options.placement {
        _ if options.requires.node.is_some() => "every",
        Placement::Spread => "spread",
        Placement::Pack => "pack",
    }
}

pub(in crate::http) fn on_disconnect(options: &JobOptions) -> &'static str {
    match options.on_disconnect {
        OnDisconnect::Stop => "stop",
        OnDisconnect::Continue => "continue",
    }
}
