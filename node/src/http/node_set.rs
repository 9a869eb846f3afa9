//! `PATCH /v1/nodes/{name}`: slots and labels of a node are set while it runs, as RFC 7396 merges. What is named
//! changes, `null` unsets it: of `slots` and `labels` what the node was started with holds again, of one label the
//! node bears it no more. What is set goes before the flags of `relais start`, until it is unset.

use super::answer::Answered;
use super::jobs::{commit, seen};
use super::json::{self, escaped};
use super::nodes::show;
use super::problem::{FieldError, Kind, Problem};
use super::request::Request;
use super::{Api, read};
use crate::config::{LABELS_MAX, SLOTS_MAX, check_label};
use relais_protocol::history::Stamp;
use relais_protocol::node::{NodeChange, NodeRow};
use relais_protocol::record::Record;
use serde_json::{Map, Value};

/// `PATCH /v1/nodes/{name}`.
pub(super) async fn set(api: &Api, request: &Request, name: &str) -> Answered {
    request.query.only(&[])?;
    let wishes: Map<String, Value> = json::read(&request.body)?;
    let sight = read::sight(api, false).await;
    let row = api.backend.ledger().nodes().find(|row| row.name == name).cloned();
    let row = row.ok_or_else(|| sight.not_seen(Problem::no_such_node(name)))?;
    let change = change(&row, &wishes)?;
    if !wishes.is_empty() {
        let (_, index) = commit(api, Record::NodeSet(Box::new(change))).await?;
        seen(api, index).await;
    }
    show(api, name).await
}

fn change(row: &NodeRow, wishes: &Map<String, Value>) -> Result<NodeChange, Problem> {
    let mut change = NodeChange { node: row.id, ..NodeChange::default() };
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, detail: String| errors.push(FieldError { pointer, detail });
    for (key, value) in wishes {
        match (key.as_str(), value) {
            ("slots", Value::Null) => change.slots = Some(None),
            ("slots", value) => match value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= SLOTS_MAX) {
                Some(slots) => change.slots = Some(Some(slots)),
                None => wrong("/slots".into(), format!("must be a whole number from 0 to {SLOTS_MAX}, or null")),
            },
            ("labels", Value::Null) => change.labels_unset = true,
            ("labels", Value::Object(labels)) => {
                for (key, value) in labels {
                    match label(key, value) {
                        Ok(value) => drop(change.labels.insert(key.clone(), value)),
                        Err(why) => wrong(format!("/labels/{}", escaped(key)), why),
                    }
                }
            }
            ("labels", _) => wrong("/labels".into(), "must be an object of texts, or null".into()),
            (key, _) => wrong(format!("/{}", escaped(key)), "is not known here; there are slots and labels".into()),
        }
    }
    let mut after = row.clone();
    after.change(change.clone(), Stamp::default());
    if after.labels().len() > LABELS_MAX || after.set.labels.len() > LABELS_MAX {
        wrong("/labels".into(), format!("the node would have more than {LABELS_MAX} labels"));
    }
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    if row.facts.witness {
        return Err(Problem::new(Kind::Conflict, format!("`{}` is a witness, which runs no jobs", row.name)));
    }
    Ok(change)
}

/// The value that a label is to have; none for one that it is not to have.
fn label(key: &str, value: &Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        _ => return Err("must be a text, or null".to_owned()),
    };
    check_label(key, text.map_or("", String::as_str)).map_err(|why| why.to_string())?;
    Ok(text.cloned())
}
