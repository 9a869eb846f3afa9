//! Webhooks: whom to tell of a job's end, and what has become of that.

use crate::ids::JobId;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Characters that the URL of a webhook may have.
pub const URL_CHARS_MAX: usize = 2_048;
/// Characters that its secret may have.
pub const SECRET_CHARS_MAX: usize = 256;

/// Whom to tell when a job has ended.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Where to: `http` or `https`.
    pub url: String,
    /// What the message is signed with; unsigned without it.
    pub secret: Option<String>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.secret.as_ref().map(|_| "secret");
        f.debug_struct("Webhook").field("url", &self.url).field("secret", &secret).finish()
    }
}

/// That somebody is to be told of the end of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Notice {
    /// Of which life's end.
    pub life: u16,
    /// How far that is.
    pub state: NoticeState,
    /// Since when.
    pub at: UnixMs,
}

/// How far the telling of an end is. Of two accounts the greater one knows more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NoticeState {
    /// It is still to be delivered.
    Pending,
    /// Nobody took it in.
    GivenUp {
        /// What came of the last try.
        reason: String,
    },
    /// It was taken in.
    Delivered {
        /// With this HTTP status.
        status: u16,
    },
}

/// What came of telling of the end of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed {
    /// Whose end.
    pub job: JobId,
    /// Which life's.
    pub life: u16,
    /// How it came out.
    pub state: NoticeState,
}
