//! `http`: one request; an answer of 2xx succeeds, anything else fails with type `http`.
//!
//! The body of the answer goes to the attempt's stdout as it comes, never into memory. The request carries
//! job id, attempt and fence as headers, so that the other side can tell a repeat. A stopped or timed-out
//! request is aborted by closing its connection: whether the other side acted on it is not known.

use super::origin;
use super::payload::{Body, HttpPayload};
use super::{Clock, Ended, ErrorType, Executor, StopSignal, Task, Verdict, bounded};
use crate::output::{Capture, Stream};
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use reqwest::header::HeaderValue;
use std::sync::Arc;
use std::time::Duration;

/// What a member of an array says of itself. An input that no header can hold is left out.
const OF_ORIGIN: [(&str, &str); 3] =
    [(origin::GROUP, "Relais-Group-Id"), (origin::INDEX, "Relais-Array-Index"), (origin::INPUT, "Relais-Array-Input")];
/// The trace that the job was submitted in, unless its payload says another.
const OF_TRACE: [(&str, &str); 2] = [(origin::TRACE_PARENT, "traceparent"), (origin::TRACE_STATE, "tracestate")];
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The executor of kind `http`. The process must have a default rustls crypto provider by the time of its
/// first request.
pub struct Http {
    clock: Clock,
    client: Mutex<Option<reqwest::Client>>,
}

impl Http {
    /// One that tells the time by `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, client: Mutex::new(None) }
    }

    /// The client, made with the first request: a node that runs no such job pays nothing for it.
    fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        let mut client = self.client.lock();
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("relais/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(client.insert(made).clone())
    }

    fn request(&self, payload: HttpPayload, task: &Task) -> Result<reqwest::RequestBuilder, reqwest::Error> {
        let json = matches!(payload.body, Some(Body::Json(_)));
        let typed = payload.headers.iter().any(|(name, _)| *name == reqwest::header::CONTENT_TYPE);
        let has_trace = payload.headers.iter().any(|(name, _)| OF_TRACE.iter().any(|(_, header)| name == header));
        let of_trace = OF_TRACE.iter().filter(|_| !has_trace);
        let mut request = self
            .client()?
            .request(payload.method, payload.url)
            .header("Relais-Job-Id", task.job.to_string())
            .header("Relais-Attempt", task.attempt)
            .header("Relais-Fence", task.fence.0)
            .headers(payload.headers.into_iter().collect());
        for (variable, header) in OF_ORIGIN.iter().chain(of_trace).copied() {
            let value = task.extra_env.iter().find(|(name, _)| name == variable);
            let value = value.and_then(|(_, value)| HeaderValue::from_bytes(value.as_bytes()).ok());
            request = value.into_iter().fold(request, |request, value| request.header(header, value));
        }
        if json && !typed {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json");
        }
        Ok(match payload.body {
            Some(Body::Text(text) | Body::Json(text)) => request.body(text),
            None => request,
        })
    }
}

impl Executor for Http {
    fn run(self: Arc<Self>, task: Task, stop: StopSignal) -> BoxFuture<'static, Ended> {
        async move {
            let started_at = (self.clock)();
            let verdict = match HttpPayload::parse(&task.payload) {
                Ok(payload) => {
                    let what = format!("{} {}", payload.method, shown(&payload.url));
                    match self.request(payload, &task) {
                        Ok(request) => bounded(exchange(request, &what, &task.output), task.timeout_ms, stop).await,
                        Err(error) => failed(&what, error),
                    }
                }
                Err(error) => Verdict::failed(ErrorType::Http, error.to_string()),
            };
            verdict.with(task.output, started_at, (self.clock)())
        }
        .boxed()
    }
}

async fn exchange(request: reqwest::RequestBuilder, what: &str, output: &Capture) -> Verdict {
    let mut answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return failed(what, error),
    };
    let status = answer.status();
    loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => output.write(Stream::Stdout, bytes.to_vec()).await,
            Ok(None) => break,
            Err(error) => return failed(what, error),
        }
    }
    if status.is_success() {
        Verdict::succeeded()
    } else {
        Verdict::failed(ErrorType::Http, format!("{what} was answered with {status}"))
    }
}

/// The URL without what may be a secret in it.
fn shown(url: &reqwest::Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// A failure with its whole chain of causes: the first one alone says "error sending request".
fn failed(what: &str, error: reqwest::Error) -> Verdict {
    let error = error.without_url();
    let mut message = format!("{what} failed: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Verdict::failed(ErrorType::Http, message)
}
