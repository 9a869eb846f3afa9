//! Clients that mean no good, and one that only wants its jobs done meanwhile.
//!
//! ```text
//!   raw bytes, half requests, idle connections ──► node ◄── Bystander: submits, one after the other
//!                                                   │
//!                                            Memory: its anonymous pages, all the while
//! ```
//!
//! What is sent here is bytes on a socket: no HTTP library would let it through.

mod crowd;
mod guest;
mod memory;

pub use crowd::{Crowd, Deaf, Ends};
pub use guest::{Bystander, Served};
pub use memory::Memory;

use crate::cluster::Node;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection is listened to that neither speaks nor ends.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer that are kept.
const HEARD_MAX: usize = 4_096;

/// What became of bytes that were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many of them the other side's kernel took.
    pub sent: usize,
    /// The status of the first answer, if there was one.
    pub status: Option<u16>,
    /// Whether the other side ended the connection.
    pub ended: bool,
}

/// Sends bytes on a connection of their own, and listens until there is an answer or the connection is ended. Who is
/// refused in the middle stops sending, as any client does.
///
/// # Panics
/// When no connection can be made.
#[must_use]
pub fn send(addr: SocketAddr, pieces: impl IntoIterator<Item = Vec<u8>>) -> Outcome {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(10)).expect("a connection");
    stream.set_read_timeout(Some(SILENCE_MAX)).expect("a time-out");
    stream.set_write_timeout(Some(SILENCE_MAX)).expect("a time-out");
    let mut outcome = Outcome::default();
    for piece in pieces {
        if stream.write_all(&piece).is_err() {
            break;
        }
        outcome.sent += piece.len();
    }
    let mut heard = Vec::new();
    let mut buffer = [0; 1_024];
    while heard.len() < HEARD_MAX && status_of(&heard).is_none() {
        match stream.read(&mut buffer) {
            Ok(0) => outcome.ended = true,
            Ok(length) => heard.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => outcome.ended = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
        if outcome.ended || heard.is_empty() {
            break;
        }
    }
    outcome.status = status_of(&heard);
    outcome
}

/// The status of an answer that begins with these bytes.
#[must_use]
pub fn status_of(heard: &[u8]) -> Option<u16> {
    let rest = heard.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

/// The head of a request, whole.
#[must_use]
pub fn head(node: &Node, first: &str, headers: &str) -> Vec<u8> {
    format!("{first} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", node.http).into_bytes()
}
