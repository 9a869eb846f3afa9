//! The settings of a node among the variables of its environment.
//!
//! Other `RELAIS_*` variables are let be: clients and jobs have some of their own (`RELAIS_TOKEN` is a
//! client's API token, hence a node's join token is `RELAIS_JOIN_TOKEN`).

use super::check::ConfigError;
use super::layer::{Given, Layer, Origin};
use super::names::parse_label;

/// Picks this node's settings out of `variables`; an empty value counts as not given.
///
/// # Errors
/// When `RELAIS_LABELS` is no list of `key=value`.
pub(super) fn layer(variables: impl IntoIterator<Item = (String, String)>) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    for (variable, text) in variables {
        if text.is_empty() {
            continue;
        }
        let given = |name: &'static str| Some(Given { text: text.clone(), origin: Origin::Variable(name) });
        match variable.as_str() {
            "RELAIS_NAME" => layer.name = given("RELAIS_NAME"),
            "RELAIS_DATA_DIR" => layer.data_dir = given("RELAIS_DATA_DIR"),
            "RELAIS_HTTP" => layer.http = given("RELAIS_HTTP"),
            "RELAIS_LISTEN" => layer.listen = given("RELAIS_LISTEN"),
            "RELAIS_ADVERTISE" => layer.advertise = given("RELAIS_ADVERTISE"),
            "RELAIS_ADVERTISE_HTTP" => layer.advertise_http = given("RELAIS_ADVERTISE_HTTP"),
            "RELAIS_SLOTS" => layer.slots = given("RELAIS_SLOTS"),
            "RELAIS_CPU" => layer.cpu = given("RELAIS_CPU"),
            "RELAIS_MEMORY" => layer.memory = given("RELAIS_MEMORY"),
            "RELAIS_LABELS" => put_labels(&mut layer, &text)?,
            "RELAIS_WITNESS" => layer.witness = given("RELAIS_WITNESS"),
            "RELAIS_JOIN" => layer.join = given("RELAIS_JOIN"),
            "RELAIS_JOIN_TOKEN" => layer.token = given("RELAIS_JOIN_TOKEN"),
            "RELAIS_MIN_FREE" => layer.min_free = given("RELAIS_MIN_FREE"),
            "RELAIS_INSECURE_HTTP" => layer.insecure_http = given("RELAIS_INSECURE_HTTP"),
            "RELAIS_LOG_FORMAT" => layer.log_format = given("RELAIS_LOG_FORMAT"),
            _ => {}
        }
    }
    Ok(layer)
}

fn put_labels(layer: &mut Layer, text: &str) -> Result<(), ConfigError> {
    let origin = Origin::Variable("RELAIS_LABELS");
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) =
            parse_label(pair).map_err(|reason| ConfigError::bad("label", pair, origin.clone(), &reason.to_string()))?;
        layer.labels.insert(key, Given { text: value, origin: origin.clone() });
    }
    Ok(())
}
