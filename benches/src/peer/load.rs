//! The load of W6 for the peer: publishers that repeat a message under its id until it is acknowledged, workers
//! that acknowledge twice, and what both saw when the stream's leader was hit.

use super::client::{CONSUMER, context, failed};
use super::servers::{SERVERS, Servers};
use crate::Failed;
use crate::cluster::until;
use crate::failover::{Gap, Hit, longest_silence};
use crate::figure::ms;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::RetentionPolicy;
use async_nats::jetstream::{Context, Message};
use futures::StreamExt;
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Publishers, and between two messages of one.
const PUBLISHERS: usize = 8;
const PACE: Duration = Duration::from_millis(20);
/// How long a publisher waits before it publishes the same again: what keeps it from waiting for a dead server.
const PATIENCE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(5);
const GAP_LIMIT: Duration = Duration::from_secs(90);
const NOBODY: usize = usize::MAX;

/// A message on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    acknowledged: Option<Instant>,
    done: Option<Instant>,
}

#[derive(Debug)]
struct Shared {
    stream: String,
    contexts: Vec<Context>,
    avoided: AtomicUsize,
    numbers: AtomicU64,
    sent: Mutex<std::collections::BTreeMap<u64, Sent>>,
}

/// Servers under load, until dropped.
#[derive(Debug)]
pub struct PeerLoad {
    servers: Servers,
    shared: Arc<Shared>,
}

impl PeerLoad {
    /// Makes a stream, and starts publishers and workers.
    ///
    /// # Errors
    /// When the servers do not answer.
    pub fn start(servers: Servers) -> Result<Self, Failed> {
        let shared = servers.work(async {
            let mut contexts = Vec::new();
            for server in &servers.servers {
                contexts.push(context(server.addr).await?);
            }
            let stream = servers.stream(&contexts[0], RetentionPolicy::WorkQueue).await?;
            super::client::consumer(&contexts[0], &stream).await?;
            let (avoided, numbers, sent) = (AtomicUsize::new(NOBODY), AtomicU64::new(0), Mutex::default());
            Ok(Arc::new(Shared { stream, contexts, avoided, numbers, sent }))
        })?;
        for number in 0..PUBLISHERS {
            servers.runtime.spawn(publish_on(shared.clone(), number));
        }
        for number in 0..SERVERS {
            servers.runtime.spawn(work_on(shared.clone(), number));
        }
        Ok(Self { servers, shared })
    }

    /// One round: the stream's leader is hit while nobody publishes by it. It ends with all servers back.
    ///
    /// # Errors
    /// When the rest does not go on, or the one that was hit does not come back.
    pub fn round(&mut self, hit: Hit) -> Result<Gap, Failed> {
        let leader = self.whole()?;
        self.shared.avoided.store(leader, Ordering::Release);
        let at = Instant::now();
        self.served_after(at)?;
        let at = Instant::now();
        let gap = match hit {
            Hit::Kill => {
                self.servers.servers[leader].signal(Signal::SIGKILL)?;
                let gap = self.served_after(at)?;
                self.servers.servers[leader].reap()?;
                self.servers.servers[leader].start()?;
                gap
            }
            Hit::Pause => {
                self.servers.servers[leader].signal(Signal::SIGSTOP)?;
                let gap = self.served_after(at);
                self.servers.servers[leader].signal(Signal::SIGCONT)?;
                gap?
            }
            Hit::Handover => self.step_down(at)?,
        };
        self.whole()?;
        self.shared.avoided.store(NOBODY, Ordering::Release);
        Ok(gap)
    }

    /// Waits until the stream has a leader and all its replicas are current; the leader's place.
    fn whole(&self) -> Result<usize, Failed> {
        until("the peer's stream to be whole", GAP_LIMIT, || {
            let look = async {
                for context in &self.shared.contexts {
                    let Ok(Ok(info)) = timeout(Duration::from_secs(2), state(context, &self.shared.stream)).await
                    else {
                        continue;
                    };
                    let current = info.replicas.len() + 1 == SERVERS && info.replicas.iter().all(|peer| peer.current);
                    let leader = info.leader.filter(|_| current)?;
                    return self.servers.servers.iter().position(|server| server.name == leader);
                }
                None
            };
            let found = self.servers.runtime.block_on(look);
            if found.is_none() {
                std::thread::sleep(Duration::from_millis(50));
            }
            found
        })
    }

    /// Until the first acknowledgement, and the first completion, of a message that was sent after `at`.
    fn served_after(&self, at: Instant) -> Result<Gap, Failed> {
        let first = |of: fn(&Sent) -> Option<Instant>| {
            until("the peer's clients to be served", GAP_LIMIT, || {
                let sent = self.shared.sent();
                sent.values().filter(|sent| sent.at > at).filter_map(of).min().map(|then| then - at)
            })
        };
        Ok(Gap { acknowledged: ms(first(|sent| sent.acknowledged)?), done: ms(first(|sent| sent.done)?) })
    }

    /// The stream's leader steps down; the longest silences around that.
    fn step_down(&self, at: Instant) -> Result<Gap, Failed> {
        let (stream, context) = (&self.shared.stream, &self.shared.contexts[0]);
        self.servers.work(async {
            let subject = format!("STREAM.LEADER.STEPDOWN.{stream}");
            let answer: serde_json::Value =
                context.request(subject, &()).await.map_err(failed("the leader's step down"))?;
            if answer["success"] == true {
                return Ok(());
            }
            Err(Failed::Answer(format!("the leader's step down was answered {answer}")))
        })?;
        self.served_after(Instant::now())?;
        // The silence must be over before it is looked at.
        std::thread::sleep(10 * PACE);
        let sent = self.shared.sent();
        let longest = |of: fn(&Sent) -> Option<Instant>| {
            let mut answers: Vec<Instant> = sent.values().filter_map(of).filter(|then| *then >= at).collect();
            answers.sort_unstable();
            ms(longest_silence(at, &answers))
        };
        Ok(Gap { acknowledged: longest(|sent| sent.acknowledged), done: longest(|sent| sent.done) })
    }
}

impl Shared {
    fn sent(&self) -> MutexGuard<'_, std::collections::BTreeMap<u64, Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server after `turn` that is not avoided.
    fn context(&self, turn: usize) -> &Context {
        let place = turn % SERVERS;
        let avoided = place == self.avoided.load(Ordering::Acquire);
        &self.contexts[if avoided { (place + 1) % SERVERS } else { place }]
    }
}

async fn state(context: &Context, stream: &str) -> Result<async_nats::jetstream::stream::ClusterInfo, Failed> {
    let stream = context.get_stream(stream).await.map_err(failed("the peer's stream"))?;
    stream.cached_info().cluster.clone().ok_or_else(|| Failed::Answer("the stream is on no cluster".to_owned()))
}

async fn publish_on(shared: Arc<Shared>, mut turn: usize) {
    loop {
        let (number, at) = (shared.numbers.fetch_add(1, Ordering::Relaxed), Instant::now());
        shared.sent().insert(number, Sent { at, acknowledged: None, done: None });
        while !publish_once(&shared, turn, number).await {
            turn += 1;
            sleep(PAUSE).await;
        }
        let now = Instant::now();
        if let Some(sent) = shared.sent().get_mut(&number) {
            sent.acknowledged = Some(now);
        }
        sleep(PACE.saturating_sub(now - at)).await;
    }
}

/// Whether it was acknowledged.
async fn publish_once(shared: &Shared, turn: usize, number: u64) -> bool {
    let text = number.to_string();
    let message = PublishMessage::build().payload(text.clone().into()).message_id(text);
    let publish = async {
        let ack = shared.context(turn).send_publish(shared.stream.clone(), message).await.ok()?;
        ack.await.ok()
    };
    matches!(timeout(PATIENCE, publish).await, Ok(Some(_)))
}

/// A worker at one server, for as long as the program lives: whatever fails is tried again.
async fn work_on(shared: Arc<Shared>, number: usize) {
    loop {
        let _ = deliveries(&shared, number).await;
        sleep(PAUSE).await;
    }
}

async fn deliveries(shared: &Shared, number: usize) -> Result<(), Failed> {
    let stream = shared.contexts[number].get_stream_no_info(&shared.stream).await.map_err(failed("the stream"))?;
    let consumer: Consumer<pull::Config> = stream.get_consumer(CONSUMER).await.map_err(failed("the consumer"))?;
    let pull = consumer.stream().expires(Duration::from_secs(2)).heartbeat(Duration::from_millis(300));
    let mut delivered = pull.messages().await.map_err(failed("the worker's stream"))?;
    while let Some(message) = delivered.next().await {
        done(shared, &message.map_err(failed("a delivery"))?).await;
    }
    Ok(())
}

/// What can't be acknowledged now comes again.
async fn done(shared: &Shared, message: &Message) {
    let number = std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse::<u64>().ok());
    let acknowledged = timeout(PATIENCE, message.double_ack()).await;
    if let (Some(number), Ok(Ok(()))) = (number, acknowledged)
        && let Some(sent) = shared.sent().get_mut(&number)
    {
        sent.done.get_or_insert_with(Instant::now);
    }
}
