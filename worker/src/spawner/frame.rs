//! What node and spawner say to each other: batches as JSON behind a 4-byte little-endian length.
//!
//! Both ends are the same binary on the same machine, so there is no version in it and no hostile
//! sender; the length is capped all the same, so that a bug cannot ask for all memory.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// The longest frame: a payload of 1 MiB whose every byte needs six in JSON, and room.
pub(super) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the node asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start a process. Its descriptors came with the frame: stdout, stderr, then stdin if `stdin`.
    Start(Command),
    /// Send `signal` to the group of `token`, if it still runs.
    Signal {
        /// Which process.
        token: u64,
        /// The signal's number.
        signal: i32,
    },
    /// KILL every `leased` process unless another lease comes within `ms`.
    Lease {
        /// From its arrival, in milliseconds; 0 kills at once.
        ms: u64,
    },
}

/// One process to start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Command {
    /// Its name from now on; each is higher than the one before.
    pub(super) token: u64,
    /// The file to run, resolved already.
    pub(super) program: PathBuf,
    /// Its arguments, the first being the name it is called by.
    pub(super) argv: Vec<String>,
    /// Its whole environment.
    pub(super) env: Vec<(String, String)>,
    /// Its working folder.
    pub(super) cwd: PathBuf,
    /// Whether a descriptor for standard input came along; else it reads nothing.
    pub(super) stdin: bool,
    /// Whether it ends with the node's lease.
    pub(super) leased: bool,
}

/// What the spawner reports.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Event {
    /// It runs.
    Started {
        /// Which process.
        token: u64,
        /// Its process id, which is also that of its group.
        pid: i32,
    },
    /// It was never started.
    SpawnFailed {
        /// Which process.
        token: u64,
        /// The system's error number, if it was the system that refused.
        errno: Option<i32>,
        /// The reason.
        message: String,
    },
    /// It ended, and nothing of its group is left.
    Exited {
        /// Which process.
        token: u64,
        /// How.
        exit: Exit,
    },
}

/// How a process ended: by its own code, or by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The code it gave, 0–255.
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// Whether the node had sent it a signal while it still ran.
    pub told: bool,
}

/// One batch as a frame.
///
/// # Errors
/// When it cannot be written as JSON (a path that is no UTF-8) or is longer than [`FRAME_BYTES_MAX`].
pub(super) fn encode<T: Serialize>(batch: &[T]) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, batch).map_err(io::Error::other)?;
    let length = bytes.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a frame of {length} bytes is over the limit of {FRAME_BYTES_MAX}")));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// Bytes that came in, cut into frames.
#[derive(Default)]
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
    taken: usize,
}

impl FrameBuffer {
    /// Adds what was just read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole batch, if there is one.
    ///
    /// # Errors
    /// When the other end sent what is no frame: the connection is of no more use.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<Vec<T>>> {
        let rest = &self.bytes[self.taken..];
        let Some(head) = rest.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("a frame that says it has {length} bytes")));
        }
        let Some(body) = rest.get(4..4 + length) else { return Ok(None) };
        let batch = serde_json::from_slice(body).map_err(io::Error::other)?;
        self.taken += 4 + length;
        Ok(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let event = |token| Event::Exited { token, exit: Exit { code: Some(7), signal: None, told: false } };
        let mut wire = encode(&[event(1), event(2)]).unwrap();
        wire.extend(encode(&[event(3)]).unwrap());
        for size in [1, 3, 7, wire.len()] {
            let mut buffer = FrameBuffer::default();
            let mut tokens = Vec::new();
            for part in wire.chunks(size) {
                buffer.push(part);
                while let Some(batch) = buffer.next::<Event>().unwrap() {
                    tokens.extend(batch.into_iter().map(|e| match e {
                        Event::Exited { token, .. } => token,
                        other => panic!("{other:?}"),
                    }));
                }
            }
            assert_eq!(tokens, [1, 2, 3], "cut every {size} bytes");
        }
    }

    #[test]
    fn an_absurd_length_is_refused() {
        let mut buffer = FrameBuffer::default();
        buffer.push(&[0xff; 8]);
        assert!(buffer.next::<Event>().is_err());
    }
}
