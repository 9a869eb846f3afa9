//! The one place that knows bincode: values to bytes and back.
//!
//! A version byte stands in front of each value, outside bincode. Integers have a fixed width, trailing
//! bytes are an error, and a length is checked against the caller's cap before anything is allocated.
//! Bytes from someone who has not proven who they are never come here: mutual TLS is first.
//!
//! What holds many values alike (a batch of records, a report of many ends) can be packed: a bit in the
//! version byte, the length it unpacks to, and one LZ4 block. Its fixed-width numbers are mostly zeros.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format of messages between nodes, and of records and rows on disk.
pub const FORMAT: u8 = 1;

/// Set in the version byte of what is packed.
const PACKED: u8 = 0x80;
/// Bytes after the version byte that say how many bytes come out.
const PACKED_LENGTH: usize = 4;
/// What is shorter than this is not worth packing.
const PACK_FROM: usize = 1_024;

/// Why bytes are not the value that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There is nothing in it, not even a version byte.
    #[error("it is empty")]
    Empty,
    /// The version byte is another one.
    #[error("it has format {found}, this build reads {known}")]
    Version {
        /// The byte found.
        found: u8,
        /// The byte asked for.
        known: u8,
    },
    /// It is longer than its cap.
    #[error("it has {bytes} bytes, over the cap of {cap}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The cap.
        cap: usize,
    },
    /// It does not decode.
    #[error("it is malformed: {0}")]
    Malformed(String),
}

fn options(cap: usize) -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().reject_trailing_bytes().with_limit(cap as u64)
}

/// `version`, then the value.
///
/// # Panics
/// Never for the types of this crate: each has a fixed shape, and the only error bincode knows when
/// writing to memory is a sequence of unknown length.
#[must_use]
pub fn encode<T: Serialize + ?Sized>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(version);
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .serialize_into(&mut bytes, value)
        .expect("a value of fixed shape is written to memory");
    bytes
}

/// As [`encode`], packed if that is worth it.
#[must_use]
pub fn encode_packed<T: Serialize + ?Sized>(version: u8, value: &T) -> Vec<u8> {
    let plain = encode(version, value);
    if plain.len() < PACK_FROM {
        return plain;
    }
    let body = &plain[1..];
    let head = 1 + PACKED_LENGTH;
    let mut packed = vec![0; head + lz4_flex::block::get_maximum_output_size(body.len())];
    let Ok(length) = lz4_flex::block::compress_into(body, &mut packed[head..]) else { return plain };
    let Ok(whole) = u32::try_from(body.len()) else { return plain };
    if head + length >= plain.len() {
        return plain;
    }
    packed[0] = version | PACKED;
    packed[1..head].copy_from_slice(&whole.to_le_bytes());
    packed.truncate(head + length);
    // Entries are kept for a while, and most of the room was for what could not be packed.
    packed.shrink_to_fit();
    packed
}

/// Reads what [`encode_packed`] or [`encode`] wrote with the same version.
///
/// # Errors
/// See [`CodecError`]; nothing is allocated beyond `cap` bytes for what it unpacks to, and the same for it.
pub fn decode_packed<T: DeserializeOwned>(version: u8, bytes: &[u8], cap: usize) -> Result<T, CodecError> {
    let Some((head, block)) = bytes.split_at_checked(1 + PACKED_LENGTH).filter(|_| bytes[0] == version | PACKED) else {
        return decode(version, bytes, cap);
    };
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > cap {
        return Err(CodecError::TooLong { bytes: length, cap });
    }
    let malformed = |why: &dyn std::fmt::Display| CodecError::Malformed(why.to_string());
    let mut plain = vec![0; length];
    let unpacked = lz4_flex::block::decompress_into(block, &mut plain).map_err(|error| malformed(&error))?;
    if unpacked != length {
        return Err(malformed(&"it unpacks to less than it says"));
    }
    options(cap).deserialize(&plain).map_err(|error| malformed(&error))
}

/// Reads what [`encode`] wrote with the same version.
///
/// # Errors
/// See [`CodecError`]; nothing is allocated beyond `cap` bytes.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8], cap: usize) -> Result<T, CodecError> {
    let (found, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *found != version {
        return Err(CodecError::Version { found: *found, known: version });
    }
    if rest.len() > cap {
        return Err(CodecError::TooLong { bytes: rest.len(), cap });
    }
    options(cap).deserialize(rest).map_err(|e| CodecError::Malformed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_comes_back_and_nothing_else_does() {
        let value = (7u32, "text".to_owned(), vec![1u8, 2, 3]);
        let bytes = encode(1, &value);
        assert_eq!(decode::<(u32, String, Vec<u8>)>(1, &bytes, 1024), Ok(value));
        assert!(matches!(decode::<u32>(2, &bytes, 1024), Err(CodecError::Version { .. })));
        assert!(matches!(decode::<u32>(1, &bytes, 1024), Err(CodecError::Malformed(_))));
        assert!(matches!(decode::<u32>(1, &bytes, 4), Err(CodecError::TooLong { .. })));
        assert_eq!(decode::<u32>(1, &[], 4), Err(CodecError::Empty));
    }

    #[test]
    fn a_length_that_lies_is_refused_before_it_is_allocated() {
        let mut bytes = vec![1];
        bytes.extend(u64::MAX.to_le_bytes());
        assert!(decode::<Vec<u8>>(1, &bytes, 1 << 20).is_err());
    }

    #[test]
    fn what_is_packed_comes_back_whole_or_not_at_all() {
        let value: Vec<(u64, String)> = (0..500).map(|n| (n, "the same text".to_owned())).collect();
        let (plain, packed) = (encode(1, &value), encode_packed(1, &value));
        assert!(packed.len() * 4 < plain.len(), "{} of {} bytes", packed.len(), plain.len());
        for bytes in [&plain, &packed] {
            assert_eq!(decode_packed::<Vec<(u64, String)>>(1, bytes, 1 << 20).as_ref(), Ok(&value));
        }
        assert!(decode::<Vec<(u64, String)>>(1, &packed, 1 << 20).is_err(), "a plain value is read as such");
        assert!(matches!(decode_packed::<Vec<u8>>(1, &packed, 1_000), Err(CodecError::TooLong { .. })));
        assert!(matches!(decode_packed::<Vec<u8>>(2, &packed, 1 << 20), Err(CodecError::Version { .. })));
        for length in 0..packed.len() {
            assert!(decode_packed::<Vec<(u64, String)>>(1, &packed[..length], 1 << 20).is_err(), "cut at {length}");
        }
        assert_eq!(encode_packed(1, &7u32), encode(1, &7u32), "not worth it");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes: Vec<u8>, packed: bool) {
            let _ = decode::<Vec<(String, Option<u64>)>>(1, &bytes, 1 << 16);
            if packed && bytes.len() > 4 {
                bytes[0] = 1 | PACKED;
                bytes[3..5].fill(0);
            }
            let _ = decode_packed::<Vec<(String, Option<u64>)>>(1, &bytes, 1 << 16);
        }
    }
}
