//! `relais events`: what happens in the cluster, as it happens; through a failover, and from one node to the next.

use super::client::{Call, Client};
use super::failure::Failure;
use super::query::Query;
use super::remote::Remote;
use super::screen::{Format, Screen};
use super::sse::{Event, Parser};
use super::wait::{patience, unless_interrupted};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A stream without a byte for so long (keep-alive comments count) is taken for broken.
const SILENCE_LONGEST: Duration = Duration::from_secs(45);
/// How long it waits before it asks the next node.
const PAUSE: Duration = Duration::from_millis(200);

/// Show what happened in the cluster lately, or as it happens
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relais events
  relais events -f --types node,cluster
  relais events -f --job 019abf3c-7d0a-7cc2-b0a4-2f1f1f0b9a11 -o jsonl")]
pub(crate) struct Events {
    /// Go on with what happens from now on, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Only these: job, node, schedule, cluster
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = ["job", "node", "schedule", "cluster"])]
    types: Vec<String>,
    /// Only those of one job
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Events {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let screen = self.remote.screen();
        let client = self.remote.client()?;
        let call = Call::stream(self.path(), patience(&client));
        if self.follow {
            unless_interrupted(follow(&client, &call, screen)).await.unwrap_or(Ok(()))?;
        } else {
            let response = client.open(&call, None).await?;
            read(response, &mut Parser::default(), screen).await?;
        }
        Ok(0)
    }

    fn path(&self) -> String {
        let mut query = Query::new();
        if !self.types.is_empty() {
            query.append_pair("types", &self.types.join(","));
        }
        if let Some(job) = &self.job {
            query.append_pair("job", job);
        }
        if !self.follow {
            query.append_pair("follow", "false");
        }
        query.path("/v1/events")
    }
}

/// Goes on after the last event whenever the stream breaks, on another node if there is one.
async fn follow(client: &Client, call: &Call, screen: Screen) -> Result<(), Failure> {
    let mut parser = Parser::default();
    let mut heard = Instant::now();
    loop {
        let last_id = parser.last_id().map(str::to_owned);
        let response = client.open(call, last_id.as_deref()).await?;
        if read(response, &mut parser, screen).await? {
            heard = Instant::now();
        } else if heard.elapsed() > patience(client) {
            let said = "the nodes break off the events again and again; `relais nodes` shows how they are";
            return Err(Failure::Local(said.to_owned()));
        }
        client.turn_away();
        parser.restart();
        sleep(PAUSE).await;
    }
}

/// Prints until the stream ends; whether anything came.
async fn read(mut response: reqwest::Response, parser: &mut Parser, screen: Screen) -> Result<bool, Failure> {
    let mut any_byte = false;
    while let Ok(Ok(Some(bytes))) = timeout(SILENCE_LONGEST, response.chunk()).await {
        any_byte = true;
        let events = parser.feed(&bytes).map_err(|error| Failure::Local(format!("{error}; is it a Relais node?")))?;
        for event in events {
            screen.line(&line(&event, screen)?)?;
        }
    }
    Ok(any_byte)
}

/// An event in one line: as the API sends it, or for people.
fn line(event: &Event, screen: Screen) -> Result<String, Failure> {
    let mut data: Value = serde_json::from_str(&event.data).map_err(|error| Failure::not_understood(&error))?;
    if matches!(screen.format, Format::Json | Format::Jsonl) {
        data["event"] = event.name.clone().into();
        return Ok(data.to_string());
    }
    let at = data["at"].as_str().unwrap_or("-").to_owned();
    let mut words = Vec::new();
    for (name, value) in data.as_object().into_iter().flatten().filter(|(name, _)| *name != "at" && *name != "state") {
        words.push(format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    Ok(format!("{at}  {:<22} {}", event.name, words.join(" ")))
}
