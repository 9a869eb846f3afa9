//! The cluster's settings: shown and changed. Durations are texts, as in a job's spec.

use super::answer::{Answer, Answered};
use super::jobs::seen;
use super::problem::{FieldError, Kind, Problem};
use super::request::Request;
use super::{Api, json, read};
use relais_protocol::record::{Outcome, Record};
use relais_protocol::settings::{SettingError, Settings};
use serde_json::{Map, Value};

fn view(settings: &Settings) -> Map<String, Value> {
    let row = |key: &&'static str| {
        let value = match *key {
            "voters" => Value::from(settings.voters),
            "drill" => Value::from(settings.drill),
            "retention_count" => Value::from(settings.retention_count),
            key => Value::from(settings.text(key)),
        };
        ((*key).to_owned(), value)
    };
    Settings::KEYS.iter().map(row).collect()
}

/// `GET /v1/cluster/settings`.
pub(super) async fn show(api: &Api, request: &Request) -> Answered {
    request.query.only(&["consistency"])?;
    let sight = read::sight(api, request.query.local()?).await;
    let settings = view(api.backend.ledger().settings());
    Ok(Answer::json(&settings)?.stale(sight.stale_ms))
}

/// `PATCH /v1/cluster/settings`: those that are named change, `null` gives back the default, and all is
/// answered. One wrong value, and nothing changes.
pub(super) async fn change(api: &Api, request: &Request) -> Answered {
    request.query.only(&[])?;
    let wishes: Map<String, Value> = json::read(&request.body)?;
    // What is asked for has to go together with what is there.
    read::sight(api, false).await;
    let mut settings = api.backend.ledger().settings().clone();
    let keys = apply(&mut settings, &wishes)?;
    let records: Vec<Record> = keys
        .iter()
        .map(|key| Record::Setting { key: (*key).to_owned(), value: settings.text(key).unwrap_or_default() })
        .collect();
    if records.is_empty() {
        return Answer::json(&view(&settings));
    }
    let committed = api.backend.propose(records).await?;
    let refused = committed.outcomes.each.iter().find_map(|outcome| match outcome {
        Outcome::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    });
    if let Some(refusal) = refused {
        return Err(refusal.into());
    }
    seen(api, committed.index).await;
    Answer::json(&view(api.backend.ledger().settings()))
}

/// Sets what is wished for; the keys that were named.
fn apply(settings: &mut Settings, wishes: &Map<String, Value>) -> Result<Vec<&'static str>, Problem> {
    let (mut errors, mut keys) = (Vec::new(), Vec::new());
    for (key, value) in wishes {
        let set = match text_of(key, value) {
            Ok(text) => settings.set(key, &text).map_err(|error| wrong(&error)),
            Err(detail) => Err(FieldError { pointer: pointer(key), detail }),
        };
        match set {
            Ok(()) => keys.extend(Settings::KEYS.into_iter().filter(|known| known == key)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        errors.extend(settings.check().err().map(|error| wrong(&error)));
    }
    if errors.is_empty() { Ok(keys) } else { Err(Problem::of_fields(Kind::InvalidBody, errors)) }
}

fn text_of(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) if key == "name" => Err("must be a text, in quotes".to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(on) => Ok(on.to_string()),
        // What has no default is no setting; that is said where it is set.
        Value::Null => Ok(Settings::default().text(key).unwrap_or_default()),
        Value::Array(_) | Value::Object(_) => Err("must be a text, a number, true, false or null".to_owned()),
    }
}

fn wrong(error: &SettingError) -> FieldError {
    FieldError { pointer: pointer(error.key()), detail: error.reason() }
}

fn pointer(key: &str) -> String {
    format!("/{}", json::escaped(key))
}
