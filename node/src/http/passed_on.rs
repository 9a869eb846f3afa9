//! Requests that one node has another answer, because it keeps no ledger. The node that was asked has let the caller
//! in, and says who it is; the one that answers does the rest as if it had been asked itself.

use super::access::standing_here;
use super::answer::{Answer, Answered, Body};
use super::problem::{Kind, Problem};
use super::query::Query;
use super::request::{Caller, Request};
use super::route::{NoRoute, Route};
use super::{Api, cluster};
use crate::backend::{Passed, PassedHead, PassedOn};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use relais_protocol::trace::Trace;
use std::io;
use std::sync::Arc;

/// Bytes that the body of an answer may have that is not written as it is read.
const WHOLE_BYTES_MAX: usize = 64 << 20;

/// Has another node answer `request`.
pub(super) async fn pass_on(api: &Api, request: &Request) -> Answered {
    let is_cluster = request.route == Route::Cluster;
    let passed = match api.backend.pass_on(question(api, request)).await {
        Ok(passed) => passed,
        // How the cluster looks from here can be told even so.
        Err(_) if is_cluster => return cluster::show(api, request),
        Err(why) => return Err(why.into()),
    };
    let PassedHead { status, content_type, headers, stale_ms, whole } = passed.head;
    let body = if whole { collected(passed.body).await? } else { Body::Stream(passed.body) };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut answer = Answer::new(status, "application/json", body).stale(stale_ms);
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        answer.content_type = content_type;
    }
    for (name, value) in headers {
        if let Ok(name) = name.parse::<HeaderName>() {
            answer = answer.with(name, &value);
        }
    }
    Ok(answer)
}

fn question(api: &Api, request: &Request) -> PassedOn {
    PassedOn {
        method: request.method.clone(),
        target: request.target.clone(),
        body: request.body.to_vec(),
        repeatable: request.route.is_repeatable(&request.method),
        id: (request.route == Route::Submit).then(|| api.backend.new_job_id()),
        key: request.key.clone(),
        trace: request.trace.as_ref().map(|t| (t.parent().to_owned(), t.state().map(str::to_owned))),
        minimal: request.minimal,
        last_event_id: request.last_event_id.clone(),
        caller: (request.caller.name.clone(), request.caller.role),
    }
}

async fn collected(mut pieces: stream::BoxStream<'static, io::Result<Bytes>>) -> Result<Body, Problem> {
    let broken =
        |why: io::Error| Problem::new(Kind::NotReady, format!("another node's answer broke off: {why}; ask again"));
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.try_next().await.map_err(broken)? {
        if whole.len() + piece.len() > WHOLE_BYTES_MAX {
            let detail = "the answer is too large to be passed on; ask for less, or a node that votes";
            return Err(Problem::new(Kind::TooLarge, detail));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Body::Whole(whole.freeze()))
}

impl Api {
    /// Answers a request that came from another node, over mutual TLS.
    pub async fn answer_passed_on(self: &Arc<Self>, asked: PassedOn) -> Passed {
        let target = asked.target.clone();
        let answered = match read_request(asked) {
            Ok(request) => super::dispatch(self, &request).await,
            Err(problem) => Err(problem),
        };
        let answer = answered.unwrap_or_else(|problem| problem.into_answer(&target));
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let (whole, body) = match answer.body {
            Body::Whole(bytes) => (true, stream::iter([Ok(bytes)]).boxed()),
            Body::Stream(stream) => (false, stream),
        };
        let head = PassedHead {
            status: answer.status.as_u16(),
            content_type: text(&answer.content_type),
            headers: answer.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            stale_ms: answer.stale_ms,
            whole,
        };
        Passed { head, body }
    }

    /// How a token stands, by the hex of its hash: JSON text, for a node that keeps no ledger.
    #[must_use]
    pub fn token_standing(&self, hex: &[u8]) -> Vec<u8> {
        serde_json::to_vec(&standing_here(self, read_hash(hex))).unwrap_or_default()
    }
}

fn read_request(asked: PassedOn) -> Result<Request, Problem> {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let no_route = |why| super::no_route(why, &asked.method, path);
    let route = Route::of(&asked.method, path).map_err(no_route)?;
    if route.is_of_the_node() {
        return Err(no_route(NoRoute::Unknown));
    }
    Ok(Request {
        route,
        query: Query::parse(query)?,
        method: asked.method.clone(),
        target: asked.target.clone(),
        body: Bytes::from(asked.body),
        ndjson: false,
        id: asked.id,
        key: asked.key,
        trace: asked.trace.and_then(|(parent, state)| Trace::read(&parent, state.as_deref())),
        minimal: asked.minimal,
        last_event_id: asked.last_event_id,
        caller: Caller { name: asked.caller.0, role: asked.caller.1 },
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
