//! One try of a request at each address, and what its end means.

use super::{Call, Client, Repeat};
use crate::cli::failure::{Failure, Refusal};
use relais_protocol::time::UnixMs;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
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

impl Client {
    /// Asks each address once, beginning with the one that answered last.
    pub(super) async fn round(&self, call: &Call, last_event: Option<&str>) -> Result<reqwest::Response, End> {
        let mut tried = Vec::new();
        let mut no_dispatcher = None;
        for turn in 0..self.addresses.len() {
            let at = (self.current.get() + turn) % self.addresses.len();
            let address = &self.addresses[at];
            let request = self.request(call, at, last_event);
            // A stream has no limit as a whole, but its beginning has.
            let response = match timeout(call.answer_limit, request.send()).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) if may_ask_another(call, &error) => {
                    tried.push(format!("{address} ({})", cause(&error)));
                    continue;
                }
                Err(_) if call.repeat != Repeat::Never => {
                    tried.push(format!("{address} ({NO_ANSWER})"));
                    continue;
                }
                Ok(Err(error)) => return Err(End::Final(broken(call, &address.to_string(), &cause(&error)))),
                Err(_) => return Err(End::Final(broken(call, &address.to_string(), NO_ANSWER))),
            };
            let status = response.status();
            if status.is_success() {
                self.current.set(at);
                return Ok(response);
            }
            let passing = status.as_u16() == 503 && response.headers().contains_key(RETRY_AFTER);
            let body = response.bytes().await.unwrap_or_default();
            let failure = Failure::Refused(Box::new(Refusal::of(status.as_u16(), &body)));
            if !passing {
                return Err(End::Final(failure));
            }
            no_dispatcher = Some(failure);
        }
        Err(match no_dispatcher {
            Some(failure) => End::NoDispatcher(failure),
            None => End::Unreachable(Failure::Unreachable(tried)),
        })
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
            return request;
        }
        request.timeout(call.answer_limit)
    }
}

fn may_ask_another(call: &Call, error: &reqwest::Error) -> bool {
    // A body that can't even be built fails alike everywhere.
    !error.is_builder() && (error.is_connect() || call.repeat != Repeat::Never)
}

/// The failure of a request that was sent and never wholly answered.
pub(super) fn broken(call: &Call, address: &str, cause: &str) -> Failure {
    let next = match call.repeat {
        Repeat::Never => "it may or may not have been carried out; look before you repeat it",
        _ => "try again, or another node with --addr",
    };
    Failure::Local(format!("{address} did not answer to the end ({cause}); {next}"))
}

/// The innermost reason: the outer ones only say that a request failed.
pub(super) fn cause(error: &reqwest::Error) -> String {
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
pub(super) fn http_date(text: &str) -> Option<UnixMs> {
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
