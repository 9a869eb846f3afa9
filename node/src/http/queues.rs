//! Queues: shown, set, paused, resumed and purged. A queue is there once a job was submitted to it or something
//! was set of it; what a `PUT` leaves out is at its default again.

use super::answer::{Answer, Answered};
use super::jobs::{Nothing, commit, seen};
use super::problem::{FieldError, Kind, Problem};
use super::request::Request;
use super::spec::Object;
use super::view::{Duration, Time};
use super::{Api, json, read};
use crate::http::openapi::words;
use relais_dispatcher::ledger::{Hold, QueueView};
use relais_protocol::job::StateName;
use relais_protocol::queue::{
    CONCURRENCY_MAX, Purged, QueueAct, QueueChange, QueueConfig, RATE_COUNT_MAX, RATE_PER_MS_MAX, Rate, Retention,
    WEIGHT_MAX,
};
use relais_protocol::record::{Outcome, Record};
use relais_protocol::spec::QueueName;
use relais_protocol::time::{UnixMs, parse_duration_ms};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[schema(as = QueuePage)]
pub(in crate::http) struct Queues {
    queues: Vec<Row>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Queue)]
pub(in crate::http) struct Row {
    #[schema(value_type = words::QueueName)]
    name: String,
    weight: u32,
    concurrency: Option<u32>,
    rate: Option<RateView>,
    retention: RetentionView,
    paused: bool,
    /// What keeps all of it from starting: `paused`, `concurrency` or `rate`.
    #[schema(value_type = Option<words::HeldBy>)]
    held_by: Option<&'static str>,
    /// When its rate lets the next job start, if that is what holds it.
    opens_at: Option<Time>,
    scheduled: u64,
    queued: u64,
    running: u64,
    retrying: u64,
    oldest_age_ms: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Rate)]
struct RateView {
    count: u32,
    per: Duration,
    /// Jobs that started within the last period.
    started: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Retention)]
struct RetentionView {
    age: Option<Duration>,
    count: Option<u64>,
}

fn row(queue: QueueView, now: UnixMs) -> Row {
    let count = |state: StateName| queue.counts[state as usize];
    let started = queue.started_within_rate.unwrap_or(0);
    Row {
        weight: queue.config.weight,
        concurrency: queue.config.concurrency,
        rate: queue.config.rate.map(|rate| RateView { count: rate.count, per: Duration(rate.per_ms), started }),
        retention: RetentionView {
            age: queue.config.retention.age_ms.map(Duration),
            count: queue.config.retention.count,
        },
        paused: queue.paused,
        held_by: queue.held.as_ref().map(|hold| match hold {
            Hold::Paused => "paused",
            Hold::QueueLimit(_) | Hold::KeyLimit { .. } => "concurrency",
            Hold::Rate(_) => "rate",
        }),
        opens_at: match queue.held {
            Some(Hold::Rate(until)) => Some(Time(until)),
            _ => None,
        },
        scheduled: count(StateName::Scheduled),
        queued: count(StateName::Queued),
        running: count(StateName::Running),
        retrying: count(StateName::Retrying),
        oldest_age_ms: queue.oldest.map(|since| now.since(since)),
        name: queue.name,
    }
}

/// `GET /v1/queues`.
pub(super) async fn list(api: &Api, request: &Request) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let now = api.backend.now();
    let queues: Vec<QueueView> = api.backend.ledger().queues().collect();
    let queues = Queues { queues: queues.into_iter().map(|queue| row(queue, now)).collect() };
    Ok(Answer::json(&queues)?.stale(sight.stale_ms))
}

/// `GET /v1/queues/{name}`.
pub(super) async fn one(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&["consistency"])?;
    let name = named(name)?;
    let sight = read::sight(api, request.query.local()?).await;
    let queue = api.backend.ledger().queue(&name);
    let queue = queue.ok_or_else(|| {
        let detail = "it is there once a job was submitted to it or a PUT has set it; GET /v1/queues lists all";
        Problem::new(Kind::NotFound, format!("there is no queue `{name}`; {detail}"))
    })?;
    Ok(Answer::json(&row(queue, api.backend.now()))?.stale(sight.stale_ms))
}

/// `PUT /v1/queues/{name}`.
pub(super) async fn set(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&[])?;
    let name = named(name)?;
    let raw: RawQueue = json::read(&request.body)?;
    let config = config(&raw)?;
    change(api, name, QueueAct::Set(config)).await
}

/// `POST /v1/queues/{name}:pause` and `:resume`.
pub(super) async fn pause(api: &Api, request: &Request, name: &str, on: bool) -> Answered {
    request.query.only(&[])?;
    json::read_optional::<Nothing>(&request.body)?;
    change(api, named(name)?, QueueAct::Pause(on)).await
}

#[derive(Serialize, ToSchema)]
#[schema(as = Purged)]
pub(in crate::http) struct PurgedView {
    cancelled: u64,
}

/// `POST /v1/queues/{name}:purge`: cancels what had not started when the request came, part by part.
pub(super) async fn purge(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&[])?;
    json::read_optional::<Nothing>(&request.body)?;
    let queue = named(name)?;
    let (mut cancelled, mut upto) = (0, None);
    loop {
        let change = QueueChange { queue: queue.clone(), act: QueueAct::Purge { upto } };
        match commit(api, Record::Queue(Box::new(change))).await? {
            (Outcome::Purged(Purged { jobs, upto: end, more }), index) => {
                cancelled += u64::from(jobs);
                upto = Some(end);
                if !more {
                    seen(api, index).await;
                    return Answer::json(&PurgedView { cancelled });
                }
            }
            (other, _) => return Err(Problem::new(Kind::Internal, format!("a purge came to {other:?}"))),
        }
    }
}

async fn change(api: &Api, queue: QueueName, act: QueueAct) -> Answered {
    let record = Record::Queue(Box::new(QueueChange { queue: queue.clone(), act }));
    let (_, index) = commit(api, record).await?;
    seen(api, index).await;
    match api.backend.ledger().queue(&queue) {
        Some(view) => Answer::json(&row(view, api.backend.now())),
        None => Answer::json(&serde_json::json!({ "name": queue.as_str() })),
    }
}

fn named(text: &str) -> Result<QueueName, Problem> {
    QueueName::parse(text).map_err(|why| Problem::new(Kind::InvalidRequest, format!("`{text}`: {why}")))
}

/// What is to be set of a queue, as it stands in JSON.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = QueueSpec)]
pub(in crate::http) struct RawQueue {
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    weight: Option<i64>,
    #[schema(minimum = 1, maximum = 1000000)]
    concurrency: Option<i64>,
    #[schema(value_type = Option<RawRate>)]
    rate: Option<Object<RawRate>>,
    #[schema(value_type = Option<RawRetention>)]
    retention: Option<Object<RawRetention>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RateSpec)]
struct RawRate {
    #[schema(required = true, nullable = false, minimum = 1, maximum = 1000000)]
    count: Option<i64>,
    #[schema(required = true, value_type = Duration)]
    per: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RetentionSpec)]
struct RawRetention {
    #[schema(value_type = Option<Duration>)]
    age: Option<String>,
    #[schema(minimum = 0)]
    count: Option<i64>,
}

fn config(raw: &RawQueue) -> Result<QueueConfig, Problem> {
    let mut errors = Vec::new();
    let (rate, retention) = (raw.rate.as_ref().map(|rate| &rate.0), raw.retention.as_ref().map(|kept| &kept.0));
    for (pointer, is_missing) in [
        ("/rate/count", rate.is_some_and(|rate| rate.count.is_none())),
        ("/rate/per", rate.is_some_and(|rate| rate.per.is_none())),
    ] {
        if is_missing {
            let detail = "is missing; a rate is like {\"count\": 100, \"per\": \"1s\"}".to_owned();
            errors.push(FieldError { pointer: pointer.to_owned(), detail });
        }
    }
    let mut number = |number: i64, pointer: &str, least: i64, most: i64| {
        if !(least..=most).contains(&number) {
            let detail = format!("is {number}, but must be a whole number from {least} to {most}");
            errors.push(FieldError { pointer: pointer.to_owned(), detail });
        }
        number.clamp(least, most)
    };
    let weight = number(raw.weight.unwrap_or(1), "/weight", 1, WEIGHT_MAX.into()) as u32;
    let most = i64::from(CONCURRENCY_MAX);
    let concurrency = raw.concurrency.map(|limit| number(limit, "/concurrency", 1, most) as u32);
    let count = rate.and_then(|rate| rate.count);
    let count = count.map(|count| number(count, "/rate/count", 1, RATE_COUNT_MAX.into()) as u32);
    let kept = retention.and_then(|retention| retention.count);
    let kept = kept.map(|count| number(count, "/retention/count", 0, i64::MAX) as u64);
    let mut span = |text: &str, pointer: &str, least: u64, most: u64| {
        let detail = match parse_duration_ms(text) {
            Ok(ms) if (least..=most).contains(&ms) => return Some(ms),
            Ok(_) => "is out of bounds: it must be longer than 0, and of a rate at most 31 days".to_owned(),
            Err(why) => why,
        };
        errors.push(FieldError { pointer: pointer.to_owned(), detail });
        None
    };
    let per_ms = rate.and_then(|rate| rate.per.as_deref());
    let per_ms = per_ms.and_then(|per| span(per, "/rate/per", 1, RATE_PER_MS_MAX));
    let age = retention.and_then(|retention| retention.age.as_deref());
    let age_ms = age.and_then(|age| span(age, "/retention/age", 1, u64::MAX));
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    let rate = count.zip(per_ms).map(|(count, per_ms)| Rate { count, per_ms });
    Ok(QueueConfig { weight, concurrency, rate, retention: Retention { age_ms, count: kept } })
}
