//! The one place that knows bincode: values to bytes and back.
//!
//! A version byte stands in front of each value, outside bincode. Integers have a fixed width, trailing
//! bytes are an error, and a length is checked against the caller's cap before anything is allocated.
//! Bytes from someone who has not proven who they are never come here: mutual TLS is first.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format of messages between nodes, and of records and rows on disk.
pub const FORMAT: u8 = 1;

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

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode::<Vec<(String, Option<u64>)>>(1, &bytes, 1 << 16);
        }
    }
}
