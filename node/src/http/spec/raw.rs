//! A job spec as it stands in JSON: names and types, no rules. Borrows from the text where it can.

use relais_protocol::spec::Labels;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawSpec<'a> {
    #[serde(borrow)]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) queue: Option<Text<'a>>,
    pub(super) priority: Option<i64>,
    #[serde(borrow)]
    pub(super) payload: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) run_at: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) delay: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) expires_at: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) timeout: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) retry: Option<Object<RawRetry<'a>>>,
    #[serde(borrow)]
    pub(super) on_disconnect: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) idempotency_key: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) unique: Option<Object<RawUnique<'a>>>,
    #[serde(borrow)]
    pub(super) concurrency: Option<Object<RawConcurrency<'a>>>,
    #[serde(borrow)]
    pub(super) requires: Option<Object<RawRequires<'a>>>,
    #[serde(borrow)]
    pub(super) placement: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) depends_on: Option<Vec<Object<RawDependency<'a>>>>,
    #[serde(rename = "ref", borrow)]
    pub(super) reference: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) array: Option<Object<RawArray<'a>>>,
    #[serde(borrow)]
    pub(super) on_complete: Option<&'a RawValue>,
    pub(super) labels: Option<Labels>,
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) notify: Option<Object<RawNotify<'a>>>,
}

/// Whom to tell of its end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawNotify<'a> {
    #[serde(borrow)]
    pub(super) webhook: Option<Object<RawWebhook<'a>>>,
}

/// Where to tell it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawWebhook<'a> {
    #[serde(borrow)]
    pub(super) url: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) secret: Option<Text<'a>>,
}

/// How many jobs, and what each is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawArray<'a> {
    pub(super) count: Option<i64>,
    #[serde(borrow)]
    pub(super) inputs: Option<Vec<&'a RawValue>>,
    pub(super) first: Option<i64>,
    pub(super) max_failures: Option<i64>,
}

/// What follows a failed attempt.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawRetry<'a> {
    pub(super) max_attempts: Option<i64>,
    #[serde(borrow)]
    pub(super) initial_interval: Option<Text<'a>>,
    pub(super) backoff_coefficient: Option<f64>,
    #[serde(borrow)]
    pub(super) maximum_interval: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) jitter: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) non_retryable: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) on_lost: Option<Text<'a>>,
    pub(super) max_lost: Option<i64>,
}

/// A job that must have ended first: by its id, or by its `ref` in the same batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawDependency<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[serde(rename = "ref", borrow)]
    pub(super) reference: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) on: Option<Text<'a>>,
}

/// What it is to be the only one of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawUnique<'a> {
    #[serde(borrow)]
    pub(super) key: Option<Text<'a>>,
    #[serde(rename = "for", borrow)]
    pub(super) window: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) on_conflict: Option<Text<'a>>,
}

/// How many with one key may run at once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawConcurrency<'a> {
    #[serde(borrow)]
    pub(super) key: Option<Text<'a>>,
    pub(super) limit: Option<i64>,
}

/// What a node must have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawRequires<'a> {
    pub(super) slots: Option<i64>,
    pub(super) cpu: Option<f64>,
    #[serde(borrow)]
    pub(super) memory: Option<Text<'a>>,
    pub(super) labels: Option<Labels>,
}
