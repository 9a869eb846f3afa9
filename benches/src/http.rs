//! A blocking HTTP/1.1 client that costs the machine little: one kept connection, one request at a time, a
//! request that was put together before. It sends nothing twice, and understands only what `relais` answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 64 << 10;
/// Characters of an id.
const ID_CHARS: usize = 36;

/// A connection to one node.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A whole request, ready to be sent any number of times. Headers end in `\r\n` each.
#[must_use]
pub fn request(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Connection {
    /// Connects; each piece of an answer may take `limit`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(addr: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self { stream, buffer: Vec::with_capacity(4 << 10) })
    }

    /// Sends a whole request and reads its answer.
    ///
    /// # Errors
    /// When the connection fails; whether the request was carried out is then not known, and the connection
    /// is of no further use.
    pub fn send(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.buffer.clear();
        self.stream.write_all(request)?;
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more()?;
        };
        let (status, length) = read_head(&self.buffer[..head])?;
        while self.buffer.len() < head + length {
            self.read_more()?;
        }
        Ok(Answer { status, body: self.buffer[head..head + length].to_vec() })
    }

    fn read_more(&mut self) -> io::Result<()> {
        let start = self.buffer.len();
        self.buffer.resize(start + READ_BYTES, 0);
        let read = self.stream.read(&mut self.buffer[start..]);
        self.buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        if read? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// The status and the length of the body.
fn read_head(head: &[u8]) -> io::Result<(u16, usize)> {
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let text = std::str::from_utf8(head).map_err(|_| bad("the head is no text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let named = lines.filter_map(|line| line.split_once(':'));
    let mut lengths = named.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = lengths.next().and_then(|(_, value)| value.trim().parse().ok());
    Ok((status.ok_or_else(|| bad("no status"))?, length.ok_or_else(|| bad("no length"))?))
}

impl Answer {
    /// The ids in it, in order, found without reading the JSON around them: the client shares the machine
    /// with what it measures.
    pub fn ids(&self) -> impl Iterator<Item = u128> {
        const FIELD: &[u8] = b"\"id\":\"";
        let mut rest = &self.body[..];
        std::iter::from_fn(move || {
            let at = rest.windows(FIELD.len()).position(|six| six == FIELD)? + FIELD.len();
            let id = parse_id(rest.get(at..at + ID_CHARS)?)?;
            rest = &rest[at + ID_CHARS..];
            Some(id)
        })
    }

    /// The body as JSON; `Null` if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads an id in its usual form, with dashes.
#[must_use]
pub fn parse_id(text: &[u8]) -> Option<u128> {
    let mut digits = text.iter().filter(|byte| **byte != b'-');
    let id = digits
        .by_ref()
        .take(32)
        .try_fold(0u128, |id, byte| Some(id << 4 | u128::from(char::from(*byte).to_digit(16)?)))?;
    (text.len() == ID_CHARS && digits.next().is_none()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let head = b"HTTP/1.1 201 Created\r\nRelais-Epoch: 2\r\ncontent-length: 17\r\n\r\n";
        assert_eq!(read_head(head).unwrap(), (201, 17));
        assert!(read_head(b"HTTP/1.1 201 Created\r\n\r\n").is_err());
        assert!(read_head(b"nonsense\r\ncontent-length: 1\r\n\r\n").is_err());
    }

    #[test]
    fn ids_are_found_in_order() {
        let one = "00000000-0000-7000-8000-0000000000ff";
        let two = "00000000-0000-7000-8000-000000000100";
        let body = format!("{{\"results\":[{{\"status\":201,\"id\":\"{one}\"}},{{\"status\":201,\"id\":\"{two}\"}}]}}");
        let answer = Answer { status: 200, body: body.into_bytes() };
        let low: Vec<u128> = answer.ids().map(|id| id & 0xffff).collect();
        assert_eq!(low, [0xff, 0x100]);
        assert_eq!(parse_id(b"00000000-0000-7000-8000-00000000zzzz"), None);
    }
}
