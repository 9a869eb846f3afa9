//! The one file that knows sled: an ordered map on disk with an honest sync.
//!
//! sled's own `flush` is no fsync, so [`Book::sync`] adds one. A damaged file can make sled panic, hang or
//! lose rows without a word: whoever opens a book does so on a thread that may fail, and checks what is
//! in it. No value may exceed a few KiB (see [`super::long`]): sled keeps large tree nodes in files of
//! their own, which nobody syncs.

use parking_lot::RwLock;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::Path;

/// Memory that sled may keep pages in.
const CACHE_BYTES: u64 = 8 << 20;

/// How often what was just read by a scan, or is large and was just written, is read again. Sled lets go of pages
/// only at each 64th access in one of the 256 parts of its cache, whatever their size: a scan that reads each page
/// once would leave all of them in memory.
const TOUCHES: usize = 3;
/// Bytes from which on a value is large.
const LARGE: usize = 1_000;

/// Why a book does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum BookError {
    /// The disk does not play along.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What is on the disk is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// It was closed.
    #[error("the store is closed")]
    Closed,
}

impl From<sled::Error> for BookError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(e) => Self::Io(e),
            other => Self::Damaged(other.to_string()),
        }
    }
}

fn touch(db: &sled::Db, key: &[u8]) -> Result<(), BookError> {
    for _ in 0..TOUCHES {
        db.get(key)?;
    }
    Ok(())
}

/// One change: a key, and its new value or `None`.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Sees a key and a value; `false` ends the visit.
pub(super) type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<bool, BookError>;

/// An open database.
#[derive(Debug)]
pub(super) struct Book {
    db: RwLock<Option<sled::Db>>,
    file: File,
}

impl Book {
    /// Opens the database in `dir`, or makes one. Can panic or hang on a damaged one.
    pub(super) fn open(dir: &Path) -> Result<Self, BookError> {
        let db = sled::Config::new()
            .path(dir)
            .flush_every_ms(None)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::HighThroughput)
            .open()?;
        let file = OpenOptions::new().read(true).write(true).open(dir.join("db"))?;
        Ok(Self { db: RwLock::new(Some(db)), file })
    }

    fn db(&self) -> Result<sled::Db, BookError> {
        self.db.read().clone().ok_or(BookError::Closed)
    }

    /// The value of `key`.
    pub(super) fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BookError> {
        Ok(self.db()?.get(key)?.map(|value| value.to_vec()))
    }

    /// The last key in `from..=to`, and its value.
    pub(super) fn last_up_to(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>, BookError> {
        let found = self.db()?.range::<&[u8], _>(from..=to).next_back().transpose()?;
        Ok(found.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    /// The first key after `after` and before `end`.
    pub(super) fn first_after(&self, after: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, BookError> {
        let found = self.db()?.range::<&[u8], _>((Bound::Excluded(after), Bound::Excluded(end))).next().transpose()?;
        Ok(found.map(|(key, _)| key.to_vec()))
    }

    /// Makes one change. Not synced.
    pub(super) fn write(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), BookError> {
        let db = self.db()?;
        match value {
            Some(value) => {
                db.insert(key, value)?;
                if value.len() >= LARGE {
                    touch(&db, key)?;
                }
            }
            None => drop(db.remove(key)?),
        }
        Ok(())
    }

    /// Makes all `changes` or, after a crash, none. Not synced. Holds up every other batch of this
    /// process, so it is for few changes.
    pub(super) fn write_batch(&self, changes: Vec<Change>) -> Result<(), BookError> {
        let (db, mut batch, mut large) = (self.db()?, sled::Batch::default(), Vec::new());
        for (key, value) in changes {
            match value {
                Some(value) => {
                    large.extend((value.len() >= LARGE).then(|| key.clone()));
                    batch.insert(key, value);
                }
                None => batch.remove(key),
            }
        }
        db.apply_batch(batch)?;
        large.iter().try_for_each(|key| touch(&db, key))
    }

    /// Hands all that was written to the kernel; [`Book::file`] is then for the caller to sync.
    pub(super) fn flush(&self) -> Result<(), BookError> {
        self.db()?.flush()?;
        Ok(())
    }

    /// The database file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Visits `from..to` in order, or against it, until `visit` says `false`. An empty `to` is the end.
    pub(super) fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: Visit<'_>) -> Result<(), BookError> {
        let end = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
        if !to.is_empty() && from >= to {
            return Ok(());
        }
        let db = self.db()?;
        let mut rows = db.range::<&[u8], _>((Bound::Included(from), end));
        while let Some(row) = if reverse { rows.next_back() } else { rows.next() } {
            let (key, value) = row?;
            touch(&db, &key)?;
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    /// Closes it: every later call fails, and the folder can be opened again.
    pub(super) fn close(&self) {
        drop(self.db.write().take());
    }
}
