//! Following a job's output over server-sent events, from one node to the next.
//!
//! When the connection breaks before the `end` event, the stream is opened again, on another node if there
//! is one, with the id of the last whole event; what was printed already is not printed twice.

use super::Selection;
use super::frame::{End, Frame};
use crate::cli::client::{Call, Client};
use crate::cli::failure::Failure;
use crate::cli::screen::{Format, Screen};
use crate::cli::sse::{Event, Parser};
use crate::cli::wait::patience;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A stream without a byte for so long (keep-alive comments count) is taken for broken.
const SILENCE_LONGEST: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// One job's output being followed.
pub(crate) struct Follow {
    path: String,
    parser: Parser,
    /// Up to where each stream of each attempt is printed.
    printed: BTreeMap<(u64, String), u64>,
    attempt: u64,
}

enum Ended {
    Job(String),
    Connection { any_byte: bool },
}

impl Follow {
    /// Follows the selected output of job `id`.
    pub(crate) fn new(id: &str, selection: &Selection) -> Self {
        let mut query = selection.query();
        query.append_pair("follow", "true");
        Self {
            path: query.path(&format!("/v1/jobs/{id}/logs")),
            parser: Parser::default(),
            printed: BTreeMap::new(),
            attempt: 0,
        }
    }

    /// Prints until the job has ended, and returns the state it ended in.
    ///
    /// # Errors
    /// A node's refusal, or that no node gave a byte for a minute.
    pub(crate) async fn run(&mut self, client: &Client, screen: Screen) -> Result<String, Failure> {
        let call = Call::stream(self.path.clone(), patience(client));
        let mut pause = PAUSE;
        let mut heard = Instant::now();
        loop {
            let last_id = self.parser.last_id().map(str::to_owned);
            let response = client.open(&call, last_id.as_deref()).await?;
            match self.read(response, screen).await? {
                Ended::Job(state) => return Ok(state),
                Ended::Connection { any_byte: true } => {
                    heard = Instant::now();
                    pause = PAUSE;
                }
                Ended::Connection { any_byte: false } if heard.elapsed() > patience(client) => {
                    return Err(Failure::Local(
                        "the nodes break off the job's output again and again; `relais nodes` shows how they are"
                            .to_owned(),
                    ));
                }
                Ended::Connection { any_byte: false } => pause = (pause * 2).min(PAUSE_LONGEST),
            }
            client.turn_away();
            self.parser.restart();
            sleep(pause).await;
        }
    }

    async fn read(&mut self, mut response: reqwest::Response, screen: Screen) -> Result<Ended, Failure> {
        let mut any_byte = false;
        while let Ok(Ok(Some(bytes))) = timeout(SILENCE_LONGEST, response.chunk()).await {
            any_byte = true;
            let events =
                self.parser.feed(&bytes).map_err(|error| Failure::Local(format!("{error}; is it a Relais node?")))?;
            for event in events {
                if let Some(state) = self.take(&event, screen)? {
                    return Ok(Ended::Job(state));
                }
            }
        }
        Ok(Ended::Connection { any_byte })
    }

    /// Prints an event; returns the job's state when it was the last one.
    fn take(&mut self, event: &Event, screen: Screen) -> Result<Option<String>, Failure> {
        let parse = |error: serde_json::Error| Failure::not_understood(&error);
        match event.name.as_str() {
            "output" => {
                let frame: Frame = serde_json::from_str(&event.data).map_err(parse)?;
                if let Some(fresh) = self.fresh(&frame, screen) {
                    match screen.format {
                        Format::Json | Format::Jsonl => screen.line(&event.data)?,
                        _ if frame.stream == "stderr" => screen.error_bytes(&fresh)?,
                        _ => screen.bytes(&fresh)?,
                    }
                }
                Ok(None)
            }
            "end" => {
                let end: End = serde_json::from_str(&event.data).map_err(parse)?;
                Ok(Some(end.state))
            }
            // Events of newer nodes.
            _ => Ok(None),
        }
    }

    /// The bytes of a frame that were not printed yet.
    fn fresh(&mut self, frame: &Frame, screen: Screen) -> Option<Vec<u8>> {
        let mut bytes = frame.bytes()?;
        if frame.attempt > self.attempt {
            if self.attempt > 0 {
                screen.note(&format!("relais: attempt {} begins", frame.attempt));
            }
            self.attempt = frame.attempt;
        }
        let printed = self.printed.entry((frame.attempt, frame.stream.clone())).or_insert(frame.offset);
        let end = frame.offset + bytes.len() as u64;
        let known = printed.saturating_sub(frame.offset).min(bytes.len() as u64) as usize;
        bytes.drain(..known);
        *printed = end.max(*printed);
        (!bytes.is_empty()).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(follow: &mut Follow, stream: &str, offset: u64, text: &str) -> Option<Vec<u8>> {
        let json = serde_json::json!({"stream": stream, "attempt": 1, "offset": offset, "text": text});
        let frame: Frame = serde_json::from_value(json).unwrap();
        let screen = Screen { format: Format::Table, terminal: false, error_terminal: false, colour: false };
        follow.fresh(&frame, screen)
    }

    #[test]
    fn nothing_is_printed_twice_and_nothing_is_left_out() {
        let mut follow = Follow::new("0196", &Selection::default());
        assert_eq!(follow.path, "/v1/jobs/0196/logs?follow=true");
        assert_eq!(fresh(&mut follow, "stdout", 0, "abc"), Some(b"abc".to_vec()));
        assert_eq!(fresh(&mut follow, "stdout", 0, "abc"), None);
        assert_eq!(fresh(&mut follow, "stdout", 2, "cd"), Some(b"d".to_vec()));
        assert_eq!(fresh(&mut follow, "stderr", 0, "x"), Some(b"x".to_vec()));
        // A gap (the middle of a long output is dropped) is passed over.
        assert_eq!(fresh(&mut follow, "stdout", 100, "z"), Some(b"z".to_vec()));
    }
}
