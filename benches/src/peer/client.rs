//! The works of W1 to W3 and W4 done by JetStream, with its own client library.

use super::servers::{SERVERS, Servers};
use crate::Failed;
use crate::figure::ms;
use crate::open::{Arrivals, Latencies, wait_until};
use crate::work::{Closed, job};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use futures::StreamExt;
use futures::future::try_join_all;
use std::collections::VecDeque;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const KNOWN_LIMIT: Duration = Duration::from_secs(20);
pub(super) const CONSUMER: &str = "workers";
/// Connections that publish one by one when each is due.
const OPEN_CONNECTIONS: usize = 32;
/// Messages that may be delivered and not acknowledged: never what is waited for.
const PENDING_MAX: i64 = 50_000;
/// Messages that a worker asks for at once.
const PULL: usize = 1_000;

pub(super) fn failed<E: Display>(what: &'static str) -> impl Fn(E) -> Failed {
    move |error| Failed::Answer(format!("{what}: {error}"))
}

pub(super) async fn context(addr: SocketAddr) -> Result<Context, Failed> {
    let client = async_nats::connect(addr.to_string()).await.map_err(failed("the peer's server"))?;
    Ok(jetstream::new(client))
}

pub(super) async fn create(context: &Context, name: &str, retention: RetentionPolicy) -> Result<(), Failed> {
    let (subjects, storage) = (vec![name.to_owned()], StorageType::File);
    let config =
        Config { name: name.to_owned(), subjects, storage, retention, num_replicas: SERVERS, ..Config::default() };
    context.create_stream(config).await.map(drop).map_err(failed("the peer's stream"))
}

/// Publishes until the server knows who stores it: a stream is made before each server has heard of its subject.
pub(super) async fn await_known(context: &Context, name: &str) -> Result<(), Failed> {
    let end = Instant::now() + KNOWN_LIMIT;
    loop {
        match publish(context, name.to_owned()).await {
            Err(_) if Instant::now() < end => tokio::time::sleep(Duration::from_millis(10)).await,
            done => return done,
        }
    }
}

pub(super) async fn empty(context: &Context, name: &str) -> Result<(), Failed> {
    let stream = context.get_stream_no_info(name).await.map_err(failed("the peer's stream"))?;
    stream.purge().await.map(drop).map_err(failed("a purge of the peer's stream"))
}

pub(super) async fn delete(context: &Context, name: String) -> Result<(), Failed> {
    context.delete_stream(name).await.map(drop).map_err(failed("the end of the peer's stream"))
}

pub(super) async fn consumer(context: &Context, stream: &str) -> Result<Consumer<pull::Config>, Failed> {
    let config = pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: PENDING_MAX,
        ..pull::Config::default()
    };
    let stream = context.get_stream_no_info(stream).await.map_err(failed("the peer's stream"))?;
    stream.get_or_create_consumer(CONSUMER, config).await.map_err(failed("the peer's consumer"))
}

/// Publishes, and waits for the acknowledgement.
pub(super) async fn publish(context: &Context, stream: String) -> Result<(), Failed> {
    let ack = context.publish(stream, job().into()).await.map_err(failed("a publish"))?;
    ack.await.map(drop).map_err(failed("a publish's acknowledgement"))
}

/// Publishes so many, never more than `window` of them unacknowledged.
async fn publish_in_window(context: Context, stream: String, messages: usize, window: usize) -> Result<(), Failed> {
    let (payload, mut waiting) = (bytes(), VecDeque::with_capacity(window));
    for _ in 0..messages {
        if waiting.len() == window {
            next_ack(&mut waiting).await?;
        }
        let ack = context.publish(stream.clone(), payload.clone()).await.map_err(failed("a publish"))?;
        waiting.push_back(ack);
    }
    while !waiting.is_empty() {
        next_ack(&mut waiting).await?;
    }
    Ok(())
}

async fn next_ack(waiting: &mut VecDeque<jetstream::context::PublishAckFuture>) -> Result<(), Failed> {
    match waiting.pop_front() {
        Some(ack) => ack.await.map(drop).map_err(failed("a publish's acknowledgement")),
        None => Ok(()),
    }
}

fn bytes() -> bytes::Bytes {
    job().into()
}

impl Servers {
    async fn contexts(&self, count: usize) -> Result<Vec<Context>, Failed> {
        try_join_all(self.servers.iter().cycle().take(count).map(|server| context(server.addr))).await
    }

    /// Publishes `messages` over so many connections to all servers in turn, each with up to `window`
    /// unacknowledged; how long it took until all were acknowledged. While the stream still has them, `look`.
    ///
    /// # Errors
    /// When one was not, or the stream does not have them all.
    pub fn publish_many(
        &self,
        messages: usize,
        connections: usize,
        window: usize,
        look: impl FnOnce(&Self) -> Result<(), Failed>,
    ) -> Result<Duration, Failed> {
        self.work(async {
            let contexts = self.contexts(connections).await?;
            let first = contexts[0].clone();
            let stream = self.stream(&first, RetentionPolicy::Limits).await?;
            let start = Instant::now();
            publish_all(contexts, &stream, messages, window).await?;
            let took = start.elapsed();
            check(&first, &stream, messages).await?;
            look(self)?;
            delete(&first, stream).await?;
            Ok(took)
        })
    }

    /// Publishes one after the other over so many connections for so long; how long it took, and how many.
    ///
    /// # Errors
    /// When one was not acknowledged, or the stream does not have them all.
    pub fn publish_singly(&self, time: Duration, connections: usize) -> Result<(Duration, usize), Failed> {
        self.work(async {
            let contexts = self.contexts(connections).await?;
            let first = contexts[0].clone();
            let stream = self.stream(&first, RetentionPolicy::Limits).await?;
            let start = Instant::now();
            let tasks = contexts.into_iter().map(|context| {
                let stream = stream.clone();
                tokio::spawn(async move {
                    let mut count = 0;
                    while start.elapsed() < time {
                        publish(&context, stream.clone()).await?;
                        count += 1;
                    }
                    Ok::<usize, Failed>(count)
                })
            });
            let counts = try_join_all(tasks).await.map_err(failed("a client"))?;
            let took = start.elapsed();
            let count = counts.into_iter().sum::<Result<usize, Failed>>()?;
            check(&first, &stream, count).await?;
            delete(&first, stream).await?;
            Ok((took, count))
        })
    }

    /// Publishes each message when it is due.
    ///
    /// # Errors
    /// When one was not acknowledged.
    pub fn publish_open(&self, arrivals: Arrivals) -> Result<Latencies, Failed> {
        let (contexts, stream) = self.work(async {
            let contexts = self.contexts(OPEN_CONNECTIONS).await?;
            let stream = self.stream(&contexts[0], RetentionPolicy::Limits).await?;
            Ok((contexts, stream))
        })?;
        let latencies = Arc::new(Mutex::new(Latencies::default()));
        let start = Instant::now() + Duration::from_millis(50);
        let mut tasks = Vec::new();
        for (number, context) in (0..arrivals.count()).zip(contexts.iter().cycle().cloned()) {
            let (due, stream, latencies) = (start + arrivals.due(number), stream.clone(), latencies.clone());
            wait_until(due);
            tasks.push(self.runtime.spawn(async move {
                publish(&context, stream).await?;
                latencies.lock().unwrap_or_else(PoisonError::into_inner).note(due.elapsed());
                Ok::<(), Failed>(())
            }));
        }
        self.work(async {
            for task in tasks {
                task.await.map_err(failed("a client"))??;
            }
            delete(&contexts[0], stream).await
        })?;
        let latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(latencies)
    }

    /// Publishes `messages` while three workers, one at each server, acknowledge what is delivered to them; how
    /// long it took until the last acknowledgement was in the consumer's state.
    ///
    /// # Errors
    /// When that does not come about.
    pub fn publish_to_ack(&self, messages: usize) -> Result<Duration, Failed> {
        self.work(async {
            let contexts = self.contexts(crate::work::BATCH_CONNECTIONS).await?;
            let first = contexts[0].clone();
            let stream = self.stream(&first, RetentionPolicy::WorkQueue).await?;
            let mut consumer = consumer(&first, &stream).await?;
            let mut workers = Vec::new();
            for context in self.contexts(SERVERS).await? {
                let consumer = self::consumer(&context, &stream).await?;
                workers.push(tokio::spawn(acknowledge(consumer)));
            }
            let start = Instant::now();
            publish_all(contexts, &stream, messages, crate::work::BATCH_JOBS).await?;
            loop {
                let info = consumer.info().await.map_err(failed("the consumer's state"))?;
                if info.ack_floor.consumer_sequence >= messages as u64 && info.num_ack_pending == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let took = start.elapsed();
            workers.iter().for_each(tokio::task::JoinHandle::abort);
            delete(&first, stream).await?;
            Ok(took)
        })
    }

    /// Publishes one message after the other by the stream's leader or by another server, each when the one
    /// before it is acknowledged twice: by the worker, and to the worker. How long each took.
    ///
    /// # Errors
    /// When one was not.
    pub fn one_at_a_time(&self, messages: usize, at_leader: bool) -> Result<Closed, Failed> {
        self.work(async {
            let first = context(self.servers[0].addr).await?;
            let stream = self.stream(&first, RetentionPolicy::WorkQueue).await?;
            let leader = self.leader(&first, &stream).await?;
            let server = &self.servers[if at_leader { leader } else { (leader + 1) % SERVERS }];
            let (client, worker) = (context(server.addr).await?, context(server.addr).await?);
            let consumer = consumer(&worker, &stream).await?;
            let mut delivered = consumer
                .stream()
                .max_messages_per_batch(PULL)
                .messages()
                .await
                .map_err(failed("the worker's stream"))?;
            let mut each = Vec::with_capacity(messages);
            for _ in 0..messages {
                let sent = Instant::now();
                let run = async {
                    let message = delivered.next().await.ok_or_else(|| Failed::Answer("no message came".into()))?;
                    let message = message.map_err(failed("a delivery"))?;
                    message.double_ack().await.map_err(failed("a double acknowledgement"))
                };
                tokio::try_join!(publish(&client, stream.clone()), run)?;
                each.push(ms(sent.elapsed()));
            }
            delete(&first, stream).await?;
            Ok(Closed(each))
        })
    }

    /// The place of the server that leads a stream.
    pub(super) async fn leader(&self, context: &Context, stream: &str) -> Result<usize, Failed> {
        let mut stream = context.get_stream(stream).await.map_err(failed("the peer's stream"))?;
        let info = stream.info().await.map_err(failed("the stream's state"))?;
        let name = info.cluster.as_ref().and_then(|cluster| cluster.leader.as_ref());
        let place = name.and_then(|name| self.servers.iter().position(|server| server.name == *name));
        place.ok_or_else(|| Failed::Answer("the peer's stream has no leader".to_owned()))
    }
}

async fn publish_all(contexts: Vec<Context>, stream: &str, messages: usize, window: usize) -> Result<(), Failed> {
    let share = messages / contexts.len();
    let tasks =
        contexts.into_iter().map(|context| tokio::spawn(publish_in_window(context, stream.to_owned(), share, window)));
    try_join_all(tasks).await.map_err(failed("a client"))?.into_iter().collect()
}

/// Acknowledges whatever is delivered.
async fn acknowledge(consumer: Consumer<pull::Config>) -> Result<(), Failed> {
    let stream = consumer.stream().max_messages_per_batch(PULL).messages().await;
    let mut delivered = stream.map_err(failed("the worker's stream"))?;
    while let Some(message) = delivered.next().await {
        message.map_err(failed("a delivery"))?.ack().await.map_err(failed("an acknowledgement"))?;
    }
    Ok(())
}

/// Every message that was acknowledged is in the stream.
async fn check(context: &Context, stream: &str, messages: usize) -> Result<(), Failed> {
    let mut stream = context.get_stream(stream).await.map_err(failed("the peer's stream"))?;
    let found = stream.info().await.map_err(failed("the stream's state"))?.state.messages;
    if found == messages as u64 {
        return Ok(());
    }
    Err(Failed::Answer(format!("the peer acknowledged {messages} messages and has {found}")))
}
