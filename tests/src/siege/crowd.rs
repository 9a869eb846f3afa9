//! Many connections at once, each a little slower than anyone should be.

use super::status_of;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::time::Instant;

/// How long connecting may take while others connect, too.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// The pause between two rounds.
const ROUND: Duration = Duration::from_secs(1);

/// How connections ended: by the status that was answered before; 0 stands for none.
pub type Ends = BTreeMap<u16, usize>;

struct Guest {
    stream: TcpStream,
    heard: Vec<u8>,
}

/// Connections that are open.
pub struct Crowd {
    guests: Vec<Guest>,
    /// How the others ended.
    pub ends: Ends,
}

impl Crowd {
    /// Makes so many, each of which says `first` at once.
    ///
    /// # Errors
    /// When a connection can't be made.
    pub fn enter(addr: SocketAddr, count: usize, first: &[u8]) -> std::io::Result<Self> {
        let mut guests = Vec::with_capacity(count);
        let mut ends = Ends::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect_timeout(&addr, CONNECT_LIMIT)?;
            stream.set_nonblocking(true)?;
            if !first.is_empty() && stream.write_all(first).is_err() {
                *ends.entry(0).or_default() += 1;
                continue;
            }
            guests.push(Guest { stream, heard: Vec::new() });
        }
        Ok(Self { guests, ends })
    }

    /// How many are still open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.guests.len()
    }

    /// Has each say one of `bytes` in each second, in a circle, until all are thrown out or `limit` is over.
    pub fn dribble(&mut self, bytes: &[u8], limit: Duration) {
        let end = Instant::now() + limit;
        for byte in bytes.iter().cycle() {
            let round = Instant::now();
            self.listen(&[*byte]);
            if self.guests.is_empty() || Instant::now() >= end {
                return;
            }
            std::thread::sleep(ROUND.saturating_sub(round.elapsed()));
        }
    }

    /// Waits until all are thrown out, or `limit` is over.
    pub fn wait(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.guests.is_empty() && Instant::now() < end {
            self.listen(&[]);
            std::thread::sleep(ROUND / 10);
        }
    }

    /// Each says something, and hears what there is to hear.
    fn listen(&mut self, say: &[u8]) {
        let mut buffer = [0; 512];
        let ends = &mut self.ends;
        self.guests.retain_mut(|guest| {
            let mut gone = !say.is_empty() && guest.stream.write_all(say).is_err();
            loop {
                match guest.stream.read(&mut buffer) {
                    Ok(0) => gone = true,
                    Ok(length) => {
                        guest.heard.extend_from_slice(&buffer[..length]);
                        continue;
                    }
                    Err(error) => gone |= error.kind() != ErrorKind::WouldBlock,
                }
                break;
            }
            if gone {
                *ends.entry(status_of(&guest.heard).unwrap_or(0)).or_default() += 1;
            }
            !gone
        });
    }
}

/// Connections that ask and never read an answer.
pub struct Deaf {
    _streams: Vec<TcpStream>,
}

impl Deaf {
    /// Makes so many, each of which says `asked` so many times, as far as the other side takes it.
    ///
    /// # Errors
    /// When a connection can't be made.
    pub fn enter(addr: SocketAddr, count: usize, asked: &[u8], times: usize) -> std::io::Result<Self> {
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let mut stream = TcpStream::connect_timeout(&addr, CONNECT_LIMIT)?;
            stream.set_nonblocking(true)?;
            for _ in 0..times {
                if !matches!(stream.write(asked), Ok(length) if length == asked.len()) {
                    break;
                }
            }
            streams.push(stream);
        }
        Ok(Self { _streams: streams })
    }
}
