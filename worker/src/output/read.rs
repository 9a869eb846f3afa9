//! Reading captured output back: one stream, or both merged by the positions in their frames.
//!
//! It reads while another thread appends and drops segments: a frame cut short ends what can be read
//! now, and a segment that went away is a hole like any other.

use super::segments::{self, FRAME_HEADER_BYTES, HEADER_BYTES, MAGIC};
use super::{Lengths, Stream, View};
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, Read};
use std::iter::Peekable;
use std::path::{Path, PathBuf};

/// What one read found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// What is there, in order; pieces whose offsets do not join have a hole between them.
    pub pieces: Vec<Piece>,
    /// Where to read on.
    pub next: u64,
    /// How far the attempt has written, in the view that was read.
    pub end: u64,
    /// How many bytes between the offset asked for and `next` are no longer kept.
    pub dropped: u64,
    /// Whether more may be written.
    pub running: bool,
    /// Whether any part of what was read from is no longer kept, wherever it was.
    pub truncated: bool,
}

/// Some bytes of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The stream that they were written to.
    pub stream: Stream,
    /// Their position in the view that was read.
    pub offset: u64,
    /// The bytes, as they were written.
    pub data: Bytes,
}

impl Chunk {
    /// All bytes, holes closed up.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.data.iter().copied()).collect()
    }
}

/// A frame in memory.
struct Frame {
    stream: Stream,
    /// Its position in the view being read.
    position: u64,
    data: Bytes,
}

impl Frame {
    fn end(&self) -> u64 {
        self.position + self.data.len() as u64
    }
}

/// See [`super::Output::read`]; `live` is what the writer says, if there is one.
pub(super) fn read(
    folder: &Path,
    attempt: u16,
    view: View,
    offset: u64,
    bytes_max: usize,
    live: Option<Lengths>,
) -> io::Result<Chunk> {
    let lengths = match live {
        Some(lengths) => lengths,
        None => stored_lengths(folder, attempt)?,
    };
    let mut chunk = Chunk {
        next: offset,
        end: lengths.of(view),
        running: lengths.running,
        truncated: has_hole(folder, attempt, view)?,
        ..Chunk::default()
    };
    let mut room = bytes_max;
    let mut frames = Merge::open(folder, attempt, view, offset)?;
    while room > 0 {
        let Some(frame) = frames.next_frame()? else { break };
        if frame.end() <= chunk.next {
            continue;
        }
        // Written since the lengths were taken: the other stream's frame before it may not have been seen.
        if frame.position >= chunk.end {
            break;
        }
        let start = frame.position.max(chunk.next);
        let from = (start - frame.position) as usize;
        let data = frame.data.slice(from..frame.data.len().min(from.saturating_add(room)));
        room -= data.len();
        chunk.dropped += start - chunk.next;
        chunk.next = start + data.len() as u64;
        chunk.pieces.push(Piece { stream: frame.stream, offset: start, data });
    }
    Ok(chunk)
}

/// The lengths of an attempt that no longer runs, from its files alone.
pub(super) fn stored_lengths(folder: &Path, attempt: u16) -> io::Result<Lengths> {
    let mut lengths = Lengths::default();
    for stream in [Stream::Stdout, Stream::Stderr] {
        let mut numbers = numbers_of(folder, attempt, stream)?;
        lengths.truncated |= is_gappy(&numbers);
        let mut end = 0;
        // The last segment may have been begun without a whole frame in it.
        while let Some(number) = numbers.pop() {
            if let Some(frame) = Segment::load(folder, attempt, stream, number)?.and_then(Iterator::last) {
                end = frame.stream_position + frame.data.len() as u64;
                break;
            }
        }
        match stream {
            Stream::Stdout => lengths.stdout = end,
            Stream::Stderr => lengths.stderr = end,
        }
    }
    Ok(lengths)
}

/// The attempts that have a segment in a job's folder, in order.
pub(super) fn attempts(folder: &Path) -> io::Result<Vec<u16>> {
    let mut attempts: Vec<u16> = segments::list(folder)?.into_iter().map(|(attempt, ..)| attempt).collect();
    attempts.sort_unstable();
    attempts.dedup();
    Ok(attempts)
}

fn numbers_of(folder: &Path, attempt: u16, stream: Stream) -> io::Result<Vec<u32>> {
    let all = segments::list(folder)?.into_iter();
    let mut numbers: Vec<u32> = all.filter(|(a, s, _)| (*a, *s) == (attempt, stream)).map(|(.., n)| n).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether segments are missing that were written: they are numbered from 0.
fn is_gappy(numbers: &[u32]) -> bool {
    numbers.last().is_some_and(|last| *last as usize + 1 != numbers.len())
}

fn has_hole(folder: &Path, attempt: u16, view: View) -> io::Result<bool> {
    for stream in streams_of(view) {
        if is_gappy(&numbers_of(folder, attempt, stream)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn streams_of(view: View) -> Vec<Stream> {
    match view {
        View::Only(stream) => vec![stream],
        View::Merged => vec![Stream::Stdout, Stream::Stderr],
    }
}

/// The frames of the streams in view, by position.
struct Merge {
    streams: Vec<Peekable<StreamFrames>>,
}

impl Merge {
    fn open(folder: &Path, attempt: u16, view: View, offset: u64) -> io::Result<Self> {
        let merged = view == View::Merged;
        let open = |stream| StreamFrames::open(folder, attempt, stream, merged, offset).map(Iterator::peekable);
        Ok(Self { streams: streams_of(view).into_iter().map(open).collect::<io::Result<_>>()? })
    }

    fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let position = |frames: &mut Peekable<StreamFrames>| match frames.peek() {
            Some(Ok(frame)) => Some(frame.position),
            // An error is taken at once.
            Some(Err(_)) => Some(0),
            None => None,
        };
        let first =
            self.streams.iter_mut().filter_map(|frames| Some((position(frames)?, frames))).min_by_key(|(p, _)| *p);
        first.and_then(|(_, frames)| frames.next()).transpose()
    }
}

/// The frames of one stream from about a position on, a segment in memory at a time.
struct StreamFrames {
    folder: PathBuf,
    attempt: u16,
    stream: Stream,
    merged: bool,
    numbers: std::vec::IntoIter<u32>,
    segment: Option<Segment>,
}

impl StreamFrames {
    fn open(folder: &Path, attempt: u16, stream: Stream, merged: bool, offset: u64) -> io::Result<Self> {
        let mut numbers = numbers_of(folder, attempt, stream)?;
        let mut first = 0;
        for (place, number) in numbers.iter().enumerate().skip(1) {
            // Positions grow with the numbers, so the last segment that begins at or before it is the one.
            match segment_start(&segments::path(folder, attempt, stream, *number), merged)? {
                Some(start) if start <= offset => first = place,
                Some(_) => break,
                None => {}
            }
        }
        numbers.drain(..first);
        let numbers = numbers.into_iter();
        Ok(Self { folder: folder.to_owned(), attempt, stream, merged, numbers, segment: None })
    }
}

impl Iterator for StreamFrames {
    type Item = io::Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(frame) = self.segment.as_mut().and_then(Segment::next) {
                let position = if self.merged { frame.merged_position } else { frame.stream_position };
                return Some(Ok(Frame { stream: self.stream, position, data: frame.data }));
            }
            let number = self.numbers.next()?;
            match Segment::load(&self.folder, self.attempt, self.stream, number) {
                Ok(segment) => self.segment = segment,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The position of a segment's first byte; `None` if the segment has none or is gone.
fn segment_start(path: &Path, merged: bool) -> io::Result<Option<u64>> {
    let mut head = [0; HEADER_BYTES + FRAME_HEADER_BYTES];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    match read {
        Ok(()) => Ok(Some(number(&head, if merged { HEADER_BYTES + 4 } else { 8 }))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A segment's frames, from its bytes in memory.
struct Segment {
    bytes: Bytes,
    stream_position: u64,
}

struct StoredFrame {
    stream_position: u64,
    merged_position: u64,
    data: Bytes,
}

impl Segment {
    fn load(folder: &Path, attempt: u16, stream: Stream, number_of: u32) -> io::Result<Option<Self>> {
        let bytes = match fs::read(segments::path(folder, attempt, stream, number_of)) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(&MAGIC) {
            return Ok(None);
        }
        let stream_position = number(&bytes, 8);
        Ok(Some(Self { bytes: bytes.slice(HEADER_BYTES..), stream_position }))
    }
}

impl Iterator for Segment {
    type Item = StoredFrame;

    fn next(&mut self) -> Option<StoredFrame> {
        let length = u32::from_le_bytes(*self.bytes.first_chunk::<4>()?) as usize;
        if self.bytes.len() < FRAME_HEADER_BYTES + length {
            return None;
        }
        let merged_position = number(&self.bytes, 4);
        let data = self.bytes.slice(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length);
        self.bytes = self.bytes.slice(FRAME_HEADER_BYTES + length..);
        let frame = StoredFrame { stream_position: self.stream_position, merged_position, data };
        self.stream_position += length as u64;
        Some(frame)
    }
}

/// The little-endian number at `place`, 0 past the end.
fn number(bytes: &[u8], place: usize) -> u64 {
    bytes.get(place..).and_then(<[u8]>::first_chunk::<8>).map_or(0, |eight| u64::from_le_bytes(*eight))
}
