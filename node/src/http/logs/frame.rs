//! Output as server-sent events. Bytes that are text go as text, others as base64; an id tells where each
//! stream goes on, so that a client that comes back, to any node, misses nothing.

use crate::backend::OutputStream;
use crate::http::openapi::words;
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// In this attempt, 0 before the first;
    pub(super) attempt: u16,
    /// this far in its standard output,
    pub(super) stdout: u64,
    /// and this far in its standard error.
    pub(super) stderr: u64,
}

impl Position {
    /// Reads what [`Position::text`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let position = Self {
            attempt: parts.next()?.parse().ok()?,
            stdout: parts.next()?.parse().ok()?,
            stderr: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(position)
    }

    fn text(self) -> String {
        format!("{}:{}:{}", self.attempt, self.stdout, self.stderr)
    }

    /// How far in one stream.
    pub(super) fn of(&mut self, stream: OutputStream) -> &mut u64 {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }
}

/// As the API writes it.
pub(super) fn stream_name(stream: OutputStream) -> &'static str {
    match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = LogOutput)]
pub(in crate::http) struct Output<'a> {
    #[schema(value_type = words::OutputStream)]
    stream: &'static str,
    attempt: u16,
    offset: u64,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// One event with a piece of output that starts at `offset`; `next` is the position after it.
pub(super) fn output(stream: OutputStream, offset: u64, bytes: &[u8], next: Position) -> Bytes {
    let text = std::str::from_utf8(bytes).ok();
    let frame = Output {
        stream: stream_name(stream),
        attempt: next.attempt,
        offset,
        text,
        base64: text.is_none().then(|| base64(bytes)),
    };
    event("output", Some(next), &frame)
}

/// One event. JSON has no raw line break, so the data is one line.
pub(super) fn event(name: &str, position: Option<Position>, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
    let id = position.map_or_else(String::new, |position| format!("id: {}\n", position.text()));
    format!("{id}event: {name}\ndata: {data}\n\n").into()
}

/// How many of `bytes` to send now: a character that is cut at the end waits for its rest.
pub(super) fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => bytes.len(),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let table: [(&[u8], &str); 5] =
            [(b"", ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (&[0xff, 0xef, 0, 1], "/+8AAQ==")];
        for (bytes, text) in table {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn a_position_survives_its_text() {
        let position = Position { attempt: 2, stdout: 5, stderr: 9 };
        assert_eq!(Position::parse(&position.text()), Some(position));
        for bad in ["", "1", "1:2", "1:2:3:4", "a:1:1", "-1:0:0"] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cut_character_waits() {
        assert_eq!(whole_characters("aé".as_bytes()), 3);
        assert_eq!(whole_characters(&"aé".as_bytes()[..2]), 1);
        assert_eq!(whole_characters(&[b'a', 0xff, b'b']), 3);
        assert_eq!(whole_characters(&[0xc3]), 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_coded() {
        let next = Position { attempt: 1, stdout: 4, stderr: 0 };
        let event = output(OutputStream::Stdout, 3, &[0xff], next);
        let expected = "id: 1:4:0\nevent: output\ndata: {\"stream\":\"stdout\",\"attempt\":1,\"offset\":3,\"base64\":\"/w==\"}\n\n";
        assert_eq!(event, expected);
    }
}
