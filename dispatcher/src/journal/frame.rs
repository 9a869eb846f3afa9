//! How an entry lies in the log: framed, checksummed and chained to the one before it.

use super::types::{LogId, Payload, Types};
use bytes::Bytes;
use openraft::{CommittedLeaderId, EmptyNode, Entry, EntryPayload, Membership};
use relais_protocol::codec;
use xxhash_rust::xxh3::xxh3_64;

const VERSION: u8 = 1;
const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERS: u8 = 2;
/// Version, kind, index, term, leader, length, hash of the frame before; the checksum follows.
const COVERED: usize = 2 + 8 + 8 + 8 + 4 + 8;
const HEADER: usize = COVERED + 8;
/// A membership is a handful of ids.
const MEMBERS_BYTES_MAX: usize = 64 << 10;

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// It was written by a build with other formats.
    #[error("format {0} is not known to this build")]
    Version(u8),
    /// Its length is not the one that it names, or its checksum fails.
    #[error("its checksum fails")]
    Checksum,
    /// It does not follow the frame before it.
    #[error("it does not follow the frame before it")]
    Chain,
    /// The checksum holds, but what it covers is no entry.
    #[error("it holds no entry")]
    Content,
}

/// A frame that was read and holds.
#[derive(Debug)]
pub(super) struct Framed {
    /// The entry.
    pub(super) entry: Entry<Types>,
    /// Its hash, which the next frame names.
    pub(super) hash: u64,
}

/// The frame of `entry`, after the one with hash `previous`, and its own hash.
pub(super) fn encode(entry: &Entry<Types>, previous: u64) -> (Vec<u8>, u64) {
    let members;
    let (kind, body): (u8, &[u8]) = match &entry.payload {
        EntryPayload::Blank => (BLANK, &[]),
        EntryPayload::Normal(payload) => (NORMAL, &payload.bytes),
        EntryPayload::Membership(m) => {
            members = codec::encode(codec::FORMAT, m);
            (MEMBERS, &members)
        }
    };
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend_from_slice(&[VERSION, kind]);
    frame.extend_from_slice(&entry.log_id.index.to_le_bytes());
    frame.extend_from_slice(&entry.log_id.leader_id.term.to_le_bytes());
    frame.extend_from_slice(&entry.log_id.leader_id.node_id.to_le_bytes());
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&previous.to_le_bytes());
    let hash = checksum(&frame, body);
    frame.extend_from_slice(&hash.to_le_bytes());
    frame.extend_from_slice(body);
    (frame, hash)
}

/// Reads a frame. With `previous`, it must follow the frame of that hash.
pub(super) fn decode(frame: &[u8], previous: Option<u64>) -> Result<Framed, FrameError> {
    let version = *frame.first().ok_or(FrameError::Checksum)?;
    if frame.len() < HEADER {
        return Err(FrameError::Checksum);
    }
    let number = |at: usize| u64::from_le_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
    let length = u32::from_le_bytes(frame[26..30].try_into().expect("four bytes")) as usize;
    let body = &frame[HEADER..];
    let hash = number(COVERED);
    if body.len() != length || checksum(&frame[..COVERED], body) != hash {
        return Err(FrameError::Checksum);
    }
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    if previous.is_some_and(|previous| previous != number(30)) {
        return Err(FrameError::Chain);
    }
    let log_id = LogId::new(CommittedLeaderId::new(number(10), number(18)), number(2));
    let payload = match frame[1] {
        BLANK => EntryPayload::Blank,
        NORMAL => EntryPayload::Normal(Payload::new(Bytes::copy_from_slice(body))),
        MEMBERS => EntryPayload::Membership(members(body)?),
        _ => return Err(FrameError::Content),
    };
    Ok(Framed { entry: Entry { log_id, payload }, hash })
}

fn members(body: &[u8]) -> Result<Membership<u64, EmptyNode>, FrameError> {
    codec::decode(codec::FORMAT, body, MEMBERS_BYTES_MAX).map_err(|_| FrameError::Content)
}

fn checksum(header: &[u8], body: &[u8]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::with_seed(xxh3_64(header));
    hasher.update(body);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, body: &[u8]) -> Entry<Types> {
        Entry {
            log_id: LogId::new(CommittedLeaderId::new(3, 7), index),
            payload: EntryPayload::Normal(Payload::new(Bytes::copy_from_slice(body))),
        }
    }

    #[test]
    fn a_frame_comes_back() {
        let (bytes, hash) = encode(&entry(5, b"body"), 99);
        let framed = decode(&bytes, Some(99)).unwrap();
        assert_eq!((framed.entry, framed.hash), (entry(5, b"body"), hash));
        assert_eq!(decode(&bytes, Some(98)).unwrap_err(), FrameError::Chain);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (bytes, _) = encode(&entry(5, b"body"), 99);
        for bit in 0..bytes.len() * 8 {
            let mut spoiled = bytes.clone();
            spoiled[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&spoiled, Some(99)).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], Some(99)).is_err(), "length {length}");
        }
    }
}
