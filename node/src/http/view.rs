//! A job as the API shows it: the spec as it was sent, defaults filled in, and what the server adds.

mod terms;

pub(super) use terms::{ConcurrencyView, RequiresView, RetryView, UniqueView, on_disconnect, placement, retry};

use super::notified::NotifyView;
use super::schedules::view::{SpecView, spec};
use crate::http::openapi::words;
use crate::veil;
use relais_dispatcher::ledger::Ledger;
use relais_protocol::group::{GroupId, Origin};
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::job::{Attempt, Ending, Job, JobError, JobState};
use relais_protocol::spec::{Dependency, Labels, StartTime};
use relais_protocol::time::{UnixMs, duration_text};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The names of all nodes.
pub(super) struct Names(BTreeMap<NodeId, String>);

impl Names {
    /// As the ledger has them.
    pub(super) fn of(ledger: &Ledger) -> Self {
        Self(ledger.nodes().map(|row| (row.id, row.name.clone())).collect())
    }

    /// Where an attempt runs; `None` outside of the nodes.
    pub(super) fn place(&self, id: NodeId) -> Option<String> {
        (id != NodeId::OUTSIDE).then(|| self.name(id))
    }

    /// A node's name; its number if it has none.
    pub(super) fn name(&self, id: NodeId) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// The node of a name.
    pub(super) fn id(&self, name: &str) -> Option<NodeId> {
        self.0.iter().find(|(_, known)| *known == name).map(|(id, _)| *id)
    }
}

/// RFC 3339.
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) UnixMs);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

/// `1h30m`.
#[derive(Clone, Copy)]
pub(super) struct Duration(pub(super) u64);

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration_text(self.0))
    }
}

/// A job's id as text, written without a `String` of its own.
#[derive(Clone, Copy)]
pub(super) struct Id(pub(super) JobId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A job.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(super) struct JobView<'a> {
    id: Id,
    #[schema(value_type = words::Kind)]
    kind: &'a str,
    name: Option<&'a str>,
    #[schema(value_type = words::QueueName)]
    queue: &'a str,
    #[schema(value_type = words::Priority)]
    priority: u8,
    #[schema(value_type = Value)]
    payload: Cow<'a, RawValue>,
    run_at: Option<Time>,
    delay: Option<Duration>,
    expires_at: Option<Time>,
    timeout: Option<Duration>,
    retry: RetryView<'a>,
    #[schema(value_type = words::OnDisconnect)]
    on_disconnect: &'static str,
    idempotency_key: Option<&'a str>,
    unique: Option<UniqueView<'a>>,
    concurrency: Option<ConcurrencyView<'a>>,
    requires: RequiresView<'a>,
    #[schema(value_type = words::Placement)]
    placement: &'static str,
    depends_on: Vec<DependencyView>,
    #[schema(value_type = words::Labels)]
    labels: &'a Labels,
    #[schema(value_type = words::Anything)]
    metadata: &'a RawValue,
    group: Option<Id>,
    /// Its place in its array, and its own input.
    array: Option<ArrayView<'a>>,
    #[schema(no_recursion, value_type = Option<Box<SpecView>>)]
    on_complete: Option<Box<SpecView<'a>>>,
    /// What it follows on, if it is the `on_complete` of something.
    completes: Option<CompletesView>,
    #[schema(value_type = words::State)]
    state: &'static str,
    /// When a job that is scheduled or retrying is due.
    due_at: Option<Time>,
    attempt: u16,
    created_at: Time,
    queued_at: Option<Time>,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    node: Option<String>,
    /// The external worker that runs it.
    worker: Option<&'a str>,
    fence: Option<u64>,
    exit_code: Option<i32>,
    progress: Option<Cow<'a, str>>,
    #[schema(value_type = Option<Value>)]
    result: Option<&'a RawValue>,
    error: Option<ErrorView<'a>>,
    cancel_requested: Option<CancelView<'a>>,
    #[schema(value_type = words::Durability)]
    durability: &'static str,
    submitted_by: Option<&'a str>,
    attempts: Vec<AttemptView<'a>>,
    /// Executions that ended it again after another had ended it: only a healed split makes such.
    duplicate_executions: u32,
    /// Endings beside the one that stands: of earlier lives, and of the other side of a split.
    endings: Vec<EndingView<'a>>,
    /// The job under the same key that the other side of a split had taken before.
    alias_of: Option<Id>,
    /// Who is told of its end, and how far that is.
    notify: Option<NotifyView<'a>>,
    /// The job that took its unique key, for which it was cancelled.
    replaced_by: Option<Id>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    deduplicated: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ArrayPlace)]
struct ArrayView<'a> {
    index: u32,
    #[schema(value_type = Option<Value>)]
    input: Option<&'a RawValue>,
}

impl<'a> ArrayView<'a> {
    fn of(origin: &'a Origin) -> Option<Self> {
        match origin {
            Origin::Member { index, input } => Some(Self { index: *index, input: input.as_deref().map(raw) }),
            Origin::Completion { .. } => None,
        }
    }
}

/// The id of a job or a group, and how that ended.
#[derive(Serialize, ToSchema)]
#[schema(as = Completes)]
struct CompletesView {
    id: Id,
    #[schema(value_type = words::State)]
    state: &'static str,
}

impl CompletesView {
    fn of(origin: &Origin) -> Option<Self> {
        match origin {
            Origin::Completion { of, state } => Some(Self { id: Id(*of), state: state.as_str() }),
            Origin::Member { .. } => None,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Dependency)]
struct DependencyView {
    id: Id,
    #[schema(value_type = words::Condition)]
    on: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = JobError)]
pub(super) struct ErrorView<'a> {
    #[schema(value_type = words::ErrorType)]
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CancelRequested)]
struct CancelView<'a> {
    at: Time,
    reason: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Ending)]
struct EndingView<'a> {
    #[schema(value_type = words::State)]
    state: &'static str,
    finished_at: Time,
    fence: Option<u64>,
    error: Option<ErrorView<'a>>,
    #[schema(value_type = Option<Value>)]
    result: Option<&'a RawValue>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptView<'a> {
    number: u16,
    node: Option<String>,
    worker: Option<&'a str>,
    epoch: u64,
    fence: u64,
    started_at: Time,
    finished_at: Option<Time>,
    #[schema(value_type = Option<words::Outcome>)]
    outcome: Option<&'static str>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    error: Option<ErrorView<'a>>,
    progress: Option<&'a str>,
    output_tail: Option<Cow<'a, str>>,
}

/// A text, unless it is empty.
pub(super) fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// JSON text that was checked when it came in.
pub(super) fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap_or(RawValue::NULL)
}

/// A payload as everyone may see it.
pub(super) fn veiled(payload: &str) -> Cow<'_, RawValue> {
    match veil::veiled(payload) {
        Cow::Borrowed(text) => Cow::Borrowed(raw(text)),
        Cow::Owned(text) => RawValue::from_string(text).map_or(Cow::Borrowed(RawValue::NULL), Cow::Owned),
    }
}

pub(super) fn error(error: &JobError) -> ErrorView<'_> {
    ErrorView { kind: error.kind.as_str(), message: &error.message }
}

/// The external worker that an attempt is with.
fn worker(attempt: &Attempt) -> Option<&str> {
    attempt.outside.as_ref().map(|outside| outside.worker.as_str())
}

fn attempt<'a>(attempt: &'a Attempt, names: &Names) -> AttemptView<'a> {
    let end = attempt.end.as_ref();
    AttemptView {
        number: attempt.number,
        node: names.place(attempt.node),
        worker: worker(attempt),
        epoch: attempt.epoch.0,
        fence: attempt.fence.0,
        started_at: Time(attempt.started_at),
        finished_at: end.map(|end| Time(end.finished_at)),
        outcome: end.map(|end| end.outcome.as_str()),
        exit_code: end.and_then(|end| end.exit_code),
        signal: end.and_then(|end| end.signal),
        error: end.and_then(|end| end.error.as_ref()).map(error),
        progress: end.and_then(|end| end.progress.as_deref()),
        output_tail: end.map(|end| String::from_utf8_lossy(&end.output_tail)),
    }
}

fn due_at(job: &Job) -> Option<Time> {
    match job.state {
        JobState::Scheduled { at } | JobState::Retrying { at } => Some(Time(at)),
        _ => None,
    }
}

fn dependency(one: &Dependency) -> DependencyView {
    DependencyView { id: Id(one.job), on: one.on.as_str() }
}

fn ending(one: &Ending) -> EndingView<'_> {
    EndingView {
        state: one.state.as_str(),
        finished_at: Time(one.finished_at),
        fence: one.fence.map(|fence| fence.0),
        error: one.error.as_ref().map(error),
        result: one.result.as_deref().map(raw),
    }
}

impl<'a> JobView<'a> {
    /// `job` for people and programs; `durability` says on how many disks it is now.
    pub(super) fn of(job: &'a Job, names: &Names, durability: &'static str) -> Self {
        let options = job.spec.options();
        let last = job.attempts.last();
        let (run_at, delay) = match options.start {
            StartTime::Now => (None, None),
            StartTime::At(at) => (Some(Time(at)), None),
            StartTime::After(ms) => (None, Some(Duration(ms))),
        };
        Self {
            id: Id(job.id),
            kind: &job.spec.kind,
            name: given(&job.spec.name),
            queue: job.spec.queue.as_str(),
            priority: job.spec.priority,
            payload: veiled(&job.spec.payload),
            run_at,
            delay,
            expires_at: options.expires_at.map(Time),
            timeout: options.timeout_ms.map(Duration),
            retry: retry(options),
            on_disconnect: on_disconnect(options),
            idempotency_key: options.idempotency_key.as_deref(),
            unique: options.unique.as_ref().map(UniqueView::of),
            concurrency: options.concurrency.as_ref().map(ConcurrencyView::of),
            requires: RequiresView::of(&options.requires),
            placement: placement(options),
            depends_on: options.depends_on.iter().map(dependency).collect(),
            labels: &options.labels,
            metadata: raw(given(&options.metadata).unwrap_or("{}")),
            group: matches!(options.origin, Some(Origin::Member { .. })).then(|| Id(GroupId::of(job.id).as_job())),
            array: options.origin.as_ref().and_then(ArrayView::of),
            on_complete: options.on_complete.as_deref().map(|follows| Box::new(spec(follows))),
            completes: options.origin.as_ref().and_then(CompletesView::of),
            state: job.state.name().as_str(),
            due_at: due_at(job),
            attempt: last.map_or(0, |last| last.number),
            created_at: Time(job.created_at),
            queued_at: job.queued_at.map(Time),
            started_at: last.map(|last| Time(last.started_at)),
            finished_at: job.finished_at.map(Time),
            node: last.and_then(|last| names.place(last.node)),
            worker: last.and_then(worker),
            fence: last.map(|last| last.fence.0),
            exit_code: last.and_then(|last| last.end.as_ref()).and_then(|end| end.exit_code),
            progress: last.and_then(|last| last.end.as_ref()?.progress.as_deref()).map(Cow::Borrowed),
            result: job.result.as_deref().map(raw),
            error: job.error.as_ref().map(error),
            cancel_requested: job.cancel.as_ref().map(|wish| CancelView { at: Time(wish.at), reason: &wish.reason }),
            durability,
            submitted_by: given(&job.submitted_by),
            attempts: job.attempts.iter().map(|one| attempt(one, names)).collect(),
            duplicate_executions: job.duplicate_executions(),
            endings: job.endings.iter().map(ending).collect(),
            alias_of: job.alias_of.map(Id),
            notify: options.notify.as_ref().map(|webhook| NotifyView::of(webhook, job.notice.as_deref())),
            replaced_by: job.replaced_by.map(Id),
            deduplicated: None,
        }
    }

    /// With what its running attempt says of its progress, if it does.
    pub(super) fn progress(mut self, said: Option<String>) -> Self {
        self.progress = said.map(Cow::Owned).or(self.progress);
        self
    }

    /// With all of its payload: for who is to run it.
    pub(super) fn unveiled(mut self, job: &'a Job) -> Self {
        self.payload = Cow::Borrowed(raw(&job.spec.payload));
        self
    }

    /// With whether it was there before, for the answer to a submit.
    pub(super) fn deduplicated(mut self, was_there: bool) -> Self {
        self.deduplicated = Some(was_there);
        self
    }
}
