//! One piece of a job's output, as the event stream carries it.

use serde::Deserialize;

/// The data of an `output` event.
#[derive(Debug, Deserialize)]
pub(crate) struct Frame {
    /// `stdout` or `stderr`.
    pub(crate) stream: String,
    /// The attempt that wrote it.
    #[serde(default)]
    pub(crate) attempt: u64,
    /// Where in its stream the piece begins, in bytes.
    #[serde(default)]
    pub(crate) offset: u64,
    text: Option<String>,
    base64: Option<String>,
}

/// The data of the `end` event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct End {
    /// The job's terminal state.
    pub(crate) state: String,
}

impl Frame {
    /// The bytes themselves; `None` when their base64 is none.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.base64, &self.text) {
            (Some(coded), _) => decode_base64(coded),
            (None, text) => Some(text.clone().unwrap_or_default().into_bytes()),
        }
    }
}

/// Reads base64 of the standard alphabet, with or without padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for digit in group {
            bits = bits << 6 | sextet(*digit)?;
        }
        let whole = bits << (6 * (4 - group.len()));
        let count = match group.len() {
            1 => return None,
            n => n - 1,
        };
        bytes.extend_from_slice(&whole.to_be_bytes()[1..=count]);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        let table: [(&str, &[u8]); 6] = [
            ("", b""),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("/+8", &[0xff, 0xef]),
            ("AP8Q", &[0, 0xff, 0x10]),
        ];
        for (text, bytes) in table {
            assert_eq!(decode_base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(decode_base64("Z"), None);
        assert_eq!(decode_base64("Zm9v!"), None);
    }

    #[test]
    fn bytes_come_from_text_or_base64() {
        let frame: Frame = serde_json::from_str(r#"{"stream":"stdout","attempt":1,"offset":3,"text":"hé"}"#).unwrap();
        assert_eq!(frame.bytes().unwrap(), "hé".as_bytes());
        let frame: Frame = serde_json::from_str(r#"{"stream":"stderr","base64":"/w=="}"#).unwrap();
        assert_eq!(frame.bytes().unwrap(), [0xff]);
    }
}
