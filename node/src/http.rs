//! The HTTP API of a node, over [`Backend`]: JSON and status codes in front, records and the ledger behind.
//!
//! ```text
//!   request ─► Host, Origin ─► route ─► token ─► body within its limit and time ─► handler ─► headers
//!                 403          404/405  401/403/429        413/408/415              problem+json on error
//! ```
//!
//! It decides nothing about jobs: what a request does is a record that the backend has committed, and what
//! it shows is the ledger. It knows no QUIC and no election. Paths are matched by [`route`] and not by
//! actix patterns, since verbs are suffixes (`/v1/jobs/ID:cancel`).

mod access;
mod answer;
mod batch;
mod body;
mod bulk;
mod cluster;
mod connection;
mod counters;
mod drill;
mod explain;
mod failovers;
mod feed;
mod graph;
mod groups;
mod jobs;
mod json;
mod leases;
mod logs;
mod metrics;
mod node_set;
mod nodes;
mod notified;
mod openapi;
mod page;
mod passed_on;
mod probes;
mod problem;
mod progress;
mod query;
mod queues;
mod read;
mod recover;
mod request;
mod route;
mod schedules;
mod server;
mod settings;
mod shape;
mod spec;
mod story;
mod submit;
mod tokens;
mod trace;
mod view;
mod waiters;

pub use batch::specs_of;
pub(crate) use notified::message as ended_message;
pub use spec::{is_kind, spec_of};

use crate::backend::Backend;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use answer::{Answer, Answered};
use problem::{Kind, Problem};
use request::Request;
use route::{NoRoute, Route};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::time::Instant;

/// Where a browser says that a request comes from.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How the API is served.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Whether requests from other machines are served without any API token.
    pub insecure: bool,
    /// Names beside `localhost` and IP addresses that `Host` may bear, without a port.
    pub names: Vec<String>,
}

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else listens there.
    #[error("{0} is in use by another process; stop it, or choose another address with --http")]
    InUse(SocketAddr),
    /// It can't be listened at.
    #[error("can't listen on {0}: {1}; choose another address with --http")]
    Bind(SocketAddr, io::Error),
}

/// The API of one node: what its handlers share.
pub struct Api {
    backend: Arc<dyn Backend>,
    config: HttpConfig,
    tokens: access::TokenCache,
    guesses: parking_lot::Mutex<access::Guesses>,
    waiters: waiters::Waiters,
    feed: feed::Feed,
    counters: counters::Counters,
    room: body::Room,
}

/// Whether the API may listen on `addr`: beyond loopback only when there is an API token, or when it was
/// said that it may.
///
/// # Errors
/// Why not, and what to do.
pub fn may_bind(addr: SocketAddr, tokens_exist: bool, insecure: bool) -> Result<(), String> {
    if addr.ip().to_canonical().is_loopback() || tokens_exist {
        return Ok(());
    }
    if insecure {
        tracing::warn!(%addr, "the HTTP API is open to everyone who can reach it: no API token, --insecure-http");
        return Ok(());
    }
    Err(format!(
        "the HTTP API may not listen on {addr} while there is no API token: anyone could run commands here; start on \
         127.0.0.1, make one with `relais token create --role admin`, then use {addr}; or give --insecure-http"
    ))
}

impl Api {
    /// The API of the node behind `backend`. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(config: HttpConfig, backend: Arc<dyn Backend>) -> Arc<Self> {
        let waiters = waiters::Waiters::default();
        waiters.follow(&*backend);
        Arc::new(Self {
            feed: feed::Feed::of(&backend),
            backend,
            config,
            tokens: access::TokenCache::default(),
            guesses: parking_lot::Mutex::default(),
            waiters,
            counters: counters::Counters::default(),
            room: body::Room::default(),
        })
    }

    /// Binds and serves. The server runs once it is awaited or spawned; the address is the one bound.
    /// Whether it may be bound is asked of [`may_bind`] before; whatever is bound, requests from other
    /// machines need a token unless the config says insecure.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub fn serve(self: &Arc<Self>) -> Result<(actix_web::dev::Server, SocketAddr), ServeError> {
        server::serve(self, self.config.addr)
    }
}

async fn answer_http(http: HttpRequest, payload: web::Payload, api: web::Data<Api>) -> HttpResponse {
    let api = api.into_inner();
    let taken = http.conn_data::<connection::Turn>().map(connection::Turn::take);
    let began = Instant::now();
    let route = Route::of(http.method().as_str(), http.path());
    let answered = take(&api, &http, payload, route.clone()).await;
    let answer = answered.unwrap_or_else(|problem| problem.into_answer(http.path()));
    api.counters.count(route.as_ref().ok(), answer.status.as_u16(), began.elapsed());
    let id = shape::request_id(&http);
    if answer.status.is_server_error() {
        tracing::debug!(request = %id, status = answer.status.as_u16(), path = http.path(), "a request was not served");
    }
    let mut answer = dated(&api, shape::shaped(&http, answer));
    answer.headers.extend(shape::request_id_header(&id));
    answer.into_response(taken)
}

/// From the head of a request to its answer.
async fn take(api: &Arc<Api>, http: &HttpRequest, payload: web::Payload, route: Result<Route, NoRoute>) -> Answered {
    let headers = http.headers();
    check_origin(api, http.method(), headers)?;
    let route = route.map_err(|why| no_route(why, http.method().as_str(), http.path()))?;
    if let Route::Page(wanted) = &route {
        return page::answer(wanted, headers);
    }
    let peer = http.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let caller = access::admit(api, peer, bearer(headers)?, &route).await?;
    let ndjson = body::is_ndjson(headers, &route)?;
    let (body, _room) = body::collect(headers, payload, route.body_bytes_max(), &api.room).await?;
    let request = Request {
        method: http.method().as_str().to_owned(),
        target: http.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        query: query::Query::parse(http.query_string())?,
        body,
        ndjson,
        id: None,
        key: idempotency_key(headers)?,
        trace: trace::of(headers),
        minimal: text(headers, &HeaderName::from_static("prefer"))
            .is_some_and(|prefer| prefer.contains("return=minimal")),
        last_event_id: text(headers, &HeaderName::from_static("last-event-id")).map(str::to_owned),
        caller,
        route,
    };
    dispatch(api, &request).await
}

/// One call per route.
async fn dispatch(api: &Arc<Api>, request: &Request) -> Answered {
    if !request.route.is_of_the_node() && !api.backend.has_ledger() {
        return passed_on::pass_on(api, request).await;
    }
    match &request.route {
        Route::Page(wanted) => page::answer(wanted, &HeaderMap::new()),
        Route::Live => probes::live(),
        Route::Ready => probes::ready(api, request),
        Route::Metrics => metrics::metrics(api, request),
        Route::Version => probes::version(request),
        Route::Description => openapi::description(request),
        Route::Docs => openapi::docs(request),
        Route::Problems => openapi::problems(request),
        Route::Submit => submit::submit(api, request).await,
        Route::SubmitBatch => batch::submit(api, request).await,
        Route::Jobs => jobs::list(api, request).await,
        Route::JobCount => jobs::count(api, request).await,
        Route::Job(id) => submit::job(api, request, id).await,
        Route::JobDelete(id) => jobs::delete(api, request, id).await,
        Route::JobsCancel => bulk::change(api, request, bulk::Verb::Cancel).await,
        Route::JobsRetry => bulk::change(api, request, bulk::Verb::Retry).await,
        Route::JobCancel(id) => jobs::cancel(api, request, id).await,
        Route::JobRetry(id) => jobs::retry(api, request, id).await,
        Route::JobLogs(id) => logs::logs(api, request, id).await,
        Route::JobEvents(id) => story::list(api, request, id).await,
        Route::Events => feed::answer(api, request),
        Route::JobResult(id) => story::result(api, request, id).await,
        Route::JobExplain(id) => explain::explain(api, request, id).await,
        Route::Group(id) => groups::show(api, request, id).await,
        Route::GroupCancel(id) => groups::cancel(api, request, id).await,
        Route::Nodes => nodes::list(api, request).await,
        Route::Node(name) => nodes::one(api, request, name).await,
        Route::NodeSet(name) => node_set::set(api, request, name).await,
        Route::NodeDrill(name) => drill::strike(api, request, name).await,
        Route::NodeDrain(name, on) => nodes::drain(api, request, name, *on).await,
        Route::Cluster => cluster::show(api, request),
        Route::Failovers => failovers::list(api, request).await,
        Route::Handover => cluster::hand_over(api, request).await,
        Route::Journal => recover::show(api, request),
        Route::Recover => recover::recover(api, request).await,
        Route::Settings => settings::show(api, request).await,
        Route::SettingsChange => settings::change(api, request).await,
        Route::Queues => queues::list(api, request).await,
        Route::Queue(name) => queues::one(api, request, name).await,
        Route::QueueSet(name) => queues::set(api, request, name).await,
        Route::QueuePause(name, on) => queues::pause(api, request, name, *on).await,
        Route::QueuePurge(name) => queues::purge(api, request, name).await,
        Route::Tokens => tokens::list(api, request).await,
        Route::TokenMake => tokens::make(api, request).await,
        Route::TokenRevoke(id) => tokens::revoke(api, request, id).await,
        Route::Lease => leases::lease(api, request).await,
        Route::LeaseSay(id, verb) => leases::say(api, request, id, *verb).await,
        Route::Schedules => schedules::list(api, request).await,
        Route::Schedule(name) => schedules::one(api, request, name).await,
        Route::Firings(name) => schedules::firings(api, request, name).await,
        Route::ScheduleSet(name) => schedules::set(api, request, name).await,
        Route::ScheduleRemove(name) => schedules::remove(api, request, name).await,
        Route::ScheduleTrigger(name) => schedules::trigger(api, request, name).await,
        Route::SchedulePause(name, on) => schedules::pause(api, request, name, *on).await,
    }
}

fn no_route(why: NoRoute, method: &str, path: &str) -> Problem {
    match why {
        NoRoute::Unknown => {
            Problem::new(Kind::NoSuchRoute, format!("there is no route {path}; the API is under /v1, as in /v1/jobs"))
        }
        NoRoute::Method(methods) => {
            Problem::new(Kind::MethodNotAllowed, format!("{path} has {methods}, not {method}")).allow(methods)
        }
    }
}

fn check_origin(api: &Api, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let host = text(headers, &header::HOST).unwrap_or_default();
    if !access::allowed_host(host, &api.config.names) {
        let detail = "the Host header is not this node's: use localhost, an IP address, or the node's advertised name";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    // Several would be a trick; each has to be this API's own.
    let foreign = headers
        .get_all(header::ORIGIN)
        .any(|origin| !origin.to_str().is_ok_and(|origin| access::allowed_origin(origin, host)));
    // A browser that keeps the origin to itself still says whether it is another. A link may lead here from anywhere.
    let changes = ![Method::GET, Method::HEAD].contains(method);
    let from_elsewhere = ["cross-site", "same-site"].map(Some).contains(&text(headers, &SEC_FETCH_SITE));
    if foreign || (changes && from_elsewhere) {
        return Err(Problem::new(
            Kind::Forbidden,
            "the Origin header is another site's; its pages may not use this API",
        ));
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The token of an `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let parts = value.to_str().ok().and_then(|value| value.split_once(' '));
    match parts {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::new(Kind::Unauthorized, "only `Authorization: Bearer TOKEN` is understood")),
    }
}

/// `Idempotency-Key`, plain or as a quoted string.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let wrong = |why: &str| Problem::new(Kind::InvalidRequest, format!("the Idempotency-Key header {why}"));
    let key = value.to_str().map_err(|_| wrong("must be ASCII"))?.trim();
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    spec::check_key(key).map_err(wrong)?;
    Ok(Some(key.to_owned()))
}

/// Says who answers and under whom, and keeps browsers from guessing.
fn dated(api: &Api, answer: Answer) -> Answer {
    let stand = api.backend.standpoint();
    let stale_ms = answer.stale_ms;
    let mut answer = answer
        .with(HeaderName::from_static("relais-generation"), &stand.reign.generation.0.to_string())
        .with(HeaderName::from_static("relais-epoch"), &stand.reign.epoch.0.to_string())
        .with(HeaderName::from_static("relais-node"), &stand.node)
        .with(HeaderName::from_static("relais-dispatcher"), stand.dispatcher.as_deref().unwrap_or("none"));
    if let Some(stale_ms) = stale_ms {
        answer = answer.with(HeaderName::from_static("relais-staleness-ms"), &stale_ms.to_string());
    }
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in fixed {
        // The page has a policy of its own.
        if answer.headers.iter().all(|(known, _)| *known != name) {
            answer.headers.push((name, HeaderValue::from_static(value)));
        }
    }
    answer
}

#[cfg(test)]
mod tests;
