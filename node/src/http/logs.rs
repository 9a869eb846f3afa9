//! `GET /v1/jobs/{id}/logs`: captured output, from whichever node holds it, as it is or as it comes.
//!
//! `merged` is the standard output of the attempt and then its standard error: the two are captured
//! apart, and their true order is not known.

mod follow;
mod frame;

pub(super) use follow::{End, Missing};
pub(super) use frame::Output;

use super::answer::{Answer, Answered, Body};
use super::problem::{Kind, Problem};
use super::request::Request;
use super::{Api, read};
use crate::backend::{Backend, OutputChunk, OutputFailed, OutputStream};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::job::Job;
use std::io;
use std::sync::Arc;

/// Bytes asked for at a time.
const PIECE_BYTES: usize = 256 << 10;

/// What of the output is wanted.
#[derive(Debug, Clone)]
struct Wanted {
    streams: Vec<OutputStream>,
    attempt: Option<u16>,
    offset: u64,
    tail: Option<u64>,
}

/// One attempt's output.
#[derive(Debug, Clone, Copy)]
struct Source {
    node: NodeId,
    job: JobId,
    attempt: u16,
}

impl Source {
    async fn piece(
        self,
        backend: &dyn Backend,
        stream: OutputStream,
        offset: u64,
        bytes_max: usize,
    ) -> Result<OutputChunk, OutputFailed> {
        backend.output(self.node, self.job, self.attempt, stream, offset, bytes_max).await
    }
}

impl Wanted {
    fn of(request: &Request) -> Result<Self, Problem> {
        let query = &request.query;
        let streams = match query.one("stream")? {
            None | Some("merged") => vec![OutputStream::Stdout, OutputStream::Stderr],
            Some("stdout") => vec![OutputStream::Stdout],
            Some("stderr") => vec![OutputStream::Stderr],
            Some(other) => {
                let detail = format!("`stream` is `{other}`, but must be stdout, stderr or merged");
                return Err(Problem::new(Kind::InvalidRequest, detail));
            }
        };
        let offset = query.number("offset", 0, u64::MAX)?;
        let tail = query.number("tail", 0, u64::MAX)?;
        if offset.is_some() && tail.is_some() {
            return Err(Problem::new(Kind::InvalidRequest, "give `offset` or `tail`, not both"));
        }
        let attempt = query.number("attempt", 1, u64::from(u16::MAX))?.and_then(|number| u16::try_from(number).ok());
        Ok(Self { streams, attempt, offset: offset.unwrap_or(0), tail })
    }
}

impl From<OutputFailed> for Problem {
    fn from(failed: OutputFailed) -> Self {
        let kind = match failed {
            OutputFailed::OutOfReach(_) => Kind::OutOfReach,
            OutputFailed::Gone(_) => Kind::NotFound,
        };
        Self::new(kind, format!("{failed}; its last 4 KiB are in the job's attempts[].output_tail"))
    }
}

/// Answers with output.
pub(super) async fn logs(api: &Arc<Api>, request: &Request, text: &str) -> Answered {
    request.query.only(&["stream", "attempt", "offset", "tail", "follow", "consistency"])?;
    let wanted = Wanted::of(request)?;
    let follows = request.query.switch("follow")?;
    let sight = read::sight(api, request.query.local()?).await;
    let (job, _) = read::find_job(api, text, sight)?;
    if follows {
        return follow::answer(api, request, &job, wanted);
    }
    let Some(source) = source(&job, wanted.attempt)? else {
        return Ok(Answer::text(StatusCode::OK, Bytes::new()).stale(sight.stale_ms));
    };
    whole(api, source, wanted).await.map(|answer| answer.stale(sight.stale_ms))
}

/// The attempt that is meant: the given one, else the last; `None` when none has begun.
fn source(job: &Job, attempt: Option<u16>) -> Result<Option<Source>, Problem> {
    let of =
        |attempt: &relais_protocol::job::Attempt| Source { node: attempt.node, job: job.id, attempt: attempt.number };
    match attempt {
        // What runs outside of the nodes leaves its output where it runs.
        None => Ok(job.attempts.last().filter(|last| last.outside.is_none()).map(of)),
        Some(number) => match job.attempts.iter().find(|attempt| attempt.number == number) {
            Some(attempt) => Ok(attempt.outside.is_none().then(|| of(attempt))),
            None => {
                let last = job.attempts.last().map_or(0, |last| last.number);
                let detail = format!("job {} has no attempt {number} in the record; its last is {last}", job.id);
                Err(Problem::new(Kind::NotFound, detail))
            }
        },
    }
}

/// Where to start, when only the end of the stream is wanted.
async fn start(api: &Api, source: Source, stream: OutputStream, wanted: &Wanted) -> Result<u64, Problem> {
    let Some(tail) = wanted.tail else { return Ok(wanted.offset) };
    let first = source.piece(&*api.backend, stream, 0, 1).await?;
    Ok(first.total.saturating_sub(tail))
}

async fn whole(api: &Arc<Api>, source: Source, wanted: Wanted) -> Answered {
    let mut pieces = Vec::with_capacity(wanted.streams.len());
    let (mut total, mut truncated) = (0u64, false);
    for stream in &wanted.streams {
        let offset = start(api, source, *stream, &wanted).await?;
        let piece = source.piece(&*api.backend, *stream, offset, PIECE_BYTES).await?;
        total += piece.total;
        truncated |= piece.truncated;
        pieces.push((*stream, piece));
    }
    let backend = api.backend.clone();
    let rest = stream::iter(pieces).flat_map(move |(stream, piece)| from_piece(backend.clone(), source, stream, piece));
    let answer = Answer::new(StatusCode::OK, "text/plain; charset=utf-8", Body::Stream(rest.boxed()));
    Ok(answer
        .with(HeaderName::from_static("relais-attempt"), &source.attempt.to_string())
        .with(HeaderName::from_static("relais-output-total"), &total.to_string())
        .with(HeaderName::from_static("relais-output-truncated"), if truncated { "true" } else { "false" }))
}

/// A first piece, and then all up to the length that the stream had then.
fn from_piece(
    backend: Arc<dyn Backend>,
    source: Source,
    stream: OutputStream,
    first: OutputChunk,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let end = first.total;
    let next = first.offset + first.bytes.len() as u64;
    let rest = stream::unfold(Some(next), move |offset| {
        let backend = backend.clone();
        async move {
            let offset = offset.filter(|offset| *offset < end)?;
            match source.piece(&*backend, stream, offset, PIECE_BYTES).await {
                Ok(piece) if piece.bytes.is_empty() => None,
                Ok(piece) => {
                    let next = piece.offset + piece.bytes.len() as u64;
                    Some((Ok(piece.bytes.into()), Some(next)))
                }
                // The connection breaks off, so that a part is not taken for the whole.
                Err(error) => Some((Err(io::Error::other(error.to_string())), None)),
            }
        }
    });
    stream::iter((!first.bytes.is_empty()).then(|| Ok(first.bytes.into()))).chain(rest)
}
