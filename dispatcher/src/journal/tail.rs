//! The newest frames of the log, on stable storage before sled has them.
//!
//! A flush of sled costs a dozen thread switches and a write of many pages, whatever it is of. So an append is
//! written into this file, which is synced before it is acknowledged, and sled gets many of them at once: see
//! [`super::log_writer`]. At open what is in it is written into sled again; that changes nothing when sled had it.
//!
//! Each piece names the checksum of the one before it. So the file is written over from its start once sled has
//! all of it, without being cut: what is left behind the newest piece does not follow it, and is not read.

use super::log_job::Append;
use super::types::LogId;
use relais_protocol::codec;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Its name in the journal's folder.
pub(super) const NAME: &str = "log.tail";
/// Length of the body, checksum of the piece before, checksum of this one.
const HEADER: usize = 4 + 8 + 8;
/// Index and length of a frame.
const FRAME_HEADER: usize = 8 + 4;
/// What an encoded `Option<LogId>` may take.
const COMMITTED_BYTES_MAX: usize = 64;

/// The open file.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    /// Where the next piece goes.
    end: u64,
    previous: u64,
}

/// What was read from it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Index and frame, in order.
    pub(super) frames: Vec<(u64, Vec<u8>)>,
    /// What was last known to be committed.
    pub(super) committed: Option<LogId>,
}

impl Tail {
    /// Opens it, or makes it: a journal of an earlier version has none. What it holds is read as far as it is whole.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Found)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let bytes = std::fs::read(path)?;
        let (mut found, mut rest, mut previous) = (Found::default(), bytes.as_slice(), None);
        while let Some((body, sum, after)) = piece(rest, previous) {
            if read_body(body, &mut found).is_none() {
                break;
            }
            (rest, previous) = (after, Some(sum));
        }
        Ok((Self { file, end: 0, previous: previous.unwrap_or(0) }, found))
    }

    /// Writes an append behind the last one. Not synced.
    pub(super) fn write(&mut self, append: &Append) -> io::Result<()> {
        let frames: usize = append.frames.iter().map(|(_, frame)| FRAME_HEADER + frame.len()).sum();
        let mut bytes = Vec::with_capacity(HEADER + 1 + COMMITTED_BYTES_MAX + frames);
        bytes.resize(HEADER, 0);
        let committed = codec::encode(codec::FORMAT, &append.committed);
        bytes.push(committed.len() as u8);
        bytes.extend_from_slice(&committed);
        for (index, frame) in &append.frames {
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            bytes.extend_from_slice(frame);
        }
        let sum = xxh3_64_with_seed(&bytes[HEADER..], self.previous);
        let length = (bytes.len() - HEADER) as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.previous.to_le_bytes());
        bytes[12..HEADER].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.previous = sum;
        Ok(())
    }

    /// Syncs what was written.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Where the next piece goes: bytes written since the start.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Sled has all of it: the next piece goes to the start.
    pub(super) fn rewind(&mut self) {
        self.end = 0;
    }

    /// Nothing of it is to be read again. Not synced.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.end = 0;
        self.file.write_all_at(&[0; HEADER], 0)
    }
}

/// The first piece in `bytes`: its body, its checksum, what is behind it. It must follow the piece with the
/// checksum `previous`, if there was one.
fn piece(bytes: &[u8], previous: Option<u64>) -> Option<(&[u8], u64, &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let number = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let (body, after) = rest.split_at_checked(length).filter(|_| length > 0)?;
    let (before, sum) = (number(4)?, number(12)?);
    let follows = previous.is_none_or(|previous| previous == before);
    (follows && xxh3_64_with_seed(body, before) == sum).then_some((body, sum, after))
}

fn read_body(body: &[u8], found: &mut Found) -> Option<()> {
    let (length, rest) = body.split_first()?;
    let (committed, mut rest) = rest.split_at_checked(usize::from(*length))?;
    found.committed = codec::decode(codec::FORMAT, committed, COMMITTED_BYTES_MAX).ok()?;
    while !rest.is_empty() {
        let (header, after) = rest.split_at_checked(FRAME_HEADER)?;
        let index = u64::from_le_bytes(header[..8].try_into().ok()?);
        let length = u32::from_le_bytes(header[8..].try_into().ok()?) as usize;
        let (frame, after) = after.split_at_checked(length)?;
        found.frames.push((index, frame.to_vec()));
        rest = after;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::CommittedLeaderId;

    fn append(indexes: std::ops::Range<u64>, length: usize) -> Append {
        let committed = Some(LogId::new(CommittedLeaderId::new(3, 7), indexes.start));
        Append { frames: indexes.map(|index| (index, vec![index as u8; length])).collect(), mark: None, committed }
    }

    fn indexes(path: &Path) -> Vec<u64> {
        Tail::open(path).unwrap().1.frames.into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn what_was_written_comes_back_and_what_is_older_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let (mut tail, found) = Tail::open(&path).unwrap();
        assert!(found.frames.is_empty() && found.committed.is_none());
        for start in [1, 4, 7] {
            tail.write(&append(start..start + 3, 50)).unwrap();
        }
        assert_eq!(indexes(&path), (1..10).collect::<Vec<_>>());
        tail.rewind();
        tail.write(&append(10..13, 50)).unwrap();
        let found = Tail::open(&path).unwrap().1;
        assert_eq!(found.frames, append(10..13, 50).frames, "the older ones do not follow");
        assert_eq!(found.committed, append(10..13, 50).committed);
        tail.clear().unwrap();
        assert!(indexes(&path).is_empty());
    }

    #[test]
    fn a_run_that_begins_again_at_the_start_hides_what_an_earlier_one_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let (mut first, _) = Tail::open(&path).unwrap();
        for start in 1..6 {
            first.write(&append(start..start + 1, 50)).unwrap();
        }
        let (mut second, _) = Tail::open(&path).unwrap();
        second.write(&append(6..7, 50)).unwrap();
        assert_eq!(indexes(&path), [6]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_ends_it_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let (mut tail, _) = Tail::open(&path).unwrap();
        tail.write(&append(1..2, 20)).unwrap();
        let first = tail.bytes() as usize;
        tail.write(&append(2..3, 20)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for bit in first * 8..whole.len() * 8 {
            let mut spoiled = whole.clone();
            spoiled[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &spoiled).unwrap();
            assert_eq!(indexes(&path), [1], "bit {bit}");
        }
        for length in first..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(indexes(&path), [1], "length {length}");
        }
    }
}
