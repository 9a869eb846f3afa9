//! Server-sent events: bytes in, whole events out. It knows the framing, not what the events mean.

const LINE_LENGTH_MAX: usize = 8 << 20;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The `event:` field; empty when there was none.
    pub(crate) name: String,
    /// The `data:` fields, joined by newlines.
    pub(crate) data: String,
}

/// The state of reading one stream. `last_id` outlives the connection: it resumes the next one.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    pending_id: Option<String>,
    last_id: Option<String>,
}

/// A stream whose lines do not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of the event stream is longer than 8 MiB")]
pub(crate) struct LineTooLong;

impl Parser {
    /// The id of the last whole event that had one.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Forgets what was half read: the connection broke, and the next one begins at [`Parser::last_id`].
    pub(crate) fn restart(&mut self) {
        let last_id = self.last_id.take();
        *self = Self { last_id, ..Self::default() };
    }

    /// Takes bytes as they come and returns the events they complete.
    ///
    /// # Errors
    /// When a line grows beyond 8 MiB; the stream must then be dropped.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, LineTooLong> {
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > LINE_LENGTH_MAX {
                return Err(LineTooLong);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let text = String::from_utf8_lossy(&line);
                events.extend(self.take_line(text.trim_end_matches(['\n', '\r'])));
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if let Some(id) = self.pending_id.take() {
                self.last_id = Some(id);
            }
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.to_owned(),
            "id" => self.pending_id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments (an empty field name) keep the connection alive; `retry` is ours to choose.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": hello\n\nid: 1:5:0\nevent: output\ndata: {\"a\":\ndata: 1}\n\nevent: end\r\ndata: {}\r\n\r\n";

    #[test]
    fn events_are_the_same_however_they_arrive() {
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for chunk in STREAM.as_bytes().chunks(size) {
                events.extend(parser.feed(chunk).unwrap());
            }
            let expected = [("output", "{\"a\":\n1}"), ("end", "{}")];
            let got: Vec<(&str, &str)> = events.iter().map(|e| (e.name.as_str(), e.data.as_str())).collect();
            assert_eq!(got, expected, "chunks of {size}");
            assert_eq!(parser.last_id(), Some("1:5:0"));
        }
    }

    #[test]
    fn a_half_event_does_not_count() {
        let mut parser = Parser::default();
        parser.feed(b"id: 1\ndata: x\n\nid: 2\ndata: y\n").unwrap();
        parser.restart();
        assert_eq!(parser.last_id(), Some("1"));
        assert_eq!(parser.feed(b"data: z\n\n").unwrap()[0].data, "z");
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let end = (0..9).map(|_| parser.feed(&piece)).find(Result::is_err);
        assert_eq!(end, Some(Err(LineTooLong)));
    }
}
