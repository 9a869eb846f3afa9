//! Who is told of a job's end, as the API shows it, and the message that they get. The secret that it is signed
//! with is never shown.

use super::view::{JobView, Names, Time};
use crate::http::openapi::words;
use relais_dispatcher::ledger::Ledger;
use relais_protocol::job::Job;
use relais_protocol::notice::{Notice, NoticeState, Webhook};
use serde::Serialize;
use utoipa::ToSchema;

/// `notify` of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = Notify)]
pub(super) struct NotifyView<'a> {
    webhook: WebhookView<'a>,
}

/// `notify` of a job that a schedule is to make. Its secret is not shown: who sends it back adds it again.
#[derive(Serialize, ToSchema)]
#[schema(as = NotifyShown)]
pub(super) struct ToldView<'a> {
    webhook: UrlView<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WebhookUrl)]
struct UrlView<'a> {
    url: &'a str,
}

impl<'a> ToldView<'a> {
    pub(super) fn of(webhook: &'a Webhook) -> Self {
        Self { webhook: UrlView { url: &webhook.url } }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
struct WebhookView<'a> {
    url: &'a str,
    signed: bool,
    /// `pending`, `delivered` or `given_up`, once the job has ended.
    #[schema(value_type = Option<words::NoticeState>)]
    state: Option<&'static str>,
    since: Option<Time>,
    /// Of the answer that took it in.
    status: Option<u16>,
    error: Option<&'a str>,
}

impl<'a> NotifyView<'a> {
    pub(super) fn of(webhook: &'a Webhook, notice: Option<&'a Notice>) -> Self {
        let (state, status, error) = match notice.map(|notice| &notice.state) {
            None => (None, None, None),
            Some(NoticeState::Pending) => (Some("pending"), None, None),
            Some(NoticeState::Delivered { status }) => (Some("delivered"), Some(*status), None),
            Some(NoticeState::GivenUp { reason }) => (Some("given_up"), None, Some(reason.as_str())),
        };
        let since = notice.map(|notice| Time(notice.at));
        let signed = webhook.secret.is_some();
        Self { webhook: WebhookView { url: &webhook.url, signed, state, since, status, error } }
    }
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Option<Time>,
    data: JobView<'a>,
}

/// The message about the end of `job`: `type` is `job.` and its state, `data` is the job as `GET` shows it.
pub(crate) fn message(job: &Job, ledger: &Ledger, durability: &'static str) -> String {
    let message = Message {
        kind: format!("job.{}", job.state.name().as_str()),
        timestamp: job.finished_at.map(Time),
        data: JobView::of(job, &Names::of(ledger), durability),
    };
    serde_json::to_string(&message).unwrap_or_default()
}
