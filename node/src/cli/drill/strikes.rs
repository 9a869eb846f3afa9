//! The blows of a rehearsal: one after another, each when the cluster is whole again after the last.

use super::Kind;
use crate::cli::address::Address;
use crate::cli::client::{Call, Client};
use crate::cli::failure::Failure;
use crate::cli::progress::Progress;
use crate::cli::screen::Screen;
use crate::cli::view;
use relais_protocol::time::duration_text;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long clients submit before the first blow and after the last, so that a gap has two ends.
const CALM: Duration = Duration::from_millis(700);
/// How long the cluster may take to be whole again.
const WHOLE_LIMIT: Duration = Duration::from_secs(120);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a blow may take to show.
const SHOWS_LIMIT: Duration = Duration::from_secs(5);

/// One blow, and until when it was felt.
pub(super) struct Blow {
    /// Whom it struck.
    pub(super) node: String,
    /// The dispatcher before, and when the cluster was whole again.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) epochs: (u64, u64),
    pub(super) at: Instant,
    pub(super) whole_at: Instant,
}

/// What strikes, and how.
pub(super) struct Strikes<'a> {
    client: &'a Client,
    kind: Kind,
    node: Option<String>,
    lasts: Duration,
    screen: Screen,
}

/// How the cluster stands.
struct Sight {
    dispatcher: Option<String>,
    epoch: u64,
    whole: bool,
    pids: Vec<(String, u64, String)>,
}

impl Sight {
    /// Whether the node is there.
    fn has(&self, node: &str) -> bool {
        self.pids.iter().any(|(name, ..)| name == node)
    }
}

impl<'a> Strikes<'a> {
    pub(super) fn new(client: &'a Client, kind: Kind, node: Option<String>, lasts: Duration, screen: Screen) -> Self {
        Self { client, kind, node, lasts, screen }
    }

    /// Where the nodes serve HTTP.
    pub(super) async fn nodes(&self) -> Result<Vec<Address>, Failure> {
        let rows: Vec<view::Node> = view::rows(&self.client.call(&Call::read("/v1/nodes")).await?, "nodes")?;
        if let Some(name) = self.node.as_ref().filter(|name| !rows.iter().any(|row| row.name == **name)) {
            return Err(Failure::Usage(format!("there is no node `{name}`; `relais nodes` lists them")));
        }
        let doors: Vec<Address> = rows.iter().filter_map(|row| row.http.as_deref()?.parse().ok()).collect();
        if doors.is_empty() {
            return Err(Failure::Local("no node tells where its HTTP API is; start them with --advertise-http".into()));
        }
        Ok(doors)
    }

    /// All blows.
    pub(super) async fn rounds(&self, rounds: u32) -> Result<Vec<Blow>, Failure> {
        let mut blows = Vec::new();
        let line = Progress::spinner(self.screen);
        sleep(CALM).await;
        for round in 1..=rounds {
            for node in self.targets().await? {
                line.say(&format!("round {round} of {rounds}: {node}"));
                blows.push(self.blow(node).await?);
                sleep(CALM).await;
            }
        }
        Ok(blows)
    }

    async fn targets(&self) -> Result<Vec<String>, Failure> {
        let sight = self.until_whole(None).await?;
        let dispatcher = || sight.dispatcher.clone().into_iter().collect();
        Ok(match (&self.node, self.kind) {
            (_, Kind::Rolling) => sight.pids.iter().map(|(name, ..)| name.clone()).collect(),
            (Some(node), _) => vec![node.clone()],
            (None, _) => dispatcher(),
        })
    }

    async fn blow(&self, node: String) -> Result<Blow, Failure> {
        let before = self.until_whole(None).await?;
        let at = Instant::now();
        let fault = match self.kind {
            Kind::Kill => "kill",
            Kind::Pause => "pause",
            Kind::Cut => "cut",
            Kind::Rolling => "restart",
            Kind::Handover => "",
        };
        if fault.is_empty() {
            let body = self.node.as_ref().map_or_else(|| json!({}), |to| json!({ "to": to }));
            self.client.call(&Call::post("/v1/cluster:handover", body.to_string())).await?;
        } else {
            let lasts = duration_text(u64::try_from(self.lasts.as_millis()).unwrap_or(u64::MAX));
            let body = json!({ "fault": fault, "for": lasts }).to_string();
            self.client.call(&Call::post(format!("/v1/nodes/{node}:drill"), body)).await?;
            self.until_felt(&before, &node).await;
        }
        let after = self.until_whole(Some(&node)).await?;
        let name = |sight: &Sight| sight.dispatcher.clone().unwrap_or_else(|| "-".to_owned());
        Ok(Blow {
            from: name(&before),
            to: name(&after),
            epochs: (before.epoch, after.epoch),
            at,
            whole_at: Instant::now(),
            node,
        })
    }

    /// Waits until the blow shows: another epoch, or a node that is not online; or not at all, when it was too
    /// short to be noticed. A node that restarts hands the role over before it stops, so there the epoch says
    /// nothing.
    async fn until_felt(&self, before: &Sight, node: &str) {
        let row = |sight: &Sight| sight.pids.iter().find(|(name, ..)| name == node).cloned();
        let until = Instant::now() + SHOWS_LIMIT.max(self.lasts);
        while Instant::now() < until {
            if let Ok(now) = self.sight().await
                && (row(&now) != row(before) || self.kind != Kind::Rolling && now.epoch != before.epoch)
            {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until the cluster is whole; `struck` has said goodbye, perhaps, and must be back.
    async fn until_whole(&self, struck: Option<&str>) -> Result<Sight, Failure> {
        let until = Instant::now() + WHOLE_LIMIT;
        loop {
            match self.sight().await {
                Ok(sight) if sight.whole && struck.is_none_or(|node| sight.has(node)) => return Ok(sight),
                Err(failure) if Instant::now() >= until => return Err(failure),
                Ok(_) if Instant::now() >= until => {
                    return Err(Failure::Local(format!(
                        "the cluster was not whole again within {} s; `relais cluster status` says why",
                        WHOLE_LIMIT.as_secs()
                    )));
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    async fn sight(&self) -> Result<Sight, Failure> {
        let cluster: view::Cluster = self.client.call(&Call::read("/v1/cluster")).await?.json()?;
        let nodes: Vec<view::Node> = view::rows(&self.client.call(&Call::read("/v1/nodes")).await?, "nodes")?;
        let there = nodes.iter().filter(|node| node.status != "left");
        let whole = cluster.status == "running" && there.clone().all(|node| node.status == "online");
        let pids = there.map(|node| (node.name.clone(), node.pid.unwrap_or(0), node.status.clone())).collect();
        Ok(Sight { dispatcher: cluster.dispatcher, epoch: cluster.epoch.unwrap_or(0), whole, pids })
    }
}
