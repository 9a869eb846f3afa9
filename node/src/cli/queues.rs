//! `relais queues`: the queues, what is set of them, and what they hold.

use super::client::{Answer, Call, Client};
use super::failure::{Failure, one_line};
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::table::Table;
use super::time_text::span;
use super::view;
use serde_json::{Map, Value, json};

const PATH: &str = "/v1/queues";
const KEYS: [&str; 5] = ["concurrency", "rate", "weight", "retention_age", "retention_count"];
const COLUMNS: [&str; 9] = ["QUEUE", "STATE", "QUEUED", "RUNNING", "LATER", "OLDEST", "LIMIT", "RATE", "WEIGHT"];

/// List the queues, and set, pause, resume or purge them
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais queues
  relais queues set reports concurrency=4 rate=100/1s weight=2
  relais queues set reports concurrency=none
  relais queues pause reports
  relais queues purge reports")]
pub(crate) struct Queues {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the queues
    #[command(after_help = "Example:\n  relais queues ls -o json")]
    Ls,
    /// Set limits and shares; what is not named stays as it is, `none` takes a limit away
    #[command(after_help = "\
Settings:
  concurrency=N          how many jobs of the queue may run at once in the whole cluster
  rate=N/DURATION        how many may start in any such period
  weight=N               its share of the slots beside other busy queues, 1 to 1000
  retention_age=DURATION, retention_count=N
                         how long, and how many, ended jobs are kept

Examples:
  relais queues set reports concurrency=4 rate=100/1s weight=2
  relais queues set reports rate=none")]
    Set {
        /// The queue, which need not be there yet
        name: String,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Start none of their jobs until they are resumed; what runs goes on
    #[command(after_help = "Example:\n  relais queues pause reports")]
    Pause {
        /// The queues
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Start their jobs again
    #[command(after_help = "Example:\n  relais queues resume reports")]
    Resume {
        /// The queues
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Cancel all of their jobs that have not started
    #[command(after_help = "Example:\n  relais queues purge reports")]
    Purge {
        /// The queues
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

impl Queues {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        match self.command.unwrap_or(Command::Ls) {
            Command::Ls => list(screen, &client).await?,
            Command::Set { name, settings } => set(screen, &client, &name, &settings).await?,
            Command::Pause { names } => each(screen, &client, &names, "pause", |_| "is paused".to_owned()).await?,
            Command::Resume { names } => each(screen, &client, &names, "resume", |_| "is resumed".to_owned()).await?,
            Command::Purge { names } => {
                let said = |answer: &Value| match answer["cancelled"].as_u64() {
                    Some(1) => "is purged, 1 job was cancelled".to_owned(),
                    count => format!("is purged, {} jobs were cancelled", count.unwrap_or(0)),
                };
                each(screen, &client, &names, "purge", said).await?;
            }
        }
        Ok(0)
    }
}

async fn list(screen: Screen, client: &Client) -> Result<(), Failure> {
    let answer = client.call(&Call::read(PATH)).await?;
    match screen.format {
        Format::Json => return screen.json(&answer),
        Format::Jsonl => return screen.rows(&answer, "queues"),
        Format::Quiet | Format::Table => {}
    }
    let queues = view::rows::<view::Queue>(&answer, "queues")?;
    if screen.format == Format::Quiet {
        return queues.iter().try_for_each(|queue| screen.line(&one_line(&queue.name)));
    }
    table(screen, &queues).print()
}

/// The queues as a table.
pub(crate) fn table(screen: Screen, queues: &[view::Queue]) -> Table {
    let mut table = Table::new(screen, &COLUMNS);
    for queue in queues {
        table.row(cells(queue));
    }
    table
}

fn cells(queue: &view::Queue) -> [String; COLUMNS.len()] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let state = match (queue.paused, queue.held_by.as_deref()) {
        (true, _) => "paused",
        (false, Some("concurrency")) => "at its limit",
        (false, Some("rate")) => "at its rate",
        (false, _) => "open",
    };
    [
        queue.name.clone(),
        state.to_owned(),
        queue.queued.to_string(),
        queue.running.to_string(),
        (queue.scheduled + queue.retrying).to_string(),
        or_dash(queue.oldest_age_ms.map(|ms| span(ms, true))),
        or_dash(queue.concurrency.map(|limit| limit.to_string())),
        or_dash(queue.rate.as_ref().map(|rate| format!("{}/{}", rate.count, rate.per))),
        or_dash(queue.weight.map(|weight| weight.to_string())),
    ]
}

/// Posts `:verb` for each queue, and says what came of it.
async fn each(
    screen: Screen,
    client: &Client,
    names: &[String],
    verb: &str,
    said: impl Fn(&Value) -> String,
) -> Result<(), Failure> {
    for name in names {
        let path = format!("{PATH}/{}:{verb}", checked(name)?);
        let answer = client.call(&Call::post(path, json!({}).to_string())).await?;
        match screen.format {
            Format::Json | Format::Jsonl => screen.raw(&String::from_utf8_lossy(&answer.body))?,
            Format::Quiet => screen.line(name)?,
            Format::Table => screen.line(&format!("queue {name} {}", said(&answer.json()?)))?,
        }
    }
    Ok(())
}

/// What is not named stays: the API sets all of a queue at once.
async fn set(screen: Screen, client: &Client, name: &str, settings: &[String]) -> Result<(), Failure> {
    let name = checked(name)?;
    let changes = settings.iter().map(|text| change(text)).collect::<Result<Vec<_>, _>>()?;
    let known = client.call(&Call::read(PATH)).await?;
    let known = view::rows::<view::Queue>(&known, "queues")?.into_iter().find(|queue| queue.name == name);
    let mut body = known.map_or_else(Map::new, |queue| as_set(&queue));
    for (place, value) in changes {
        match place.strip_prefix("retention_") {
            Some(part) => {
                let retention = body.entry("retention").or_insert_with(|| json!({}));
                retention[part] = value;
            }
            None => drop(body.insert(place.to_owned(), value)),
        }
    }
    let answer = client.call(&Call::put(format!("{PATH}/{name}"), Value::Object(body).to_string())).await?;
    show(screen, &answer)
}

fn as_set(queue: &view::Queue) -> Map<String, Value> {
    let retention = if queue.retention.is_object() { queue.retention.clone() } else { json!({}) };
    let body = json!({
        "weight": queue.weight,
        "concurrency": queue.concurrency,
        "rate": queue.rate.as_ref().map(|rate| json!({ "count": rate.count, "per": rate.per })),
        "retention": retention,
    });
    body.as_object().cloned().unwrap_or_default()
}

fn show(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    match screen.format {
        Format::Json | Format::Jsonl => return screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet => return screen.line(&one_line(&answer.json::<view::Queue>()?.name)),
        Format::Table => {}
    }
    let mut table = Table::new(screen, &COLUMNS);
    table.row(cells(&answer.json()?));
    table.print()
}

/// A name that can stand in a path; the rest is the node's to say.
fn checked(name: &str) -> Result<&str, Failure> {
    relais_protocol::spec::QueueName::parse(name)
        .map(|_| name)
        .map_err(|why| Failure::Usage(format!("`{name}`: {why}")))
}

/// `KEY=VALUE` as the API wants it.
fn change(text: &str) -> Result<(&'static str, Value), Failure> {
    let usage = |why: String| Failure::Usage(format!("`{text}`: {why}"));
    let (key, value) = text.split_once('=').ok_or_else(|| usage("write KEY=VALUE".to_owned()))?;
    let key = KEYS.into_iter().find(|known| *known == key.trim());
    let key = key.ok_or_else(|| usage(format!("a queue has {}", KEYS.join(", "))))?;
    let value = value.trim();
    if value == "none" {
        return Ok((key, Value::Null));
    }
    let number = || value.parse::<u64>().map(Value::from).map_err(|_| usage("must be a whole number or none".into()));
    let value = match key {
        "rate" => {
            let wrong = || usage("write it like 100/1s, or none".to_owned());
            let (count, per) = value.split_once('/').ok_or_else(wrong)?;
            let count: u64 = count.parse().map_err(|_| wrong())?;
            json!({ "count": count, "per": per })
        }
        "retention_age" => Value::from(value),
        _ => number()?,
    };
    Ok((key, value))
}
