//! Rows packed one after the other: what the redo file holds, and what a snapshot is sent as.

use super::book::Change;

/// A reader met something else than packed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packed rows are malformed")]
pub(super) struct Malformed;

/// In place of a length: the row is deleted.
const DELETED: u32 = u32::MAX;

/// Appends one row.
pub(super) fn push(into: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    into.extend_from_slice(&(key.len() as u32).to_le_bytes());
    into.extend_from_slice(key);
    match value {
        Some(value) => {
            into.extend_from_slice(&(value.len() as u32).to_le_bytes());
            into.extend_from_slice(value);
        }
        None => into.extend_from_slice(&DELETED.to_le_bytes()),
    }
}

/// Reads all rows.
pub(super) fn unpack(mut bytes: &[u8]) -> Result<Vec<Change>, Malformed> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let length = take_length(&mut bytes)?;
        let key = take(&mut bytes, length)?.to_vec();
        let value = match take_length(&mut bytes)? {
            DELETED => None,
            length => Some(take(&mut bytes, length)?.to_vec()),
        };
        rows.push((key, value));
    }
    Ok(rows)
}

fn take<'b>(bytes: &mut &'b [u8], length: u32) -> Result<&'b [u8], Malformed> {
    let (head, rest) = bytes.split_at_checked(length as usize).ok_or(Malformed)?;
    *bytes = rest;
    Ok(head)
}

fn take_length(bytes: &mut &[u8]) -> Result<u32, Malformed> {
    let head = take(bytes, 4)?;
    Ok(u32::from_le_bytes(head.try_into().map_err(|_| Malformed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_torn_ones_are_refused() {
        let mut bytes = Vec::new();
        push(&mut bytes, b"a", Some(b"1"));
        push(&mut bytes, b"", None);
        let rows = unpack(&bytes).unwrap();
        assert_eq!(rows, vec![(b"a".to_vec(), Some(b"1".to_vec())), (Vec::new(), None)]);
        assert_eq!(unpack(&bytes[..bytes.len() - 1]), Err(Malformed));
    }
}
