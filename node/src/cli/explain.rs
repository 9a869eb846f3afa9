//! `relais explain`: why a job waits, or why it ended as it did, and what happened to it.

use super::client::{Answer, Call};
use super::failure::Failure;
use super::job_ref::JobRef;
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::table::Table;
use super::time_text::ago;
use serde_json::Value;

/// Say why a job waits, or why it ended as it did
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais explain last
  relais explain 01963a0c -o json")]
pub(crate) struct Explain {
    /// The job: its id, the beginning of it, or `last`
    id: JobRef,
    #[command(flatten)]
    remote: Remote,
}

impl Explain {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        let id = self.id.resolve(&client).await?;
        let answer = client.call(&Call::read(format!("/v1/jobs/{id}/explain"))).await?;
        match screen.format {
            Format::Json => screen.json(&answer)?,
            Format::Jsonl => screen.raw(&String::from_utf8_lossy(&answer.body))?,
            Format::Quiet => screen.line(text(&answer.json()?, "why"))?,
            Format::Table => {
                let said: Value = answer.json()?;
                screen.line(&format!("{} is {}: {}", text(&said, "id"), text(&said, "state"), text(&said, "why")))?;
                let events = client.call(&Call::read(format!("/v1/jobs/{id}/events"))).await?;
                print(screen, &events)?;
            }
        }
        Ok(0)
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn print(screen: Screen, answer: &Answer) -> Result<(), Failure> {
    let story: Value = answer.json()?;
    let mut table = Table::new(screen, &["WHEN", "EVENT", "ATTEMPT", "NODE", "WHAT"]);
    for event in story["events"].as_array().into_iter().flatten() {
        let number = event["attempt"].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        let node = event["node"].as_str().unwrap_or("-");
        table.row([&ago(event["at"].as_str(), answer.date), text(event, "event"), &number, node, &what(event)]);
    }
    table.print()
}

/// What is to be said of an event beside its name: its outcome, or the state that it led to, and why.
fn what(event: &Value) -> String {
    let due = event["due_at"].as_str().map(|at| format!("due at {at}"));
    let error = event["error"]["message"].as_str().map(str::to_owned);
    let words = ["outcome", "state", "reason"].map(|name| event[name].as_str().map(str::to_owned));
    let said: Vec<String> = words.into_iter().chain([due, error]).flatten().collect();
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_told_in_words() {
        let ended = json!({"outcome": "failed", "error": {"type": "exit", "message": "exit code 3"}});
        assert_eq!(what(&ended), "failed: exit code 3");
        assert_eq!(
            what(&json!({"state": "retrying", "due_at": "2026-11-22T10:00:00Z"})),
            "retrying: due at 2026-11-22T10:00:00Z"
        );
        assert_eq!(what(&json!({"event": "submitted"})), "");
    }
}
