//! What jobs wrote: kept on this node, apart by stream, bounded, binary-safe.
//!
//! ```text
//!   <folder>/<job id>/<attempt>.out.0  .1 … .9          the head: the first ten segments, kept
//!                     <attempt>.out.4711 … .4721        the tail: the last ten and the one being written
//!                     <attempt>.err.0
//! ```
//!
//! A segment is a header and frames; each frame carries the position that its bytes have in both streams
//! taken together, so the merged view needs no index, and a hole is told by positions that do not join.
//! Positions count what was written, not what was kept: they stay right when the middle is dropped.
//! An attempt that writes nothing makes no file.
//!
//! It refuses to sync: output is worth less than a job. It never fails a job: when the disk is full, the
//! rest is read and dropped, and [`Captured::problem`] says so.

mod capture;
mod read;
mod segments;

pub use capture::{Capture, Captured};
pub use read::{Chunk, Piece};

use parking_lot::Mutex;
use relais_protocol::ids::JobId;
use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// One of the two streams that a job writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output, or the body of an HTTP answer.
    Stdout,
    /// Standard error, and what Relais itself has to say about the attempt.
    Stderr,
}

/// Which part of an attempt's output is meant; offsets count in the view they are used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// One stream alone.
    Only(Stream),
    /// Both, in the order in which they arrived.
    Merged,
}

/// How much is kept of each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The size of a segment file.
    pub segment_bytes: u64,
    /// How many segments from the start are kept.
    pub head_segments: u32,
    /// How many whole segments before the one being written are kept.
    pub tail_segments: u32,
}

impl Default for Limits {
    /// 5 MiB of head and 5 MiB of tail for each stream, half a MiB a segment.
    fn default() -> Self {
        Self { segment_bytes: 512 * 1024, head_segments: 10, tail_segments: 10 }
    }
}

/// How far an attempt has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lengths {
    /// Bytes written to stdout, kept or not.
    pub stdout: u64,
    /// Bytes written to stderr, kept or not.
    pub stderr: u64,
    /// Whether something in the middle was dropped.
    pub truncated: bool,
    /// Whether more may come.
    pub running: bool,
}

impl Lengths {
    /// The length of one view.
    #[must_use]
    pub fn of(&self, view: View) -> u64 {
        match view {
            View::Only(Stream::Stdout) => self.stdout,
            View::Only(Stream::Stderr) => self.stderr,
            View::Merged => self.stdout + self.stderr,
        }
    }
}

type Live = Arc<Mutex<HashMap<(JobId, u16), watch::Sender<Lengths>>>>;

/// The output of all attempts on this node. Cheap to clone.
#[derive(Clone)]
pub struct Output {
    folder: Arc<Path>,
    limits: Limits,
    live: Live,
}

impl Output {
    /// Opens the store in `folder`, which is made (mode 0700) if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        Self::with_limits(folder, Limits::default())
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn with_limits(folder: PathBuf, limits: Limits) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder: folder.into(), limits, live: Live::default() })
    }

    /// Begins the output of an attempt; what an earlier run of the same attempt left is removed with its
    /// first byte.
    #[must_use]
    pub fn capture(&self, job: JobId, attempt: u16) -> Capture {
        Capture::new(self.job_folder(job), self.limits, (job, attempt), Arc::clone(&self.live))
    }

    /// Reads up to `bytes_max` from `offset` on; what was dropped is skipped and counted.
    ///
    /// # Errors
    /// When a file that is there cannot be read. Output that is not there is empty, not an error.
    pub async fn read(&self, job: JobId, attempt: u16, view: View, offset: u64, bytes_max: usize) -> io::Result<Chunk> {
        let (folder, lengths) = (self.job_folder(job), self.live_lengths(job, attempt));
        blocking(move || read::read(&folder, attempt, view, offset, bytes_max, lengths)).await
    }

    /// Reads the last `bytes_max` bytes.
    ///
    /// # Errors
    /// As [`Output::read`].
    pub async fn tail(&self, job: JobId, attempt: u16, view: View, bytes_max: usize) -> io::Result<Chunk> {
        let (folder, lengths) = (self.job_folder(job), self.live_lengths(job, attempt));
        blocking(move || {
            let end = match lengths {
                Some(lengths) => lengths,
                None => read::stored_lengths(&folder, attempt)?,
            };
            let offset = end.of(view).saturating_sub(bytes_max as u64);
            read::read(&folder, attempt, view, offset, bytes_max, lengths)
        })
        .await
    }

    /// How far the attempt has written.
    ///
    /// # Errors
    /// As [`Output::read`].
    pub async fn lengths(&self, job: JobId, attempt: u16) -> io::Result<Lengths> {
        match self.live_lengths(job, attempt) {
            Some(lengths) => Ok(lengths),
            None => {
                let folder = self.job_folder(job);
                blocking(move || read::stored_lengths(&folder, attempt)).await
            }
        }
    }

    /// Follows an attempt that still runs here; `None` once it has ended (or never began). The last value
    /// says `running: false`.
    #[must_use]
    pub fn follow(&self, job: JobId, attempt: u16) -> Option<watch::Receiver<Lengths>> {
        self.live.lock().get(&(job, attempt)).map(watch::Sender::subscribe)
    }

    /// The attempts of a job that left output here, in order.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub async fn attempts(&self, job: JobId) -> io::Result<Vec<u16>> {
        let folder = self.job_folder(job);
        blocking(move || read::attempts(&folder)).await
    }

    /// The jobs that left output here.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn jobs(&self) -> io::Result<Vec<JobId>> {
        let folder = Arc::clone(&self.folder);
        blocking(move || {
            let names = fs::read_dir(folder)?.flatten().map(|entry| entry.file_name());
            Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
        })
        .await
    }

    /// Forgets all output of a job; none is no error.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn remove(&self, job: JobId) -> io::Result<()> {
        let folder = self.job_folder(job);
        blocking(move || match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    fn job_folder(&self, job: JobId) -> PathBuf {
        self.folder.join(job.to_string())
    }

    fn live_lengths(&self, job: JobId, attempt: u16) -> Option<Lengths> {
        self.live.lock().get(&(job, attempt)).map(|sender| *sender.borrow())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
