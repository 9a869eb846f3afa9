//! Frames on a stream: a length (`u32`, big-endian), then so many bytes.
//!
//! A length is checked against the purpose's cap before anything is allocated, and memory grows only with
//! the bytes that have arrived. What is in a frame is not looked at here.

use super::purpose::Purpose;
use bytes::{Buf, Bytes, BytesMut};
use quinn::{RecvStream, SendStream};

/// Bytes of the length in front of each frame.
pub(super) const HEADER: usize = 4;
const READ_MAX: usize = 256 * 1024;

/// Why a frame could not be sent or received. The stream is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than its purpose allows; nothing was allocated or sent.
    #[error("a frame of {bytes} bytes is over the limit of {max}")]
    TooBig {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The stream ended within a frame, or an earlier send was dropped half way.
    #[error("the stream ended within a frame")]
    Cut,
    /// The other side gave the stream up, or the connection is gone.
    #[error("the stream was lost: {0}")]
    Lost(String),
}

/// The sending half of a framed stream. Dropping it ends the stream for the other side.
#[derive(Debug)]
pub struct FrameSender {
    stream: SendStream,
    max: usize,
    within_frame: bool,
}

/// The receiving half of a framed stream.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: RecvStream,
    frames: Reassembly,
}

impl FrameSender {
    pub(super) fn new(stream: SendStream, purpose: Purpose) -> Self {
        Self::limited(stream, purpose.frame_bytes_max())
    }

    pub(super) fn limited(stream: SendStream, max: usize) -> Self {
        Self { stream, max, within_frame: false }
    }

    /// Sends one frame; returns once it is handed over to the connection, which holds a bounded amount.
    ///
    /// If this future is dropped before it is done, the stream is broken and later sends say so.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn send(&mut self, frame: Bytes) -> Result<(), FrameError> {
        if self.within_frame {
            return Err(FrameError::Cut);
        }
        let header = header(frame.len(), self.max)?;
        self.within_frame = true;
        let mut parts = [Bytes::copy_from_slice(&header), frame];
        self.stream.write_all_chunks(&mut parts).await.map_err(|e| FrameError::Lost(e.to_string()))?;
        self.within_frame = false;
        Ok(())
    }

    /// Says that no more frames come. What was sent before still arrives.
    pub fn finish(&mut self) {
        let _ = self.stream.finish();
    }

    /// Gives the stream up: the other side finds it cut.
    pub fn abort(&mut self) {
        let _ = self.stream.reset(quinn::VarInt::from_u32(0));
    }

    /// Completes when the other side no longer reads, or the connection is gone.
    pub async fn closed(&mut self) {
        let _ = self.stream.stopped().await;
    }
}

impl FrameReceiver {
    pub(super) fn new(stream: RecvStream, purpose: Purpose) -> Self {
        Self::limited(stream, purpose.frame_bytes_max())
    }

    pub(super) fn limited(stream: RecvStream, max: usize) -> Self {
        Self { stream, frames: Reassembly::new(max) }
    }

    /// The next frame, or `None` when the other side finished. May be dropped and called again.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ_MAX, true).await {
                Ok(Some(chunk)) => self.frames.feed(chunk.bytes),
                Ok(None) if self.frames.is_between_frames() => return Ok(None),
                Ok(None) => return Err(FrameError::Cut),
                Err(e) => return Err(FrameError::Lost(e.to_string())),
            }
        }
    }
}

/// The bytes in front of a frame.
pub(super) fn header(bytes: usize, max: usize) -> Result<[u8; HEADER], FrameError> {
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= max);
    length.map(u32::to_be_bytes).ok_or(FrameError::TooBig { bytes, max })
}

/// The frames in `bytes`, as a stream that hands them over in chunks of `step` bytes would give them, each
/// of at most `max` bytes. What a stream does with bytes, without a stream.
///
/// # Errors
/// A frame over `max`, or bytes that end within a frame.
pub fn frames_in(bytes: &[u8], step: usize, max: usize) -> Result<Vec<Bytes>, FrameError> {
    let (mut reassembly, mut frames) = (Reassembly::new(max), Vec::new());
    for chunk in bytes.chunks(step.max(1)) {
        reassembly.feed(Bytes::copy_from_slice(chunk));
        while let Some(frame) = reassembly.next()? {
            frames.push(frame);
        }
    }
    if reassembly.is_between_frames() { Ok(frames) } else { Err(FrameError::Cut) }
}

/// Puts frames together from chunks that end anywhere.
#[derive(Debug)]
pub(super) struct Reassembly {
    max: usize,
    /// Bytes that arrived and were not looked at yet.
    chunk: Bytes,
    header: BytesMut,
    /// Length of the frame that is being received.
    length: Option<usize>,
    body: BytesMut,
}

impl Reassembly {
    pub(super) fn new(max: usize) -> Self {
        Self { max, chunk: Bytes::new(), header: BytesMut::new(), length: None, body: BytesMut::new() }
    }

    /// Takes the next bytes, after [`Reassembly::next`] said `None`.
    pub(super) fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "the last chunk is not used up");
        self.chunk = chunk;
    }

    pub(super) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = self.length()? else { return Ok(None) };
        // Copied even if whole: a slice would keep the whole packet it came in alive.
        let take = (length - self.body.len()).min(self.chunk.len());
        self.body.extend_from_slice(&self.chunk[..take]);
        self.chunk.advance(take);
        if self.body.len() < length {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(std::mem::take(&mut self.body).freeze()))
    }

    pub(super) fn is_between_frames(&self) -> bool {
        self.length.is_none() && self.header.is_empty() && self.chunk.is_empty()
    }

    fn length(&mut self) -> Result<Option<usize>, FrameError> {
        if self.length.is_some() {
            return Ok(self.length);
        }
        let take = (HEADER - self.header.len()).min(self.chunk.len());
        self.header.extend_from_slice(&self.chunk[..take]);
        self.chunk.advance(take);
        if self.header.len() < HEADER {
            return Ok(None);
        }
        let bytes = self.header.get_u32() as usize;
        self.header.clear();
        if bytes > self.max {
            return Err(FrameError::TooBig { bytes, max: self.max });
        }
        self.length = Some(bytes);
        Ok(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let frames: Vec<Vec<u8>> = [0usize, 1, 5, 300].iter().map(|n| vec![7; *n]).collect();
        let mut wire = Vec::new();
        for frame in &frames {
            wire.extend_from_slice(&header(frame.len(), 300).unwrap());
            wire.extend_from_slice(frame);
        }
        for step in 1..wire.len() {
            let (mut reassembly, mut out) = (Reassembly::new(300), Vec::new());
            for chunk in wire.chunks(step) {
                reassembly.feed(Bytes::copy_from_slice(chunk));
                while let Some(frame) = reassembly.next().unwrap() {
                    out.push(frame.to_vec());
                }
            }
            assert_eq!(out, frames, "chunks of {step}");
            assert!(reassembly.is_between_frames());
        }
    }

    #[test]
    fn a_length_over_the_cap_is_refused_before_memory_is_taken() {
        assert!(matches!(header(301, 300), Err(FrameError::TooBig { bytes: 301, max: 300 })));
        let mut reassembly = Reassembly::new(300);
        reassembly.feed(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 1, 2, 3]));
        assert!(matches!(reassembly.next(), Err(FrameError::TooBig { max: 300, .. })));
        assert_eq!(reassembly.body.capacity(), 0);
        // A length within the cap takes no more memory than bytes have come.
        let mut reassembly = Reassembly::new(20 << 20);
        reassembly.feed(Bytes::copy_from_slice(&(20u32 << 20).to_be_bytes()));
        assert!(reassembly.next().unwrap().is_none());
        assert!(reassembly.body.capacity() < 1024 && !reassembly.is_between_frames());
    }
}
