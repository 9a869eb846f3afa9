//! Bodies: JSON or NDJSON, within a limit, in time, and not too many large ones at once.

use super::problem::{Kind, Problem};
use super::route::Route;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a body may take, however small it is.
const BODY_TIME_MIN: Duration = Duration::from_secs(10);
/// How fast a larger one must come.
const BYTES_PER_MS_MIN: u64 = 64;
/// A body up to this size needs no room set aside.
const SMALL_BYTES: usize = 64 << 10;
/// KiB of all larger bodies together.
const ROOM_KIB: u32 = 32 << 10;
/// How long a body may wait for room.
const ROOM_TIME_MAX: Duration = Duration::from_secs(10);
/// Bodies that may wait for room at once. What has come of each is kept, half a MiB or so.
const WAITING_MAX: usize = 32;
/// Bytes set aside at first, whatever `Content-Length` promises.
const FIRST_BYTES: usize = 64 << 10;
const NDJSON: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// The room for large bodies: who finds none waits, and is not read from meanwhile.
pub(super) struct Room {
    free: Arc<Semaphore>,
    places: Semaphore,
}

impl Default for Room {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(ROOM_KIB as usize)), places: Semaphore::new(WAITING_MAX) }
    }
}

impl Room {
    /// Sets room aside, until what is returned is dropped.
    async fn set_aside(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(ROOM_KIB).min(ROOM_KIB);
        if let Ok(room) = self.free.clone().try_acquire_many_owned(kib) {
            return Ok(room);
        }
        let full = || {
            let detail = "too many large bodies are on their way here; send it again";
            Problem::new(Kind::NotReady, detail).retry_after(1)
        };
        let _place = self.places.try_acquire().map_err(|_| full())?;
        let waited = timeout(ROOM_TIME_MAX, self.free.clone().acquire_many_owned(kib)).await;
        waited.ok().and_then(Result::ok).ok_or_else(full)
    }
}

/// Whether the body says that it is NDJSON. No content type at all is taken for JSON, but not from a page.
pub(super) fn is_ndjson(headers: &HeaderMap, route: &Route) -> Result<bool, Problem> {
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if !has_body {
        return Ok(false);
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        if headers.contains_key(header::ORIGIN) {
            return Err(unsupported("a body needs a Content-Type here"));
        }
        return Ok(false);
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" {
        return Ok(false);
    }
    if *route == Route::SubmitBatch && NDJSON.contains(&essence.as_str()) {
        return Ok(true);
    }
    Err(unsupported(&format!("`{essence}` is not taken here")))
}

fn unsupported(what: &str) -> Problem {
    let next = "send JSON with `Content-Type: application/json` (`curl --json`), or to /v1/jobs:batch \
                application/x-ndjson";
    Problem::new(Kind::UnsupportedMediaType, format!("{what}; {next}"))
}

/// All of a body, and the room that it has taken, to be kept as long as the body is.
pub(super) async fn collect(
    headers: &HeaderMap,
    mut payload: Payload,
    bytes_max: usize,
    room: &Room,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
    let promised = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if promised.is_some_and(|promised| promised > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let mut began = Instant::now();
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    let mut kept = None;
    loop {
        let there = whole.len() + first.as_ref().map_or(0, Bytes::len);
        let next = timeout_at(began + time_for(there), payload.next()).await;
        let piece = match next.map_err(|_| too_slow())? {
            None => break,
            Some(piece) => {
                piece.map_err(|error| Problem::new(Kind::Malformed, format!("the body broke off: {error}")))?
            }
        };
        if there + piece.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if kept.is_none() && there + piece.len() > SMALL_BYTES {
            let asked = Instant::now();
            kept = Some(room.set_aside(promised.map_or(bytes_max, |bytes| bytes as usize)).await?);
            began += asked.elapsed();
        }
        // A small body comes in one piece and is taken as it is.
        match first.take() {
            None if whole.is_empty() => first = Some(piece),
            before => {
                if whole.is_empty() {
                    whole.reserve(promised.map_or(FIRST_BYTES, |bytes| bytes as usize).min(FIRST_BYTES));
                }
                whole.extend_from_slice(&before.unwrap_or_default());
                whole.extend_from_slice(&piece);
            }
        }
    }
    Ok((first.unwrap_or_else(|| whole.freeze()), kept))
}

/// By when more must have come than so many bytes.
fn time_for(bytes: usize) -> Duration {
    BODY_TIME_MIN + Duration::from_millis(bytes as u64 / BYTES_PER_MS_MIN)
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("the body has more than the {bytes_max} bytes that this route takes"))
}

fn too_slow() -> Problem {
    Problem::new(Kind::TooSlow, "the body came slower than 64 kB a second; send it again")
}
