//! The shape of a JSON value: a type that derives its schema, as something that can stand in a table.

use serde_json::{Map, Value, json};
use std::borrow::Cow;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// A type with a schema.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    name: fn() -> Cow<'static, str>,
    all: fn() -> Vec<(String, RefOr<Schema>)>,
}

/// The shape of `T`.
pub(super) fn shape<T: ToSchema>() -> Shape {
    Shape { name: T::name, all: all_of::<T> }
}

fn all_of<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    all
}

impl Shape {
    /// A reference to it.
    pub(super) fn reference(&self) -> Value {
        json!({"$ref": format!("#/components/schemas/{}", (self.name)())})
    }

    /// Adds it, and all that it is made of.
    pub(super) fn add_to(&self, schemas: &mut Map<String, Value>) {
        for (name, schema) in (self.all)() {
            let schema = serde_json::to_value(schema).unwrap_or_default();
            schemas.entry(name).or_insert_with(|| completed(schema));
        }
    }
}

/// An answer has all its fields: what it has nothing to say of is null there. Only what can't be null may be missing.
/// What is asked is closed, and may leave out whatever is not said to be required.
fn completed(mut schema: Value) -> Value {
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        return schema;
    }
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return schema };
    let always = fields.iter().filter(|(_, field)| can_be_null(field)).map(|(name, _)| Value::from(name.as_str()));
    let always: Vec<Value> = always.collect();
    if !always.is_empty() {
        let named = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let more = always.into_iter().filter(|name| !named.contains(name));
        schema["required"] = named.iter().cloned().chain(more).collect::<Vec<_>>().into();
    }
    schema
}

fn can_be_null(field: &Value) -> bool {
    let is_null = |kind: &Value| kind == "null";
    let by_type = match field.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_null),
        Some(kind) => is_null(kind),
        // Any JSON may be null.
        None => field.get("$ref").is_none() && field.get("oneOf").is_none(),
    };
    let one_of = field.get("oneOf").and_then(Value::as_array);
    by_type || one_of.is_some_and(|choices| choices.iter().any(can_be_null))
}
