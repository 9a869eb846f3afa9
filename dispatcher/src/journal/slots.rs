//! A tiny file that holds one small value in two checksummed slots.
//!
//! A write torn by a crash spoils the slot being written and leaves the other. Which of the two is newer
//! is said by a sequence number. It holds what must be known before the store is trusted: the vote, and
//! how far the store was acknowledged.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a slot: a page, so that no write touches both.
const SLOT: usize = 4_096;
/// Sequence number, length, checksum.
const HEADER: usize = 8 + 4 + 8;

/// Why the value cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum SlotError {
    /// Neither slot is whole.
    #[error("neither slot is whole")]
    Damaged,
    /// It could not be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An open slot file.
#[derive(Debug)]
pub(super) struct SlotFile {
    file: File,
    sequence: u64,
}

impl SlotFile {
    /// Makes the file with `value` in both slots. The folder is for the caller to sync.
    pub(super) fn create(path: &Path, value: &[u8]) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        let mut slots = Self { file, sequence: 0 };
        slots.write_both(value)?;
        slots.file.sync_all()?;
        Ok(slots)
    }

    /// Opens the file and reads the newest whole value.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<u8>), SlotError> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(SlotError::Damaged),
            Err(e) => return Err(e.into()),
        };
        let newest = [0, 1]
            .into_iter()
            .filter_map(|slot| read_slot(&file, slot).transpose())
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .max_by_key(|(sequence, _)| *sequence);
        let (sequence, value) = newest.ok_or(SlotError::Damaged)?;
        Ok((Self { file, sequence }, value))
    }

    /// Writes the older slot: the newer one stays until this one is whole. Not synced.
    pub(super) fn write(&mut self, value: &[u8]) -> io::Result<()> {
        assert!(value.len() <= SLOT - HEADER, "a slot holds a small value");
        let sequence = self.sequence + 1;
        let mut bytes = vec![0; SLOT];
        bytes[..8].copy_from_slice(&sequence.to_le_bytes());
        bytes[8..12].copy_from_slice(&(value.len() as u32).to_le_bytes());
        bytes[HEADER..HEADER + value.len()].copy_from_slice(value);
        let sum = checksum(&bytes, value.len());
        bytes[12..HEADER].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&bytes, (sequence % 2) * SLOT as u64)?;
        self.sequence = sequence;
        Ok(())
    }

    /// Syncs what was written.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Writes and syncs one slot, then the other: afterwards the value survives the loss of either, which
    /// is what a vote needs (an older vote is a vote given twice).
    pub(super) fn write_both(&mut self, value: &[u8]) -> io::Result<()> {
        for _ in 0..2 {
            self.write(value)?;
            self.sync()?;
        }
        Ok(())
    }
}

/// The first byte of the newest whole value, read without opening the file for writing.
pub(super) fn peek(path: &Path) -> Option<u8> {
    let file = File::open(path).ok()?;
    let slots = [0, 1].into_iter().filter_map(|slot| read_slot(&file, slot).ok().flatten());
    slots.max_by_key(|(sequence, _)| *sequence).and_then(|(_, value)| value.first().copied())
}

fn checksum(slot: &[u8], length: usize) -> u64 {
    let mut covered = slot[..12].to_vec();
    covered.extend_from_slice(&slot[HEADER..HEADER + length]);
    xxh3_64(&covered)
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut bytes = vec![0; SLOT];
    match file.read_exact_at(&mut bytes, slot * SLOT as u64) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let length = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")) as usize;
    if length > SLOT - HEADER || checksum(&bytes, length) != number(12) {
        return Ok(None);
    }
    Ok(Some((number(0), bytes[HEADER..HEADER + length].to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_value_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vote");
        let mut slots = SlotFile::create(&path, b"one").unwrap();
        slots.write(b"two").unwrap();
        drop(slots);
        assert_eq!(SlotFile::open(&path).unwrap().1, b"two");
    }

    #[test]
    fn a_torn_write_leaves_the_value_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vote");
        let mut slots = SlotFile::create(&path, b"one").unwrap();
        slots.write(b"two").unwrap();
        let at = (slots.sequence % 2) * SLOT as u64 + HEADER as u64;
        slots.file.write_all_at(b"x", at).unwrap();
        drop(slots);
        assert_eq!(SlotFile::open(&path).unwrap().1, b"one");
    }

    #[test]
    fn a_value_in_both_slots_survives_the_loss_of_either() {
        for slot in 0..2u64 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("vote");
            let mut slots = SlotFile::create(&path, b"one").unwrap();
            slots.write_both(b"two").unwrap();
            slots.file.write_all_at(&[0xff; 64], slot * SLOT as u64).unwrap();
            assert_eq!(SlotFile::open(&path).unwrap().1, b"two");
            slots.file.set_len(100).unwrap();
            assert!(matches!(SlotFile::open(&path), Err(SlotError::Damaged)));
        }
    }
}
