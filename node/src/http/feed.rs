//! `GET /v1/events`: what happens in the cluster, as server-sent events, from any node alike.
//!
//! Each event has an id that is its place in the journal: generation, index of its entry, position in it. Every
//! node applies the same journal, so a client that comes back to another node goes on after the last id it saw.
//! A node keeps the newest events for that, up to an hour and [`ring::EVENTS_MAX`]; what a client asks for
//! beyond, or what the node itself never saw since it got its ledger as a snapshot, is answered with one event
//! `reset`: look at the state anew, then go on from there.
//!
//! Clients share what is kept, and what is fresh of it they share as it is sent. Each has but its place in it, and is
//! given an event when it has taken the one before; so a slow client costs nothing. One that falls out of what is kept
//! is told by a `reset`, too, and then its stream ends; one that takes nothing at all loses its connection.

mod frame;
mod ring;

pub(super) use frame::Data;

use super::Api;
use super::answer::{Answer, Answered, Body};
use super::problem::{Kind, Problem};
use super::request::Request;
use crate::backend::Backend;
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;
use relais_protocol::ids::JobId;
use ring::{EventId, Next, Ring};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How often a client hears that the connection lives.
const ALIVE: Duration = Duration::from_secs(15);
/// Bytes after which a piece of the stream is sent.
const PIECE_BYTES: usize = 16 << 10;

/// What happened lately, and a bell for whoever waits for more.
pub(super) struct Feed {
    ring: Arc<Mutex<Ring>>,
    bell: watch::Receiver<()>,
}

impl Feed {
    /// One that follows what the node applies, until the node is gone. Must be called within a tokio runtime.
    pub(super) fn of(backend: &Arc<dyn Backend>) -> Self {
        let ring = Arc::new(Mutex::new(Ring::default()));
        let (ringer, bell) = watch::channel(());
        tokio::spawn(pump(Arc::downgrade(backend), backend.events(), ring.clone(), ringer));
        Self { ring, bell }
    }
}

async fn pump(
    backend: std::sync::Weak<dyn Backend>,
    mut events: tokio::sync::broadcast::Receiver<ring::Applied>,
    ring: Arc<Mutex<Ring>>,
    bell: watch::Sender<()>,
) {
    loop {
        match events.recv().await {
            Ok(applied) => {
                let Some(backend) = backend.upgrade() else { return };
                let generation = backend.standpoint().reign.generation;
                ring.lock().push(generation, applied, backend.now(), Instant::now());
            }
            Err(RecvError::Lagged(_)) => ring.lock().clear(),
            Err(RecvError::Closed) => return,
        }
        bell.send_replace(());
    }
}

/// What of it a client wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Beginnings of event names; all if empty.
    types: Vec<String>,
    job: Option<JobId>,
}

impl Wanted {
    fn of(request: &Request) -> Result<Self, Problem> {
        let types = request.query.one("types")?.unwrap_or_default();
        let types: Vec<String> = types.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        if let Some(wrong) = types.iter().find(|kind| !["job", "node", "cluster", "schedule"].contains(&kind.as_str()))
        {
            let detail = format!("`types` names `{wrong}`, but may name job, node, schedule and cluster, with commas");
            return Err(Problem::new(Kind::InvalidRequest, detail));
        }
        let job = request.query.one("job")?.map(|text| {
            text.parse()
                .map_err(|_| Problem::new(Kind::InvalidRequest, format!("`job` is `{text}`, which is no job id")))
        });
        Ok(Self { types, job: job.transpose()? })
    }

    fn takes(&self, name: &str, job: Option<JobId>) -> bool {
        let kind = name.split('.').next().unwrap_or(name);
        (self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind))
            && (self.job.is_none() || self.job == job)
    }
}

/// One client.
struct Reader {
    api: Arc<Api>,
    bell: watch::Receiver<()>,
    wanted: Wanted,
    /// The last event it was given; `None` before the first one of all.
    at: Option<EventId>,
    /// Whether to say first that what it asked for is not there.
    reset: Option<&'static str>,
    follows: bool,
    /// Set once it was too slow: it is told, and that is the end.
    over: bool,
    said_at: Instant,
}

/// Answers with the stream: from now on; after `Last-Event-ID`; or, with `follow=false`, all that is kept, and then
/// its end.
pub(super) fn answer(api: &Arc<Api>, request: &Request) -> Answered {
    request.query.only(&["types", "job", "follow"])?;
    let wanted = Wanted::of(request)?;
    let follows = request.query.one("follow")?.is_none() || request.query.switch("follow")?;
    let bell = api.feed.bell.clone();
    let (newest, oldest) = api.feed.ring.lock().ends();
    let (at, reset) = match request.last_event_id.as_deref() {
        None | Some("") => (if follows { newest } else { oldest }, None),
        Some(text) => {
            let id = EventId::parse(text).ok_or_else(|| {
                Problem::new(Kind::InvalidRequest, "Last-Event-ID is none of this stream; leave it out to begin now")
            })?;
            let is_kept = api.feed.ring.lock().goes_back_to(id);
            if is_kept { (Some(id), None) } else { (newest, Some("what followed that event is no longer kept here")) }
        }
    };
    let reader = Reader { api: api.clone(), bell, wanted, at, reset, follows, over: false, said_at: Instant::now() };
    let hello = stream::once(async { Ok(Bytes::from_static(b"retry: 1000\n\n")) });
    let events = stream::unfold(reader, |mut reader| async move {
        let said = reader.next().await?;
        Some((Ok(said), reader))
    });
    let answer = Answer::new(StatusCode::OK, "text/event-stream", Body::Stream(hello.chain(events).boxed()));
    Ok(answer.with(CACHE_CONTROL, "no-store"))
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.bell.mark_unchanged();
            let said = match self.reset.take() {
                Some(reason) => Some(frame::reset(self.at, reason)),
                None if self.over => None,
                None => self.piece(),
            };
            if said.is_some() {
                self.said_at = Instant::now();
                return said;
            }
            if self.reset.is_some() {
                continue;
            }
            if !self.follows || self.over {
                return None;
            }
            match timeout_at(self.said_at + ALIVE, self.bell.changed()).await {
                Ok(Ok(())) => {}
                // The node is going.
                Ok(Err(_)) => return None,
                Err(_) => {
                    self.said_at = Instant::now();
                    return Some(Bytes::from_static(b": alive\n\n"));
                }
            }
        }
    }

    /// The next events that it wants, as many as make a piece.
    fn piece(&mut self) -> Option<Bytes> {
        let mut text = String::new();
        while text.len() < PIECE_BYTES {
            let next = self.api.feed.ring.lock().after(self.at);
            match next {
                Next::Nothing => break,
                Next::Lost(newest) => {
                    // What was wanted before that is sent first.
                    self.at = newest;
                    self.reset = Some("this client was slower than the events, and the oldest are no longer kept");
                    self.over = true;
                    break;
                }
                Next::Entry { entry, from } => {
                    let written = entry.written(|entry| frame::all_of(entry, &self.api.backend.ledger()));
                    for told in written.iter().filter(|told| told.position >= from) {
                        // An entry may have thousands of events.
                        if text.len() >= PIECE_BYTES {
                            break;
                        }
                        if self.wanted.takes(&told.name, told.job) {
                            text.push_str(&told.text);
                            self.at = Some(entry.id(told.position));
                        }
                    }
                    if text.len() < PIECE_BYTES {
                        self.at = Some(entry.last());
                    }
                }
            }
        }
        (!text.is_empty()).then(|| text.into())
    }
}
