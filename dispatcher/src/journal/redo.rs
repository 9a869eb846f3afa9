//! The redo file: a checkpoint's changes, whole on disk before the first of them is made.
//!
//! A crash between two of them is healed at open by making all of them again: they are those of the book, key by
//! key, so it does not matter which of them were made. The file is replaced by rename, so there is a whole one or
//! the one before it.

use super::book::Change;
use super::guard::sync_dir;
use super::packed;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const NAME: &str = "redo.blocks";
/// What a version without blocks wrote: rows.
const UNPACKED: &str = "redo";
/// Bytes that are written at a time.
const WRITTEN_BYTES: usize = 128 << 10;

/// Writes and syncs `changes`, and `meta` that describes the ledger after them.
pub(super) fn write<'c>(
    dir: &Path,
    meta: &[u8],
    changes: impl Iterator<Item = (&'c [u8], Option<&'c [u8]>)>,
) -> io::Result<()> {
    let temporary = dir.join("redo.new");
    let mut file = File::create(&temporary)?;
    // In the place of the sum, which is known at the end.
    file.write_all(&[0; 8])?;
    let (mut sum, mut some) = (Xxh3::new(), Vec::with_capacity(2 * WRITTEN_BYTES));
    packed::push(&mut some, &[], Some(meta));
    for (key, value) in changes {
        packed::push(&mut some, key, value);
        if some.len() >= WRITTEN_BYTES {
            sum.update(&some);
            file.write_all(&some)?;
            some.clear();
        }
    }
    sum.update(&some);
    file.write_all(&some)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&sum.digest().to_le_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(NAME))?;
    sync_dir(dir)
}

/// What was written last, if there is a whole file.
pub(super) fn read(dir: &Path) -> io::Result<Option<(Vec<u8>, Vec<Change>)>> {
    read_file(&dir.join(NAME))
}

/// What a version without blocks wrote last, if there is a whole file of it.
pub(super) fn read_unpacked(dir: &Path) -> io::Result<Option<(Vec<u8>, Vec<Change>)>> {
    read_file(&dir.join(UNPACKED))
}

fn read_file(path: &Path) -> io::Result<Option<(Vec<u8>, Vec<Change>)>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let Some((sum, body)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
    if xxh3_64(body).to_le_bytes() != *sum {
        return Ok(None);
    }
    let Ok(rows) = packed::unpack(body) else { return Ok(None) };
    let mut rows = rows.into_iter();
    Ok(rows.next().and_then(|(_, meta)| meta).map(|meta| (meta, rows.collect())))
}

/// Forgets what was written: it must not be made again over a ledger that came from elsewhere.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    remove_file(dir, NAME)
}

/// Forgets what a version without blocks wrote.
pub(super) fn remove_unpacked(dir: &Path) -> io::Result<()> {
    remove_file(dir, UNPACKED)
}

fn remove_file(dir: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(dir.join(name)) {
        Ok(()) => sync_dir(dir),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_comes_back_and_a_cut_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let rows: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(b"1")), (b"b", None)];
        write(dir.path(), b"meta", rows.into_iter()).unwrap();
        let (meta, changes) = read(dir.path()).unwrap().unwrap();
        assert_eq!(meta, b"meta");
        assert_eq!(changes, vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)]);
        let path = dir.path().join(NAME);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        remove(dir.path()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
    }
}
