//! `relais cluster set` and `settings`: what all nodes agree on.

use crate::cli::client::{Answer, Call, Client};
use crate::cli::failure::{Failure, one_line};
use crate::cli::screen::{Format, Screen};
use crate::cli::table::Table;
use relais_protocol::settings::Settings;
use serde_json::{Map, Value};

const PATH: &str = "/v1/cluster/settings";

/// Shows all settings, or sets those of `given` (each `KEY=VALUE`) and shows all.
pub(super) async fn run(screen: Screen, client: &Client, given: &[String]) -> Result<(), Failure> {
    let answer = if given.is_empty() {
        client.call(&Call::read(PATH)).await?
    } else {
        client.call(&Call::patch(PATH, body(given)?)).await?
    };
    print(screen, &answer)
}

/// Names and values are looked at here already: what is wrong is told without a node, as wrong use.
fn body(given: &[String]) -> Result<String, Failure> {
    let mut wishes = Map::new();
    for text in given {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Failure::Usage(format!("`{text}` is no KEY=VALUE; `relais cluster settings` lists the settings"))
        })?;
        let key = key.trim();
        // Whether a value is right the node says, which may be of a later build.
        if Settings::default().text(key).is_none() {
            let known = Settings::KEYS.join(", ");
            return Err(Failure::Usage(format!("there is no setting `{key}`; there are {known}")));
        }
        if wishes.insert(key.to_owned(), Value::from(value)).is_some() {
            return Err(Failure::Usage(format!("`{key}` is set twice; give it once")));
        }
    }
    Ok(Value::Object(wishes).to_string())
}

fn print(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    match screen.format {
        Format::Json => return screen.json(answer),
        Format::Jsonl => return screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet | Format::Table => {}
    }
    let settings: Map<String, Value> = answer.json()?;
    let known = Settings::KEYS.iter().filter_map(|key| Some((*key, settings.get(*key)?)));
    let others = settings.iter().filter(|(key, _)| !Settings::KEYS.contains(&key.as_str()));
    let rows = known.chain(others.map(|(key, value)| (key.as_str(), value)));
    if screen.format == Format::Quiet {
        for (key, value) in rows {
            screen.line(&one_line(&format!("{key}={}", shown(value))))?;
        }
        return Ok(());
    }
    let mut table = Table::new(screen, &["SETTING", "VALUE", "MEANING"]);
    for (key, value) in rows {
        table.row([key, &shown(value), meaning(key)]);
    }
    table.print()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn meaning(key: &str) -> &'static str {
    match key {
        "name" => "the cluster's name",
        "takeover" => "when a pair's survivor takes over: available, off, tiebreak:HOST:PORT, fence:COMMAND",
        "takeover_after" => "how long its peer must be gone first",
        "lease" => "how long jobs outlive the last word of their dispatcher",
        "pair_lease" => "the same in a pair",
        "voters" => "nodes that store the journal and vote, once there are as many: 1, 3, 5 or 7",
        "replace_after" => "how long a voter must be gone before its seat goes to another node",
        "priority_aging" => "how much longer a job waits for each point of priority below 100, at most",
        "retention" => "how long ended jobs and their output are kept",
        "retention_count" => "how many ended jobs are kept at most, the newest",
        "drill" => "whether `relais drill` may hurt this cluster",
        _ => "",
    }
}
