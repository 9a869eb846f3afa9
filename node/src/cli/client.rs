//! A client of the HTTP API: one request, sent to one node after another until one answers.
//!
//! ```text
//! call ─► round over the addresses ─► answered: 2xx ─► Answer, else ─► Failure
//!              │ connection failed, or 503 with Retry-After: the next address
//!              └ none left: pause, another round, until the patience is over
//! ```
//!
//! It never repeats a request that may have been carried out, unless repeating it changes nothing: reads,
//! and submits, which carry an `Idempotency-Key`. It goes to the nodes directly, never through a proxy.

mod round;

use super::address::Address;
use super::failure::Failure;
use bytes::Bytes;
use relais_protocol::time::UnixMs;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use round::Got;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// How long one poll asks the server to wait.
pub(crate) const POLL_WAIT: Duration = Duration::from_secs(30);

/// A bearer token, kept out of debug output.
pub(crate) struct Secret(HeaderValue);

/// The nodes of one cluster, and who is asking.
pub(crate) struct Client {
    http: reqwest::Client,
    addresses: Vec<Address>,
    /// Which address answered last: the first to be asked next.
    current: Cell<usize>,
    token: Option<Secret>,
    patience: Duration,
}

/// What may be done when a connection fails after the request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing: it may have been carried out.
    Never,
    /// Ask the other nodes, once each: a read.
    EachNode,
    /// Ask all nodes again and again for as long as the patience lasts: a submit with a key, a wait.
    Patiently,
}

/// One request, whichever node it goes to.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Option<Bytes>,
    key: Option<String>,
    repeat: Repeat,
    answer_limit: Duration,
    patience: Option<Duration>,
    /// The answer is an event stream, which lasts as long as it lasts.
    stream: bool,
    /// An answer that is no success is an answer as well.
    probe: bool,
}

/// A node's answer of status 2xx, or of any to a [`Call::probe`].
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body, unchanged.
    pub(crate) body: Bytes,
    /// When the node answered, by its own clock: what relative times are counted from.
    pub(crate) date: Option<UnixMs>,
}

impl Secret {
    /// Takes a token; `None` when it can't be in a header.
    pub(crate) fn new(token: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl Call {
    fn new(method: Method, path: impl Into<String>, repeat: Repeat) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
            key: None,
            repeat,
            answer_limit: ANSWER_LIMIT,
            patience: None,
            stream: false,
            probe: false,
        }
    }

    /// Reads `path`, which starts with `/` and may have a query.
    pub(crate) fn read(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Repeat::EachNode)
    }

    /// Reads `path` once, within `limit`, whatever status it is answered with.
    pub(crate) fn probe(path: impl Into<String>, limit: Duration) -> Self {
        Self { probe: true, answer_limit: limit, patience: Some(Duration::ZERO), ..Self::read(path) }
    }

    /// Follows the events of `path` on whichever node answers within `patience`.
    pub(crate) fn stream(path: impl Into<String>, patience: Duration) -> Self {
        Self { stream: true, patience: Some(patience), ..Self::new(Method::GET, path, Repeat::Patiently) }
    }

    /// Sends JSON text to `path`, and never twice to a node that may have taken it.
    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { body: Some(body.into()), ..Self::new(Method::POST, path, Repeat::Never) }
    }

    /// Changes what `path` names; changing it twice so is changing it once.
    pub(crate) fn patch(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { body: Some(body.into()), ..Self::new(Method::PATCH, path, Repeat::EachNode) }
    }

    /// Puts JSON text where `path` names; putting it twice is putting it once.
    pub(crate) fn put(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { body: Some(body.into()), ..Self::new(Method::PUT, path, Repeat::EachNode) }
    }

    /// Deletes what `path` names; deleting twice is deleting once.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, Repeat::EachNode)
    }

    /// Adds the key that makes it safe to repeat.
    pub(crate) fn keyed(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), repeat: Repeat::Patiently, ..self }
    }

    /// Lets it take as long as a poll does, and be repeated for `patience` while no node answers.
    pub(crate) fn polling(self, patience: Duration) -> Self {
        Self { repeat: Repeat::Patiently, answer_limit: POLL_WAIT + ANSWER_LIMIT, patience: Some(patience), ..self }
    }
}

impl Answer {
    /// The body as the type it should be.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::not_understood(&error))
    }
}

/// The trace that this command is part of, as its environment says: what it submits is part of it, too.
fn trace() -> HeaderMap {
    let said = [("traceparent", "TRACEPARENT"), ("tracestate", "TRACESTATE")].into_iter().filter_map(|(name, key)| {
        let value = HeaderValue::from_str(&std::env::var(key).ok()?).ok()?;
        Some((HeaderName::from_static(name), value))
    });
    said.collect()
}

impl Client {
    /// A client of the nodes at `addresses` (at least one).
    pub(crate) fn new(addresses: Vec<Address>, token: Option<Secret>, patience: Duration) -> Result<Self, Failure> {
        // A second call finds it installed already, which is just as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("relais/", env!("CARGO_PKG_VERSION")))
            .default_headers(trace())
            .build()
            .map_err(|error| Failure::Local(format!("can't make an HTTP client: {error}; report this")))?;
        Ok(Self { http, addresses, current: Cell::new(0), token, patience })
    }

    /// How long it goes on while no node answers.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Sends `call` until a node answers it.
    ///
    /// # Errors
    /// The node's refusal, or that no node answered within the call's patience.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, Failure> {
        match self.until_answered(call, None).await? {
            Got::Answer(answer) => Ok(answer),
            Got::Stream(_) | Got::Refusal { .. } => {
                Err(Failure::Local("an answer was asked for, not a stream".to_owned()))
            }
        }
    }

    /// Sends a [`Call::stream`] until a node answers it; the body is left to be read. `last_event` resumes.
    ///
    /// # Errors
    /// Like [`Client::call`].
    pub(crate) async fn open(&self, call: &Call, last_event: Option<&str>) -> Result<reqwest::Response, Failure> {
        match self.until_answered(call, last_event).await? {
            Got::Stream(response) => Ok(response),
            Got::Answer(_) | Got::Refusal { .. } => {
                Err(Failure::Local("a stream was asked for, not an answer".to_owned()))
            }
        }
    }

    async fn until_answered(&self, call: &Call, last_event: Option<&str>) -> Result<Got, Failure> {
        let begun = Instant::now();
        let patience = call.patience.unwrap_or(self.patience);
        let mut pause = PAUSE_FIRST;
        loop {
            let again = match self.round(call, last_event).await {
                Ok(got) => return Ok(got),
                Err(round::End::Final(failure)) => return Err(failure),
                Err(round::End::NoDispatcher(failure)) => failure,
                Err(round::End::Unreachable(failure)) if call.repeat == Repeat::Patiently => failure,
                Err(round::End::Unreachable(failure)) => return Err(failure),
            };
            if begun.elapsed() + pause > patience {
                return Err(again);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    /// Makes the next address the first to be asked: the current one's stream broke.
    pub(crate) fn turn_away(&self) {
        self.current.set((self.current.get() + 1) % self.addresses.len());
    }
}
