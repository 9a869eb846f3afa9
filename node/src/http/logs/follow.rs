//! Output as it comes, as server-sent events, through all attempts to the job's end.
//!
//! An event is made when the client has taken the one before: a slow client costs one piece of memory.

use super::frame::{Position, event, output, stream_name, whole_characters};
use super::{Source, Wanted, source, start};
use crate::backend::{OutputFailed, OutputStream};
use crate::http::Api;
use crate::http::answer::{Answer, Answered, Body};
use crate::http::openapi::words;
use crate::http::problem::{Kind, Problem};
use crate::http::read::look;
use crate::http::request::Request;
use crate::http::waiters::Waiter;
use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use relais_protocol::ids::JobId;
use relais_protocol::job::Job;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

/// Bytes of output in one event.
const EVENT_BYTES_MAX: usize = 64 << 10;
/// How often a running attempt is asked for more.
const POLL: Duration = Duration::from_millis(100);
/// How often a client hears that the connection lives.
const ALIVE: Duration = Duration::from_secs(15);

struct Follow {
    api: Arc<Api>,
    job: JobId,
    waiter: Waiter,
    wanted: Wanted,
    at: Position,
    /// Whether `offset` and `tail` are still to be minded: they count in the first attempt shown.
    fresh: bool,
    said_at: Instant,
    ended: bool,
}

/// What one look came to.
enum Look {
    Say(Bytes),
    Again,
    Nothing,
    End(&'static str),
}

#[derive(Serialize, ToSchema)]
#[schema(as = LogEnd)]
pub(in crate::http) struct End {
    state: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LogMissing)]
pub(in crate::http) struct Missing {
    #[schema(value_type = words::OutputStream)]
    stream: &'static str,
    attempt: u16,
    reason: String,
}

/// Answers with the stream.
pub(super) fn answer(api: &Arc<Api>, request: &Request, job: &Job, wanted: Wanted) -> Answered {
    source(job, wanted.attempt)?;
    let resumed = match request.last_event_id.as_deref() {
        None | Some("") => None,
        Some(text) => Some(Position::parse(text).ok_or_else(|| {
            Problem::new(Kind::InvalidRequest, "Last-Event-ID is none of this stream; leave it out to start anew")
        })?),
    };
    let follow = Follow {
        api: api.clone(),
        job: job.id,
        waiter: api.waiters.of(job.id),
        fresh: resumed.is_none(),
        at: resumed.unwrap_or_default(),
        wanted,
        said_at: Instant::now(),
        ended: false,
    };
    let events = stream::unfold(follow, |mut follow| async move {
        let said = follow.next().await?;
        Some((Ok(said), follow))
    });
    let answer = Answer::new(StatusCode::OK, "text/event-stream", Body::Stream(events.boxed()));
    Ok(answer.with(CACHE_CONTROL, "no-store"))
}

impl Follow {
    async fn next(&mut self) -> Option<Bytes> {
        while !self.ended {
            match self.look().await {
                Look::Say(said) => {
                    self.said_at = Instant::now();
                    return Some(said);
                }
                Look::End(state) => {
                    self.ended = true;
                    return Some(event("end", None, &End { state }));
                }
                Look::Again => {}
                Look::Nothing if self.said_at.elapsed() > ALIVE => {
                    self.said_at = Instant::now();
                    return Some(Bytes::from_static(b": alive\n\n"));
                }
                // Either way it looks again.
                Look::Nothing => drop(timeout(POLL, self.waiter.changed()).await),
            }
        }
        None
    }

    async fn look(&mut self) -> Look {
        // The job is looked at before its output: output is whole before its attempt's end is committed.
        let Some((job, _)) = look(&self.api, self.job) else { return Look::End("deleted") };
        let state = job.state.name();
        let Some(source) = self.current(&job) else {
            return if state.is_terminal() { Look::End(state.as_str()) } else { Look::Nothing };
        };
        let over = job.attempts.iter().find(|attempt| attempt.number == source.attempt).is_none_or(|a| a.end.is_some());
        for stream in self.wanted.streams.clone() {
            match self.piece(source, stream, over).await {
                Ok(Some(said)) => return Look::Say(said),
                Ok(None) => {}
                Err(error) if over => return Look::Say(self.skip(source, stream, &error)),
                // It may come back, or the attempt be given up.
                Err(_) => return Look::Nothing,
            }
        }
        if !over {
            return Look::Nothing;
        }
        let newer = job.attempts.iter().map(|attempt| attempt.number).find(|number| *number > source.attempt);
        match newer.filter(|_| self.wanted.attempt.is_none()) {
            Some(number) => {
                self.at = Position { attempt: number, ..Position::default() };
                Look::Again
            }
            None if state.is_terminal() || self.wanted.attempt.is_some() => Look::End(state.as_str()),
            None => Look::Nothing,
        }
    }

    /// The attempt that is being shown. The first shown is the last begun.
    fn current(&mut self, job: &Job) -> Option<Source> {
        let number = if self.at.attempt > 0 { Some(self.at.attempt) } else { self.wanted.attempt };
        let source = match source(job, number) {
            Ok(source) => source?,
            // Its row was dropped for its age: go on with what there is.
            Err(_) => source(job, None).ok()??,
        };
        if source.attempt != self.at.attempt {
            self.at = Position { attempt: source.attempt, ..Position::default() };
        }
        Some(source)
    }

    /// The next piece of one stream, if there is any.
    async fn piece(&mut self, source: Source, stream: OutputStream, over: bool) -> Result<Option<Bytes>, OutputFailed> {
        if self.fresh {
            self.fresh = false;
            for stream in self.wanted.streams.clone() {
                if let Ok(offset) = start(&self.api, source, stream, &self.wanted).await {
                    *self.at.of(stream) = offset;
                }
            }
        }
        let offset = *self.at.of(stream);
        // What a failed piece leaves aside for good is told once, then its offset is out of the way.
        if offset == u64::MAX {
            return Ok(None);
        }
        let piece = source.piece(&*self.api.backend, stream, offset, EVENT_BYTES_MAX).await?;
        let all_there = over && piece.offset + piece.bytes.len() as u64 >= piece.total;
        let sent = if all_there { piece.bytes.len() } else { whole_characters(&piece.bytes) };
        if sent == 0 {
            return Ok(None);
        }
        *self.at.of(stream) = piece.offset + sent as u64;
        Ok(Some(output(stream, piece.offset, &piece.bytes[..sent], self.at)))
    }

    /// Passes over output that can't be had, and says so.
    fn skip(&mut self, source: Source, stream: OutputStream, error: &OutputFailed) -> Bytes {
        *self.at.of(stream) = u64::MAX;
        let missing = Missing { stream: stream_name(stream), attempt: source.attempt, reason: error.to_string() };
        event("missing", Some(self.at), &missing)
    }
}
