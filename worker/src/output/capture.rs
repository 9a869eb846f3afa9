//! The output of one attempt while it is being written.

use super::segments::Segments;
use super::{Lengths, Limits, Live, Stream};
use parking_lot::Mutex;
use relais_protocol::ids::JobId;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::watch;

/// How many of the last bytes go into the attempt's record.
const TAIL_BYTES: usize = 4096;
/// How much is read from a pipe before it is written down.
const READ_BYTES: usize = 64 * 1024;

/// What was captured in all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// The last 4 KiB, both streams as they came.
    pub tail: Vec<u8>,
    /// Bytes written to stdout, kept or not.
    pub stdout: u64,
    /// Bytes written to stderr, kept or not.
    pub stderr: u64,
    /// Whether something in the middle was dropped.
    pub truncated: bool,
    /// Why output after some point was not kept, if the disk refused.
    pub problem: Option<String>,
}

/// Takes one attempt's output. Dropping it ends the output: followers are told.
pub struct Capture {
    state: Arc<Mutex<State>>,
    lengths: watch::Sender<Lengths>,
    live: Live,
    key: (JobId, u16),
}

struct State {
    stdout: Segments,
    stderr: Segments,
    tail: Vec<u8>,
    problem: Option<String>,
}

impl State {
    fn write(&mut self, stream: Stream, data: &[u8]) {
        let kept = data.len().min(TAIL_BYTES);
        let over = (self.tail.len() + kept).saturating_sub(TAIL_BYTES);
        self.tail.drain(..over);
        self.tail.extend_from_slice(&data[data.len() - kept..]);
        if self.problem.is_some() {
            return;
        }
        let merged = self.stdout.length() + self.stderr.length();
        let segments = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if let Err(error) = segments.append(data, merged) {
            self.problem = Some(format!("output could not be kept from here on: {error}"));
        }
    }

    fn lengths(&self) -> Lengths {
        Lengths {
            stdout: self.stdout.length(),
            stderr: self.stderr.length(),
            truncated: self.stdout.truncated() || self.stderr.truncated(),
            running: true,
        }
    }
}

impl Capture {
    pub(super) fn new(folder: PathBuf, limits: Limits, key: (JobId, u16), live: Live) -> Self {
        let segments = |stream| Segments::new(folder.clone(), key.1, stream, limits);
        let (stdout, stderr) = (segments(Stream::Stdout), segments(Stream::Stderr));
        let state = State { stdout, stderr, tail: Vec::new(), problem: None };
        let (lengths, _) = watch::channel(Lengths { running: true, ..Lengths::default() });
        live.lock().insert(key, lengths.clone());
        Self { state: Arc::new(Mutex::new(state)), lengths, live, key }
    }

    /// Takes what is handed to it.
    pub async fn write(&self, stream: Stream, data: Vec<u8>) {
        self.write_reused(stream, data).await;
    }

    /// The same; returns the buffer, for the next read.
    async fn write_reused(&self, stream: Stream, data: Vec<u8>) -> Vec<u8> {
        let state = Arc::clone(&self.state);
        let lengths = self.lengths.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut state = state.lock();
            state.write(stream, &data);
            lengths.send_replace(state.lengths());
            data
        });
        // Only a runtime that shuts down cancels it; what was written by then stays.
        written.await.unwrap_or_default()
    }

    /// Takes what comes out of two pipes until both are closed by all who could write. One whose writer
    /// stays open never ends: the caller drops this future then.
    ///
    /// # Errors
    /// When a descriptor is no pipe, or reading fails.
    pub async fn pump(&self, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
        let (out, err) = tokio::join!(self.pump_one(Stream::Stdout, stdout), self.pump_one(Stream::Stderr, stderr));
        out.and(err)
    }

    async fn pump_one(&self, stream: Stream, fd: OwnedFd) -> io::Result<()> {
        let receiver = pipe::Receiver::from_owned_fd(fd)?;
        let mut buffer = Vec::new();
        loop {
            // No buffer before there is something to read: most jobs write nothing, and many run at once.
            receiver.ready(Interest::READABLE).await?;
            if !read_available(&receiver, &mut buffer)? {
                continue;
            }
            if buffer.is_empty() {
                return Ok(());
            }
            let was_full = buffer.len() >= READ_BYTES;
            buffer = self.write_reused(stream, buffer).await;
            buffer.clear();
            if !was_full {
                // A job that says a line now and then must not hold 64 KiB for it.
                buffer = Vec::new();
            }
        }
    }

    /// Ends the output and says what there was.
    #[must_use]
    pub fn finish(self) -> Captured {
        let mut state = self.state.lock();
        let lengths = state.lengths();
        Captured {
            tail: std::mem::take(&mut state.tail),
            stdout: lengths.stdout,
            stderr: lengths.stderr,
            truncated: lengths.truncated,
            problem: state.problem.clone(),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let mut live = self.live.lock();
        // An attempt that was begun anew meanwhile is not this one's to remove.
        if live.get(&self.key).is_some_and(|sender| sender.same_channel(&self.lengths)) {
            live.remove(&self.key);
        }
        drop(live);
        self.lengths.send_modify(|lengths| lengths.running = false);
    }
}

/// Reads what the pipe holds, up to the buffer's size. False when it holds nothing just now; true with an
/// empty buffer when it is closed.
fn read_available(receiver: &pipe::Receiver, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.reserve_exact(READ_BYTES.saturating_sub(buffer.capacity()));
    while buffer.len() < READ_BYTES {
        match receiver.try_read_buf(buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(!buffer.is_empty()),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
