//! Groups on the command line: an array that was submitted is waited for, shown as it goes, and cancelled as one.

use super::client::{Answer, Call, Client, POLL_WAIT};
use super::failure::{EXIT_CANCELLED, EXIT_FAILED, EXIT_INTERRUPTED, Failure, one_line};
use super::progress::Progress;
use super::screen::{Format, Screen};
use super::wait;
use relais_protocol::group::GroupId;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks at a group that is shown as it goes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A poll that comes back sooner was not held.
const POLL_SHORT: Duration = Duration::from_millis(500);

/// The answer to a submit of an array.
#[derive(Debug, Deserialize)]
pub(crate) struct Accepted {
    /// Its id.
    pub(crate) group: String,
    count: u64,
    #[serde(default)]
    deduplicated: bool,
}

/// A group, of `GET /v1/groups/{id}`.
#[derive(Debug, Deserialize)]
pub(crate) struct Group {
    id: String,
    state: String,
    #[serde(default)]
    reason: Option<String>,
    total: u64,
    #[serde(default)]
    ended: u64,
    #[serde(default)]
    counts: Value,
}

impl Accepted {
    /// What `answer` says, if it is about an array.
    pub(crate) fn of(answer: &Answer) -> Option<Self> {
        answer.json().ok()
    }

    /// Says that it was taken.
    ///
    /// # Errors
    /// The output is closed.
    pub(crate) fn tell(&self, screen: Screen, answer: &Answer) -> Result<(), Failure> {
        match screen.format {
            Format::Json => screen.json(answer),
            Format::Jsonl => screen.raw(&String::from_utf8_lossy(&answer.body)),
            Format::Table if screen.terminal => {
                let said = if self.deduplicated { "was submitted before" } else { "submitted" };
                screen.line(&one_line(&format!("group {} of {} jobs {said}", self.group, self.count)))?;
                screen.note(&format!("relais wait {}", self.group));
                Ok(())
            }
            Format::Quiet | Format::Table => screen.line(&self.group),
        }
    }
}

/// Whether `text` is the whole id of a group: no job has such a one.
pub(crate) fn is_group(text: &str) -> bool {
    text.parse::<GroupId>().is_ok()
}

/// Waits until a group has ended, and says how; the exit code tells it too: 0, 3 failed, 4 cancelled.
///
/// # Errors
/// A node's refusal, or that no node answered for a minute.
pub(crate) async fn wait(client: &Client, screen: Screen, id: &str, progress: bool) -> Result<u8, Failure> {
    let Some(end) = wait::unless_interrupted(until_end(client, screen, id, progress)).await else {
        eprintln!("\nrelais: group {id} goes on; `relais wait {id}` waits for it, `relais cancel {id}` stops it");
        return Ok(EXIT_INTERRUPTED);
    };
    let (answer, group) = end?;
    match screen.format {
        Format::Json => screen.json(&answer)?,
        Format::Jsonl => screen.raw(&String::from_utf8_lossy(&answer.body))?,
        Format::Table if screen.terminal => screen.line(&one_line(&group.text()))?,
        Format::Table | Format::Quiet if group.state != "succeeded" => {
            eprintln!("relais: {}", one_line(&group.text()));
        }
        Format::Table | Format::Quiet => {}
    }
    Ok(match group.state.as_str() {
        "succeeded" => 0,
        "cancelled" => EXIT_CANCELLED,
        _ => EXIT_FAILED,
    })
}

async fn until_end(client: &Client, screen: Screen, id: &str, progress: bool) -> Result<(Answer, Group), Failure> {
    let shows = progress && screen.error_terminal;
    let wait = if shows { LOOK_EVERY } else { POLL_WAIT };
    let call = Call::read(format!("/v1/groups/{id}?wait={}s", wait.as_secs())).polling(wait::patience(client));
    let mut bar = None;
    loop {
        let asked = Instant::now();
        let answer = client.call(&call).await?;
        let group: Group = answer.json()?;
        if group.has_ended() {
            return Ok((answer, group));
        }
        if shows {
            bar.get_or_insert_with(|| Progress::towards(screen, group.total)).at(group.ended, &group.beside());
        }
        if asked.elapsed() < POLL_SHORT {
            sleep(POLL_SHORT).await;
        }
    }
}

/// Cancels a group.
///
/// # Errors
/// A node's refusal, or that no node answers.
pub(crate) async fn cancel(client: &Client, screen: Screen, id: &str, body: &Value) -> Result<(), Failure> {
    let answer = client.call(&Call::post(format!("/v1/groups/{id}:cancel"), body.to_string())).await?;
    match screen.format {
        Format::Json => screen.json(&answer),
        Format::Jsonl => screen.raw(&String::from_utf8_lossy(&answer.body)),
        Format::Quiet => screen.line(id),
        Format::Table if answer.status == 202 => {
            screen.line(&format!("group {id}: jobs that run are told to stop; `relais wait {id}` waits for their end"))
        }
        Format::Table => screen.line(&format!("group {id} is cancelled")),
    }
}

impl Group {
    fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "failed" | "cancelled")
    }

    fn count(&self, state: &str) -> u64 {
        self.counts.get(state).and_then(Value::as_u64).unwrap_or(0)
    }

    fn failed(&self) -> u64 {
        self.count("failed") + self.count("expired")
    }

    /// What stands beside the bar.
    fn beside(&self) -> String {
        format!("ended, {} running, {} failed", self.count("running"), self.failed())
    }

    fn text(&self) -> String {
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!(
            "group {} {}: {} of {} jobs succeeded, {} failed, {} cancelled{reason}; `relais jobs --group {}` lists them",
            self.id,
            self.state,
            self.count("succeeded"),
            self.total,
            self.failed(),
            self.count("cancelled"),
            self.id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_group_says_how_far_it_is() {
        let counts = json!({"succeeded": 30, "running": 2, "failed": 1, "expired": 2});
        let group: Group =
            serde_json::from_value(json!({"id": "x", "state": "running", "total": 60, "ended": 33, "counts": counts}))
                .expect("a group");
        assert_eq!((group.beside().as_str(), group.has_ended()), ("ended, 2 running, 3 failed", false));
        assert!(is_group("01963a0c-7f1e-7abc-8def-012345600000") && !is_group("01963a0c-7f1e-7abc-8def-012345600001"));
    }
}
