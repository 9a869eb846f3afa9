//! The rules of `notify`: who is told when the job has ended.

use super::raw::RawNotify;
use super::rules::{Errors, push};
use crate::hooks::SigningKey;
use relais_protocol::notice::{SECRET_CHARS_MAX, URL_CHARS_MAX, Webhook};
use reqwest::Url;

/// The webhook of a job.
pub(super) fn webhook(raw: &RawNotify<'_>, errors: &mut Errors) -> Option<Webhook> {
    let Some(raw) = &raw.webhook else {
        push(errors, "/notify/webhook", "is missing; give its url");
        return None;
    };
    let Some(url) = &raw.0.url else {
        push(errors, "/notify/webhook/url", "is missing");
        return None;
    };
    if let Some(wrong) = url_error(&url.0) {
        push(errors, "/notify/webhook/url", &wrong);
    }
    let secret = raw.0.secret.as_ref().map(|secret| secret.0.to_string());
    if let Some(wrong) = secret.as_deref().and_then(secret_error) {
        push(errors, "/notify/webhook/secret", &wrong);
    }
    Some(Webhook { url: url.0.to_string(), secret })
}

fn url_error(url: &str) -> Option<String> {
    if url.chars().count() > URL_CHARS_MAX {
        return Some(format!("is longer than {URL_CHARS_MAX} characters"));
    }
    match Url::parse(url) {
        Err(error) => Some(format!("is no URL: {error}")),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => Some("must begin with http:// or https://".to_owned()),
        Ok(_) => None,
    }
}

fn secret_error(secret: &str) -> Option<String> {
    if secret.is_empty() || secret.chars().count() > SECRET_CHARS_MAX {
        return Some(format!("must have 1 to {SECRET_CHARS_MAX} characters; leave it out for unsigned messages"));
    }
    SigningKey::of(secret).err().map(|error| error.to_string())
}
