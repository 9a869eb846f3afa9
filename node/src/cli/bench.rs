//! `relais bench`: how fast a live cluster takes jobs and gets them done, as a client sees it from here. For
//! figures beside other systems, and of a cluster of its own, there is the benchmark in the source tree.
//!
//! ```text
//!   clients ──noop jobs──► all nodes in turn        batches, one a request, one at a time
//!   queue `relais-bench`, one label a run           what was acknowledged ─► compared with the record
//! ```
//!
//! It keeps to a queue of its own, of the least weight, whose ended jobs go after a minute. Whatever ends it, Ctrl-C
//! too, it cancels what is left of its jobs. It refuses to begin beside another one.

mod clients;
mod report;

use super::address::Address;
use super::client::{Call, Client};
use super::failure::Failure;
use super::progress::Progress;
use super::remote::Remote;
use super::screen::Screen;
use super::view;
use clients::Clients;
use report::{Ends, Report};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Its queue.
const QUEUE: &str = "relais-bench";
/// How long ended jobs are kept in it.
const KEPT: &str = "1m";
/// How often is looked whether all jobs are done.
const LOOK: Duration = Duration::from_millis(20);
/// How long that may take without any progress.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Measure a live cluster with jobs that do nothing, in a queue of their own
#[derive(clap::Args)]
#[command(after_help = "\
What it measures includes the way from here to the nodes. Its jobs take slots for a moment each.

Examples:
  relais bench
  relais bench --jobs 100000 --clients 8
  relais bench --jobs 1000 -o json")]
pub(crate) struct Bench {
    /// Jobs submitted in batches; a tenth of them one a request
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    jobs: u32,
    /// Jobs in a batch
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Jobs submitted one at a time, each when the one before it is done
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    one_at_a_time: u32,
    /// Clients that submit at once, each at another node
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    clients: u16,
    #[command(flatten)]
    remote: Remote,
}

impl Bench {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let (screen, client) = (self.remote.screen(), self.remote.client()?);
        let before = healthy(&client).await?;
        if waiting(&client).await? > 0 {
            return Err(Failure::Local(format!(
                "queue {QUEUE} is in use by another bench; wait for its end, or `relais cancel --queue {QUEUE}`"
            )));
        }
        keep_ended(&client, None).await?;
        let clients = Clients::new(&self.remote, &nodes(&client).await?, self.clients)?;
        let interrupted = async {
            // Without a way to be told there is nothing to wait for.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let measured = tokio::select! {
            ends = self.measure(screen, &client, &clients) => ends,
            () = interrupted => Err(Failure::Local("interrupted; its jobs are cancelled".to_owned())),
        };
        let cancelled = cancel_rest(&client, clients.label()).await;
        let report = match measured {
            Ok(ends) => compared(&client, &clients, ends, before).await,
            Err(failure) => Err(failure),
        };
        keep_ended(&client, Some(KEPT)).await?;
        let (mut report, cancelled) = (report?, cancelled?);
        report.cancelled(cancelled);
        report.print(screen)?;
        Ok(u8::from(!report.is_good()))
    }

    async fn measure(&self, screen: Screen, client: &Client, clients: &Clients) -> Result<Ends, Failure> {
        let line = Progress::spinner(screen);
        line.say("jobs in batches");
        let start = Instant::now();
        clients.batches(self.jobs, self.batch).await?;
        let submitted = start.elapsed();
        await_done(client).await?;
        let done = start.elapsed();
        line.say("one job a request");
        let start = Instant::now();
        let singles = clients.singles(self.jobs / 10).await?;
        let singles_took = start.elapsed();
        await_done(client).await?;
        line.say("one job at a time");
        let waits = clients.one_at_a_time(self.one_at_a_time).await?;
        Ok(Ends { jobs: self.jobs, submitted, done, singles, singles_took, waits })
    }
}

async fn compared(client: &Client, clients: &Clients, ends: Ends, before: view::Cluster) -> Result<Report, Failure> {
    let after = healthy(client).await?;
    Report::new(client, clients, ends, (before, after)).await
}

/// The cluster, if it serves.
async fn healthy(client: &Client) -> Result<view::Cluster, Failure> {
    let cluster: view::Cluster = client.call(&Call::read("/v1/cluster")).await?.json()?;
    if cluster.status.starts_with("running") {
        return Ok(cluster);
    }
    let why = cluster.reason.as_deref().unwrap_or_default();
    let status = &cluster.status;
    Err(Failure::Local(format!("the cluster is `{status}` ({why}); `relais cluster status` says more")))
}

/// Sets for how long what ended in the queue stays; as long as anywhere without a time. Nothing may go before
/// it was compared.
async fn keep_ended(client: &Client, age: Option<&str>) -> Result<(), Failure> {
    let body = json!({"weight": 1, "retention": {"age": age}}).to_string();
    client.call(&Call::put(format!("/v1/queues/{QUEUE}"), body)).await.map(drop)
}

/// Jobs of the queue that have not ended.
async fn waiting(client: &Client) -> Result<u64, Failure> {
    let queues = view::rows::<view::Queue>(&client.call(&Call::read("/v1/queues")).await?, "queues")?;
    let own = queues.into_iter().find(|queue| queue.name == QUEUE);
    Ok(own.map_or(0, |queue| queue.queued + queue.running + queue.scheduled + queue.retrying))
}

async fn await_done(client: &Client) -> Result<(), Failure> {
    let (mut least, mut moved) = (u64::MAX, Instant::now());
    loop {
        let left = waiting(client).await?;
        if left == 0 {
            return Ok(());
        }
        if left < least {
            (least, moved) = (left, Instant::now());
        }
        if moved.elapsed() > STALL_LIMIT {
            let why = format!(
                "{left} of its jobs do not get done; `relais explain` of one of `relais jobs --queue {QUEUE}` says why"
            );
            return Err(Failure::Local(why));
        }
        sleep(LOOK).await;
    }
}

/// Where the nodes serve HTTP; where it was told to go, if they do not say.
async fn nodes(client: &Client) -> Result<Vec<Address>, Failure> {
    let rows: Vec<view::Node> = view::rows(&client.call(&Call::read("/v1/nodes")).await?, "nodes")?;
    let online = rows.iter().filter(|row| row.status == "online");
    Ok(online.filter_map(|row| row.http.as_deref()?.parse().ok()).collect())
}

/// Cancels what is left of the jobs of this run; how many.
async fn cancel_rest(client: &Client, label: &str) -> Result<u64, Failure> {
    let path = format!("/v1/jobs:cancel?queue={QUEUE}&label=bench:{label}");
    let body = json!({"reason": "what is left of a bench"}).to_string();
    let tally: serde_json::Value = client.call(&Call::post(path, body)).await?.json()?;
    Ok(tally["changed"].as_u64().unwrap_or(0))
}
