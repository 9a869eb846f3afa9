//! How a command fails: the line it says and the code it exits with.

use super::view::null_is_empty;
use serde::Deserialize;
use std::fmt;
use std::io;

/// The job timed out or expired.
pub(crate) const EXIT_TIMED_OUT: u8 = 5;
/// The job was cancelled.
pub(crate) const EXIT_CANCELLED: u8 = 4;
/// The job failed without an exit code.
pub(crate) const EXIT_FAILED: u8 = 3;
/// The user stopped waiting (128 + SIGINT).
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments, or a file they name, are wrong: exit code 2.
    Usage(String),
    /// A node said no: exit code 1, or 77 when it was about who asks.
    Refused(Box<Refusal>),
    /// No node answered: exit code 69. Holds each address with what happened there.
    Unreachable(Vec<String>),
    /// Something on this side, or an answer nobody understands: exit code 1.
    Local(String),
    /// The reader of our output is gone (`relais jobs | head`): nothing to say, exit code 0.
    OutputClosed,
}

/// A node's answer that is no success.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) title: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) detail: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) errors: Vec<Pointed>,
    /// The ids a prefix could mean (409).
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) candidates: Vec<String>,
}

/// One complaint of a problem document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pointed {
    /// A JSON pointer into the body, with or without a leading `#`.
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) pointer: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) detail: String,
}

impl Refusal {
    /// Reads a problem document; anything else becomes one, with the body's beginning as detail.
    pub(crate) fn of(status: u16, body: &[u8]) -> Self {
        let mut refusal = serde_json::from_slice::<Self>(body).unwrap_or_else(|_| Self {
            detail: String::from_utf8_lossy(body).chars().take(200).collect(),
            ..Self::default()
        });
        refusal.status = status;
        refusal
    }

    /// Cause and pointers, without the next step.
    pub(crate) fn cause(&self) -> String {
        let mut parts = Vec::new();
        let said = [self.title.trim(), self.detail.trim()].into_iter().filter(|part| !part.is_empty());
        let said: Vec<&str> = said.collect();
        parts.push(if said.is_empty() { format!("HTTP status {}", self.status) } else { said.join(": ") });
        // A single complaint is the detail already.
        let more = self.errors.iter().filter(|error| !self.detail.contains(&error.detail));
        parts.extend(more.map(|error| format!("{}: {}", error.pointer.trim_start_matches('#'), error.detail)));
        if !self.candidates.is_empty() {
            parts.push(format!("it could be {}", self.candidates.join(" or ")));
        }
        one_line(&parts.join("; "))
    }

    fn next_step(&self) -> &'static str {
        match self.status {
            400 | 422 => "correct the request and send it again",
            401 => "give a good API token in RELAIS_TOKEN or with --token-file",
            403 => "use an API token of a role that may do this (`relais token create --role admin`)",
            404 => "`relais jobs`, `relais nodes`, `relais schedules` and `relais token ls` list what there is",
            409 if !self.candidates.is_empty() => "give more characters of the id",
            409 => "`relais job ID` and `relais cluster status` show how things stand",
            413 => "send less at once",
            429 => "wait a little and try again",
            503 => "`relais cluster status` says why; try again soon",
            507 => "free disk space on the nodes; `relais nodes` shows which",
            500.. => "look at the node's log",
            _ => "see `relais --help`",
        }
    }
}

impl Failure {
    /// The exit code of `api.md`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(refusal) if [401, 403].contains(&refusal.status) => 77,
            Self::Refused(_) | Self::Local(_) => 1,
            Self::Unreachable(_) => 69,
            Self::OutputClosed => 0,
        }
    }

    /// Says it on standard error, on one line.
    pub(crate) fn tell(&self) {
        if !matches!(self, Self::OutputClosed) {
            eprintln!("relais: {self}");
        }
    }

    /// For a body that has not the shape `api.md` gives it.
    pub(crate) fn not_understood(error: &serde_json::Error) -> Self {
        Self::Local(format!("the node's answer is not understood ({error}); is it a Relais node of this version?"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Local(format!("can't write the output: {error}; send it elsewhere")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Local(text) => f.write_str(&one_line(text)),
            Self::Refused(refusal) => {
                write!(f, "{} ({}); {}", refusal.cause(), refusal.status, refusal.next_step())
            }
            Self::Unreachable(tried) => write!(
                f,
                "no node reachable: {}; start one with `relais dev`, or name the nodes in RELAIS_ADDR",
                one_line(&tried.join(", "))
            ),
            Self::OutputClosed => f.write_str("the output was closed"),
        }
    }
}

/// The text without line breaks and other control characters: an error is one line, and a text from afar
/// must not steer the terminal.
pub(crate) fn one_line(text: &str) -> String {
    // Marks that turn the order of what follows around are of no category of their own.
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let words: Vec<&str> = text.split(steers).map(str::trim).filter(|part| !part.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_its_pointers() {
        let body = br##"{"type":"x","title":"invalid job","status":400,"detail":"1 field is wrong",
            "errors":[{"pointer":"#/payload/command","detail":"must not be empty"}]}"##;
        let failure = Failure::Refused(Box::new(Refusal::of(400, body)));
        assert_eq!(
            failure.to_string(),
            "invalid job: 1 field is wrong; /payload/command: must not be empty (400); \
             correct the request and send it again"
        );
        assert_eq!(failure.exit_code(), 1);
        let told_already = br##"{"title":"invalid job","detail":"/queue: is bad",
            "errors":[{"pointer":"#/queue","detail":"is bad"}]}"##;
        assert_eq!(Refusal::of(400, told_already).cause(), "invalid job: /queue: is bad");
    }

    #[test]
    fn what_is_no_problem_document_is_told_too() {
        let refusal = Refusal::of(502, b"<html>\n\x1b[31mbad gateway</html>");
        assert_eq!(refusal.cause(), "<html> [31mbad gateway</html>");
        assert_eq!(Refusal::of(500, b"").cause(), "HTTP status 500");
        assert_eq!(Refusal::of(500, br#"{"title":"disk","detail":null,"errors":null}"#).cause(), "disk");
    }

    #[test]
    fn who_asks_decides_between_1_and_77() {
        for (status, code) in [(400, 1), (401, 77), (403, 77), (404, 1), (503, 1)] {
            assert_eq!(Failure::Refused(Box::new(Refusal::of(status, b""))).exit_code(), code);
        }
    }
}
