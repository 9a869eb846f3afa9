//! One try of a request at each address, and what its end means.

use super::{Answer, Call, Client, Repeat};
use crate::cli::address::Address;
use crate::cli::failure::{Failure, Refusal};
use relais_protocol::time::UnixMs;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER};
use std::error::Error;
use tokio::time::timeout;

const NO_ANSWER: &str = "no answer in time";

/// How a round ended without a success.
pub(super) enum End {
    /// Asking again would change nothing.
    Final(Failure),
    /// Some node answered, but there is no dispatcher now.
    NoDispatcher(Failure),
    /// No node answered.
    Unreachable(Failure),
}

/// What a node gave.
pub(super) enum Got {
    /// The whole answer.
    Answer(Answer),
    /// The beginning of a stream.
    Stream(reqwest::Response),
    /// Anything but a success.
    Refusal { passing: bool, failure: Failure },
}

/// A try that ended without an answer.
struct Broken {
    /// The request never arrived.
    unsent: bool,
    cause: String,
}

impl Client {
    /// Asks each address once, beginning with the one that answered last. Gives no [`Got::Refusal`].
    pub(super) async fn round(&self, call: &Call, last_event: Option<&str>) -> Result<Got, End> {
        let mut tried = Vec::new();
        let mut no_dispatcher = None;
        let first = self.current.get();
        for turn in 0..self.addresses.len() {
            let at = (first + turn) % self.addresses.len();
            // A stream has no limit as a whole, but its beginning has.
            let attempt = timeout(call.answer_limit, self.ask(call, at, last_event)).await;
            match attempt.unwrap_or_else(|_| Err(Broken { unsent: false, cause: NO_ANSWER.to_owned() })) {
                Ok(Got::Refusal { passing: true, failure }) => no_dispatcher = Some(failure),
                Ok(Got::Refusal { passing: false, failure }) => return Err(End::Final(failure)),
                Ok(got) => {
                    self.current.set(at);
                    return Ok(got);
                }
                Err(broken) if broken.unsent || call.repeat != Repeat::Never => {
                    tried.push(format!("{} ({})", self.addresses[at], broken.cause));
                }
                Err(broken) => return Err(End::Final(unknown_outcome(&self.addresses[at], &broken.cause))),
            }
        }
        Err(match no_dispatcher {
            Some(failure) => End::NoDispatcher(failure),
            None => End::Unreachable(Failure::Unreachable(tried)),
        })
    }

    async fn ask(&self, call: &Call, at: usize, last_event: Option<&str>) -> Result<Got, Broken> {
        let response = self.request(call, at, last_event).send().await?;
        let (code, headers) = (response.status(), response.headers());
        let status = code.as_u16();
        if !code.is_success() && !call.probe {
            let passing = status == 503 && headers.contains_key(RETRY_AFTER);
            let body = response.bytes().await?;
            return Ok(Got::Refusal { passing, failure: Failure::Refused(Box::new(Refusal::of(status, &body))) });
        }
        if call.stream {
            return Ok(Got::Stream(response));
        }
        let date = headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(http_date);
        Ok(Got::Answer(Answer { status, body: response.bytes().await?, date }))
    }

    fn request(&self, call: &Call, at: usize, last_event: Option<&str>) -> reqwest::RequestBuilder {
        let mut request = self.http.request(call.method.clone(), self.addresses[at].url(&call.path));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.0.clone());
        }
        if let Some(key) = &call.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        if call.stream {
            request = request.header(ACCEPT, "text/event-stream");
            if let Some(id) = last_event {
                request = request.header("Last-Event-ID", id);
            }
        }
        request
    }
}

impl From<reqwest::Error> for Broken {
    fn from(error: reqwest::Error) -> Self {
        Self { unsent: error.is_connect(), cause: cause(&error) }
    }
}

/// The failure of a request that was sent, not wholly answered, and must not be repeated.
fn unknown_outcome(address: &Address, cause: &str) -> Failure {
    Failure::Local(format!(
        "{address} did not answer to the end ({cause}); it may or may not have been carried out; \
         look before you repeat it"
    ))
}

/// The innermost reason: the outer ones only say that a request failed.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return NO_ANSWER.to_owned();
    }
    let mut inner: &dyn Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Reads the `Date` header: `Sun, 22 Nov 2026 02:36:46 GMT`.
fn http_date(text: &str) -> Option<UnixMs> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_ascii_whitespace().skip(1);
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    UnixMs::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_header_is_a_time() {
        let time = http_date("Sun, 22 Nov 2026 02:36:46 GMT").unwrap();
        assert_eq!(time.rfc3339(), "2026-11-22T02:36:46.000Z");
        assert_eq!(http_date("yesterday"), None);
        assert_eq!(http_date("Sun, 22 Nov"), None);
    }
}
