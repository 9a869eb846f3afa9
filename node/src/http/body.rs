//! Bodies: JSON or NDJSON, within a limit, in time.

use super::problem::{Kind, Problem};
use super::route::Route;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a whole body may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes set aside at first, whatever `Content-Length` promises.
const FIRST_BYTES: usize = 64 << 10;
const NDJSON: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

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

/// All of a body.
pub(super) async fn collect(headers: &HeaderMap, mut payload: Payload, bytes_max: usize) -> Result<Bytes, Problem> {
    let promised = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if promised.is_some_and(|promised| promised > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let deadline = Instant::now() + BODY_TIME_MAX;
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    loop {
        let next = timeout_at(deadline, payload.next()).await;
        let piece = match next.map_err(|_| too_slow())? {
            None => break,
            Some(piece) => {
                piece.map_err(|error| Problem::new(Kind::Malformed, format!("the body broke off: {error}")))?
            }
        };
        if whole.len() + first.as_ref().map_or(0, Bytes::len) + piece.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        // A small body comes in one piece and is taken as it is.
        match first.take() {
            None if whole.is_empty() => first = Some(piece),
            before => {
                if whole.is_empty() {
                    whole.reserve(promised.map_or(FIRST_BYTES, |bytes| bytes as usize).min(bytes_max));
                }
                whole.extend_from_slice(&before.unwrap_or_default());
                whole.extend_from_slice(&piece);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("the body has more than the {bytes_max} bytes that this route takes"))
}

fn too_slow() -> Problem {
    Problem::new(Kind::TooSlow, "the body was not there in 30 s; send it again")
}
