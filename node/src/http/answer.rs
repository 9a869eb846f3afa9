//! An answer before it is HTTP: status, headers, and a body that is whole or a stream.

use super::connection::Taken;
use super::problem::Problem;
use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::Serialize;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes of a large body that are handed over at once: more of it is copied only when the client has taken these.
const PIECE_BYTES: usize = 16 << 10;

/// A large body, handed over bit by bit.
struct Pieces(Bytes);

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.0.len().min(PIECE_BYTES);
        Poll::Ready((length > 0).then(|| Ok(self.0.split_to(length))))
    }
}

/// What a handler comes to.
pub(super) type Answered = Result<Answer, Problem>;

/// An answer.
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its content type.
    pub(super) content_type: HeaderValue,
    /// Further headers.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body.
    pub(super) body: Body,
    /// Set when it is read from this node's ledger alone, and may be old.
    pub(super) stale_ms: Option<u64>,
}

/// A body.
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece, made as the client takes them.
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

impl Answer {
    /// One with a content type that is known to be a header's text.
    pub(super) fn new(status: StatusCode, content_type: &'static str, body: Body) -> Self {
        Self { status, content_type: HeaderValue::from_static(content_type), headers: Vec::new(), body, stale_ms: None }
    }

    /// 200 with `value` as JSON.
    pub(super) fn json(value: &impl Serialize) -> Answered {
        Self::json_as(StatusCode::OK, value)
    }

    /// `value` as JSON.
    pub(super) fn json_as(status: StatusCode, value: &impl Serialize) -> Answered {
        let text = serde_json::to_vec(value).map_err(|error| {
            Problem::new(super::problem::Kind::Internal, format!("the answer can't be written: {error}"))
        })?;
        Ok(Self::json_text(status, text))
    }

    /// JSON text.
    pub(super) fn json_text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::new(status, "application/json", Body::Whole(text.into()))
    }

    /// Plain text.
    pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", Body::Whole(text.into()))
    }

    /// With a header; one that can't be written is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// As read without the dispatcher, if `stale_ms` says so.
    pub(super) fn stale(mut self, stale_ms: Option<u64>) -> Self {
        self.stale_ms = stale_ms;
        self
    }

    /// As actix sends it. A stream is in its handler's hands until its end.
    pub(super) fn into_response(self, taken: Option<Taken>) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CONTENT_TYPE, self.content_type));
        for header in self.headers {
            response.insert_header(header);
        }
        match self.body {
            Body::Whole(bytes) if bytes.len() <= PIECE_BYTES => response.body(bytes),
            Body::Whole(bytes) => response.body(Pieces(bytes)),
            Body::Stream(stream) => response.streaming(stream.inspect(move |_| {
                let _ = &taken;
            })),
        }
    }
}
