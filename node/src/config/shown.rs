//! Each setting with its value and where it came from, for `relais config show`. A secret is never among them.

use super::layer::{Given, Layer};
use super::{LogFormat, StartConfig};

/// Where a setting comes from that nobody gave.
pub const DEFAULT: &str = "default";

/// One setting as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its key in the config file; a label is `labels.KEY`.
    pub setting: String,
    /// Its value, as it would be written in the file; words in brackets for what is found out at the start.
    pub value: String,
    /// `default`, a flag, a variable, or a file with its line.
    pub origin: String,
}

/// The rows of `config`, which was made of `all`.
pub(super) fn rows(all: &Layer, config: &StartConfig) -> Vec<Shown> {
    let auto = |text: &str| format!("({text})");
    let or_auto = |value: Option<String>, text: &str| value.unwrap_or_else(|| auto(text));
    let set: [(&str, &Option<Given>, String); 15] = [
        ("name", &all.name, config.name.to_string()),
        ("data_dir", &all.data_dir, config.data_dir.display().to_string()),
        ("http", &all.http, config.http.to_string()),
        ("listen", &all.listen, config.listen.to_string()),
        ("advertise", &all.advertise, or_auto(given(&all.advertise), "the address that routes to the join address")),
        ("advertise_http", &all.advertise_http, or_auto(config.advertise_http.clone(), "made from http")),
        ("slots", &all.slots, or_auto(given(&all.slots), "by cores and memory")),
        ("cpu", &all.cpu, or_auto(given(&all.cpu), "all of the machine's cores")),
        ("memory", &all.memory, or_auto(given(&all.memory), "all of the machine's memory")),
        ("witness", &all.witness, config.witness.to_string()),
        ("join", &all.join, or_auto(given(&all.join), "none: starts a cluster")),
        ("token", &all.token, auto(if all.token.is_some() { "a secret" } else { "none" })),
        ("min_free", &all.min_free, given(&all.min_free).unwrap_or_else(|| format!("{}MiB", config.min_free >> 20))),
        ("insecure_http", &all.insecure_http, config.insecure_http.to_string()),
        ("log_format", &all.log_format, format_name(config.log_format).to_owned()),
    ];
    let labels = all.labels.iter().map(|(key, given)| Shown {
        setting: format!("labels.{key}"),
        value: given.text.clone(),
        origin: given.origin.to_string(),
    });
    let plain = set.into_iter().map(|(setting, given, value)| Shown {
        setting: setting.to_owned(),
        value,
        origin: given.as_ref().map_or_else(|| DEFAULT.to_owned(), |given| given.origin.to_string()),
    });
    plain.chain(labels).collect()
}

fn given(setting: &Option<Given>) -> Option<String> {
    setting.as_ref().map(|given| given.text.clone())
}

fn format_name(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}
