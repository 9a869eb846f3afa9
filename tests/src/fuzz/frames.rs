//! Frames on a stream, cut into chunks anywhere.

use super::Came;
use relais_node::net::frames_in;

/// The longest frame here.
const FRAME_BYTES_MAX: usize = 64 << 10;

/// The first byte says how long the chunks are, the rest is the stream.
pub(super) fn take(bytes: &[u8]) -> Came {
    let Some((step, stream)) = bytes.split_first() else { return Came::Refused };
    let read = frames_in(stream, usize::from(*step), FRAME_BYTES_MAX);
    let whole = frames_in(stream, stream.len(), FRAME_BYTES_MAX);
    assert_eq!(read, whole, "it matters where a stream is cut");
    let Ok(frames) = read else { return Came::Refused };
    let mut again = Vec::with_capacity(stream.len());
    for frame in &frames {
        let length = u32::try_from(frame.len()).expect("a frame is no longer than its cap");
        again.extend_from_slice(&length.to_be_bytes());
        again.extend_from_slice(frame);
    }
    assert_eq!(again, stream, "frames are not what was on the stream");
    Came::Taken
}
