//! Requests that another node of the cluster passed on, because it keeps no ledger. That node has let the
//! caller in; reads alone are answered, and what it asks about tokens.

use super::Api;
use super::access::standing_here;
use super::answer::Body;
use super::problem::{Kind, Problem};
use super::query::Query;
use super::request::{Caller, Request};
use super::route::{NoRoute, Route};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use std::sync::Arc;

/// Where a node asks how a token stands, by the hex of its hash; no HTTP client reaches it.
pub(super) const TOKEN_TARGET: &str = "/internal/token";
/// Bytes that such an answer may have.
const ANSWER_BYTES_MAX: usize = 16 << 20;

impl Api {
    /// Answers a request that came from another node, over mutual TLS: status, content type, body.
    pub async fn answer_passed_on(
        self: &Arc<Self>,
        method: &str,
        target: &str,
        body: Vec<u8>,
    ) -> (u16, String, Vec<u8>) {
        if target == TOKEN_TARGET {
            return self.token_standing(&body);
        }
        let answered = match read_request(method, target, body) {
            Ok(request) => super::dispatch(self, &request).await,
            Err(problem) => Err(problem),
        };
        let answer = answered.unwrap_or_else(|problem| problem.into_answer(target));
        let status = answer.status.as_u16();
        let content_type = answer.content_type.to_str().unwrap_or("application/octet-stream").to_owned();
        match whole(answer.body).await {
            Some(body) => (status, content_type, body),
            None => {
                let problem = Problem::new(Kind::TooLarge, "the answer is too large to be passed on; ask another node");
                (problem.status(), "application/problem+json".to_owned(), problem.to_json(Some(target)).into_bytes())
            }
        }
    }

    fn token_standing(&self, hex: &[u8]) -> (u16, String, Vec<u8>) {
        let standing = standing_here(self, read_hash(hex));
        (200, "application/json".to_owned(), serde_json::to_vec(&standing).unwrap_or_default())
    }
}

fn read_request(method: &str, target: &str, body: Vec<u8>) -> Result<Request, Problem> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let route = Route::of(method, path).map_err(|why| super::no_route(why, method, path))?;
    if !route.reads_ledger() {
        return Err(super::no_route(NoRoute::Unknown, method, path));
    }
    Ok(Request {
        route,
        method: method.to_owned(),
        target: target.to_owned(),
        query: Query::parse(query)?,
        body: Bytes::from(body),
        ndjson: false,
        key: None,
        trace: None,
        minimal: false,
        last_event_id: None,
        caller: Caller::unnamed(),
    })
}

fn read_hash(hex: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(hex).ok().filter(|text| text.len() == 64 && text.is_ascii())?;
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[place * 2..place * 2 + 2], 16).ok()?;
    }
    Some(hash)
}

async fn whole(body: Body) -> Option<Vec<u8>> {
    let mut stream = match body {
        Body::Whole(bytes) => return Some(bytes.to_vec()),
        Body::Stream(stream) => stream,
    };
    let mut whole = BytesMut::new();
    while let Some(piece) = stream.try_next().await.ok()? {
        if whole.len() + piece.len() > ANSWER_BYTES_MAX {
            return None;
        }
        whole.extend_from_slice(&piece);
    }
    Some(whole.to_vec())
}
