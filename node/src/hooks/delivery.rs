//! One try to deliver a message: a POST, answered with 2xx by whoever has taken it in.

use super::SigningKey;
use relais_protocol::ids::JobId;
use relais_protocol::notice::Webhook;
use relais_protocol::time::UnixMs;
use reqwest::{StatusCode, Url};

/// A message on its way.
pub(super) struct Delivery {
    pub(super) job: JobId,
    pub(super) life: u16,
    /// When the job had ended.
    pub(super) since: UnixMs,
    pub(super) webhook: Webhook,
    pub(super) host: String,
    pub(super) body: String,
    pub(super) sent_at: UnixMs,
}

/// What came of it.
pub(super) struct Receipt {
    pub(super) job: JobId,
    pub(super) life: u16,
    pub(super) since: UnixMs,
    pub(super) host: String,
    /// The status that took it in.
    pub(super) answer: Result<u16, Undelivered>,
}

/// Why it was not taken in.
pub(super) struct Undelivered {
    pub(super) reason: String,
    /// Whether it is never to be tried again.
    pub(super) is_final: bool,
}

/// The host and port of a URL: what shares a limit.
pub(super) fn host(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    host.map_or_else(|| url.to_owned(), |(host, port)| format!("{host}:{port}"))
}

impl Delivery {
    /// The same in every try, and another one in each life of the job.
    fn id(&self) -> String {
        format!("{}.{}", self.job, self.life)
    }

    pub(super) async fn run(self, client: reqwest::Client) -> Receipt {
        let id = self.id();
        let seconds = self.sent_at.0 / 1_000;
        let mut request = client
            .post(&self.webhook.url)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds);
        if let Some(secret) = &self.webhook.secret {
            match SigningKey::of(secret) {
                Ok(key) => request = request.header("webhook-signature", key.sign(&id, seconds, &self.body)),
                Err(error) => return self.receipt(Err(Undelivered { reason: error.to_string(), is_final: true })),
            }
        }
        let answer = match request.body(self.body.clone()).send().await {
            Ok(answer) if answer.status().is_success() => Ok(answer.status().as_u16()),
            Ok(answer) => Err(Undelivered {
                reason: format!("{} answered {}", self.host, answer.status()),
                is_final: answer.status() == StatusCode::GONE,
            }),
            Err(error) => return self.failed(chain(&error.without_url())),
        };
        self.receipt(answer)
    }

    /// No answer came.
    pub(super) fn failed(self, reason: String) -> Receipt {
        let reason = format!("{}: {reason}", self.host);
        self.receipt(Err(Undelivered { reason, is_final: false }))
    }

    fn receipt(self, answer: Result<u16, Undelivered>) -> Receipt {
        Receipt { job: self.job, life: self.life, since: self.since, host: self.host, answer }
    }
}

/// An error with all its causes: the first one alone says "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
