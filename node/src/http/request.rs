//! A request that was let in: its route, query, body, and who asks.

use super::Api;
use super::query::Query;
use super::route::Route;
use bytes::Bytes;
use relais_protocol::ids::JobId;
use relais_protocol::record::TokenRole;
use relais_protocol::trace::Trace;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The name of its token; empty where no token is asked for.
    pub(super) name: String,
    /// What it may do.
    pub(super) role: TokenRole,
}

impl Caller {
    /// Someone without a token who may do everything.
    pub(super) fn unnamed() -> Self {
        Self { name: String::new(), role: TokenRole::Admin }
    }
}

impl Request {
    /// The id for the job of a submit.
    pub(super) fn job_id(&self, api: &Api) -> JobId {
        self.id.unwrap_or_else(|| api.backend.new_job_id())
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    /// What is asked.
    pub(super) route: Route,
    /// Its method.
    pub(super) method: String,
    /// Path and query as they came.
    pub(super) target: String,
    /// The query, decoded.
    pub(super) query: Query,
    /// The body.
    pub(super) body: Bytes,
    /// Whether its content type says NDJSON.
    pub(super) ndjson: bool,
    /// The id that a submit gives its job, if another node has chosen it.
    pub(super) id: Option<JobId>,
    /// `Idempotency-Key`.
    pub(super) key: Option<String>,
    /// `traceparent` and `tracestate`.
    pub(super) trace: Option<Trace>,
    /// Whether `Prefer: return=minimal` was sent.
    pub(super) minimal: bool,
    /// `Last-Event-ID`.
    pub(super) last_event_id: Option<String>,
    /// Who asks.
    pub(super) caller: Caller,
}
