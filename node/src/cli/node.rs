//! `relais node`: one node, what it offers, and what is set of it.

use super::client::{Answer, Call, Client};
use super::failure::{Failure, one_line};
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::table::Table;
use super::time_text::{bytes, span};
use crate::config::NodeName;
use serde_json::{Map, Value, json};

/// Show a node, drain it, or set its slots and labels
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais node show n2
  relais node drain n2
  relais node set n2 slots=8 label.gpu=yes")]
pub(crate) struct Node {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    remote: Remote,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show a node: what it offers, what is in use, what was set of it
    #[command(after_help = "Example:\n  relais node show n2")]
    Show {
        /// The node
        name: String,
    },
    /// Give it no new jobs; what runs goes on
    #[command(after_help = "Example:\n  relais node drain n2")]
    Drain {
        /// The node
        name: String,
    },
    /// Give it jobs again
    #[command(after_help = "Example:\n  relais node undrain n2")]
    Undrain {
        /// The node
        name: String,
    },
    /// Set slots and labels while it runs; that goes before its start flags until it is unset
    #[command(after_help = "\
Settings:
  slots=N|start          how many jobs run there at once; `start`: as it was started with
  label.KEY=VALUE        a label that it bears; an empty VALUE takes the label away
  labels=start           all labels as it was started with

Examples:
  relais node set n2 slots=8 label.gpu=yes label.zone=
  relais node set n2 slots=start labels=start")]
    Set {
        /// The node
        name: String,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
}

impl Node {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        let answer = match self.command {
            Command::Show { name } => client.call(&Call::read(path(&name)?)).await?,
            Command::Drain { name } => turn(&client, &name, "drain").await?,
            Command::Undrain { name } => turn(&client, &name, "undrain").await?,
            Command::Set { name, settings } => {
                let wishes = wishes(&settings)?;
                client.call(&Call::patch(path(&name)?, Value::Object(wishes).to_string())).await?
            }
        };
        show(screen, &answer)?;
        Ok(0)
    }
}

async fn turn(client: &Client, name: &str, verb: &str) -> Result<Answer, Failure> {
    client.call(&Call::post(format!("{}:{verb}", path(name)?), "{}")).await
}

/// Where a node is; what can be no name is refused here, since it may mean something else in a path.
fn path(name: &str) -> Result<String, Failure> {
    let name: NodeName = name.parse().map_err(|why| Failure::Usage(format!("`{name}` {why}")))?;
    Ok(format!("/v1/nodes/{name}"))
}

fn wishes(settings: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut wishes = Map::new();
    let mut labels = Map::new();
    for text in settings {
        let usage = |why: &str| Failure::Usage(format!("`{text}`: {why}"));
        let (key, value) = text.split_once('=').ok_or_else(|| usage("write KEY=VALUE"))?;
        match (key, value, key.strip_prefix("label.")) {
            ("slots" | "labels", "start", _) => drop(wishes.insert(key.to_owned(), Value::Null)),
            ("slots", number, _) => {
                let slots: u32 = number.parse().map_err(|_| usage("must be a whole number, or `start`"))?;
                wishes.insert("slots".to_owned(), json!(slots));
            }
            (_, value, Some(label)) => {
                let value = (!value.is_empty()).then_some(value);
                labels.insert(label.to_owned(), json!(value));
            }
            _ => return Err(usage("a node has slots, label.KEY and labels=start")),
        }
    }
    if !labels.is_empty() {
        if wishes.contains_key("labels") {
            let why = "labels=start beside label.KEY: unset all labels first, then set those";
            return Err(Failure::Usage(why.to_owned()));
        }
        wishes.insert("labels".to_owned(), Value::Object(labels));
    }
    Ok(wishes)
}

fn show(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    match screen.format {
        Format::Json => return screen.json(answer),
        Format::Jsonl => return screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet | Format::Table => {}
    }
    let node: Value = answer.json()?;
    let text = |name: &str| node[name].as_str().unwrap_or_default();
    if screen.format == Format::Quiet {
        return screen.line(&one_line(text("name")));
    }
    let amount = |name: &str| node[name].as_f64().unwrap_or_default();
    let mut table = Table::of_pairs(screen);
    for name in ["name", "role", "status", "reason", "version", "http", "machine"] {
        table.pair(name, text(name));
    }
    table.pair("slots", &format!("{} of {} in use, {}", node["slots_used"], node["slots"], slots_from(&node)));
    table.pair("cores", &format!("{} of {} asked for", amount("cpu_used"), amount("cpu")));
    let (used, all) = (bytes(amount("memory_used_bytes")), bytes(amount("memory_bytes")));
    table.pair("memory", &format!("{used} of {all} asked for"));
    table.pair("labels", &pairs(&node["labels"]));
    table.pair("labels set", &pairs(&node["set"]["labels"]));
    for actor in node["actors"].as_array().into_iter().flatten() {
        table.pair(&one_line(actor["name"].as_str().unwrap_or_default()), &one_line(&how_it_is(actor)));
    }
    table.print()
}

/// One actor of the node, in words.
fn how_it_is(actor: &Value) -> String {
    let mut said = format!("{} waiting", actor["depth"]);
    if let Some(ms) = actor["idle_ms"].as_u64() {
        said.push_str(&format!(", turned {} ago", span(ms, true)));
    }
    match actor["restarts"].as_u64() {
        None | Some(0) => {}
        Some(restarts) => said.push_str(&format!(", started again {restarts} times")),
    }
    if let Some(why) = actor["ailing"].as_str() {
        said.push_str(&format!("; {why}"));
    }
    said
}

fn slots_from(node: &Value) -> String {
    match node["slots_from"].as_str() {
        Some("set") => format!("set here; it was started with {}", node["started_with"]["slots"]),
        Some("derived") => "by its cores and memory".to_owned(),
        _ => "as it was started with".to_owned(),
    }
}

/// Labels; one that is taken away with nothing after its `=`.
fn pairs(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let told: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_told_in_words() {
        let well = json!({"name": "worker", "depth": 2, "idle_ms": 12, "restarts": 0, "ailing": null});
        assert_eq!(how_it_is(&well), "2 waiting, turned 12ms ago");
        let ill = json!({"name": "worker", "depth": 0, "idle_ms": null, "restarts": 3, "ailing": "died 3 times"});
        assert_eq!(how_it_is(&ill), "0 waiting, started again 3 times; died 3 times");
    }

    #[test]
    fn settings_become_a_merge_patch() {
        let set = |settings: &[&str]| wishes(&settings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let body = Value::Object(set(&["slots=8", "label.gpu=yes", "label.zone="]).unwrap());
        assert_eq!(body, json!({"slots": 8, "labels": {"gpu": "yes", "zone": null}}));
        let body = Value::Object(set(&["slots=start", "labels=start"]).unwrap());
        assert_eq!(body, json!({"slots": null, "labels": null}));
        for wrong in [&["slots"][..], &["slots=many"], &["gpu=yes"], &["labels=none"], &["labels=start", "label.a=b"]] {
            assert!(set(wrong).is_err(), "{wrong:?}");
        }
        assert!(path("n1").is_ok() && path("n1:drain").is_err() && path("../jobs").is_err());
    }
}
