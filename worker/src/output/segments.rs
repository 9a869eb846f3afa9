//! One stream of one attempt as segment files: their names, their layout, and how they are written.
//!
//! ```text
//!   segment = "RLO1", 4 zero bytes, the stream position of its first byte (u64)
//!             then frames: length (u32), merged position (u64), the bytes       all little-endian
//! ```
//!
//! A frame cut short by the node's death ends its segment for whoever reads it.

use super::{Limits, Stream};
use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The first bytes of a segment.
pub(super) const MAGIC: [u8; 8] = *b"RLO1\0\0\0\0";
/// Magic and stream position.
pub(super) const HEADER_BYTES: usize = 16;
/// Length and merged position.
pub(super) const FRAME_HEADER_BYTES: usize = 12;

impl Stream {
    fn letters(self) -> &'static str {
        match self {
            Stream::Stdout => "out",
            Stream::Stderr => "err",
        }
    }
}

/// The file of one segment.
pub(super) fn path(folder: &Path, attempt: u16, stream: Stream, number: u32) -> PathBuf {
    folder.join(format!("{attempt}.{}.{number}", stream.letters()))
}

/// What a file name says, if it is a segment's.
pub(super) fn parse_name(name: &str) -> Option<(u16, Stream, u32)> {
    let mut parts = name.split('.');
    let attempt = parts.next()?.parse().ok()?;
    let stream = match parts.next()? {
        "out" => Stream::Stdout,
        "err" => Stream::Stderr,
        _ => return None,
    };
    let number = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((attempt, stream, number))
}

/// Every segment of a job's folder; a missing folder has none.
///
/// # Errors
/// When the folder is there and cannot be read.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u16, Stream, u32)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(entries.flatten().filter_map(|entry| parse_name(entry.file_name().to_str()?)).collect())
}

/// The writer of one stream.
pub(super) struct Segments {
    folder: PathBuf,
    attempt: u16,
    stream: Stream,
    limits: Limits,
    current: Option<(File, u64)>,
    next_number: u32,
    tail: VecDeque<u32>,
    length: u64,
    truncated: bool,
}

impl Segments {
    /// A stream that has nothing yet; nothing is made on disk.
    pub(super) fn new(folder: PathBuf, attempt: u16, stream: Stream, limits: Limits) -> Self {
        Self {
            folder,
            attempt,
            stream,
            limits,
            current: None,
            next_number: 0,
            tail: VecDeque::new(),
            length: 0,
            truncated: false,
        }
    }

    /// Bytes written so far, kept or not.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether segments were dropped from the middle.
    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    /// Adds `data`, whose first byte has the merged position `merged`.
    ///
    /// # Errors
    /// When the disk refuses; the positions then no longer fit the files, and nothing more may be added.
    pub(super) fn append(&mut self, mut data: &[u8], mut merged: u64) -> io::Result<()> {
        let segment_bytes = self.limits.segment_bytes;
        while !data.is_empty() {
            let (file, used) = match &mut self.current {
                Some(current) if current.1 + (FRAME_HEADER_BYTES as u64) < segment_bytes => current,
                _ => self.roll()?,
            };
            let room = segment_bytes.saturating_sub(*used + FRAME_HEADER_BYTES as u64).max(1);
            let (now, later) = data.split_at(data.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + now.len());
            frame.extend((now.len() as u32).to_le_bytes());
            frame.extend(merged.to_le_bytes());
            frame.extend(now);
            file.write_all(&frame)?;
            *used += frame.len() as u64;
            self.length += now.len() as u64;
            merged += now.len() as u64;
            data = later;
        }
        Ok(())
    }

    fn roll(&mut self) -> io::Result<&mut (File, u64)> {
        let number = self.next_number;
        if number == 0 {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            self.remove_leftovers()?;
        }
        let path = path(&self.folder, self.attempt, self.stream, number);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&[MAGIC, self.length.to_le_bytes()].concat())?;
        self.next_number += 1;
        if number >= self.limits.head_segments {
            self.tail.push_back(number);
        }
        while self.tail.len() > self.limits.tail_segments as usize + 1 {
            let oldest = self.tail.pop_front().unwrap_or_default();
            self.truncated = true;
            remove(&super::segments::path(&self.folder, self.attempt, self.stream, oldest))?;
        }
        Ok(self.current.insert((file, HEADER_BYTES as u64)))
    }

    /// A run of the same attempt that was ordered twice must not be mixed with its first.
    fn remove_leftovers(&self) -> io::Result<()> {
        for (attempt, stream, number) in list(&self.folder)? {
            if (attempt, stream) == (self.attempt, self.stream) {
                remove(&path(&self.folder, attempt, stream, number))?;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
