//! A job spec as it stands in JSON: names and types, no rules. Borrows from the text where it can.

use crate::http::openapi::words;
use crate::http::view;
use relais_protocol::spec::Labels;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use utoipa::ToSchema;

/// A text that borrows when it has no escapes, also inside an `Option`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// An object, and no array of its fields in their order, which a struct alone would take too.
#[derive(Debug)]
pub(in crate::http) struct Object<T>(pub(in crate::http) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        input.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// All fields of a spec. `null` counts as left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = JobSpec)]
pub(in crate::http) struct RawSpec<'a> {
    #[schema(required = true, value_type = words::Kind)]
    #[serde(borrow)]
    pub(super) kind: Option<Text<'a>>,
    #[schema(value_type = Option<String>, max_length = 200)]
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[schema(value_type = Option<words::QueueName>)]
    #[serde(borrow)]
    pub(super) queue: Option<Text<'a>>,
    #[schema(minimum = 0, maximum = 100, default = 50)]
    pub(super) priority: Option<i64>,
    #[schema(required = true, value_type = words::Payload)]
    #[serde(borrow)]
    pub(super) payload: Option<&'a RawValue>,
    #[schema(value_type = Option<view::Time>)]
    #[serde(borrow)]
    pub(super) run_at: Option<Text<'a>>,
    #[schema(value_type = Option<view::Duration>)]
    #[serde(borrow)]
    pub(super) delay: Option<Text<'a>>,
    #[schema(value_type = Option<view::Time>)]
    #[serde(borrow)]
    pub(super) expires_at: Option<Text<'a>>,
    #[schema(value_type = Option<view::Duration>)]
    #[serde(borrow)]
    pub(super) timeout: Option<Text<'a>>,
    #[schema(value_type = Option<RawRetry>)]
    #[serde(borrow)]
    pub(super) retry: Option<Object<RawRetry<'a>>>,
    #[schema(value_type = Option<words::OnDisconnect>)]
    #[serde(borrow)]
    pub(super) on_disconnect: Option<Text<'a>>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    #[serde(borrow)]
    pub(super) idempotency_key: Option<Text<'a>>,
    #[schema(value_type = Option<RawUnique>)]
    #[serde(borrow)]
    pub(super) unique: Option<Object<RawUnique<'a>>>,
    #[schema(value_type = Option<RawConcurrency>)]
    #[serde(borrow)]
    pub(super) concurrency: Option<Object<RawConcurrency<'a>>>,
    #[schema(value_type = Option<RawRequires>)]
    #[serde(borrow)]
    pub(super) requires: Option<Object<RawRequires<'a>>>,
    #[schema(value_type = Option<words::Placement>)]
    #[serde(borrow)]
    pub(super) placement: Option<Text<'a>>,
    #[schema(value_type = Option<Vec<RawDependency>>, max_items = 1000)]
    #[serde(borrow)]
    pub(super) depends_on: Option<Vec<Object<RawDependency<'a>>>>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    #[serde(rename = "ref", borrow)]
    pub(super) reference: Option<Text<'a>>,
    #[schema(value_type = Option<RawArray>)]
    #[serde(borrow)]
    pub(super) array: Option<Object<RawArray<'a>>>,
    #[schema(no_recursion, value_type = Option<Box<RawSpec>>)]
    #[serde(borrow)]
    pub(super) on_complete: Option<&'a RawValue>,
    #[schema(value_type = Option<words::Labels>)]
    pub(super) labels: Option<Labels>,
    #[schema(value_type = Option<words::Anything>)]
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[schema(value_type = Option<RawNotify>)]
    #[serde(borrow)]
    pub(super) notify: Option<Object<RawNotify<'a>>>,
}

/// Whom to tell of its end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = NotifySpec)]
pub(super) struct RawNotify<'a> {
    #[schema(required = true, value_type = RawWebhook)]
    #[serde(borrow)]
    pub(super) webhook: Option<Object<RawWebhook<'a>>>,
}

/// Where to tell it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = WebhookSpec)]
pub(super) struct RawWebhook<'a> {
    #[schema(required = true, value_type = String, format = "uri", max_length = 2048)]
    #[serde(borrow)]
    pub(super) url: Option<Text<'a>>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 256)]
    #[serde(borrow)]
    pub(super) secret: Option<Text<'a>>,
}

/// How many jobs, and what each is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ArraySpec)]
pub(super) struct RawArray<'a> {
    #[schema(minimum = 1, maximum = 1000000)]
    pub(super) count: Option<i64>,
    #[schema(value_type = Option<Vec<Value>>, min_items = 1, max_items = 1000000)]
    #[serde(borrow)]
    pub(super) inputs: Option<Vec<&'a RawValue>>,
    #[schema(minimum = 0, maximum = 1000000000, default = 0)]
    pub(super) first: Option<i64>,
    #[schema(minimum = 0, maximum = 1000000)]
    pub(super) max_failures: Option<i64>,
}

/// What follows a failed attempt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RetrySpec)]
pub(super) struct RawRetry<'a> {
    #[schema(minimum = 1, maximum = 10000, default = 1)]
    pub(super) max_attempts: Option<i64>,
    #[schema(value_type = Option<view::Duration>)]
    #[serde(borrow)]
    pub(super) initial_interval: Option<Text<'a>>,
    #[schema(minimum = 1, maximum = 1000, default = 2)]
    pub(super) backoff_coefficient: Option<f64>,
    #[schema(value_type = Option<view::Duration>)]
    #[serde(borrow)]
    pub(super) maximum_interval: Option<Text<'a>>,
    #[schema(value_type = Option<words::Jitter>)]
    #[serde(borrow)]
    pub(super) jitter: Option<Text<'a>>,
    #[schema(value_type = Option<Vec<words::FinalError>>, max_items = 64)]
    #[serde(borrow)]
    pub(super) non_retryable: Option<Vec<Text<'a>>>,
    #[schema(value_type = Option<words::OnLost>)]
    #[serde(borrow)]
    pub(super) on_lost: Option<Text<'a>>,
    #[schema(minimum = 0, maximum = 10000, default = 3)]
    pub(super) max_lost: Option<i64>,
}

/// A job that must have ended first: by its id, or by its `ref` in the same batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = DependencySpec)]
pub(super) struct RawDependency<'a> {
    #[schema(value_type = Option<view::Id>)]
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    #[serde(rename = "ref", borrow)]
    pub(super) reference: Option<Text<'a>>,
    #[schema(value_type = Option<words::Condition>)]
    #[serde(borrow)]
    pub(super) on: Option<Text<'a>>,
}

/// What it is to be the only one of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = UniqueSpec)]
pub(super) struct RawUnique<'a> {
    #[schema(required = true, value_type = String, min_length = 1, max_length = 256)]
    #[serde(borrow)]
    pub(super) key: Option<Text<'a>>,
    #[schema(value_type = Option<view::Duration>)]
    #[serde(rename = "for", borrow)]
    pub(super) window: Option<Text<'a>>,
    #[schema(value_type = Option<words::OnConflict>)]
    #[serde(borrow)]
    pub(super) on_conflict: Option<Text<'a>>,
}

/// How many with one key may run at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ConcurrencySpec)]
pub(super) struct RawConcurrency<'a> {
    #[schema(required = true, value_type = String, min_length = 1, max_length = 256)]
    #[serde(borrow)]
    pub(super) key: Option<Text<'a>>,
    #[schema(minimum = 1, maximum = 1000000, default = 1)]
    pub(super) limit: Option<i64>,
}

/// What a node must have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RequiresSpec)]
pub(super) struct RawRequires<'a> {
    #[schema(minimum = 1, maximum = 65535, default = 1)]
    pub(super) slots: Option<i64>,
    #[schema(minimum = 0.001, maximum = 65536.0)]
    pub(super) cpu: Option<f64>,
    #[schema(value_type = Option<words::Size>)]
    #[serde(borrow)]
    pub(super) memory: Option<Text<'a>>,
    #[schema(value_type = Option<words::Labels>)]
    pub(super) labels: Option<Labels>,
}
