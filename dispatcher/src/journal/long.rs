//! Values of any length over keys of a [`Book`], whose own values stay small.
//!
//! The value of a key begins with 0 and is whole, or with 1 and its length, and goes on in numbered pieces
//! in a key space beside. A long value is written whole or not at all only within a batch, or under a
//! redo file.

use super::book::{Book, BookError, Change};

/// Bytes of a value under one key. With up to 17 values in a tree node, a node stays below the 128 KiB
/// from which sled would move it into an unsynced file.
pub(super) const PIECE: usize = 4_000;
const WHOLE: u8 = 0;
const LONG: u8 = 1;
const LONG_HEADER: usize = 5;

/// Two key spaces of a book: one for the keys, one for the further pieces of their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// First byte of the keys.
    pub(super) main: u8,
    /// First byte of the keys of further pieces.
    pub(super) over: u8,
}

impl Space {
    /// The book's key of `key`.
    pub(super) fn key(self, key: &[u8]) -> Vec<u8> {
        let mut full = Vec::with_capacity(key.len() + 1);
        full.push(self.main);
        full.extend_from_slice(key);
        full
    }

    /// The book's key after all keys of this space.
    pub(super) fn end(self) -> Vec<u8> {
        vec![self.main + 1]
    }

    fn piece_key(self, key: &[u8], number: u32) -> Vec<u8> {
        let mut full = Vec::with_capacity(key.len() + 9);
        full.push(self.over);
        full.extend_from_slice(&(key.len() as u32).to_be_bytes());
        full.extend_from_slice(key);
        full.extend_from_slice(&number.to_be_bytes());
        full
    }

    /// The changes that write `value`.
    pub(super) fn write(self, key: &[u8], value: &[u8]) -> Vec<Change> {
        if value.len() <= PIECE {
            let mut whole = Vec::with_capacity(value.len() + 1);
            whole.push(WHOLE);
            whole.extend_from_slice(value);
            return vec![(self.key(key), Some(whole))];
        }
        let mut pieces = value.chunks(PIECE);
        let mut first = vec![LONG];
        first.extend_from_slice(&(value.len() as u32).to_le_bytes());
        first.extend_from_slice(pieces.next().unwrap_or_default());
        let mut changes = vec![(self.key(key), Some(first))];
        for (number, piece) in (1u32..).zip(pieces) {
            changes.push((self.piece_key(key, number), Some(piece.to_vec())));
        }
        changes
    }

    /// The changes that remove `key`, whose stored value is `stored`.
    pub(super) fn remove(self, key: &[u8], stored: &[u8]) -> Vec<Change> {
        self.keys_of(key, pieces_of(stored)).into_iter().map(|key| (key, None)).collect()
    }

    /// The book's keys of a value that takes so many.
    pub(super) fn keys_of(self, key: &[u8], pieces: u32) -> Vec<Vec<u8>> {
        let mut keys = vec![self.key(key)];
        keys.extend((1..pieces).map(|number| self.piece_key(key, number)));
        keys
    }

    /// The changes that put `value` (or nothing) in the place of what `book` has.
    pub(super) fn replace(self, book: &Book, key: &[u8], value: Option<&[u8]>) -> Result<Vec<Change>, BookError> {
        let old = book.read(&self.key(key))?.map_or(0, |stored| pieces_of(&stored));
        let mut changes = value.map_or_else(|| vec![(self.key(key), None)], |value| self.write(key, value));
        let kept = changes.len() as u32;
        changes.extend((kept..old).map(|number| (self.piece_key(key, number), None)));
        Ok(changes)
    }

    /// The value of `key`.
    pub(super) fn read(self, book: &Book, key: &[u8]) -> Result<Option<Vec<u8>>, BookError> {
        match book.read(&self.key(key))? {
            Some(stored) => self.whole(book, key, &stored).map(Some),
            None => Ok(None),
        }
    }

    /// The whole value of `key`, whose stored value is `stored`.
    pub(super) fn whole(self, book: &Book, key: &[u8], stored: &[u8]) -> Result<Vec<u8>, BookError> {
        let damaged = || BookError::Damaged("a value is incomplete".to_owned());
        match stored.split_first().ok_or_else(damaged)? {
            (&WHOLE, value) => Ok(value.to_vec()),
            (&LONG, rest) if rest.len() > LONG_HEADER - 1 => {
                let length = long_length(stored);
                let mut value = rest[LONG_HEADER - 1..].to_vec();
                for number in 1..pieces_of(stored) {
                    let piece = book.read(&self.piece_key(key, number))?.ok_or_else(damaged)?;
                    value.extend_from_slice(&piece);
                }
                if value.len() == length { Ok(value) } else { Err(damaged()) }
            }
            _ => Err(damaged()),
        }
    }

    /// Removes all of this space from `book`.
    pub(super) fn clear(self, book: &Book) -> Result<(), BookError> {
        for prefix in [self.over, self.main] {
            loop {
                let mut keys = Vec::new();
                book.scan(&[prefix], &[prefix + 1], false, &mut |key, _| {
                    keys.push(key.to_vec());
                    Ok(keys.len() < 1_000)
                })?;
                if keys.is_empty() {
                    break;
                }
                for key in keys {
                    book.write(&key, None)?;
                }
            }
        }
        Ok(())
    }
}

fn long_length(stored: &[u8]) -> usize {
    stored.get(1..LONG_HEADER).map_or(0, |b| u32::from_le_bytes(b.try_into().expect("four bytes")) as usize)
}

/// Keys that the value takes, the first included.
pub(super) fn pieces_of(stored: &[u8]) -> u32 {
    match stored.first() {
        Some(&LONG) => long_length(stored).div_ceil(PIECE) as u32,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Space = Space { main: b'a', over: b'A' };

    fn write(book: &Book, value: Option<&[u8]>) {
        for (key, value) in SPACE.replace(book, b"k", value).unwrap() {
            book.write(&key, value.as_deref()).unwrap();
        }
    }

    #[test]
    fn values_of_any_length_come_back_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(&dir.path().join("book")).unwrap();
        for length in [0, 1, 3_999, 4_000, 4_001, 8_000, 8_001, 1 << 20, 4_001, 5] {
            let value: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            write(&book, Some(&value));
            assert_eq!(SPACE.read(&book, b"k").unwrap(), Some(value), "length {length}");
        }
        write(&book, None);
        let mut left = 0;
        book.scan(b"", b"", false, &mut |_, _| {
            left += 1;
            Ok(true)
        })
        .unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn long_values_never_reach_the_files_that_nobody_syncs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book");
        let book = Book::open(&path).unwrap();
        for n in 0..64u32 {
            for (key, value) in SPACE.write(&n.to_be_bytes(), &vec![7; 1 << 18]) {
                book.write(&key, value.as_deref()).unwrap();
            }
            book.flush().unwrap();
        }
        assert_eq!(std::fs::read_dir(path.join("blobs")).unwrap().count(), 0);
    }
}
